/**
 * Which probes a flow wants: a ladder from the plain ping up to the flow itself, so that the lowest rung that breaks
 * tells where to look. Pure: the caller sends them, all at once.
 */
import type { Endpoint, Flow } from '../model/flow.ts';
import type { Netns } from '../model/netns.ts';
import type { Backend } from '../model/services.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { type Address, formatAddress, sameAddress } from '../net/address.ts';
import { backendsOf, labelOf, netnsOf, nodeAddress, podAt, sendMtuBytes, servicesFor } from './facts.ts';
import { candidateNames } from './names.ts';
import { echoPayloadBytes, type ProbeRequest } from './request.ts';

/** The rung of the ladder that a probe stands on. */
export type Purpose =
  | 'ping'
  | 'connect'
  | 'full-size-ping'
  | 'transfer'
  | 'service'
  | 'dns'
  | 'node-ping'
  | 'node-full-size-ping'
  | 'return-ping';

export interface PlannedProbe {
  /** Id of the sending namespace in the snapshot: `node1` or `node1/shop_web-1`. */
  readonly from: string;
  readonly purpose: Purpose;
  readonly request: ProbeRequest;
}

/** Below one second, so that the whole ladder ends in 1.3 s with the agents' start-up; a lab answers in a few ms. */
const probeTimeoutMs = 900;

/** Enough segments that a path which loses full-size packets cannot pass it with the handshake's small ones. */
const transferBytes = 100_000;

/** Backends of a Service that are probed one by one, and connections to its address: each may reach another one. */
const maxBackends = 4;
const connectsPerBackend = 2;
const maxReturns = 2;

/** The probes for a flow. Empty if the source has no namespace in the snapshot to send from. */
export function planProbes(flow: Flow, snapshot: Snapshot): PlannedProbe[] {
  const netns = netnsOf(snapshot, flow.src);
  const src = labelOf(flow.src);
  if (netns === undefined || src === undefined) return [];
  const sender: Sender = { flow, snapshot, netns, src };
  const backends = backendsFor(sender);
  return [
    ...backends.flatMap((backend) => backendProbes(sender, backend)),
    ...serviceProbes(sender, backends),
    ...dnsProbes(sender),
    ...peerProbes(sender, backends),
  ];
}

interface Sender {
  readonly flow: Flow;
  readonly snapshot: Snapshot;
  readonly netns: Netns;
  readonly src: string;
}

/** Where the flow ends: the destination itself, or a Service's first backends. */
function backendsFor({ flow, snapshot }: Sender): readonly Backend[] {
  if (flow.dst.kind !== 'service') return [{ address: flow.dst.address, port: flow.dstPort }];
  return backendsOf(snapshot, flow.dst, flow.protocol.toUpperCase(), flow.dstPort).slice(0, maxBackends);
}

const probe = (sender: Sender, purpose: Purpose, request: Unsent): PlannedProbe => ({
  from: sender.netns.id,
  purpose,
  request: { ...request, src: sender.src, timeoutMs: probeTimeoutMs },
});

type Unsent = ProbeRequest extends infer R
  ? R extends ProbeRequest
    ? Omit<R, 'src' | 'timeoutMs'>
    : never
  : never;

function backendProbes(sender: Sender, { address, port }: Backend): PlannedProbe[] {
  const { flow } = sender;
  const dst = formatAddress(address);
  const sizeBytes = flow.sizeBytes ?? sendMtuBytes(sender.netns, flow.src.address, address);
  const probes = [probe(sender, 'ping', { kind: 'icmp', dst })];
  if (sizeBytes !== undefined) probes.push(probe(sender, 'full-size-ping', { kind: 'icmp', dst, sizeBytes }));
  if (flow.protocol === 'tcp') {
    probes.push(probe(sender, 'connect', { kind: 'tcp', dst, port }));
    probes.push(...transferProbes(sender, dst, port));
  }
  if (flow.protocol === 'udp') {
    probes.push(probe(sender, 'connect', { kind: 'udp', dst, port }));
    probes.push(...datagramProbe(sender, dst, port, sizeBytes));
  }
  return probes;
}

/** Both directions: the reply may cross devices of another size. Not where one packet size was asked about. */
function transferProbes(sender: Sender, dst: string, port: number): PlannedProbe[] {
  if (sender.flow.sizeBytes !== undefined) return [];
  return (['from-src', 'from-dst'] as const).map((direction) =>
    probe(sender, 'transfer', { kind: 'tcp', dst, port, bulk: { direction, sizeBytes: transferBytes } }),
  );
}

