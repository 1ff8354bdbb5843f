/** The engine with everything it needs from the cluster: who enforces, and all kinds in order. */
import type { Cluster } from '../model/cluster.ts';
import { createEngine, type Engine } from './engine/engine.ts';
import type { CalicoOptions } from './kinds/calico.ts';
import type { PolicyReading } from './options.ts';
import { programOf, traitSources } from './program.ts';
import { type FoundReading, readingOf } from './reading.ts';

export interface PolicyEngine extends Engine, FoundReading {}

/** Reads the dialect from the cluster unless `chosen` says it. `options`: Calico's staged policies as if they were enforced. */
export function policyEngine(
  cluster: Cluster,
  chosen: Partial<PolicyReading> = {},
  options: CalicoOptions = {},
): PolicyEngine {
  const found = readingOf(cluster, chosen);
  const world = { cluster, reading: found.reading };
  return { ...createEngine(world, programOf(world, options), traitSources), ...found };
}

export { type ConnectivityOptions, connectivity } from './connectivity.ts';
export { editNetworkPolicy, type NetworkPolicyEdit } from './edit.ts';
export { editedQuotient, type Quotient, quotient } from './quotient.ts';
