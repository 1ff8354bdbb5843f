/** What would become of the connectivity if one NetworkPolicy were another, or were not there. */
import type { NetworkPolicy } from '../model/cluster.ts';
import { mapKnown } from '../model/known.ts';
import { type EditedEngine, editEngine } from './engine/edit.ts';
import { createEngine, type Engine } from './engine/engine.ts';
import { lowerNetworkPolicy } from './kinds/network-policy.ts';
import { networkPolicyTierName, programOf } from './program.ts';

export type NetworkPolicyEdit =
  | { readonly put: NetworkPolicy }
  | { readonly remove: { readonly namespace: string; readonly name: string } };

/** In the Kubernetes dialect only what the policy touches is computed anew; in the others, which weave kinds together, everything. */
export function editNetworkPolicy(engine: Engine, edit: NetworkPolicyEdit): EditedEngine {
  const { namespace, name } = 'put' in edit ? edit.put : edit.remove;
  const before = engine.world.cluster;
  const edited = () =>
    mapKnown(before.networkPolicies, (list) => {
      const kept = list.filter((one) => one.name !== name || one.namespace !== namespace);
      return 'put' in edit ? [...kept, edit.put] : kept;
    });
  let made: ReturnType<typeof edited> | undefined;
  // Over the getters of a cluster that is read piece by piece; the list is made only if somebody reads it.
  const cluster = Object.create(before, {
    networkPolicies: {
      get: () => {
        made ??= edited();
        return made;
      },
      enumerable: true,
    },
  }) as typeof before;
  const world = { ...engine.world, cluster };
  if (engine.world.reading.dialect !== 'kubernetes')
    return { engine: createEngine(world, programOf(world), engine.traits), affected: undefined };
  return editEngine(
    { ...engine, world },
    {
      layer: 'network',
      tier: networkPolicyTierName,
      id: { kind: 'NetworkPolicy', namespace, name },
      policy:
        'put' in edit ? lowerNetworkPolicy(edit.put, engine.world.reading.ipBlockMatchesPods) : undefined,
    },
  );
}
