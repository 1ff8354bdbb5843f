/**
 * What Ingresses and Routes let in: flows from their controller to the pods behind their backends, as far as the policies let in a pod of
 * which nothing is known. Where the controller runs is not in the objects: it stands for a pod without labels in a namespace without.
 */
import type { Cluster, Pod, Service, ServicePort } from '../model/cluster.ts';
import { type Connection, type Party, partyText } from '../model/connectivity.ts';
import type { EntryBackend, EntryPoint } from '../model/ingress.ts';
import { known, orElse } from '../model/known.ts';
import {
  everyPort,
  formatPorts,
  intersectPorts,
  linePoint,
  noPorts,
  type PortSet,
  samePorts,
  unionPorts,
} from '../net/port-set.ts';
import { isEndpointPod, resolveNamedPort } from './endpoint.ts';
import type { Engine } from './engine/engine.ts';
import { workloadNames } from './workload.ts';

const ingressController: Party & { readonly kind: string } = {
  namespace: '',
  name: 'ingress-controller',
  kind: 'IngressController',
};

/** Makes an engine over another cluster, with the reading that the caller uses. */
export type EngineOf = (cluster: Cluster) => Engine;

interface Reached {
  readonly pod: Pod;
  readonly allow: PortSet;
  readonly maybe: PortSet;
  readonly why: string;
}

/** In the order of the destinations. Pods of one owner are one party if all of them are reached alike. */
export function entryConnections(
  cluster: Cluster,
  entryPoints: readonly EntryPoint[],
  engineOf: EngineOf,
  by: 'workload' | 'pod' = 'workload',
  /** Only what touches these ports. */
  wanted: PortSet = everyPort,
): readonly Connection[] {
  const targets = targetsOf(cluster, entryPoints);
  if (targets.size === 0) return [];
  const controller = controllerPod();
  const engine = engineOf({
    ...cluster,
    pods: known([controller, ...targets.keys()]),
    namespaces: known([
      ...orElse(cluster.namespaces, []),
      { name: controller.namespace, labels: {}, annotations: {} },
    ]),
  });
  const src = engine.universe.classOf({ kind: 'pod', pod: controller });
  const reached: Reached[] = [];
  for (const [pod, ports] of targets) {
    const dst = engine.universe.classOf({ kind: 'pod', pod });
    if (src === undefined || dst === undefined) continue;
    if (intersectPorts(ports, wanted).length === 0) continue;
    const cell = engine.cell(src, dst);
    const maybe = intersectPorts(cell.maybe, ports);
    reached.push({
      pod,
      allow: intersectPorts(cell.allow, ports),
      maybe,
      why: cell.conditions
        .filter((part) => intersectPorts(part.ports, maybe).length > 0)
        .map(({ condition }) => condition.text)
        .join('; '),
    });
  }
  return [...partiesOf(cluster, reached, by)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, { party, one }]) => connectionsTo(party, one));
}

const controllerPod = (): Pod => ({
  namespace: '',
  name: ingressController.name,
  labels: {},
  annotations: {},
  serviceAccount: 'default',
  node: '',
  hostNetwork: false,
  addresses: [],
  phase: 'Running',
  ready: true,
  terminating: false,
  containers: [],
  dnsPolicy: 'ClusterFirst',
});

function grouped<K, T>(items: readonly T[], keyOf: (item: T) => K): ReadonlyMap<K, readonly T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** Ports of each pod that some entry point hands requests to. */
function targetsOf(cluster: Cluster, entryPoints: readonly EntryPoint[]): ReadonlyMap<Pod, PortSet> {
  const services = new Map(
    orElse(cluster.services, []).map((service) => [`${service.namespace}/${service.name}`, service]),
  );
  const pods = grouped(orElse(cluster.pods, []).filter(isEndpointPod), ({ namespace }) => namespace);
  const found = new Map<Pod, PortSet>();
  for (const { namespace, backends } of entryPoints)
    for (const backend of backends) {
      const service = services.get(`${namespace}/${backend.service}`);
      if (service === undefined) continue;
      for (const pod of (pods.get(namespace) ?? []).filter((candidate) => selects(service, candidate))) {
        const ports = targetPorts(service, backend, pod);
        if (ports.length > 0) found.set(pod, unionPorts(found.get(pod) ?? noPorts, ports));
      }
    }
  return found;
}

