/**
 * What people type for the ends of a flow: `[NS/]POD`, `[NS/]KIND/NAME`, an address or a host name, with `:PORT` behind
 * a destination.
 */
import { resolveName } from '../dataplane/names.ts';
import { podNetnsId } from '../dataplane/world.ts';
import type { Pod, Service, Workload } from '../model/cluster.ts';
import { PodpathError } from '../model/errors.ts';
import type { Endpoint } from '../model/flow.ts';
import { type Known, orElse } from '../model/known.ts';
import { nearestNames } from '../model/nearest.ts';
import type { Resolver } from '../model/netns.ts';
import { addressesOf } from '../model/services.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { type Address, formatAddress, parseAddress } from '../net/address.ts';

/** A destination as typed, taken apart: `[fd00::1]:80` -> host fd00::1, port 80. */
export interface Target {
  readonly host: string;
  readonly port?: number;
}

export function splitTarget(text: string): Target {
  const bracketed = /^\[([^\]]+)\](?::(.+))?$/.exec(text);
  if (bracketed !== null) return target(text, bracketed[1] ?? '', bracketed[2]);
  const colon = text.lastIndexOf(':');
  // Several colons without brackets: an IPv6 address without a port.
  if (colon < 0 || text.indexOf(':') !== colon) return { host: text };
  return target(text, text.slice(0, colon), text.slice(colon + 1));
}

function target(text: string, host: string, portText: string | undefined): Target {
  if (portText === undefined) return { host };
  const port = /^[0-9]{1,5}$/.test(portText) ? Number(portText) : 0;
  if (port < 1 || port > 65535) {
    throw new PodpathError({
      code: 'endpoint/port',
      what: 'the destination has no usable port',
      where: text,
      why: `"${portText}" is no port number from 1 to 65535`,
      todo: 'write it as NS/POD:PORT, for example shop/api-1:8080',
    });
  }
  return { host, port };
}

export interface Resolved {
  /** Usually one; a workload stands for each of its pods. */
  readonly endpoints: readonly Endpoint[];
  readonly hostName?: string;
  /** A name that the cluster's DNS would not answer; the endpoints are then empty. */
  readonly notFound?: readonly string[];
}

export interface ResolveOptions {
  readonly snapshot: Snapshot;
  /** Namespace for endpoints that name none. */
  readonly namespace: string;
  /** The source's resolver, for host names; absent while the source itself is resolved. */
  readonly resolver?: Known<Resolver>;
  /** Address family to prefer. */
  readonly family?: 4 | 6;
}

const kinds: Readonly<Record<string, string>> = {
  pod: 'pod',
  po: 'pod',
  pods: 'pod',
  deploy: 'Deployment',
  deployment: 'Deployment',
  ds: 'DaemonSet',
  daemonset: 'DaemonSet',
  sts: 'StatefulSet',
  statefulset: 'StatefulSet',
  svc: 'service',
  service: 'service',
  node: 'node',
  no: 'node',
};

/** Resolves one end. Throws PodpathError with the nearest names where nothing fits, or the choices where several do. */
export function resolveEndpoint(text: string, options: ResolveOptions): Resolved {
  const address = parseAddress(text);
  if (address !== undefined) return { endpoints: [endpointAt(options.snapshot, address)] };
  const parts = text.split('/');
  if (parts.some((part) => part === '') || parts.length > 3) throw malformed(text);
  const [first = '', second = '', third] = parts;
  if (third !== undefined) {
    // KIND/NS/NAME is how others write it; a namespace called like a kind is still meant where the second part is one.
    const isKindFirst = kinds[first.toLowerCase()] !== undefined && kinds[second.toLowerCase()] === undefined;
    return isKindFirst
      ? byKind(text, second, first, third, options)
      : byKind(text, first, second, third, options);
  }
  if (parts.length === 2) {
    return kinds[first] === undefined
      ? byName(text, first, second, options)
      : byKind(text, options.namespace, first, second, options);
  }
  return bare(text, first, options);
}

