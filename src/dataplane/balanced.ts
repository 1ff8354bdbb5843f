/** Connections that a load balancer beside conntrack translated: IPVS (ip_vs_conn) and Cilium's CT and reverse-NAT maps. */
import { type Address, sameAddress } from '../net/address.ts';
import type { Packet, Transport } from '../net/packet.ts';

export interface Endpoint {
  readonly address: Address;
  readonly port: number;
}

export interface Balanced {
  readonly netns: string;
  readonly by: 'ipvs' | 'cilium';
  readonly protocol: Transport;
  /** As the balancer saw it, before any source NAT. */
  readonly client: Endpoint;
  readonly virtual: Endpoint;
  readonly real: Endpoint;
  /** Of IPVS: packets go there as they are. */
  readonly untouched?: true;
  /** Of Cilium: the source that hides a pod that reaches itself through its Service. */
  readonly hiddenBy?: Address;
}

type Table = readonly Balanced[] | undefined;

const is = (end: Endpoint, address: Address, port: number): boolean =>
  sameAddress(end.address, address) && end.port === port;

/** The connection that a packet from the client to the virtual address belongs to. */
export function findTowards(
  table: Table,
  netns: string,
  by: Balanced['by'],
  packet: Packet,
): Balanced | undefined {
  return table?.findLast(
    (one) =>
      one.netns === netns &&
      one.by === by &&
      one.protocol === packet.protocol &&
      is(one.client, packet.src, packet.srcPort) &&
      is(one.virtual, packet.dst, packet.dstPort),
  );
}

/** The connection that an answer of the real server belongs to. */
export function findBack(
  table: Table,
  netns: string,
  by: Balanced['by'],
  packet: Packet,
): Balanced | undefined {
  return table?.findLast(
    (one) =>
      one.netns === netns &&
      one.by === by &&
      one.untouched !== true &&
      one.protocol === packet.protocol &&
      is(one.real, packet.src, packet.srcPort) &&
      sameAddress(one.hiddenBy ?? one.client.address, packet.dst) &&
      one.client.port === packet.dstPort,
  );
}

/** The table with one more connection; one that is there already stands once. */
export function remember(table: Table, added: Balanced): readonly Balanced[] {
  return table?.some((one) => isSame(one, added)) === true ? table : [...(table ?? []), added];
}

const isSame = (a: Balanced, b: Balanced): boolean =>
  a.netns === b.netns &&
  a.by === b.by &&
  a.protocol === b.protocol &&
  is(a.client, b.client.address, b.client.port) &&
  is(a.virtual, b.virtual.address, b.virtual.port) &&
  is(a.real, b.real.address, b.real.port);
