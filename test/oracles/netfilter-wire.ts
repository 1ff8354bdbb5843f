/** Packets as bytes: what the oracles inject and read back. */
import type { Address } from '../../src/net/address.ts';
import type { Packet, SctpChunk, TcpFlags, Transport } from '../../src/net/packet.ts';
import { protocolNumber } from '../../src/net/packet.ts';

export interface Wire {
  readonly packet: Packet;
  /** IPv4 identification or IPv6 flow label: NAT leaves it alone, so it names the packet. */
  readonly id: number;
  readonly quotedId?: number;
  /** Of an ICMP error that tells one. */
  readonly mtuBytes?: number;
}

/** TCP sequence numbers that fit a handshake, so that window tracking finds nothing wrong. */
export interface Sequence {
  readonly seq: number;
  readonly ack: number;
}

/** `id` becomes the IPv4 identification, or the IPv6 flow label. */
export function encode(packet: Packet, id: number, sequence: Sequence = { seq: 1000, ack: 0 }): Buffer {
  const six = packet.src.family === 6;
  const payload = encodePayload(packet, id, sequence, packet.lengthBytes - (six ? 40 : 20));
  return Buffer.concat([
    six ? header6(packet, id, payload.length) : header4(packet, id, payload.length),
    payload,
  ]);
}

function header4(packet: Packet, id: number, payloadBytes: number): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt8(0x45, 0);
  header.writeUInt8(packet.tos ?? 0, 1);
  header.writeUInt16BE(20 + payloadBytes, 2);
  header.writeUInt16BE(id, 4);
  header.writeUInt16BE(packet.df ? 0x4000 : 0, 6);
  header.writeUInt8(packet.ttl, 8);
  header.writeUInt8(protocolNumber[packet.protocol], 9);
  header.writeUInt32BE(Number(packet.src.value), 12);
  header.writeUInt32BE(Number(packet.dst.value), 16);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

function header6(packet: Packet, id: number, payloadBytes: number): Buffer {
  const header = Buffer.alloc(40);
  header.writeUInt32BE(0x60000000 + (packet.tos ?? 0) * 0x100000 + (id & 0xfffff), 0);
  header.writeUInt16BE(payloadBytes, 4);
  header.writeUInt8(protocolNumber[packet.protocol], 6);
  header.writeUInt8(packet.ttl, 7);
  bytesOf(packet.src).copy(header, 8);
  bytesOf(packet.dst).copy(header, 24);
  return header;
}

const bytesOf = ({ family, value }: Address): Buffer =>
  Buffer.from(value.toString(16).padStart(family === 4 ? 8 : 32, '0'), 'hex');

function encodePayload(packet: Packet, id: number, sequence: Sequence, bytes: number): Buffer {
  const { protocol } = packet;
  if (protocol === 'icmp') return encodeIcmp(packet, id, bytes);
  if (protocol === 'icmpv6') return withChecksum(packet, encodeIcmp(packet, id, bytes), 2);
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(packet.srcPort, 0);
  ports.writeUInt16BE(packet.dstPort, 2);
  if (protocol === 'sctp') return encodeSctp(packet, bytes);
  const segment = protocol === 'tcp' ? tcpRest(packet, sequence) : udpRest(bytes);
  const data = Buffer.alloc(Math.max(0, bytes - 4 - segment.length));
  return withChecksum(packet, Buffer.concat([ports, segment, data]), protocol === 'tcp' ? 16 : 6);
}

/** With the pseudo header of the packet's family. */
function withChecksum(packet: Packet, whole: Buffer, at: number): Buffer {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(whole.length, 0);
  tail.writeUInt32BE(protocolNumber[packet.protocol], 4);
  const padded = whole.length % 2 === 0 ? whole : Buffer.concat([whole, Buffer.alloc(1)]);
  whole.writeUInt16BE(0, at);
  whole.writeUInt16BE(checksum(Buffer.concat([bytesOf(packet.src), bytesOf(packet.dst), tail, padded])), at);
  return whole;
}

function tcpRest(packet: Packet, { seq, ack }: Sequence): Buffer {
  const rest = Buffer.alloc(16);
  const flags = packet.flags ?? {};
  rest.writeUInt32BE(seq, 0);
  rest.writeUInt32BE(ack, 4);
  rest.writeUInt8(0x50, 8);
  rest.writeUInt8((flags.fin ? 1 : 0) | (flags.syn ? 2 : 0) | (flags.rst ? 4 : 0) | (flags.ack ? 16 : 0), 9);
  rest.writeUInt16BE(60_000, 10);
  return rest;
}

function udpRest(bytes: number): Buffer {
  const rest = Buffer.alloc(4);
  rest.writeUInt16BE(bytes, 0);
  return rest;
}

/** Type, and bytes of the chunk, of what a handshake is made of. */
const sctpChunks: Readonly<Record<SctpChunk, readonly [type: number, bytes: number]>> = {
  data: [0, 20],
  init: [1, 20],
  'init-ack': [2, 20],
  heartbeat: [4, 8],
  abort: [6, 4],
  'shutdown-ack': [8, 4],
  'cookie-echo': [10, 8],
  'cookie-ack': [11, 4],
};

