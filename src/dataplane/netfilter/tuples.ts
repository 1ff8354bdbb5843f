/** The tuples that connections are found by: addresses and ports of one direction, and what answers expect. */
import type { Tuple } from '../../model/netns.ts';
import { sameAddress } from '../../net/address.ts';
import { samePort, swappedPorts } from '../../net/made-up.ts';
import type { Packet, Transport } from '../../net/packet.ts';

/** ICMP requests that may open a connection and the reply that each expects (nf_conntrack_proto_icmp{,v6}.c). */
export const icmpReply: Readonly<Record<'icmp' | 'icmpv6', ReadonlyMap<number, number>>> = {
  icmp: new Map([
    [8, 0],
    [13, 14],
    [15, 16],
    [17, 18],
  ]),
  icmpv6: new Map([
    [128, 129],
    [139, 140],
  ]),
};

export const isIcmp = (protocol: Transport): protocol is 'icmp' | 'icmpv6' =>
  protocol === 'icmp' || protocol === 'icmpv6';

/** ICMP messages that quote the packet they are about. */
export function isIcmpError(packet: Packet): boolean {
  const type = packet.icmp?.type;
  if (type === undefined) return false;
  if (packet.protocol === 'icmp') return [3, 4, 5, 11, 12].includes(type);
  return packet.protocol === 'icmpv6' && type < 128;
}

/** Ports stand for themselves; of ICMP the id is the source port and type and code the destination port, as in the kernel. */
export function tupleOf(packet: Packet): Tuple {
  const { madeUp } = packet;
  if (packet.icmp !== undefined && isIcmp(packet.protocol))
    return {
      src: packet.src,
      dst: packet.dst,
      srcPort: packet.icmp.id ?? 0,
      dstPort: packet.icmp.type * 256 + packet.icmp.code,
      ...(madeUp === undefined ? {} : { madeUp }),
    };
  const { src, dst, srcPort, dstPort } = packet;
  return { src, dst, srcPort, dstPort, ...(madeUp === undefined ? {} : { madeUp }) };
}

export function invert(protocol: Transport, tuple: Tuple): Tuple {
  if (isIcmp(protocol)) {
    const type = Math.floor(tuple.dstPort / 256);
    const back = [...icmpReply[protocol]].find(([, reply]) => reply === type)?.[0];
    const inverse = icmpReply[protocol].get(type) ?? back ?? type;
    return {
      src: tuple.dst,
      dst: tuple.src,
      srcPort: tuple.srcPort,
      dstPort: inverse * 256 + (tuple.dstPort % 256),
      ...(tuple.madeUp === undefined ? {} : { madeUp: tuple.madeUp }),
    };
  }
  return { src: tuple.dst, dst: tuple.src, ...swappedPorts(tuple, false) };
}

export const sameTuple = (a: Tuple, b: Tuple): boolean => compareTuples(a, b) === true;

/** 'maybe': but for a port that the kernel made up they are the same. */
export function compareTuples(a: Tuple, b: Tuple): boolean | 'maybe' {
  if (!sameAddress(a.src, b.src) || !sameAddress(a.dst, b.dst)) return false;
  const from = samePort(a.srcPort, a.madeUp?.src, b.srcPort, b.madeUp?.src);
  const to = samePort(a.dstPort, a.madeUp?.dst, b.dstPort, b.madeUp?.dst);
  if (from === false || to === false) return false;
  return from === true && to === true ? true : 'maybe';
}
