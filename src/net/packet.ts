/** A packet as the walk and the rule engines see it: headers only, one level of encapsulation inside another. */
import { type Address, formatAddress } from './address.ts';

export type Transport = 'tcp' | 'udp' | 'sctp' | 'icmp' | 'icmpv6' | 'ipip';

/** IP protocol numbers (IANA). */
export const protocolNumber: Readonly<Record<Transport, number>> = {
  icmp: 1,
  ipip: 4,
  tcp: 6,
  udp: 17,
  icmpv6: 58,
  sctp: 132,
};

export interface TcpFlags {
  readonly syn?: boolean;
  readonly ack?: boolean;
  readonly fin?: boolean;
  readonly rst?: boolean;
}

export interface Packet {
  readonly src: Address;
  readonly dst: Address;
  readonly protocol: Transport;
  /** 0 where the protocol has no ports. */
  readonly srcPort: number;
  readonly dstPort: number;
  readonly flags?: TcpFlags;
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
  /** Of an ICMP error: the headers of the packet that it is about, as its sender saw them. */
  readonly quoted?: Packet;
  /** The encapsulated packet, if this one is a tunnel packet. */
  readonly inner?: { readonly packet: Packet; readonly vni: number; readonly dstMac: string };
}

const withPort = (a: Address, port: number): string =>
  port === 0
    ? formatAddress(a)
    : a.family === 4
      ? `${formatAddress(a)}:${port}`
      : `[${formatAddress(a)}]:${port}`;

/** `10.0.0.1:4000 -> 10.0.0.2:80 tcp`, with the encapsulated packet in parentheses. */
export function formatPacket(packet: Packet): string {
  const icmp = packet.icmp ? ` type ${packet.icmp.type} code ${packet.icmp.code}` : '';
  const inner = packet.inner ? ` (VNI ${packet.inner.vni}: ${formatPacket(packet.inner.packet)})` : '';
  return `${withPort(packet.src, packet.srcPort)} -> ${withPort(packet.dst, packet.dstPort)} ${packet.protocol}${icmp}${inner}`;
}