/** Both sides have the same verification tag, which NAT of ports leaves as it is. */
function encodeSctp({ srcPort, dstPort, chunk = 'init' }: Packet, bytes: number): Buffer {
  const [type, chunkBytes] = sctpChunks[chunk];
  const whole = Buffer.alloc(Math.max(12 + chunkBytes, bytes));
  whole.writeUInt16BE(srcPort, 0);
  whole.writeUInt16BE(dstPort, 2);
  whole.writeUInt32BE(chunk === 'init' ? 0 : sctpTag, 4);
  whole.writeUInt8(type, 12);
  whole.writeUInt16BE(whole.length - 12, 14);
  if (chunk === 'init' || chunk === 'init-ack') {
    whole.writeUInt32BE(sctpTag, 16);
    whole.writeUInt32BE(60_000, 20);
    whole.writeUInt32BE(0x10001, 24);
  }
  whole.writeUInt32LE(crc32c(whole), 8);
  return whole;
}

const sctpTag = 0x5000001;

/** With the polynomial of Castagnoli, reflected; computed bit by bit, as there are few such packets. */
function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

function encodeIcmp(packet: Packet, id: number, bytes: number): Buffer {
  const icmp = packet.icmp ?? { type: 8, code: 0 };
  const quotedBytes = packet.src.family === 4 ? 28 : 48;
  // The quoted packet has the id of the one that it stands for.
  const body =
    packet.quoted === undefined
      ? Buffer.alloc(Math.max(0, bytes - 8))
      : encode(packet.quoted, id).subarray(0, quotedBytes);
  const head = Buffer.alloc(8);
  head.writeUInt8(icmp.type, 0);
  head.writeUInt8(icmp.code, 1);
  if (packet.quoted === undefined) head.writeUInt16BE(icmp.id ?? 0, 4);
  const whole = Buffer.concat([head, body]);
  if (packet.protocol === 'icmp') whole.writeUInt16BE(checksum(whole), 2);
  return whole;
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const transports: Readonly<Record<number, Transport>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  58: 'icmpv6',
  132: 'sctp',
};

interface Header {
  readonly src: Address;
  readonly dst: Address;
  readonly protocol: number;
  readonly ttl: number;
  readonly df: boolean;
  readonly tos: number;
  readonly lengthBytes: number;
  readonly id: number;
  /** Where the transport header begins. */
  readonly at: number;
  /** Not the first fragment: it has no transport header. */
  readonly isTail: boolean;
}

function readHeader(bytes: Buffer): Header | undefined {
  const version = bytes.length === 0 ? 0 : bytes.readUInt8(0) >>> 4;
  if (version === 4 && bytes.length >= 28) {
    const flags = bytes.readUInt16BE(6);
    return {
      src: { family: 4, value: BigInt(bytes.readUInt32BE(12)) },
      dst: { family: 4, value: BigInt(bytes.readUInt32BE(16)) },
      protocol: bytes.readUInt8(9),
      ttl: bytes.readUInt8(8),
      df: (flags & 0x4000) !== 0,
      tos: bytes.readUInt8(1),
      lengthBytes: bytes.readUInt16BE(2),
      id: bytes.readUInt16BE(4),
      at: (bytes.readUInt8(0) & 15) * 4,
      isTail: (flags & 0x1fff) !== 0,
    };
  }
  if (version !== 6 || bytes.length < 48) return undefined;
  const address6 = (at: number): Address => ({
    family: 6,
    value: BigInt(`0x${bytes.subarray(at, at + 16).toString('hex')}`),
  });
  return {
    src: address6(8),
    dst: address6(24),
    protocol: bytes.readUInt8(6),
    ttl: bytes.readUInt8(7),
    df: true,
    tos: (bytes.readUInt16BE(0) >>> 4) & 0xff,
    lengthBytes: 40 + bytes.readUInt16BE(4),
    id: bytes.readUInt32BE(0) & 0xfffff,
    at: 40,
    isTail: false,
  };
}

const tcpFlags = (byte: number): TcpFlags => ({
  ...(byte & 1 ? { fin: true } : {}),
  ...(byte & 2 ? { syn: true } : {}),
  ...(byte & 4 ? { rst: true } : {}),
  ...(byte & 16 ? { ack: true } : {}),
});

/** Undefined for what is no packet of a protocol that the oracle sends (router solicitations come by too). */
export function decode(bytes: Buffer): Wire | undefined {
  const header = readHeader(bytes);
  if (header === undefined || header.isTail) return undefined;
  const { src, dst, ttl, df, tos, lengthBytes, id, at } = header;
  const protocol = transports[header.protocol];
  if (protocol === undefined) return undefined;
  const isIcmp = protocol === 'icmp' || protocol === 'icmpv6';
  const type = bytes.readUInt8(at);
  const isError = protocol === 'icmp' ? [3, 5, 11].includes(type) : protocol === 'icmpv6' && type < 128;
  const quoted = isError ? decode(bytes.subarray(at + 8)) : undefined;
  const mtuBytes = bytes.readUInt16BE(at + 6);
  const packet: Packet = {
    src,
    dst,
    protocol,
    srcPort: isIcmp ? 0 : bytes.readUInt16BE(at),
    dstPort: isIcmp ? 0 : bytes.readUInt16BE(at + 2),
    lengthBytes,
    df,
    ttl,
    ...(tos === 0 ? {} : { tos }),
    mark: 0,
    ...(protocol === 'tcp' && bytes.length > at + 13 ? { flags: tcpFlags(bytes.readUInt8(at + 13)) } : {}),
    ...(isIcmp
      ? {
          icmp: {
            type,
            code: bytes.readUInt8(at + 1),
            ...(isError ? {} : { id: bytes.readUInt16BE(at + 4) }),
          },
        }
      : {}),
    ...(quoted === undefined ? {} : { quoted: quoted.packet }),
  };
  return {
    packet,
    id,
    ...(quoted === undefined ? {} : { quotedId: quoted.id }),
    ...(isError ? { mtuBytes } : {}),
  };
}
