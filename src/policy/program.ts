/** All policies of a cluster, lowered and put in the order in which its enforcers ask them. */
import { portless } from '../net/port-set.ts';
import type { Layer, PolicyProgram, Tier } from './ir.ts';
import { lowerNetworkPolicies } from './kinds/network-policy.ts';
import type { PolicyWorld } from './options.ts';

export function programOf(world: PolicyWorld): PolicyProgram {
  return { layers: [kubernetesLayer(world)], notes: [] };
}

/** The API's own words: admin tier, NetworkPolicy, baseline, and open to all where none of them speaks. */
export function kubernetesLayer(world: PolicyWorld): Layer {
  return {
    name: 'network',
    tiers: [networkPolicyTier(world)],
    finally: 'allow',
    rewrites: [],
    exemptsSelfAndOwnNode: true,
  };
}

export const networkPolicyTierName = 'NetworkPolicy';

function networkPolicyTier(world: PolicyWorld): Tier {
  return {
    name: networkPolicyTierName,
    groups: lowerNetworkPolicies(world).map((policy) => [policy]),
    otherwise: 'deny',
    unspecified: {
      ports: portless,
      condition: {
        code: 'undefined-by-api',
        text: 'NetworkPolicy does not say what happens to ICMP and other protocols without ports; CNIs differ',
      },
    },
  };
}
