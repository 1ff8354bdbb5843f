/** Under which workload a pod is listed. */
import type { Cluster, Pod } from '../model/cluster.ts';
import { orElse } from '../model/known.ts';

export interface WorkloadName {
  readonly kind: string;
  readonly name: string;
}

/**
 * The owner that the pod names, or the one above it where both are among the objects: the Deployment of a ReplicaSet. What is not
 * there is not guessed. Undefined for pods of their own; a node owns the mirror pods of its kubelet, which have nothing in common.
 */
export function workloadNames(cluster: Cluster): (pod: Pod) => WorkloadName | undefined {
  const workloads = orElse(cluster.workloads, []);
  const key = (kind: string, namespace: string, name: string) => `${kind} ${namespace}/${name}`;
  const present = new Set(workloads.map(({ kind, namespace, name }) => key(kind, namespace, name)));
  const above = new Map<string, WorkloadName>();
  for (const { kind, namespace, name, owner } of workloads)
    if (owner !== undefined && present.has(key(owner.kind, namespace, owner.name)))
      above.set(key(kind, namespace, name), owner);
  return ({ namespace, owner }) => {
    if (owner === undefined || owner.kind === 'Node') return undefined;
    return above.size === 0 ? owner : (above.get(key(owner.kind, namespace, owner.name)) ?? owner);
  };
}
