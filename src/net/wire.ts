/** A packet's bytes, from its IP header on: headers with right checksums, data of zeros, tunnel packets with all that is inside. */
import type { Address } from './address.ts';
import { type Inner, type Packet, protocolNumber } from './packet.ts';

export function packetBytes(packet: Packet): Buffer {
  const { src, lengthBytes } = packet;
  const headerBytes = src.family === 4 ? 20 : 40;
  const payload = payloadBytes(packet, Math.max(0, lengthBytes - headerBytes));
  return Buffer.concat([src.family === 4 ? header4(packet, payload) : header6(packet, payload), payload]);
}

const dontFragment = 0x4000;

function header4(packet: Packet, payload: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt8(0x45, 0);
  header.writeUInt16BE(Math.min(0xffff, 20 + payload.length), 2);
  header.writeUInt16BE(packet.df ? dontFragment : 0, 6);
  header.writeUInt8(packet.ttl, 8);
  header.writeUInt8(protocolNumber[packet.protocol], 9);
  addressBytes(packet.src).copy(header, 12);
  addressBytes(packet.dst).copy(header, 16);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

function header6(packet: Packet, payload: Buffer): Buffer {
  const header = Buffer.alloc(40);
  header.writeUInt8(0x60, 0);
  header.writeUInt16BE(Math.min(0xffff, payload.length), 4);
  header.writeUInt8(protocolNumber[packet.protocol], 6);
  header.writeUInt8(packet.ttl, 7);
  addressBytes(packet.src).copy(header, 8);
  addressBytes(packet.dst).copy(header, 24);
  return header;
}

function payloadBytes(packet: Packet, bytes: number): Buffer {
  const { protocol, inner } = packet;
  switch (protocol) {
    case 'tcp':
      return withChecksum(packet, padded(tcpHeader(packet, bytes), bytes), 16);
    case 'udp': {
      const data = inner === undefined ? Buffer.alloc(0) : udpTunnel(inner);
      return withChecksum(packet, udp(packet, padded(data, bytes - 8)), 6);
    }
    case 'icmp':
    case 'icmpv6':
      return withChecksum(packet, icmp(packet, bytes), 2);
    case 'sctp':
      return padded(ports(packet, 12), bytes);
    case 'ipip':
    case 'ipv6':
      return inner === undefined ? Buffer.alloc(bytes) : packetBytes(inner.packet);
    case 'gre':
      return inner?.kind === 'gre' ? gre(inner) : Buffer.alloc(bytes);
  }
}

/** At least `bytes`; what is longer stays whole. */
const padded = (data: Buffer, bytes: number): Buffer =>
  data.length >= bytes ? data : Buffer.concat([data, Buffer.alloc(bytes - data.length)]);

function ports(packet: Packet, bytes: number): Buffer {
  const header = Buffer.alloc(bytes);
  header.writeUInt16BE(packet.srcPort, 0);
  header.writeUInt16BE(packet.dstPort, 2);
  return header;
}

/** A SYN carries no data: what is longer than the plain header are options, no-operations here. */
function tcpHeader(packet: Packet, bytes: number): Buffer {
  const words = packet.flags?.syn === true ? Math.min(15, Math.max(5, Math.floor(bytes / 4))) : 5;
  const header = ports(packet, words * 4).fill(1, 20);
  const { fin, syn, rst, ack } = packet.flags ?? {};
  header.writeUInt8(words * 16, 12);
  header.writeUInt8((fin ? 1 : 0) | (syn ? 2 : 0) | (rst ? 4 : 0) | (ack ? 16 : 0), 13);
  header.writeUInt16BE(0xffff, 14);
  return header;
}

function udp(packet: Packet, data: Buffer): Buffer {
  const header = ports(packet, 8);
  header.writeUInt16BE(Math.min(0xffff, 8 + data.length), 4);
  return Buffer.concat([header, data]);
}

const ethernetIpv4 = 0x0800;
const ethernetIpv6 = 0x86dd;
const ethernetInside = 0x6558;

function udpTunnel(inner: Inner): Buffer {
  switch (inner.kind) {
    case 'vxlan':
    case 'geneve':
      return Buffer.concat([vniHeader(inner), frame(inner.packet, inner.dstMac)]);
    case 'wireguard':
      return wireguard(inner.packet);
    case 'ip':
    case 'gre':
      return packetBytes(inner.packet);
  }
}

/** RFC 7348: flags and VNI. RFC 8926: version 0 without options, Ethernet inside, VNI. */
function vniHeader({ kind, vni }: Extract<Inner, { readonly vni: number }>): Buffer {
  const header = Buffer.alloc(8);
  if (kind === 'vxlan') header.writeUInt8(0x08, 0);
  else header.writeUInt16BE(ethernetInside, 2);
  header.writeUInt32BE(vni * 256, 4);
  return header;
}

/** Its source MAC is the sending tunnel device's, which the packet does not carry: zeros. */
function frame(packet: Packet, dstMac: string): Buffer {
  const ethernet = Buffer.alloc(14);
  Buffer.from(dstMac.replaceAll(':', ''), 'hex').copy(ethernet, 0, 0, 6);
  ethernet.writeUInt16BE(etherType(packet), 12);
  return Buffer.concat([ethernet, packetBytes(packet)]);
}

const etherType = ({ src }: Packet): number => (src.family === 4 ? ethernetIpv4 : ethernetIpv6);

/** A data message: type 4, receiver, counter; the payload cannot be read, and stands here as zeros with its tag. */
function wireguard(packet: Packet): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt8(4, 0);
  return Buffer.concat([header, Buffer.alloc(Math.ceil(packet.lengthBytes / 16) * 16 + 16)]);
}

