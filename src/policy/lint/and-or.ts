/** namespaceSelector and podSelector as two items of a list where one was meant, or the other way round. */
import type { NetworkPolicy, PolicyRule } from '../../model/cluster.ts';
import { wantsText } from './near.ts';
import { defineRule, found, type LintContext, type PodsPeer, peerExpr, rulesOf } from './rule.ts';

export const andOr = defineRule({
  id: 'peer-and-or',
  title: 'namespaceSelector and podSelector are joined as they are meant',
  needsPods: true,
  run: (context) =>
    context.networkPolicies.flatMap((policy) =>
      rulesOf(policy).flatMap(([, rule]) => {
        const mistake = mistaken(context, policy, rule);
        return mistake === undefined
          ? []
          : [found(policy, 'warning', mistake.field, mistake.text, mistake.todo)];
      }),
    ),
});

interface Mistake {
  readonly field: string;
  readonly text: string;
  readonly todo: string;
}

/** Undefined unless what is written matches nobody and the other way of writing it would. */
export function mistaken(context: LintContext, policy: NetworkPolicy, rule: PolicyRule): Mistake | undefined {
  const peers = (rule.peers ?? []).filter((peer) => peer.kind === 'pods');
  return twoForOne(context, policy, peers) ?? oneForTwo(context, policy, peers);
}

const matches = (context: LintContext, peer: PodsPeer, namespace: string): boolean =>
  context.engine.select(peerExpr(peer, namespace)).length > 0;

function twoForOne(
  context: LintContext,
  policy: NetworkPolicy,
  peers: readonly PodsPeer[],
): Mistake | undefined {
  for (const spaces of peers) {
    if (spaces.namespaceSelector === undefined || spaces.podSelector !== undefined) continue;
    for (const pods of peers) {
      if (pods.podSelector === undefined || pods.namespaceSelector !== undefined) continue;
      if (matches(context, pods, policy.namespace)) continue;
      const joined: PodsPeer = { ...pods, namespaceSelector: spaces.namespaceSelector };
      if (!matches(context, joined, policy.namespace)) continue;
      return {
        field: pods.field,
        text: `is an item of its own and means pods with ${wantsText(pods.podSelector)} in namespace ${policy.namespace}, of which there are none; ${spaces.field} admits every pod of namespaces with ${wantsText(spaces.namespaceSelector)}`,
        todo: 'to admit only these pods of these namespaces, write both selectors in one item: remove the dash before podSelector',
      };
    }
  }
  return undefined;
}

function oneForTwo(
  context: LintContext,
  policy: NetworkPolicy,
  peers: readonly PodsPeer[],
): Mistake | undefined {
  for (const peer of peers) {
    const { namespaceSelector, podSelector, field } = peer;
    if (
      namespaceSelector === undefined ||
      podSelector === undefined ||
      matches(context, peer, policy.namespace)
    )
      continue;
    const spaces: PodsPeer = { kind: 'pods', namespaceSelector, field };
    const pods: PodsPeer = { kind: 'pods', podSelector, field };
    if (!matches(context, spaces, policy.namespace) || !matches(context, pods, policy.namespace)) continue;
    return {
      field,
      text: `wants ${wantsText(podSelector)} in namespaces with ${wantsText(namespaceSelector)}, and no pod there has that; pods of namespace ${policy.namespace} have it`,
      todo: 'if either was meant, write two items: a dash before each selector',
    };
  }
  return undefined;
}
