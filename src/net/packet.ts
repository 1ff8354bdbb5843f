/** A packet as the walk and the rule engines see it: headers only, one level of encapsulation inside another. */
import { type Address, formatAddress } from './address.ts';
import type { MadeUpPorts } from './made-up.ts';

export type Transport = 'tcp' | 'udp' | 'sctp' | 'icmp' | 'icmpv6' | 'ipip' | 'ipv6' | 'gre';

/** IP protocol numbers (IANA). */
export const protocolNumber: Readonly<Record<Transport, number>> = {
  icmp: 1,
  ipip: 4,
  tcp: 6,
  udp: 17,
  ipv6: 41,
  gre: 47,
  icmpv6: 58,
  sctp: 132,
};

export interface TcpFlags {
  readonly syn?: boolean;
  readonly ack?: boolean;
  readonly fin?: boolean;
  readonly rst?: boolean;
}

/** The first chunk of an SCTP packet, as far as connection tracking tells them apart. */
export type SctpChunk =
  | 'data'
  | 'init'
  | 'init-ack'
  | 'heartbeat'
  | 'abort'
  | 'shutdown-ack'
  | 'cookie-echo'
  | 'cookie-ack';

export interface Packet {
  readonly src: Address;
  readonly dst: Address;
  readonly protocol: Transport;
  /** 0 where the protocol has no ports. */
  readonly srcPort: number;
  readonly dstPort: number;
  /** Ports that are not known: a kernel on the way made them up. */
  readonly madeUp?: MadeUpPorts;
  readonly flags?: TcpFlags;
  /** Of SCTP; absent: whichever fits. */
  readonly chunk?: SctpChunk;
  readonly icmp?: { readonly type: number; readonly code: number; readonly id?: number };
  /** Whole IP packet in bytes, headers included. */
  readonly lengthBytes: number;
  /** Don't Fragment: Linux sets it on TCP and, by path-MTU discovery, on UDP; never clear on IPv6. */
  readonly df: boolean;
  readonly ttl: number;
  /** Type of service or traffic class; absent is 0, as sockets send unless they are asked otherwise. */
  readonly tos?: number;
  /** skb->mark: lives inside one network namespace, lost on the wire (kept across veth only by explicit choice). */
  readonly mark: number;
  /** A socket of the namespace took it at PREROUTING (TPROXY): the port that it is bound to. */
  readonly proxied?: { readonly port: number };
  /** Of an ICMP error: the headers of the packet that it is about, as its sender saw them. */
  readonly quoted?: Packet;
  /** The encapsulated packet, if this one is a tunnel packet. */
  readonly inner?: Inner;
}

/** The payload of a tunnel packet: a frame, where there is a dstMac, or an IP packet. */
export type Inner =
  | {
      readonly kind: 'vxlan' | 'geneve';
      readonly packet: Packet;
      readonly vni: number;
      readonly dstMac: string;
    }
  | { readonly kind: 'ip'; readonly packet: Packet }
  | { readonly kind: 'gre'; readonly packet: Packet; readonly key?: string; readonly dstMac?: string }
  /** Public keys of the sender's device and of the peer that can open it. */
  | { readonly kind: 'wireguard'; readonly packet: Packet; readonly from: string; readonly to: string };

const withPort = (a: Address, port: number | '?'): string =>
  port === 0
    ? formatAddress(a)
    : a.family === 4
      ? `${formatAddress(a)}:${port}`
      : `[${formatAddress(a)}]:${port}`;

/** `10.0.0.1:4000 -> 10.0.0.2:80 tcp`, with the encapsulated packet in parentheses. */
export function formatPacket(packet: Packet): string {
  const icmp = packet.icmp ? ` type ${packet.icmp.type} code ${packet.icmp.code}` : '';
  const inner = packet.inner ? ` (${innerName(packet.inner)}: ${formatPacket(packet.inner.packet)})` : '';
  const { madeUp, srcPort, dstPort } = packet;
  const src = packet.icmp === undefined && madeUp?.src !== undefined ? '?' : srcPort;
  return `${withPort(packet.src, src)} -> ${withPort(packet.dst, madeUp?.dst === undefined ? dstPort : '?')} ${packet.protocol}${icmp}${inner}`;
}

function innerName(inner: Inner): string {
  switch (inner.kind) {
    case 'vxlan':
      return `VNI ${inner.vni}`;
    case 'geneve':
      return `Geneve VNI ${inner.vni}`;
    case 'ip':
      return 'IP in IP';
    case 'gre':
      return inner.key === undefined ? 'GRE' : `GRE key ${inner.key}`;
    case 'wireguard':
      return 'WireGuard';
  }
}
