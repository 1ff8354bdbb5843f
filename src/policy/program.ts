/** All policies of a cluster, lowered and put in the order in which its enforcers ask them. */
import { portless } from '../net/port-set.ts';
import { withDoubts } from './doubt.ts';
import type { TraitSource } from './endpoint.ts';
import type { Layer, PolicyProgram, PolicyProgramNote, Tier } from './ir.ts';
import { adminNotes, lowerAdminTier, lowerBaselineTier } from './kinds/admin.ts';
import { type CalicoOptions, calicoLayer, calicoNotes, stagedNotes } from './kinds/calico.ts';
import { ciliumLayer } from './kinds/cilium.ts';
import { ciliumNotes } from './kinds/cilium-notes.ts';
import { ambientRewrites, istioLayer, istioTraits } from './kinds/istio.ts';
import { linkerdLayer, linkerdRewrites, linkerdTraits } from './kinds/linkerd.ts';
import { lowerNetworkPolicies } from './kinds/network-policy.ts';
import type { PolicyWorld } from './options.ts';
import { unenforcedNotes } from './reading.ts';

/** Facts that the kinds' rules read beside the objects' own. */
export const traitSources: readonly TraitSource[] = [istioTraits, linkerdTraits];

/** The network's policies first, as packets meet them; then each mesh's, at the destination's proxy. */
export function programOf(world: PolicyWorld, options: CalicoOptions = {}): PolicyProgram {
  const network = networkLayer(world, options);
  // What the network sees of a mesh's traffic may be the port of its tunnel.
  const rewrites = [...network.rewrites, ...ambientRewrites(world), ...linkerdRewrites(world)];
  const layers = [{ ...network, rewrites }, istioLayer(world), linkerdLayer(world)];
  const program = { layers: layers.filter((layer) => layer !== undefined), notes: notesOf(world, options) };
  return withDoubts(program, world.cluster);
}

function networkLayer(world: PolicyWorld, options: CalicoOptions): Layer {
  switch (world.reading.dialect) {
    case 'kubernetes':
      return kubernetesLayer(world);
    case 'calico':
      return calicoLayer(world, options);
    case 'cilium':
      return ciliumLayer(world);
  }
}

function notesOf(world: PolicyWorld, { includeStaged }: CalicoOptions): readonly PolicyProgramNote[] {
  const { dialect } = world.reading;
  return [
    ...(includeStaged === true ? [] : stagedNotes(world)),
    ...adminNotes(world),
    ...(dialect === 'calico' ? calicoNotes(world) : []),
    ...(dialect === 'cilium' ? ciliumNotes(world) : []),
    ...unenforcedNotes(world),
  ];
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
