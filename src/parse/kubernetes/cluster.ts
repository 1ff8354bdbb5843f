/** The folder `cluster/` of a snapshot -> one Cluster, each kind parsed when it is first read. */

import type { Cluster, ObjectOrigin, ObjectProblem } from '../../model/cluster.ts';
import { type Known, known, mapKnown, unknown } from '../../model/known.ts';
import { lazy } from '../../model/lazy.ts';
import type { JsonObject } from '../json.ts';
import { formatPosition, type Parsed, parsed } from '../result.ts';
import { readAdminPolicies } from './admin.ts';
import { readCalico } from './calico.ts';
import { readCilium } from './cilium.ts';
import { readIstio } from './istio.ts';
import { readLinkerd } from './linkerd.ts';
import { parseList } from './list.ts';
import {
  readConfigMap,
  readEndpointSlice,
  readNamespace,
  readNode,
  readService,
  readServiceAccount,
} from './network.ts';
import { readNetworkPolicy } from './policy.ts';
import { Mismatch } from './shape.ts';
import { readPod, readWorkload } from './workloads.ts';

interface Read<T> {
  readonly items: Known<readonly T[]>;
  readonly problems: readonly ObjectProblem[];
}

/** An object as it was found; `origin` only where fields can be looked up in a manifest. */
export interface FoundObject {
  readonly object: JsonObject;
  readonly origin?: ObjectOrigin;
}

/** One kind's objects. */
export interface FoundList {
  readonly where: string;
  readonly objects: Parsed<readonly FoundObject[]>;
}

/** Where the objects come from: `networkpolicies.networking.k8s.io` -> the list, undefined where there is none. */
export type ObjectSource = (plural: string) => FoundList | undefined;

type ReadItem<T> = (item: JsonObject, kind: string) => T;

/** Reads one kind's list; a kind without a list has no objects. Throws Unreadable where there is a list that cannot be read. */
export type ReadKind = <T extends object>(plural: string, kind: string, read: ReadItem<T>) => readonly T[];

class Unreadable extends Error {}

const workloadKinds: readonly (readonly [plural: string, kind: string])[] = [
  ['deployments.apps', 'Deployment'],
  ['statefulsets.apps', 'StatefulSet'],
  ['daemonsets.apps', 'DaemonSet'],
  ['replicasets.apps', 'ReplicaSet'],
];

/**
 * `files` maps `<plural>.<group>` (a folder in front and `.json`, `.yaml` or `.yml` behind may be there) to the list's text. A kind whose
 * file is missing or broken is unknown; objects with a wrong shape are left out and named in `problems`.
 */