const malformed = (text: string): PodpathError =>
  new PodpathError({
    code: 'endpoint/malformed',
    what: 'cannot read the endpoint',
    where: text,
    why: 'it is none of [NS/]POD, [NS/]KIND/NAME, an address or a host name',
    todo: 'write it like shop/web-1, shop/svc/api, shop/deploy/web, node/node1, 10.244.1.5 or api.shop',
  });

/** The pod, node or Service that has an address. */
export function endpointAt(snapshot: Snapshot, address: Address): Endpoint {
  const same = (a: Address) => a.family === address.family && a.value === address.value;
  const pod = runningPods(snapshot).find((p) => !p.hostNetwork && p.addresses.some(same));
  if (pod !== undefined) return { kind: 'pod', namespace: pod.namespace, name: pod.name, address };
  const service = orElse(snapshot.cluster.services, []).find((s) => addressesOf(s).some(same));
  if (service !== undefined)
    return { kind: 'service', namespace: service.namespace, name: service.name, address };
  const node = orElse(snapshot.cluster.nodes, []).find((n) => n.internalAddresses.some(same));
  if (node !== undefined) return { kind: 'node', name: node.name, address };
  return { kind: 'external', address };
}

const runningPods = (snapshot: Snapshot): readonly Pod[] =>
  orElse(snapshot.cluster.pods, []).filter((pod) => pod.phase !== 'Succeeded' && pod.phase !== 'Failed');

function byKind(
  text: string,
  namespace: string,
  kindText: string,
  name: string,
  options: ResolveOptions,
): Resolved {
  const kind = kinds[kindText.toLowerCase()];
  switch (kind) {
    case undefined:
      throw new PodpathError({
        code: 'endpoint/kind',
        what: `"${kindText}" is no kind of endpoint`,
        where: text,
        why: 'an endpoint is a pod, deploy, ds, sts, svc or node',
        todo: `try ${namespace}/${
          nearestNames(
            kindText,
            Object.keys(kinds).filter((kind) => kind.length > 3),
          )[0] ?? 'pod'
        }/${name}`,
      });
    case 'pod':
      return byPod(text, namespace, name, options);
    case 'service':
      return byService(text, namespace, name, options);
    case 'node':
      return byNode(text, name, options);
    default:
      return byWorkload(text, kind, namespace, name, options);
  }
}

const podEndpoint = (pod: Pod, options: ResolveOptions): Endpoint => {
  const address = pick(pod.addresses, options.family);
  if (address === undefined) {
    throw new PodpathError({
      code: 'endpoint/no-address',
      what: `pod ${pod.namespace}/${pod.name} has no address`,
      why: pod.node === '' ? 'it is not scheduled on a node' : `it is ${pod.phase} on ${pod.node}`,
      todo: `kubectl describe pod -n ${pod.namespace} ${pod.name}`,
    });
  }
  return { kind: 'pod', namespace: pod.namespace, name: pod.name, address };
};

const pick = (addresses: readonly Address[], family: 4 | 6 | undefined): Address | undefined =>
  family === undefined ? addresses[0] : addresses.find((a) => a.family === family);

function notFound(text: string, what: string, wanted: string, have: readonly string[]): PodpathError {
  const close = nearestNames(wanted, have);
  return new PodpathError({
    code: 'endpoint/not-found',
    what: `there is no ${what}`,
    where: text,
    why:
      have.length === 0
        ? 'the snapshot holds none'
        : `none of the ${have.length} that were recorded has that name`,
    todo:
      close.length === 0
        ? 'podpath snapshot show lists what there is'
        : `did you mean ${close.join(' or ')}?`,
  });
}

function byPod(text: string, namespace: string, name: string, options: ResolveOptions): Resolved {
  const pods = runningPods(options.snapshot);
  const pod = pods.find((p) => p.namespace === namespace && p.name === name);
  if (pod !== undefined) return { endpoints: [podEndpoint(pod, options)] };
  throw notFound(
    text,
    `pod ${namespace}/${name}`,
    `${namespace}/${name}`,
    pods.map((p) => `${p.namespace}/${p.name}`),
  );
}

