/** The folder `cluster/` of a snapshot -> one Cluster, each kind parsed when it is first read. */
import type { Cluster } from '../../model/cluster.ts';
import { type Known, known, unknown } from '../../model/known.ts';
import type { JsonObject } from '../json.ts';
import { formatPosition } from '../result.ts';
import { parseList } from './list.ts';
import { readConfigMap, readEndpointSlice, readNamespace, readNode, readService } from './network.ts';
import { readNetworkPolicy } from './policy.ts';
import { Mismatch } from './shape.ts';
import { readPod, readWorkload } from './workloads.ts';

interface Read<T> {
  readonly items: Known<readonly T[]>;
  readonly problems: readonly string[];
}

type ReadItem<T> = (item: JsonObject, kind: string) => T;

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

  const reads: (() => Read<unknown>)[] = [];
  const kind = <T>(plural: string, name: string, read: ReadItem<T>): (() => Known<readonly T[]>) => {
    const get = once(() => readKind(texts.get(plural), plural, name, read));
    reads.push(get);
    return () => get().items;
  };
  const pods = kind('pods', 'Pod', readPod);
  const nodes = kind('nodes', 'Node', readNode);
  const namespaces = kind('namespaces', 'Namespace', readNamespace);
  const services = kind('services', 'Service', readService);
  const endpointSlices = kind('endpointslices.discovery.k8s.io', 'EndpointSlice', readEndpointSlice);
  const networkPolicies = kind('networkpolicies.networking.k8s.io', 'NetworkPolicy', readNetworkPolicy);
  const configMaps = kind('configmaps', 'ConfigMap', readConfigMap);
  const workloads = once(() =>
    joinKinds(
      workloadKinds
        .filter(([plural]) => texts.has(plural))
        .map(([plural, name]) => readKind(texts.get(plural), plural, name, readWorkload)),
    ),
  );
  reads.push(workloads);
  const problems = once(() => reads.flatMap((read) => read().problems));
  return {
    get pods() {
      return pods();
    },
    get nodes() {
      return nodes();
    },
    get namespaces() {
      return namespaces();
    },
    get services() {
      return services();
    },
    get endpointSlices() {
      return endpointSlices();
    },
    get networkPolicies() {
      return networkPolicies();
    },
    get workloads() {
      return workloads().items;
    },
    get configMaps() {
      return configMaps();
    },
    get problems() {
      return problems();
    },
  };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function readKind<T>(
  file: { readonly path: string; readonly text: string } | undefined,
  plural: string,
  kind: string,
  read: ReadItem<T>,
): Read<T> {
  if (file === undefined) return { items: unknown(`cluster/${plural}.json was not collected`), problems: [] };
  const list = parseList(file.text, file.path);
  if (!list.ok) return { items: unknown(formatPosition(list.error)), problems: [] };
  const items: T[] = [];
  const problems = list.notes.map(formatPosition);
  for (const item of list.value) {
    const found = item.kind;
    if (found !== undefined && found !== kind) {
      problems.push(`${nameOf(item, String(found))}: expected a ${kind} in ${file.path}`);
      continue;
    }
    try {
      items.push(read(item, kind));
    } catch (error) {
      if (!(error instanceof Mismatch)) throw error;
      problems.push(`${nameOf(item, kind)}: ${error.field} ${error.why}`);
    }
  }
  return { items: known(items), problems };
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