export function buildCluster(files: ReadonlyMap<string, string>): Cluster {
  const texts = new Map<string, { readonly path: string; readonly text: string }>();
  for (const [path, text] of files)
    texts.set(path.replace(/^.*\//, '').replace(/\.(json|ya?ml)$/, ''), { path, text });
  return clusterOf((plural) => {
    const file = texts.get(plural);
    if (file === undefined) return undefined;
    const list = parseList(file.text, file.path);
    const objects = list.ok
      ? parsed(
          list.value.map((object) => ({ object })),
          list.notes,
        )
      : list;
    return { where: file.path, objects };
  });
}

/** Each kind is read when it is first asked for. */
export function clusterOf(source: ObjectSource): Cluster {
  const reads: (() => Read<unknown>)[] = [];
  const register = <R extends Read<unknown>>(read: () => R): (() => R) => {
    const get = lazy(read);
    reads.push(get);
    return get;
  };
  const kind = <T extends object>(plural: string, name: string, read: ReadItem<T>) =>
    register(() => readKind(source, plural, name, read));
  const pods = kind('pods', 'Pod', readPod);
  const nodes = kind('nodes', 'Node', readNode);
  const namespaces = kind('namespaces', 'Namespace', readNamespace);
  const services = kind('services', 'Service', readService);
  const endpointSlices = kind('endpointslices.discovery.k8s.io', 'EndpointSlice', readEndpointSlice);
  const networkPolicies = kind('networkpolicies.networking.k8s.io', 'NetworkPolicy', readNetworkPolicy);
  const configMaps = kind('configmaps', 'ConfigMap', readConfigMap);
  const serviceAccounts = kind('serviceaccounts', 'ServiceAccount', readServiceAccount);
  const workloads = register(() =>
    joinKinds(
      workloadKinds
        .filter(([plural]) => source(plural) !== undefined)
        .map(([plural, name]) => readKind(source, plural, name, readWorkload)),
    ),
  );
  /** Several kinds of one system; if one of their lists cannot be read, none of its policies can be judged. */
  const group = <T extends object>(read: (kind: ReadKind) => T): (() => Known<T>) => {
    const get = register(() => readGroup(source, read));
    return () => mapKnown(get().items, ([only]) => only as T);
  };
  const adminPolicies = group(readAdminPolicies);
  const calico = group(readCalico);
  const cilium = group(readCilium);
  const istio = group(readIstio);
  const linkerd = group(readLinkerd);
  const problems = lazy(() => reads.flatMap((read) => read().problems));
  return {
    get pods() {
      return pods().items;
    },
    get nodes() {
      return nodes().items;
    },
    get namespaces() {
      return namespaces().items;
    },
    get services() {
      return services().items;
    },
    get endpointSlices() {
      return endpointSlices().items;
    },
    get networkPolicies() {
      return networkPolicies().items;
    },
    get workloads() {
      return workloads().items;
    },
    get configMaps() {
      return configMaps().items;
    },
    get serviceAccounts() {
      return serviceAccounts().items;
    },
    get adminPolicies() {
      return adminPolicies();
    },
    get calico() {
      return calico();
    },
    get cilium() {
      return cilium();
    },
    get istio() {
      return istio();
    },
    get linkerd() {
      return linkerd();
    },
    get problems() {
      return problems();
    },
  };
}

function readKind<T extends object>(
  source: ObjectSource,
  plural: string,
  kind: string,
  read: ReadItem<T>,
): Read<T> {
  const found = source(plural);
  if (found === undefined)
    return { items: unknown(`cluster/${plural}.json was not collected`), problems: [] };
  const { objects, where } = found;
  if (!objects.ok) return { items: unknown(formatPosition(objects.error)), problems: [] };
  const items: T[] = [];
  const problems: ObjectProblem[] = objects.notes.map((note) => ({ text: formatPosition(note) }));
  for (const { object, origin } of objects.value) {
    const at = origin === undefined ? {} : { origin };
    const own = object.kind;
    if (own !== undefined && own !== kind) {
      problems.push({ text: `${nameOf(object, String(own))}: expected a ${kind} in ${where}`, ...at });
      continue;
    }
    try {
      items.push(Object.assign(read(object, kind), at));
    } catch (error) {
      if (!(error instanceof Mismatch)) throw error;
      problems.push({
        text: `${nameOf(object, kind)}: ${error.field} ${error.why}`,
        field: error.field,
        ...at,
      });
    }
  }
  return { items: known(items), problems };
}

function readGroup<T extends object>(source: ObjectSource, read: (kind: ReadKind) => T): Read<T> {
  const problems: ObjectProblem[] = [];
  try {
    const value = read((plural, kind, readItem) => {
      if (source(plural) === undefined) return [];
      const one = readKind(source, plural, kind, readItem);
      problems.push(...one.problems);
      if (one.items.state === 'unknown') throw new Unreadable(one.items.why);
      return one.items.value;
    });
    return { items: known([value]), problems };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return { items: unknown(error.message), problems };
  }
}

/** Known if at least one of the kinds was collected: a snapshot without StatefulSets need not have their file. */
function joinKinds<T>(reads: readonly Read<T>[]): Read<T> {
  const problems = reads.flatMap((read) => read.problems);
  if (reads.length === 0)
    return { items: unknown('cluster/deployments.apps.json was not collected'), problems };
  const items: T[] = [];
  for (const read of reads) {
    if (read.items.state === 'unknown') return { items: read.items, problems };
    items.push(...read.items.value);
  }
  return { items: known(items), problems };
}

/** `Pod shop/web`, as far as the object tells. */
function nameOf(item: JsonObject, kind: string): string {
  const meta = item.metadata;
  const part = (key: string): string => {
    const value = typeof meta === 'object' && meta !== null ? (meta as JsonObject)[key] : undefined;
    return typeof value === 'string' ? value : '';
  };
  const namespace = part('namespace');
  return `${kind} ${namespace === '' ? '' : `${namespace}/`}${part('name') || '(without a name)'}`;
}
