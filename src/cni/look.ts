/** Small questions that several CNIs ask of a snapshot. */
import type { Node } from '../model/cluster.ts';
import { orElse } from '../model/known.ts';
import type { Device } from '../model/netns.ts';
import type { Snapshot } from '../model/snapshot.ts';

/** The first node device that fits, with its node's name. */
export function findNodeDevice(
  snapshot: Snapshot,
  fits: (device: Device) => boolean,
): { readonly node: string; readonly device: Device } | undefined {
  for (const netns of snapshot.netns.values()) {
    if (netns.pod !== undefined) continue;
    // A node whose devices were not recorded shows nothing; another one may.
    const device = orElse(netns.devices, []).find(fits);
    if (device !== undefined) return { node: netns.node, device };
  }
  return undefined;
}

export const nodesOf = (snapshot: Snapshot): readonly Node[] => orElse(snapshot.cluster.nodes, []);

/** `NAME=value` annotation of the first node that has it. */
export function findAnnotation(snapshot: Snapshot, key: string): { node: string; value: string } | undefined {
  for (const node of nodesOf(snapshot)) {
    const value = node.annotations[key];
    if (value !== undefined) return { node: node.name, value };
  }
  return undefined;
}

export const configMapValue = (snapshot: Snapshot, name: string, key: string): string | undefined =>
  orElse(snapshot.cluster.configMaps, []).find((map) => map.name === name)?.data[key];

/** A daemon set's clause for `detect`. */
export function findDaemonSet(snapshot: Snapshot, pattern: RegExp): string | undefined {
  const found = orElse(snapshot.cluster.workloads, []).find(
    (workload) => workload.kind === 'DaemonSet' && pattern.test(workload.name),
  );
  return found === undefined ? undefined : `DaemonSet ${found.namespace}/${found.name} runs`;
}

/** JSON text of an annotation or ConfigMap as a plain object; undefined for anything else. */
export function readJsonObject(text: string | undefined): Readonly<Record<string, unknown>> | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    // Somebody else's text: unreadable is the same as absent here, and no fact is made of either.
    return undefined;
  }
}
