/** Pods, and the objects that own them. */
import type { Container, ContainerPort, Pod, Workload } from '../../model/cluster.ts';
import { type Address, sameAddress } from '../../net/address.ts';
import type { JsonObject } from '../json.ts';
import {
  address,
  boolOr,
  each,
  eachInside,
  eachObject,
  intOr,
  labels,
  Mismatch,
  metadata,
  objectOrEmpty,
  optionalString,
  owner,
  port,
  protocol,
  string,
  stringOr,
  type Writable,
} from './shape.ts';

export function readPod(item: JsonObject): Pod {
  const meta = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const status = objectOrEmpty(item.status, 'status');
  const owned = owner(meta.raw);
  const pod: Writable<Pod> = {
    namespace: meta.namespace,
    name: meta.name,
    labels: meta.labels,
    annotations: labels(meta.raw.annotations, 'metadata.annotations'),
    // serviceAccount is the field's deprecated name, which the API server still fills in.
    serviceAccount:
      stringOr(spec.serviceAccountName ?? spec.serviceAccount, 'spec.serviceAccountName', '') || 'default',
    node: stringOr(spec.nodeName, 'spec.nodeName', ''),
    hostNetwork: boolOr(spec.hostNetwork, 'spec.hostNetwork', false),
    addresses: podAddresses(status),
    // The API server sets Pending on creation; offline manifests have no status.
    phase: stringOr(status.phase, 'status.phase', 'Pending'),
    ready: conditions(status).some(({ type, status: value }) => type === 'Ready' && value === 'True'),
    terminating: optionalString(meta.raw.deletionTimestamp, 'metadata.deletionTimestamp') !== undefined,
    containers: readContainers(spec, status),
    dnsPolicy: stringOr(spec.dnsPolicy, 'spec.dnsPolicy', 'ClusterFirst'),
  };
  if (owned !== undefined) pod.owner = owned;
  if (spec.dnsConfig !== undefined) pod.dnsConfig = readDnsConfig(spec.dnsConfig);
  return pod;
}

function readDnsConfig(value: unknown): NonNullable<Pod['dnsConfig']> {
  const config = objectOrEmpty(value, 'spec.dnsConfig');
  const options = eachObject(config.options, 'spec.dnsConfig.options', (item, field) => ({
    name: string(item.name, `${field}.name`),
    value: Number(stringOr(item.value, `${field}.value`, '')),
  }));
  const ndots = options.find(({ name }) => name === 'ndots')?.value;
  return {
    nameservers: each(config.nameservers, 'spec.dnsConfig.nameservers', address),
    searches: each(config.searches, 'spec.dnsConfig.searches', string),
    ...(ndots === undefined || !Number.isInteger(ndots) ? {} : { ndots }),
  };
}

/** status.podIPs, or status.podIP where a server older than dual-stack wrote the object. */
function podAddresses(status: JsonObject): readonly Address[] {
  let first: unknown;
  const many = eachInside(status.podIPs, 'status.podIPs', ({ ip }, field) => {
    first ??= ip;
    return address(ip, `${field}.ip`);
  });
  const one = stringOr(status.podIP, 'status.podIP', '');
  if (one === '' || one === first) return many;
  const primary = address(one, 'status.podIP');
  return many.some((candidate) => sameAddress(candidate, primary)) ? many : [primary, ...many];
}

export const conditions = (status: JsonObject) =>
  eachInside(status.conditions, 'status.conditions', (item, field) => ({
    type: string(item.type, `${field}.type`),
    status: string(item.status, `${field}.status`),
    reason: stringOr(item.reason, `${field}.reason`, ''),
    message: stringOr(item.message, `${field}.message`, ''),
  }));

/** Containers, then sidecars: init containers with restartPolicy Always run beside them, and their named ports resolve too. */
function readContainers(spec: JsonObject, status: JsonObject): readonly Container[] {
  const running = new Map<string, JsonObject>();
  for (const list of ['containerStatuses', 'initContainerStatuses'])
    eachInside(status[list], `status.${list}`, (item, field) => {
      running.set(string(item.name, `${field}.name`), item);
    });
  const read = (item: JsonObject, field: string) => readContainer(item, field, running);
  const main = eachInside(spec.containers, 'spec.containers', read);
  if (spec.initContainers === undefined) return main;
  const sidecars = eachInside(spec.initContainers, 'spec.initContainers', (item, field) =>
    item.restartPolicy === 'Always' ? read(item, field) : undefined,
  );
  return [...main, ...sidecars.filter((container) => container !== undefined)];
}

function readContainer(item: JsonObject, field: string, running: ReadonlyMap<string, JsonObject>): Container {
  const name = string(item.name, `${field}.name`);
  return {
    name,
    ports: eachInside(item.ports, `${field}.ports`, readPort),
    ...containerState(running.get(name) ?? {}, name),
  };
}

function containerState(status: JsonObject, name: string): Pick<Container, 'ready' | 'restarts' | 'waiting'> {
  try {
    const state = objectOrEmpty(status.state, '.state');
    const waiting = objectOrEmpty(state.waiting, '.state.waiting');
    const reason = optionalString(waiting.reason, '.state.waiting.reason');
    const ready = boolOr(status.ready, '.ready', false);
    const restarts = intOr(status.restartCount, '.restartCount', 0);
    return reason === undefined ? { ready, restarts } : { ready, restarts, waiting: reason };
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    throw new Mismatch(`status of ${name}${error.field}`, error.why);
  }
}

function readPort(item: JsonObject, field: string): ContainerPort {
  const name = stringOr(item.name, `${field}.name`, '');
  const number = port(item.containerPort, `${field}.containerPort`);
  const transport = protocol(item.protocol, `${field}.protocol`);
  return name === '' ? { port: number, protocol: transport } : { name, port: number, protocol: transport };
}

/** `kind` where the object itself has none (items of a typed list). */
export function readWorkload(item: JsonObject, kind: string): Workload {
  const meta = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const status = objectOrEmpty(item.status, 'status');
  const owned = owner(meta.raw);
  const daemon = kind === 'DaemonSet';
  const number = (from: JsonObject, path: string, name: string, fallback: number) =>
    intOr(from[name], `${path}.${name}`, fallback);
  return {
    kind,
    namespace: meta.namespace,
    name: meta.name,
    labels: meta.labels,
    // The API's default for replicas is 1; a DaemonSet's count is the number of nodes it fits on.
    desired: daemon
      ? number(status, 'status', 'desiredNumberScheduled', 0)
      : number(spec, 'spec', 'replicas', 1),
    ready: number(status, 'status', daemon ? 'numberReady' : 'readyReplicas', 0),
    ...(owned === undefined ? {} : { owner: owned }),
  };
}
