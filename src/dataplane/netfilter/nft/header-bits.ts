/** The bits of a packet's headers, as far as the walk knows them: for `@nh` and `@th`. */
import { type Packet, protocolNumber } from '../../../net/packet.ts';
import { doubt, type Scalar } from './values.ts';

interface Bits {
  value: bigint;
  /** Set where the bit of `value` is known. */
  known: bigint;
  length: number;
}

/** Undefined: the packet is shorter (NFT_BREAK of nft_payload_eval). */
export function headerBits(base: string, offset: number, length: number, packet: Packet): Scalar | undefined {
  const headerBytes = packet.src.family === 4 ? 20 : 40;
  const bits = base === 'nh' ? network(packet) : base === 'th' ? transport(packet) : undefined;
  if (bits === undefined) return doubt(`the bits @${base},${offset},${length} are not known`);
  const whole = 8 * (base === 'nh' ? packet.lengthBytes : packet.lengthBytes - headerBytes);
  if (offset + length > whole) return undefined;
  if (offset + length > bits.length) return doubt(`the bits @${base},${offset},${length} are not known`);
  const shift = BigInt(bits.length - offset - length);
  const mask = (1n << BigInt(length)) - 1n;
  const unclear = ~(bits.known >> shift) & mask;
  const value = (bits.value >> shift) & mask & ~unclear;
  return { kind: 'number', type: 'number', value, ...(unclear === 0n ? {} : { unclear }) };
}

/** Undefined stands for bits that are not known. */
function bitsOf(fields: readonly (readonly [width: number, value: bigint | number | undefined])[]): Bits {
  const bits: Bits = { value: 0n, known: 0n, length: 0 };
  for (const [width, value] of fields) {
    const mask = (1n << BigInt(width)) - 1n;
    bits.value = (bits.value << BigInt(width)) | (BigInt(value ?? 0) & mask);
    bits.known = (bits.known << BigInt(width)) | (value === undefined ? 0n : mask);
    bits.length += width;
  }
  return bits;
}

function network(packet: Packet): Bits {
  const { src, dst, ttl, lengthBytes, df, tos = 0 } = packet;
  const protocol = protocolNumber[packet.protocol];
  if (src.family === 6)
    return bitsOf([
      [4, 6],
      [8, tos],
      [20, undefined],
      [16, lengthBytes - 40],
      [8, protocol],
      [8, ttl],
      [128, src.value],
      [128, dst.value],
    ]);
  // No options, and put together before the rules see it (nf_defrag).
  return bitsOf([
    [8, 0x45],
    [8, tos],
    [16, lengthBytes],
    [16, undefined],
    [16, df ? 0x4000 : 0],
    [8, ttl],
    [8, protocol],
    [16, undefined],
    [32, src.value],
    [32, dst.value],
  ]);
}

/** Of TCP up to the flags: sequence numbers and checksums are not walked. */
function transport(packet: Packet): Bits | undefined {
  const { madeUp, icmp, flags = {} } = packet;
  const srcPort = madeUp?.src === undefined ? packet.srcPort : undefined;
  const dstPort = madeUp?.dst === undefined ? packet.dstPort : undefined;
  switch (packet.protocol) {
    case 'tcp': {
      const { fin, syn, rst, ack } = flags;
      const byte = (fin ? 1 : 0) | (syn ? 2 : 0) | (rst ? 4 : 0) | (ack ? 16 : 0);
      return bitsOf([
        [16, srcPort],
        [16, dstPort],
        [72, undefined],
        [8, byte],
      ]);
    }
    case 'udp':
      return bitsOf([
        [16, srcPort],
        [16, dstPort],
        [16, packet.lengthBytes - (packet.src.family === 4 ? 20 : 40)],
      ]);
    case 'sctp':
      return bitsOf([
        [16, srcPort],
        [16, dstPort],
      ]);
    case 'icmp':
    case 'icmpv6':
      return icmp === undefined
        ? undefined
        : bitsOf([
            [8, icmp.type],
            [8, icmp.code],
            [16, undefined],
            [16, icmp.id],
          ]);
    default:
      return undefined;
  }
}
