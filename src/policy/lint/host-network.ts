/** A policy does not hold for pods on their node's network, even if its selector matches them. */
import { defineRule, found, listText, podText, subjectExpr } from './rule.ts';

export const hostNetwork = defineRule({
  id: 'host-network-pods',
  title: 'no policy selects pods on the network of their node beside others',
  needsPods: true,
  run: (context) =>
    context.networkPolicies.flatMap((policy) => {
      const { matchLabels, matchExpressions } = policy.podSelector;
      // "Every pod of the namespace" is not about these pods.
      if (Object.keys(matchLabels).length + matchExpressions.length === 0) return [];
      const host = context.select(subjectExpr(policy, true));
      if (host.length === 0 || context.engine.select(subjectExpr(policy)).length === 0) return [];
      return [
        found(
          policy,
          'info',
          'spec.podSelector',
          `also matches pods on their node's network, for which NetworkPolicies do not hold: ${listText(host.map(podText))}`,
          "guard these pods with the node's own firewall",
        ),
      ];
    }),
});
