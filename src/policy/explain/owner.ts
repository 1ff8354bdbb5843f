/** Which workload a pod belongs to in people's words. */
import type { Cluster, Pod, Workload } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';

export interface Owner {
  readonly kind: string;
  readonly name: string;
}

/** Of each list of workloads by `kind namespace/name`. */
const indexes = new WeakMap<readonly Workload[], ReadonlyMap<string, Workload>>();

/** The Deployment above a ReplicaSet and the CronJob above a Job; undefined for a pod that nobody owns. */
export function ownerOf(cluster: Cluster, { namespace, owner, labels }: Pod): Owner | undefined {
  if (owner === undefined) return undefined;
  const above = indexOf(orElse(cluster.workloads, none)).get(
    `${owner.kind} ${namespace}/${owner.name}`,
  )?.owner;
  if (above !== undefined) return above;
  // The ReplicaSet may not have been collected: its name is the Deployment's and the hash.
  const hash = labels['pod-template-hash'];
  if (owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(`-${hash}`))
    return { kind: 'Deployment', name: owner.name.slice(0, -hash.length - 1) };
  return owner;
}

const none: readonly Workload[] = [];

function indexOf(workloads: readonly Workload[]): ReadonlyMap<string, Workload> {
  let index = indexes.get(workloads);
  if (index === undefined) {
    index = new Map(workloads.map((one) => [`${one.kind} ${one.namespace}/${one.name}`, one]));
    indexes.set(workloads, index);
  }
  return index;
}