/** RFC 2784 and, with a key, RFC 2890. */
function gre({ packet, key, dstMac }: Extract<Inner, { readonly kind: 'gre' }>): Buffer {
  const header = Buffer.alloc(key === undefined ? 4 : 8);
  if (key !== undefined) {
    header.writeUInt16BE(0x2000, 0);
    for (const [i, part] of key.split('.').entries()) header.writeUInt8(Number(part) & 0xff, 4 + i);
  }
  header.writeUInt16BE(dstMac === undefined ? etherType(packet) : ethernetInside, 2);
  return Buffer.concat([header, dstMac === undefined ? packetBytes(packet) : frame(packet, dstMac)]);
}

function icmp(packet: Packet, bytes: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(packet.icmp?.type ?? 0, 0);
  header.writeUInt8(packet.icmp?.code ?? 0, 1);
  header.writeUInt16BE(packet.quoted === undefined ? (packet.icmp?.id ?? 0) : 0, 4);
  const quoted = packet.quoted === undefined ? Buffer.alloc(0) : packetBytes(packet.quoted);
  return padded(Buffer.concat([header, quoted.subarray(0, Math.max(28, bytes - 8))]), bytes);
}

const addressBytes = ({ family, value }: Address): Buffer =>
  Buffer.from(value.toString(16).padStart(family === 4 ? 8 : 32, '0'), 'hex');

/** Over the pseudo header too, which ICMP of IPv4 does not have. */
function withChecksum(packet: Packet, payload: Buffer, at: number): Buffer {
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32BE(payload.length, 0);
  lengths.writeUInt32BE(protocolNumber[packet.protocol], 4);
  const pseudo =
    packet.protocol === 'icmp'
      ? Buffer.alloc(0)
      : Buffer.concat([addressBytes(packet.src), addressBytes(packet.dst), lengths]);
  const sum = checksum(Buffer.concat([pseudo, payload]));
  // RFC 768: a UDP checksum that comes to zero is sent as ones; zero says that there is none.
  payload.writeUInt16BE(sum === 0 && packet.protocol === 'udp' ? 0xffff : sum, at);
  return payload;
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
