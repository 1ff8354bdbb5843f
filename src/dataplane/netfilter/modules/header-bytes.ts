/** A packet as bytes from its IP header on, as far as they follow from what the walk knows of it. */

import { type Packet, protocolNumber } from '../../../net/packet.ts';
import { isIcmpError } from '../tuples.ts';
import { type Bits, left, noBits, or } from './bits.ts';

/** Known bits of one byte. */
interface Octet {
  readonly value: number;
  readonly known: number;
}

export interface HeaderBytes {
  readonly lengthBytes: number;
  /** The byte at an offset; unknown bits behind the headers. */
  at(offset: number): Octet;
}

const octet = (value: number, known = 0xff): Octet => ({ value: value & known, known });
const blank: Octet = { value: 0, known: 0 };
const blanks = (count: number): readonly Octet[] => Array.from({ length: count }, () => blank);
const number = (value: number, bytes: number): readonly Octet[] =>
  Array.from({ length: bytes }, (_, i) => octet(Math.floor(value / 256 ** (bytes - 1 - i))));
const address = (value: bigint, bytes: number): readonly Octet[] =>
  Array.from({ length: bytes }, (_, i) => octet(Number((value >> BigInt(8 * (bytes - 1 - i))) & 0xffn)));

/** Without IP options and extension headers: the walk's packets have none. */
export function headerBytes(packet: Packet): HeaderBytes {
  const head = packet.src.family === 4 ? ipv4(packet) : ipv6(packet);
  const bytes = [...head, ...transport(packet, packet.lengthBytes - head.length)];
  return { lengthBytes: packet.lengthBytes, at: (offset) => bytes[offset] ?? blank };
}

function ipv4(packet: Packet): readonly Octet[] {
  return [
    octet(0x45),
    octet(packet.tos ?? 0),
    ...number(packet.lengthBytes, 2),
    ...blanks(2),
    octet(packet.df ? 0x40 : 0),
    octet(0),
    octet(packet.ttl),
    octet(protocolNumber[packet.protocol]),
    ...blanks(2),
    ...address(packet.src.value, 4),
    ...address(packet.dst.value, 4),
  ];
}

function ipv6(packet: Packet): readonly Octet[] {
  const tos = packet.tos ?? 0;
  return [
    octet(0x60 | (tos >> 4)),
    // The flow label is anything.
    octet((tos << 4) & 0xf0, 0xf0),
    ...blanks(2),
    ...number(packet.lengthBytes - 40, 2),
    octet(protocolNumber[packet.protocol]),
    octet(packet.ttl),
    ...address(packet.src.value, 16),
    ...address(packet.dst.value, 16),
  ];
}

function transport(packet: Packet, lengthBytes: number): readonly Octet[] {
  const { madeUp } = packet;
  const ports = [
    ...(madeUp?.src === undefined ? number(packet.srcPort, 2) : blanks(2)),
    ...(madeUp?.dst === undefined ? number(packet.dstPort, 2) : blanks(2)),
  ];
  switch (packet.protocol) {
    case 'tcp': {
      const { fin, syn, rst, ack } = packet.flags ?? {};
      const flags = (fin ? 1 : 0) | (syn ? 2 : 0) | (rst ? 4 : 0) | (ack ? 16 : 0);
      // Sequence numbers; the length of the options, of which a header of 20 bytes has none; PSH and URG count as clear.
      const offset = lengthBytes === 20 ? octet(0x50) : octet(0, 0);
      return [...ports, ...blanks(8), offset, octet(flags, 0x3f), ...blanks(6)];
    }
    case 'udp':
      return [...ports, ...number(lengthBytes, 2), ...blanks(2)];
    case 'sctp':
      return ports;
    case 'icmp':
    case 'icmpv6': {
      const { icmp } = packet;
      if (icmp === undefined) return [];
      const isKnown = icmp.id !== undefined && madeUp?.src === undefined && !isIcmpError(packet);
      const id = isKnown ? number(icmp.id, 2) : blanks(2);
      return [octet(icmp.type), octet(icmp.code), ...blanks(2), ...id];
    }
    default:
      return [];
  }
}

/** `size` bytes in network order as a number. The caller knows that they are inside the packet. */
export function wordAt(bytes: HeaderBytes, offset: number, size: 1 | 2 | 4): Bits {
  let word: Bits = { value: 0, known: 0xffffffff };
  for (let i = 0; i < size; i++) {
    const { value, known } = bytes.at(offset + i);
    word = or(left(word, 8), { value, known: (known | 0xffffff00) >>> 0 });
  }
  return offset < 0 ? noBits : word;
}