/** NS/NAME: a pod; else the only pod of the workload of that name; several pods are for the user to choose from. */
function byName(text: string, namespace: string, name: string, options: ResolveOptions): Resolved {
  const pods = runningPods(options.snapshot).filter((p) => p.namespace === namespace);
  if (pods.some((p) => p.name === name)) return byPod(text, namespace, name, options);
  const workloads = orElse(options.snapshot.cluster.workloads, []).filter(
    (w) => w.namespace === namespace && w.name === name && w.kind !== 'ReplicaSet',
  );
  const services = orElse(options.snapshot.cluster.services, []).filter(
    (s) => s.namespace === namespace && s.name === name,
  );
  const members = workloads.flatMap((w) => podsOf(options.snapshot, w));
  if (members.length === 0 && services.length === 0) return byPod(text, namespace, name, options);
  const [only] = members;
  if (members.length === 1 && services.length === 0 && only !== undefined)
    return { endpoints: [podEndpoint(only, options)] };
  const choices = [
    ...members.slice(0, 4).map((p) => `${p.namespace}/${p.name}`),
    ...workloads.map((w) => `${namespace}/${shortKind(w.kind)}/${name}`),
    ...services.map(() => `${namespace}/svc/${name}`),
  ];
  throw new PodpathError({
    code: 'endpoint/ambiguous',
    what: `"${text}" can mean several endpoints`,
    why: [
      members.length > 0 ? `${members.length} pods belong to ${namespace}/${name}` : '',
      services.length > 0 ? 'there is a Service of that name' : '',
    ]
      .filter((clause) => clause !== '')
      .join(' and '),
    todo: `say which: ${choices.join(', ')}`,
  });
}

const shortKind = (kind: string): string =>
  ({ Deployment: 'deploy', DaemonSet: 'ds', StatefulSet: 'sts' })[kind] ?? kind.toLowerCase();

/** Pods of a workload: owned by it, or by a ReplicaSet that it owns. */
function podsOf(snapshot: Snapshot, workload: Workload): readonly Pod[] {
  const owners = new Set([`${workload.kind}/${workload.name}`]);
  for (const other of orElse(snapshot.cluster.workloads, [])) {
    if (
      other.namespace === workload.namespace &&
      other.owner?.kind === workload.kind &&
      other.owner.name === workload.name
    )
      owners.add(`${other.kind}/${other.name}`);
  }
  return runningPods(snapshot).filter(
    (p) =>
      p.namespace === workload.namespace &&
      p.owner !== undefined &&
      owners.has(`${p.owner.kind}/${p.owner.name}`),
  );
}

function byWorkload(
  text: string,
  kind: string,
  namespace: string,
  name: string,
  options: ResolveOptions,
): Resolved {
  const all = orElse(options.snapshot.cluster.workloads, []).filter((w) => w.kind === kind);
  const workload = all.find((w) => w.namespace === namespace && w.name === name);
  const what = `${kind} ${namespace}/${name}`;
  if (workload === undefined)
    throw notFound(
      text,
      what,
      `${namespace}/${name}`,
      all.map((w) => `${w.namespace}/${shortKind(kind)}/${w.name}`),
    );
  const pods = podsOf(options.snapshot, workload).filter((p) => p.addresses.length > 0);
  if (pods.length === 0) {
    throw new PodpathError({
      code: 'endpoint/no-pods',
      what: `${what} has no running pod`,
      where: text,
      why: `it wants ${workload.desired}, and none has an address`,
      todo: `kubectl get pods -n ${namespace} -o wide`,
    });
  }
  return { endpoints: pods.map((p) => podEndpoint(p, options)) };
}

function byService(text: string, namespace: string, name: string, options: ResolveOptions): Resolved {
  const all = orElse(options.snapshot.cluster.services, []);
  const service = all.find((s) => s.namespace === namespace && s.name === name);
  if (service === undefined) {
    const names = all.map((s) => `${s.namespace}/svc/${s.name}`);
    throw notFound(text, `Service ${namespace}/${name}`, `${namespace}/svc/${name}`, names);
  }
  return { endpoints: serviceEndpoints(options.snapshot, service, options.family) };
}

