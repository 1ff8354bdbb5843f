/** Rules of a direction that policyTypes leaves out are ignored. */
import { defineRule, found } from './rule.ts';

export const policyTypes = defineRule({
  id: 'policy-types',
  title: 'policyTypes names every direction that has rules',
  needsPods: false,
  run: ({ networkPolicies }) =>
    networkPolicies.flatMap((policy) =>
      (policy.ignored ?? []).map((direction) =>
        found(
          policy,
          'error',
          `spec.${direction}`,
          `is ignored: policyTypes does not name ${direction === 'ingress' ? 'Ingress' : 'Egress'}`,
          `add ${direction === 'ingress' ? 'Ingress' : 'Egress'} to spec.policyTypes, or remove the rules`,
        ),
      ),
    ),
});
