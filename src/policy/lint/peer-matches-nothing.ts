/** A peer that matches nobody admits nobody: a misspelt label, a namespace that is not labelled. */
import type { NetworkPolicy } from '../../model/cluster.ts';
import { mistaken } from './and-or.ts';
import { namespacesOf, nearNamespace, nearPod, wantsText } from './near.ts';
import {
  among,
  defineRule,
  directions,
  type Found,
  found,
  foundIn,
  type LintContext,
  listText,
  nobody,
  type PodsPeer,
  peerExpr,
  podText,
  rulesOf,
} from './rule.ts';

export const peerMatchesNothing = defineRule({
  id: 'peer-matches-nothing',
  title: 'every peer of a rule matches some pod or address',
  needsPods: true,
  run: (context) => [
    ...context.networkPolicies.flatMap((policy) =>
      rulesOf(policy).flatMap(([, rule]) =>
        (rule.peers ?? []).flatMap((peer) =>
          peer.kind === 'pods' &&
          context.engine.select(peerExpr(peer, policy.namespace)).length === 0 &&
          mistaken(context, policy, rule) === undefined
            ? [emptyPeer(context, policy, peer)]
            : [],
        ),
      ),
    ),
    ...others(context),
  ],
});

function emptyPeer(context: LintContext, policy: NetworkPolicy, peer: PodsPeer): Found {
  const { namespaceSelector, podSelector } = peer;
  const spaces = namespacesOf(namespaceSelector, policy.namespace, context);
  if (namespaceSelector !== undefined && spaces.length === 0) {
    const hint = nearNamespace(namespaceSelector, context);
    return found(
      policy,
      nobody(context, hint),
      `${peer.field}.namespaceSelector`,
      `wants namespaces with ${wantsText(namespaceSelector)}, and there is none${among(context)}${hint}`,
      'correct the selector, or label the namespace',
    );
  }
  const host = context.select(peerExpr(peer, policy.namespace, true));
  const where =
    namespaceSelector === undefined
      ? `namespace ${policy.namespace}`
      : listText(spaces.map((name) => `namespace ${name}`));
  if (host.length > 0)
    return found(
      policy,
      'warning',
      peer.field,
      `matches only pods on their node's network (${listText(host.map(podText))}), whose traffic comes from the node's address`,
      'name the nodes in an ipBlock',
    );
  if (podSelector === undefined || context.pods.every(({ namespace }) => !spaces.includes(namespace)))
    return found(
      policy,
      'info',
      peer.field,
      `matches nobody: there is no pod in ${where}${among(context)}`,
      'nothing, if pods are yet to come',
    );
  const pods = context.pods.filter(({ namespace }) => spaces.includes(namespace));
  const hint = nearPod(podSelector, pods) || elsewhere(context, peer);
  return found(
    policy,
    nobody(context, hint),
    `${peer.field}.podSelector`,
    `wants ${wantsText(podSelector)}, and no pod of ${where}${among(context)} has that${hint}`,
    namespaceSelector === undefined
      ? 'correct the selector; for pods of another namespace, add a namespaceSelector to the same item'
      : 'correct the selector',
  );
}

/** `; pod shop/web-1 of another namespace has it`: without a namespaceSelector a peer stays in its own namespace. */
function elsewhere(context: LintContext, { namespaceSelector, podSelector, field }: PodsPeer): string {
  if (namespaceSelector !== undefined || podSelector === undefined) return '';
  const all = {
    kind: 'pods',
    namespaceSelector: { matchLabels: {}, matchExpressions: [] },
    podSelector,
    field,
  } as const;
  const [pod] = context.select(peerExpr(all, ''));
  return pod === undefined ? '' : `; pod ${podText(pod)} of another namespace has it`;
}

/**
 * Rules of the network's other kinds, as a whole; one may have been lowered to several. Whom a mesh's rule means depends on identities
 * too, so that nobody today says little.
 */
function others(context: LintContext): Found[] {
  const { engine, lowered } = context;
  return lowered.flatMap(({ layer, policy }) => {
    if (policy.id.kind === 'NetworkPolicy' || layer !== 'network') return [];
    return directions.flatMap((direction) => {
      const rules = (policy[direction]?.rules ?? []).filter(({ field }) => field !== '');
      const matching = new Set(
        rules
          .filter(
            ({ peer, condition }) =>
              condition !== undefined || peer.is === 'none' || engine.select(peer).length > 0,
          )
          .map(({ field }) => field),
      );
      const fields = new Set(rules.map(({ field }) => field).filter((field) => !matching.has(field)));
      return [...fields].map((field) =>
        foundIn(
          policy,
          nobody(context, ''),
          field,
          `matches nobody: no pod or address${among(context)} is what the rule wants`,
          'correct the selectors of the rule',
        ),
      );
    });
  });
}
