/** One packet a line, as `podpath simulate` reads them: `{"iif":"eth0","src":"10.0.0.1","dst":"10.0.0.2","proto":"tcp","dport":80}`. */
import { type Address, parseAddress } from '../net/address.ts';
import type { Packet, SctpChunk, TcpFlags, Transport } from '../net/packet.ts';

export type PacketLine =
  | { readonly ok: true; readonly iif?: string; readonly packet: Packet }
  | { readonly ok: false; readonly field?: string; readonly message: string };

const fields = new Set([
  'iif',
  'src',
  'dst',
  'proto',
  'sport',
  'dport',
  'flags',
  'chunk',
  'len',
  'df',
  'ttl',
  'mark',
  'icmpType',
  'icmpCode',
  'icmpId',
  'quoted',
]);

const protocols: Readonly<Record<string, Transport>> = {
  tcp: 'tcp',
  udp: 'udp',
  sctp: 'sctp',
  icmp: 'icmp',
  icmpv6: 'icmpv6',
  'ipv6-icmp': 'icmpv6',
  ipip: 'ipip',
  '1': 'icmp',
  '4': 'ipip',
  '6': 'tcp',
  '17': 'udp',
  '58': 'icmpv6',
  '132': 'sctp',
};

class BadField extends Error {
  readonly field: string;
  constructor(field: string, message: string) {
    super(message);
    this.field = field;
  }
}