function serviceEndpoints(snapshot: Snapshot, service: Service, family: 4 | 6 | undefined): Endpoint[] {
  const address = pick(service.clusterIps, family);
  if (address !== undefined)
    return [{ kind: 'service', namespace: service.namespace, name: service.name, address }];
  // Headless: DNS hands out the pods themselves.
  const pods = orElse(snapshot.cluster.endpointSlices, [])
    .filter((slice) => slice.namespace === service.namespace && slice.service === service.name)
    .flatMap((slice) => slice.endpoints.filter((e) => e.ready).flatMap((e) => e.addresses))
    .filter((a) => family === undefined || a.family === family);
  if (pods.length > 0) return pods.map((a) => endpointAt(snapshot, a));
  throw new PodpathError({
    code: 'endpoint/no-address',
    what: `Service ${service.namespace}/${service.name} has no address to call`,
    why:
      service.type === 'ExternalName' ? 'it is an ExternalName' : 'it is headless and has no ready endpoint',
    todo: `kubectl get endpointslices -n ${service.namespace} -l kubernetes.io/service-name=${service.name}`,
  });
}

function byNode(text: string, name: string, options: ResolveOptions): Resolved {
  const nodes = orElse(options.snapshot.cluster.nodes, []);
  const node = nodes.find((n) => n.name === name);
  const address = node === undefined ? undefined : pick(node.internalAddresses, options.family);
  if (node === undefined || address === undefined)
    throw notFound(
      text,
      `node ${name}`,
      name,
      nodes.map((n) => n.name),
    );
  return { endpoints: [{ kind: 'node', name: node.name, address }] };
}

/** One word: a pod of the default namespace, or a host name as the source would resolve it. */
function bare(text: string, name: string, options: ResolveOptions): Resolved {
  const pods = runningPods(options.snapshot);
  if (pods.some((p) => p.namespace === options.namespace && p.name === name))
    return byPod(text, options.namespace, name, options);
  const { resolver } = options;
  // A source cannot be a host name; a word without a dot that no resolver knows is a mistyped pod.
  if (resolver === undefined) return byName(text, options.namespace, name, options);
  if (resolver.state === 'unknown') {
    if (!name.includes('.')) return byName(text, options.namespace, name, options);
    throw new PodpathError({
      code: 'endpoint/resolver-unknown',
      what: 'cannot resolve the host name as the source pod would',
      where: text,
      why: resolver.why,
      todo: 'name the destination as NS/svc/NAME, or collect the pod again',
    });
  }
  return byHostName(text, name, resolver.value, options);
}

function byHostName(text: string, name: string, resolver: Resolver, options: ResolveOptions): Resolved {
  const answer = resolveName(options.snapshot.cluster, resolver, name);
  switch (answer.state) {
    case 'found': {
      if (answer.service !== undefined)
        return {
          endpoints: serviceEndpoints(options.snapshot, answer.service, options.family),
          hostName: name,
        };
      return { endpoints: answer.addresses.map((a) => endpointAt(options.snapshot, a)), hostName: name };
    }
    case 'none':
      return { endpoints: [], hostName: name, notFound: answer.asked };
    case 'outside':
      throw new PodpathError({
        code: 'endpoint/outside-name',
        what: 'cannot resolve the host name',
        where: text,
        why: `${answer.name} is outside the cluster's domain: only its upstream resolver knows the address`,
        todo: 'give the address instead of the name',
      });
  }
}

/** The network namespace that an endpoint sends from; hostNetwork pods send from their node's. */
export function netnsIdOf(snapshot: Snapshot, endpoint: Endpoint): string | undefined {
  if (endpoint.kind === 'node') return endpoint.name;
  if (endpoint.kind !== 'pod') return undefined;
  const pod = runningPods(snapshot).find(
    (p) => p.namespace === endpoint.namespace && p.name === endpoint.name,
  );
  if (pod === undefined) return undefined;
  return pod.hostNetwork ? pod.node : podNetnsId(pod.node, pod.namespace, pod.name);
}

/** `shop/web-1`, `node1`, `shop/svc/api`, or the address. */
export function formatEndpoint(endpoint: Endpoint): string {
  switch (endpoint.kind) {
    case 'pod':
      return `${endpoint.namespace}/${endpoint.name}`;
    case 'service':
      return `${endpoint.namespace}/svc/${endpoint.name}`;
    case 'node':
      return endpoint.name;
    case 'external':
      return formatAddress(endpoint.address);
  }
}
