/** Pods that workload manifests would make: one for each workload without pods of its own, so that policies have whom to select. */
import { isObject, type JsonObject } from '../json.ts';
import type { FoundObject } from './cluster.ts';

/** Where a workload kind keeps its pod template. */
const templates: Readonly<Record<string, string>> = {
  'deployments.apps': 'spec.template',
  'replicasets.apps': 'spec.template',
  'statefulsets.apps': 'spec.template',
  'daemonsets.apps': 'spec.template',
  'jobs.batch': 'spec.template',
  'cronjobs.batch': 'spec.jobTemplate.spec.template',
  replicationcontrollers: 'spec.template',
  'rollouts.argoproj.io': 'spec.template',
  'deploymentconfigs.apps.openshift.io': 'spec.template',
  // The launcher pod of a virtual machine has the labels of its template.
  'virtualmachines.kubevirt.io': 'spec.template',
};

export type FoundObjects = ReadonlyMap<string, readonly FoundObject[]>;

export const isWorkloadList = (plural: string): boolean => Object.hasOwn(templates, plural);

/**
 * Raw Pods in phase Running, without an address, named and owned as the workload. None where pods of it, or a workload that it belongs
 * to, are there, and none for workloads read from a server that runs none.
 */
export function templatePods(objects: FoundObjects): readonly FoundObject[] {
  const workloads = Object.keys(templates).flatMap((plural) =>
    (objects.get(plural) ?? []).map((found) => ({ plural, found })),
  );
  if (workloads.length === 0) return [];
  const owners = ownersOfPods(objects.get('pods') ?? []);
  const present = new Set(workloads.map(({ found }) => idOf(found.object, kindOf(found.object))));
  // From the bottom up: what has pods hands them to its own owner.
  for (let grew = true; grew; ) {
    const before = owners.size;
    for (const { found } of workloads)
      if (owners.has(idOf(found.object, kindOf(found.object))))
        for (const owner of ownersOf(found.object)) owners.add(owner);
    grew = owners.size > before;
  }
  const livePods = (objects.get('pods') ?? []).length > 0;
  return workloads.flatMap(({ plural, found }) => {
    const { object, origin } = found;
    const kind = kindOf(object);
    if (owners.has(idOf(object, kind)) || ownersOf(object).some((owner) => present.has(owner))) return [];
    // Objects with a uid come from a server: there, no pods means no pods (old ReplicaSets are kept for rollbacks).
    const meta = isObject(object.metadata) ? object.metadata : {};
    const spec = isObject(object.spec) ? object.spec : {};
    if (meta.uid !== undefined && (livePods || spec.replicas === 0)) return [];
    const path = templates[plural] ?? '';
    const template = path
      .split('.')
      .reduce<unknown>((at, key) => (isObject(at) ? at[key] : undefined), object);
    if (!isObject(template)) return [];
    return [
      {
        object: podOf(template, meta, kind),
        ...(origin === undefined
          ? {}
          : { origin: { ...origin, path: origin.path === '' ? path : `${origin.path}.${path}` } }),
      },
    ];
  });
}

function podOf(template: JsonObject, owner: JsonObject, kind: string): JsonObject {
  const own = isObject(template.metadata) ? template.metadata : {};
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: owner.name,
      namespace: owner.namespace,
      labels: own.labels,
      annotations: own.annotations,
      ownerReferences: [{ kind, name: owner.name, controller: true }],
    },
    spec: template.spec,
    status: { phase: 'Running' },
  };
}

/** `Deployment shop/web` of everything that a pod names as its owner, or that its owner's name and hash give away. */
function ownersOfPods(pods: readonly FoundObject[]): Set<string> {
  const found = new Set<string>();
  for (const { object } of pods) {
    for (const owner of ownersOf(object)) {
      if (found.has(owner)) continue;
      found.add(owner);
      // ReplicaSets and Jobs may not have been listed: their names begin with their owner's.
      const replicaSet = /^ReplicaSet (.+)-[a-z0-9]+$/.exec(owner);
      if (replicaSet !== null)
        for (const kind of ['Deployment', 'Rollout']) found.add(`${kind} ${replicaSet[1]}`);
      const job = /^Job (.+)-[0-9]+$/.exec(owner);
      if (job !== null) found.add(`CronJob ${job[1]}`);
      const instance = /^VirtualMachineInstance (.+)$/.exec(owner);
      if (instance !== null) found.add(`VirtualMachine ${instance[1]}`);
      const controller = /^ReplicationController (.+)-[0-9]+$/.exec(owner);
      if (controller !== null) found.add(`DeploymentConfig ${controller[1]}`);
    }
  }
  return found;
}

function ownersOf(object: JsonObject): readonly string[] {
  const meta = isObject(object.metadata) ? object.metadata : {};
  const references = Array.isArray(meta.ownerReferences) ? (meta.ownerReferences as readonly unknown[]) : [];
  return references
    .filter(isObject)
    .map(({ kind, name }) => `${String(kind)} ${namespaceOf(meta)}/${String(name)}`);
}

const kindOf = (object: JsonObject): string => String(object.kind);

function idOf(object: JsonObject, kind: string): string {
  const meta = isObject(object.metadata) ? object.metadata : {};
  return `${kind} ${namespaceOf(meta)}/${String(meta.name)}`;
}

const namespaceOf = (meta: JsonObject): string =>
  typeof meta.namespace === 'string' && meta.namespace !== '' ? meta.namespace : 'default';