/** A Service without a selector has endpoints that somebody else wrote. */
function selects({ selector }: Service, { labels }: Pod): boolean {
  const wanted = Object.entries(selector);
  return (
    wanted.length > 0 && wanted.every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value)
  );
}

/**
 * A backend names a port of the Service. Where the Service has none of that number its target port counts: ingress-nginx compares with
 * both (controller.go, serviceEndpoints), and a Route names the target port in the first place.
 */
function targetPorts(service: Service, { port }: EntryBackend, pod: Pod): PortSet {
  const named = (test: (candidate: ServicePort) => boolean) => service.ports.filter(test);
  const byService = named((one) => one.name === port?.value || one.port === port?.value);
  const byTarget = named((one) => one.name === port?.value || one.targetPort === port?.value);
  const [first, second] = port?.of === 'target' ? [byTarget, byService] : [byService, byTarget];
  const chosen = port === undefined ? service.ports : first.length > 0 ? first : second;
  let ports = noPorts;
  for (const { targetPort, protocol } of chosen) {
    const numbers =
      typeof targetPort === 'number'
        ? [targetPort]
        : resolveNamedPort({ kind: 'pod', pod }, targetPort, protocol);
    for (const number of numbers) {
      const point = linePoint(protocol, number);
      ports = unionPorts(ports, [point, point + 1]);
    }
  }
  return ports;
}

function partiesOf(
  cluster: Cluster,
  reached: readonly Reached[],
  by: 'workload' | 'pod',
): ReadonlyMap<string, { readonly party: Party; readonly one: Reached }> {
  const workloadOf = workloadNames(cluster);
  const partyOf = (pod: Pod): Party | undefined => {
    const workload = by === 'pod' ? undefined : workloadOf(pod);
    return workload && { namespace: pod.namespace, name: workload.name, kind: workload.kind };
  };
  const ownerOf = (pod: Pod): string => {
    const party = partyOf(pod);
    return party === undefined ? '' : partyText(party);
  };
  const sizes = new Map<string, number>();
  for (const pod of orElse(cluster.pods, []))
    if (isEndpointPod(pod)) sizes.set(ownerOf(pod), (sizes.get(ownerOf(pod)) ?? 0) + 1);
  const parties = new Map<string, { party: Party; one: Reached }>();
  for (const [owner, group] of grouped(reached, ({ pod }) => ownerOf(pod))) {
    const [first] = group;
    if (first === undefined) continue;
    const alike =
      owner !== '' &&
      group.length === sizes.get(owner) &&
      group.every((one) => samePorts(one.allow, first.allow) && samePorts(one.maybe, first.maybe));
    const party = partyOf(first.pod);
    if (alike && party !== undefined) {
      parties.set(owner, { party, one: first });
      continue;
    }
    for (const one of group) {
      const party = { namespace: one.pod.namespace, name: one.pod.name, kind: 'Pod' };
      parties.set(partyText(party), { party, one });
    }
  }
  return parties;
}

function connectionsTo(dst: Party, { allow, maybe, why }: Reached): Connection[] {
  const src = ingressController;
  return (['TCP', 'UDP', 'SCTP'] as const).flatMap((protocol) => {
    const lines: Connection[] = [];
    const certain = formatPorts(allow, protocol);
    const open = formatPorts(maybe, protocol);
    if (certain !== '') lines.push({ src, dst, protocol, ports: certain, verdict: 'allow' });
    if (open !== '') lines.push({ src, dst, protocol, ports: open, verdict: 'conditional', why });
    return lines;
  });
}
