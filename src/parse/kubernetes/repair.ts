/**
 * Parts of a Pod that are malformed and that the rest of the Pod does not depend on: left out, and said. The whole Pod is left out
 * only where its reader cannot say what it is, because an answer without a pod is worse than one without a port's name.
 */
import { isObject, type JsonObject } from '../json.ts';

interface Repaired {
  readonly object: JsonObject;
  readonly problems: readonly { readonly field: string; readonly why: string }[];
}

/** The same object where nothing is wrong. */
export function repairPod(pod: JsonObject): Repaired {
  const spec = isObject(pod.spec) ? pod.spec : undefined;
  const meta = isObject(pod.metadata) ? pod.metadata : undefined;
  if (sound(spec?.containers) && sound(spec?.initContainers) && namedOwners(meta))
    return { object: pod, problems: [] };
  const problems: { field: string; why: string }[] = [];
  const repaired: Record<string, unknown> = { ...pod };
  if (spec !== undefined) {
    const changed: Record<string, unknown> = { ...spec };
    for (const key of ['containers', 'initContainers'])
      if (!sound(spec[key])) changed[key] = repairContainers(spec[key], `spec.${key}`, problems);
    repaired.spec = changed;
  }
  if (meta !== undefined && !namedOwners(meta)) repaired.metadata = repairOwners(meta);
  return { object: repaired, problems };
}

const isPort = (value: unknown): boolean =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65535;

/** A list of containers that have names and whose ports have numbers; anything that is no list is its reader's to refuse. */
function sound(containers: unknown): boolean {
  if (!Array.isArray(containers)) return true;
  for (const container of containers as readonly unknown[]) {
    if (!isObject(container)) return true;
    if (typeof container.name !== 'string') return false;
    if (!Array.isArray(container.ports)) continue;
    for (const port of container.ports as readonly unknown[])
      if (!isObject(port) || !isPort(port.containerPort)) return false;
  }
  return true;
}

function repairContainers(
  containers: unknown,
  field: string,
  problems: { field: string; why: string }[],
): unknown {
  if (!Array.isArray(containers)) return containers;
  return (containers as readonly unknown[]).map((container, i) => {
    if (!isObject(container)) return container;
    const ports = Array.isArray(container.ports)
      ? (container.ports as readonly unknown[]).filter((port, j) => {
          if (isObject(port) && isPort(port.containerPort)) return true;
          problems.push({
            field: `${field}[${i}].ports[${j}].containerPort`,
            why: 'must be a port, 1 to 65535; the port is left out',
          });
          return false;
        })
      : container.ports;
    // No verdict depends on a container's name: old dumps lack it, and it is not worth a word.
    const name = typeof container.name === 'string' ? container.name : `container-${i}`;
    return { ...container, name, ports };
  });
}

const owners = (meta: JsonObject | undefined): readonly unknown[] =>
  Array.isArray(meta?.ownerReferences) ? (meta.ownerReferences as readonly unknown[]) : [];

function namedOwners(meta: JsonObject | undefined): boolean {
  return owners(meta).every((owner) => !isObject(owner) || typeof owner.kind === 'string');
}

/** An owner without a kind is no more than a name to group by: it goes by the pods' own kind. */
const repairOwners = (meta: JsonObject): JsonObject => ({
  ...meta,
  ownerReferences: owners(meta).map((owner) =>
    isObject(owner) && typeof owner.kind !== 'string' ? { ...owner, kind: 'Pod' } : owner,
  ),
});