/** One datagram that fills a packet (UDP and ICMP headers have the same 8 bytes). DNS servers take no padding. */
function datagramProbe(
  sender: Sender,
  dst: string,
  port: number,
  packetBytes: number | undefined,
): PlannedProbe[] {
  if (packetBytes === undefined || port === 53) return [];
  return [
    probe(sender, 'transfer', { kind: 'udp', dst, port, sizeBytes: echoPayloadBytes(dst, packetBytes) }),
  ];
}

/**
 * Connections to the Service's address: several where the flow asks for the Service, since each may take another
 * backend; one to compare with where the flow asks for a pod behind it.
 */
function serviceProbes(sender: Sender, backends: readonly Backend[]): PlannedProbe[] {
  const { flow, snapshot } = sender;
  if (flow.protocol !== 'tcp' && flow.protocol !== 'udp') return [];
  const kind = flow.protocol;
  if (flow.dst.kind !== 'service')
    return backends
      .flatMap((backend) => servicesFor(snapshot, backend, flow.protocol.toUpperCase()))
      .slice(0, 2)
      .map(({ address, port }) => probe(sender, 'service', { kind, dst: formatAddress(address), port }));
  const dst = formatAddress(flow.dst.address);
  const connects = Math.max(1, backends.length * connectsPerBackend);
  const small = Array.from({ length: connects }, () =>
    probe(sender, 'service', { kind, dst, port: flow.dstPort }),
  );
  if (kind === 'tcp') return [...small, ...transferProbes(sender, dst, flow.dstPort)];
  const first = backends[0];
  const mtu = flow.sizeBytes ?? (first && sendMtuBytes(sender.netns, flow.src.address, first.address));
  return [...small, ...datagramProbe(sender, dst, flow.dstPort, mtu)];
}

/** The name at each nameserver as the source's resolver would ask for it; over TCP too, once a server. */
function dnsProbes(sender: Sender): PlannedProbe[] {
  const { flow, netns } = sender;
  if (netns.resolver.state === 'unknown') return [];
  const resolver = netns.resolver.value;
  const names = candidateNames(flow, resolver);
  const family = flow.dst.address.family;
  return resolver.nameservers.slice(0, 3).flatMap((nameserver) => {
    const server = formatAddress(nameserver);
    const ask = (name: string, transport: 'udp' | 'tcp') =>
      probe(sender, 'dns', { kind: 'dns', name, family, server, transport });
    return [...names.map((name) => ask(name, 'udp')), ...names.slice(0, 1).map((name) => ask(name, 'tcp'))];
  });
}

/** Below and behind the flow: its nodes between themselves, and the way back from the first ends of it. */
function peerProbes(sender: Sender, backends: readonly Backend[]): PlannedProbe[] {
  const { flow, snapshot, netns } = sender;
  const peers = backends.flatMap((backend) => {
    const endpoint = flow.dst.kind === 'service' ? podAt(snapshot, backend.address) : podOrNode(sender);
    const place = endpoint && netnsOf(snapshot, endpoint);
    return endpoint === undefined || place === undefined || place.id === netns.id
      ? []
      : [{ endpoint, place }];
  });
  const nodes = [...new Set(peers.map(({ place }) => place.node))].filter((node) => node !== netns.node);
  // Each one costs an agent of its own; a way back from another node says more than one from the same.
  const isNear = (place: Netns) => (place.node === netns.node ? 1 : 0);
  const senders = peers.toSorted((a, b) => isNear(a.place) - isNear(b.place)).slice(0, maxReturns);
  const back = senders.map(({ endpoint, place }) =>
    probe({ ...sender, netns: place, src: labelOf(endpoint) ?? place.node }, 'return-ping', {
      kind: 'icmp',
      dst: formatAddress(flow.src.address),
    }),
  );
  return [...back, ...nodes.flatMap((node) => nodeProbes(sender, node))];
}

function podOrNode({ flow, snapshot }: Sender): Endpoint | undefined {
  return flow.dst.kind === 'external' ? podAt(snapshot, flow.dst.address) : flow.dst;
}

function nodeProbes(sender: Sender, peerNode: string): PlannedProbe[] {
  const { snapshot, netns } = sender;
  const { family } = sender.flow.src.address;
  const node = snapshot.netns.get(netns.node);
  const own = nodeAddress(snapshot, netns.node, family) ?? nodeAddress(snapshot, netns.node, 4);
  const peer: Address | undefined = own && nodeAddress(snapshot, peerNode, own.family);
  if (node === undefined || own === undefined || peer === undefined || sameAddress(own, peer)) return [];
  const from: Sender = { ...sender, netns: node, src: netns.node };
  const dst = formatAddress(peer);
  const sizeBytes = sendMtuBytes(node, own, peer);
  const probes = [probe(from, 'node-ping', { kind: 'icmp', dst })];
  if (sizeBytes !== undefined)
    probes.push(probe(from, 'node-full-size-ping', { kind: 'icmp', dst, sizeBytes }));
  return probes;
}
