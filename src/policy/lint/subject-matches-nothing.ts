/** A policy that selects nobody does nothing. */
import { matchesSelector } from '../selector.ts';
import { nearPod, wantsText } from './near.ts';
import {
  among,
  defineRule,
  type Found,
  found,
  foundIn,
  type LintContext,
  listText,
  nobody,
  podText,
  subjectExpr,
} from './rule.ts';

export const subjectMatchesNothing = defineRule({
  id: 'subject-matches-nothing',
  title: 'every policy selects some pod',
  needsPods: true,
  run: (context) => {
    const findings: Found[] = [];
    for (const policy of context.networkPolicies) {
      if (context.engine.select(subjectExpr(policy)).length > 0) continue;
      const own = context.pods.filter(({ namespace }) => namespace === policy.namespace);
      const host = own.filter((pod) => pod.hostNetwork && matchesSelector(policy.podSelector, pod.labels));
      const wants = wantsText(policy.podSelector);
      if (host.length > 0)
        findings.push(
          found(
            policy,
            'warning',
            'spec.podSelector',
            `selects ${wants}, which only pods on their node's network have (${listText(host.map(podText))}): NetworkPolicies do not apply to those`,
            "guard these pods with the node's own firewall, or take them off hostNetwork",
          ),
        );
      else {
        const hint = nearPod(policy.podSelector, own);
        findings.push(
          found(
            policy,
            own.length === 0 ? 'info' : nobody(context, hint),
            'spec.podSelector',
            own.length === 0
              ? `selects nobody: there is no pod in namespace ${policy.namespace}${among(context)}`
              : `selects ${wants}, and no pod of namespace ${policy.namespace}${among(context)} has that${hint}`,
            'correct the selector, or delete the policy if its pods are gone for good',
          ),
        );
      }
    }
    return [...findings, ...others(context)];
  },
});

/** Policies of the other kinds: one object may have become several, of which some select nobody. */
function others(context: LintContext): Found[] {
  const { engine, lowered } = context;
  const selected = new Map<string, boolean>();
  const key = ({ id }: (typeof lowered)[number]['policy']) =>
    JSON.stringify([id.kind, id.namespace, id.name]);
  const rest = lowered.filter(
    ({ layer, policy }) =>
      layer === 'network' && policy.id.kind !== 'NetworkPolicy' && policy.condition === undefined,
  );
  for (const { policy } of rest)
    selected.set(key(policy), selected.get(key(policy)) === true || engine.select(policy.subject).length > 0);
  const seen = new Set<string>();
  return rest.flatMap(({ policy }) => {
    if (selected.get(key(policy)) === true || seen.has(key(policy)) || policy.subject.is === 'none')
      return [];
    seen.add(key(policy));
    return [
      foundIn(
        policy,
        nobody(context, ''),
        '',
        `selects nobody: no pod${among(context)} has what its selectors want`,
        'correct the selectors, or delete the policy',
      ),
    ];
  });
}
