/** Small look-ups that the mesh kinds share. */
import type { Labels, Pod } from '../../model/cluster.ts';

export const hasAll = (labels: Labels, wanted: Labels): boolean =>
  Object.entries(wanted).every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value);

export function groupBy<T>(
  items: readonly T[],
  keyOf: (item: T) => string,
): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

/** A pod of a manifest that no API server has seen: what webhooks add on creation, proxies among it, is not in it yet. */
export const neverCreated = (pod: Pod): boolean =>
  pod.origin !== undefined && pod.node === '' && pod.addresses.length === 0;
