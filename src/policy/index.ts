/**
 * `podpath/policy`: may this flow pass, which rules decide, what is the whole connectivity. Everything here is a pure function of a
 * Cluster; nothing reads files or the network.
 */
import type { Cluster } from '../model/cluster.ts';
import type { TraitSource } from './endpoint.ts';
import { createEngine, type Engine } from './engine/engine.ts';
import type { PolicyReading } from './options.ts';
import { programOf } from './program.ts';
import { type FoundReading, readingOf } from './reading.ts';

export interface PolicyEngine extends Engine, FoundReading {}

/** Reads the dialect from the cluster unless `chosen` says it. */
export function policyEngine(cluster: Cluster, chosen: Partial<PolicyReading> = {}): PolicyEngine {
  const found = readingOf(cluster, chosen);
  const world = { cluster, reading: found.reading };
  return { ...createEngine(world, programOf(world), traitSources), ...found };
}

const traitSources: readonly TraitSource[] = [];

export { type ConnectivityOptions, connectivity } from './connectivity.ts';
export { editNetworkPolicy, type NetworkPolicyEdit } from './edit.ts';
export { editedQuotient, type Quotient, quotient } from './quotient.ts';
