/** All policies of a cluster, lowered and put in the order in which its enforcers ask them. */
import { portless } from '../net/port-set.ts';
import { withDoubts } from './doubt.ts';
import type { Layer, PolicyProgram, Tier } from './ir.ts';
import { adminNotes, lowerAdminTier, lowerBaselineTier } from './kinds/admin.ts';
import { lowerNetworkPolicies } from './kinds/network-policy.ts';
import type { PolicyWorld } from './options.ts';

export function programOf(world: PolicyWorld): PolicyProgram {
  const program = { layers: [kubernetesLayer(world)], notes: adminNotes(world) };
  return withDoubts(program, world.cluster);
}

/** The API's own words: admin tier, NetworkPolicy, baseline, and open to all where none of them speaks. */
export function kubernetesLayer(world: PolicyWorld): Layer {
  const tiers = [lowerAdminTier(world), networkPolicyTier(world), lowerBaselineTier(world)];
  return {
    name: 'network',
    tiers: tiers.filter((tier) => tier !== undefined),
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