/** Never throws. Unknown fields are errors: a misspelt `dprot` would ask another question. */
export function parsePacketLine(line: string): PacketLine {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return { ok: false, message: `no JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
  if (!isObject(value)) return { ok: false, message: 'no JSON object' };
  try {
    const iif = value.iif === undefined || value.iif === null ? '' : text(value, 'iif');
    return { ok: true, packet: readPacket(value, 'iif', 0), ...(iif === '' ? {} : { iif }) };
  } catch (error) {
    if (!(error instanceof BadField)) throw error;
    return { ok: false, field: error.field, message: error.message };
  }
}

type Fields = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Errors quote one packet, which quotes none. */
const maxDepth = 1;

function readPacket(value: Fields, ownField: string, depth: number): Packet {
  for (const name of Object.keys(value))
    if (!fields.has(name) || (depth > 0 && name === ownField))
      throw new BadField(name, `there is no field ${name}`);
  const src = address(value, 'src');
  const dst = address(value, 'dst');
  if (src.family !== dst.family) throw new BadField('dst', 'src and dst are of different families');
  const protocol = transport(value, src.family);
  const hasPorts = protocol === 'tcp' || protocol === 'udp' || protocol === 'sctp';
  const isIcmp = protocol === 'icmp' || protocol === 'icmpv6';
  if (!hasPorts) for (const name of ['sport', 'dport']) refuse(value, name, `${protocol} has no ports`);
  if (!isIcmp)
    for (const name of ['icmpType', 'icmpCode', 'icmpId', 'quoted'])
      refuse(value, name, `${protocol} is not ICMP`);
  if (protocol !== 'tcp') refuse(value, 'flags', `${protocol} has no flags`);
  if (protocol !== 'sctp') refuse(value, 'chunk', `${protocol} has no chunks`);
  if (value.quoted !== undefined && depth >= maxDepth) throw new BadField('quoted', 'nested too deeply');
  return {
    src,
    dst,
    protocol,
    srcPort: hasPorts ? integer(value, 'sport', 0xffff, 0) : 0,
    dstPort: hasPorts ? integer(value, 'dport', 0xffff, 0) : 0,
    lengthBytes: integer(value, 'len', 0xffff, 60, src.family === 4 ? 20 : 40),
    df: src.family === 6 || boolean(value, 'df'),
    ttl: integer(value, 'ttl', 255, 64),
    mark: mark(value),
    ...(protocol === 'tcp' ? { flags: flags(value) } : {}),
    ...(protocol === 'sctp' ? { chunk: chunk(value) } : {}),
    ...(isIcmp ? { icmp: icmp(value, protocol) } : {}),
    ...(value.quoted === undefined ? {} : { quoted: quoted(value, ownField, depth) }),
  };
}

function icmp(value: Fields, protocol: 'icmp' | 'icmpv6'): NonNullable<Packet['icmp']> {
  return {
    type: integer(value, 'icmpType', 255, protocol === 'icmp' ? 8 : 128),
    code: integer(value, 'icmpCode', 255, 0),
    id: integer(value, 'icmpId', 0xffff, 0),
  };
}

function quoted(value: Fields, ownField: string, depth: number): Packet {
  if (!isObject(value.quoted)) throw new BadField('quoted', 'quoted is no object');
  return readPacket(value.quoted, ownField, depth + 1);
}

function refuse(value: Fields, name: string, why: string): void {
  if (value[name] !== undefined && value[name] !== null && value[name] !== 0) throw new BadField(name, why);
}

function text(value: Fields, name: string): string {
  const found = value[name];
  if (typeof found !== 'string') throw new BadField(name, `${name} is no text`);
  return found;
}

function address(value: Fields, name: string): Address {
  if (value[name] === undefined) throw new BadField(name, `${name} is missing`);
  const found = parseAddress(text(value, name));
  if (found === undefined) throw new BadField(name, `${JSON.stringify(value[name])} is no address`);
  return found;
}

function transport(value: Fields, family: 4 | 6): Transport {
  if (value.proto === undefined) throw new BadField('proto', 'proto is missing');
  const found = Object.hasOwn(protocols, String(value.proto).toLowerCase())
    ? protocols[String(value.proto).toLowerCase()]
    : undefined;
  if (found === undefined)
    throw new BadField('proto', `${JSON.stringify(value.proto)} is none of tcp, udp, sctp, icmp, ipip`);
  if (found === 'icmp' && family === 6) return 'icmpv6';
  if (found === 'icmpv6' && family === 4) throw new BadField('proto', 'icmpv6 needs IPv6 addresses');
  return found;
}

function integer(value: Fields, name: string, max: number, missing: number, min = 0): number {
  const found = value[name];
  if (found === undefined || found === null) return missing;
  if (typeof found !== 'number' || !Number.isInteger(found) || found < min || found > max)
    throw new BadField(name, `${name} is no whole number from ${min} to ${max}`);
  return found;
}

function boolean(value: Fields, name: string): boolean {
  const found = value[name];
  if (found === undefined || found === null) return false;
  if (typeof found !== 'boolean') throw new BadField(name, `${name} is neither true nor false`);
  return found;
}

/** A number, or as the tools print it: `0x4000`. */
function mark(value: Fields): number {
  const found = value.mark;
  if (typeof found === 'string' && /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(found) && Number(found) <= 0xffffffff)
    return Number(found);
  return integer(value, 'mark', 0xffffffff, 0);
}

const flagNames: Readonly<Record<string, keyof TcpFlags>> = {
  s: 'syn',
  a: 'ack',
  f: 'fin',
  r: 'rst',
  syn: 'syn',
  ack: 'ack',
  fin: 'fin',
  rst: 'rst',
};

const chunks: readonly SctpChunk[] = [
  'data',
  'init',
  'init-ack',
  'heartbeat',
  'abort',
  'shutdown-ack',
  'cookie-echo',
  'cookie-ack',
];

/** The first chunk; absent: the INIT that opens an association. */
function chunk(value: Fields): SctpChunk {
  if (value.chunk === undefined || value.chunk === null) return 'init';
  const found = chunks.find((name) => name === value.chunk);
  if (found === undefined)
    throw new BadField('chunk', `${JSON.stringify(value.chunk)} is not one of ${chunks.join(', ')}`);
  return found;
}

/** `["syn","ack"]`, `"syn,ack"`, or tcpdump's `"SA"`; absent: the SYN that opens a connection. PSH and URG decide nothing. */
function flags(value: Fields): TcpFlags {
  const found = value.flags;
  if (found === undefined || found === null) return { syn: true };
  const words = Array.isArray(found) ? found.map(String) : splitFlags(text(value, 'flags'));
  const set: Partial<Record<keyof TcpFlags, true>> = {};
  for (const word of words) {
    const lower = word.toLowerCase();
    if (['psh', 'p', 'urg', 'u', 'ece', 'e', 'cwr', 'w'].includes(lower)) continue;
    const name = Object.hasOwn(flagNames, lower) ? flagNames[lower] : undefined;
    if (name === undefined) throw new BadField('flags', `${JSON.stringify(word)} is no TCP flag`);
    set[name] = true;
  }
  return set;
}

const splitFlags = (words: string): string[] =>
  /^[SAFRPUEW.]*$/.test(words)
    ? [...words.replaceAll('.', 'A')]
    : words.split(/[\s,|+-]+/).filter((w) => w !== '');
