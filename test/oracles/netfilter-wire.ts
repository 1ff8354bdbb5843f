/** IPv4 packets as bytes: what the oracle injects and reads back. */
import type { Packet, Transport } from '../../src/net/packet.ts';
import { protocolNumber } from '../../src/net/packet.ts';

export interface Wire {
  readonly packet: Packet;
  /** IP identification: NAT leaves it alone, so it names the packet. */
  readonly id: number;
  readonly quotedId?: number;
}

/** TCP sequence numbers that fit a handshake, so that window tracking finds nothing wrong. */
export interface Sequence {
  readonly seq: number;
  readonly ack: number;
}

export function encode(packet: Packet, id: number, sequence: Sequence = { seq: 1000, ack: 0 }): Buffer {
  const payload = encodePayload(packet, id, sequence);
  const header = Buffer.alloc(20);
  header.writeUInt8(0x45, 0);
  header.writeUInt16BE(20 + payload.length, 2);
  header.writeUInt16BE(id, 4);
  header.writeUInt16BE(packet.df ? 0x4000 : 0, 6);
  header.writeUInt8(packet.ttl, 8);
  header.writeUInt8(protocolNumber[packet.protocol], 9);
  header.writeUInt32BE(Number(packet.src.value), 12);
  header.writeUInt32BE(Number(packet.dst.value), 16);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

function encodePayload(packet: Packet, id: number, sequence: Sequence): Buffer {
  if (packet.protocol === 'icmp') return encodeIcmp(packet, id);
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(packet.srcPort, 0);
  ports.writeUInt16BE(packet.dstPort, 2);
  const segment = packet.protocol === 'tcp' ? tcpRest(packet, sequence) : udpRest();
  const whole = Buffer.concat([ports, segment]);
  const pseudo = Buffer.alloc(12);
  pseudo.writeUInt32BE(Number(packet.src.value), 0);
  pseudo.writeUInt32BE(Number(packet.dst.value), 4);
  pseudo.writeUInt8(protocolNumber[packet.protocol], 9);
  pseudo.writeUInt16BE(whole.length, 10);
  const sum = checksum(Buffer.concat([pseudo, whole]));
  whole.writeUInt16BE(sum, packet.protocol === 'tcp' ? 16 : 6);
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

function udpRest(): Buffer {
  const rest = Buffer.alloc(12);
  rest.writeUInt16BE(16, 0);
  return rest;
}

function encodeIcmp(packet: Packet, id: number): Buffer {
  const icmp = packet.icmp ?? { type: 8, code: 0 };
  // The quoted packet has the id of the one that it stands for.
  const body = packet.quoted === undefined ? Buffer.alloc(8) : encode(packet.quoted, id).subarray(0, 28);
  const head = Buffer.alloc(8);
  head.writeUInt8(icmp.type, 0);
  head.writeUInt8(icmp.code, 1);
  if (packet.quoted === undefined) head.writeUInt16BE(icmp.id ?? 0, 4);
  const whole = Buffer.concat([head, body]);
  whole.writeUInt16BE(checksum(whole), 2);
  return whole;
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const transports: Readonly<Record<number, Transport>> = { 1: 'icmp', 6: 'tcp', 17: 'udp' };

/** Undefined for what is no IPv4 packet of a protocol that the oracle sends (IPv6 router solicitations come by too). */
export function decode(bytes: Buffer): Wire | undefined {
  if (bytes.length < 28 || bytes.readUInt8(0) >>> 4 !== 4) return undefined;
  const protocol = transports[bytes.readUInt8(9)];
  if (protocol === undefined) return undefined;
  const at = (bytes.readUInt8(0) & 15) * 4;
  const isIcmp = protocol === 'icmp';
  const type = bytes.readUInt8(at);
  const isError = isIcmp && [3, 5, 11].includes(type);
  const quoted = isError ? decode(bytes.subarray(at + 8)) : undefined;
  const packet: Packet = {
    src: { family: 4, value: BigInt(bytes.readUInt32BE(12)) },
    dst: { family: 4, value: BigInt(bytes.readUInt32BE(16)) },
    protocol,
    srcPort: isIcmp ? 0 : bytes.readUInt16BE(at),
    dstPort: isIcmp ? 0 : bytes.readUInt16BE(at + 2),
    lengthBytes: bytes.readUInt16BE(2),
    df: true,
    ttl: bytes.readUInt8(8),
    mark: 0,
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
  return { packet, id: bytes.readUInt16BE(4), ...(quoted === undefined ? {} : { quotedId: quoted.id }) };
}
