/** ipset lookups as the kernel's set types do them. */
import type { IpSet, IpSetEntry } from '../../model/netfilter.ts';
import type { Netns } from '../../model/netns.ts';
import { type Address, addressBits, parseAddress } from '../../net/address.ts';
import { type Packet, protocolNumber } from '../../net/packet.ts';
import { contains, makePrefix, type Prefix, parsePrefix } from '../../net/prefix.ts';
import type { Truth } from './truth.ts';

export type SetDirection = 'src' | 'dst';

export interface SetQuery {
  readonly packet: Packet;
  readonly inDevice?: string | undefined;
  readonly outDevice?: string | undefined;
  readonly directions: readonly SetDirection[];
  /** --return-nomatch: elements marked `nomatch` count, the others do not. */
  readonly nomatch?: boolean;
}

type Dimension = 'ip' | 'net' | 'port' | 'mark' | 'iface';

/** One part of an entry, ready to compare. */
type Part =
  | { readonly kind: 'prefix'; readonly prefix: Prefix }
  | { readonly kind: 'range'; readonly family: 4 | 6; readonly from: bigint; readonly to: bigint }
  /** protocol undefined: bitmap:port compares numbers alone. */
  | { readonly kind: 'port'; readonly protocol?: number; readonly from: number; readonly to: number }
  | { readonly kind: 'mark'; readonly mark: number }
  | { readonly kind: 'iface'; readonly name: string; readonly isPrefix: boolean }
  | { readonly kind: 'not-understood'; readonly text: string };

interface Compiled {
  readonly dimensions: readonly Dimension[];
  readonly entries: readonly { readonly parts: readonly Part[]; readonly nomatch: boolean }[];
}

const compiledSets = new WeakMap<IpSet, Compiled | string>();

/** Whether the packet's fields are in the set. A set that is missing, or of a type not understood, is a doubt. */
export function inSet(netns: Netns, name: string, query: SetQuery): Truth {
  if (netns.ipsets.state === 'unknown') return { doubt: `set ${name}: ${netns.ipsets.why}` };
  const set = netns.ipsets.value.find((entry) => entry.name === name);
  if (set === undefined) return { doubt: `set ${name} is not among the recorded sets` };
  if (set.type === 'list:set') return inListOfSets(netns, set, query);
  const compiled = compile(set);
  if (typeof compiled === 'string') return { doubt: `set ${name}: ${compiled}` };
  // ip_set_test: a set of the other family, or with more dimensions than directions, matches nothing.
  const isPortMap = set.type === 'bitmap:port';
  if (!isPortMap && set.family !== query.packet.src.family) return false;
  if (query.directions.length < compiled.dimensions.length) return false;
  return lookup(name, compiled, query);
}

function inListOfSets(netns: Netns, set: IpSet, query: SetQuery): Truth {
  let doubt: Truth = false;
  for (const entry of set.entries) {
    const member = inSet(netns, entry.parts[0] ?? '', query);
    if (member === true) return true;
    if (member !== false) doubt = member;
  }
  return doubt;
}

/** The most specific network that holds the packet's fields decides; a `nomatch` entry decides for no (mtype_test_cidrs). */
function lookup(name: string, compiled: Compiled, query: SetQuery): Truth {
  let best: { readonly rank: number; readonly nomatch: boolean } | undefined;
  let doubt: string | undefined;
  for (const entry of deciding(compiled, query)) {
    let rank = 0;
    let matches = true;
    for (const [i, part] of entry.parts.entries()) {
      if (part.kind === 'not-understood') {
        doubt = `set ${name}: entry part ${part.text} is not understood`;
        matches = false;
        break;
      }
      if (!partMatches(part, query, query.directions[i] ?? 'src')) {
        matches = false;
        break;
      }
      // Earlier dimensions are the outer loop of the kernel's search.
      if (part.kind === 'prefix') rank = rank * 256 + part.prefix.length;
    }
    if (matches && (best === undefined || rank > best.rank)) best = { rank, nomatch: entry.nomatch };
  }
  if (doubt !== undefined) return { doubt };
  const takesNomatch = compiled.dimensions.includes('net');
  return best !== undefined && best.nomatch === (takesNomatch && (query.nomatch ?? false));
}

/**
 * hash:net,iface looks no further than the most specific network that holds the address, whatever its device: data_equal
 * counts it as `multi` before it compares the device, and that ends mtype_test_cidrs.
 */
function deciding({ dimensions, entries }: Compiled, query: SetQuery): Compiled['entries'] {
  if (!dimensions.includes('iface')) return entries;
  const lengthOf = ([part]: readonly Part[]): number =>
    part?.kind === 'prefix' && partMatches(part, query, query.directions[0] ?? 'src')
      ? part.prefix.length
      : -1;
  const longest = entries.reduce((most, { parts }) => Math.max(most, lengthOf(parts)), -1);
  return entries.filter(({ parts }) => parts[0]?.kind !== 'prefix' || lengthOf(parts) === longest);
}

function partMatches(part: Part, query: SetQuery, direction: SetDirection): boolean {
  const { packet } = query;
  const address: Address = direction === 'src' ? packet.src : packet.dst;
  switch (part.kind) {
    case 'prefix':
      return contains(part.prefix, address);
    case 'range':
      return part.family === address.family && part.from <= address.value && address.value <= part.to;
    case 'port': {
      const port = packetPort(packet, direction);
      if (port === undefined) return false;
      if (part.protocol !== undefined && part.protocol !== protocolNumber[packet.protocol]) return false;
      return part.from <= port && port <= part.to;
    }
    case 'mark':
      return packet.mark === part.mark;
    case 'iface': {
      const device = direction === 'src' ? query.inDevice : query.outDevice;
      return part.isPrefix ? (device?.startsWith(part.name) ?? false) : part.name === device;
    }
    case 'not-understood':
      return false;
  }
}

/** ip_set_get_port: ICMP's type and code stand for a port, other protocols have port 0. */
function packetPort(packet: Packet, direction: SetDirection): number | undefined {
  if (packet.icmp !== undefined) return packet.icmp.type * 256 + packet.icmp.code;
  return direction === 'src' ? packet.srcPort : packet.dstPort;
}

function compile(set: IpSet): Compiled | string {
  const cached = compiledSets.get(set);
  if (cached !== undefined) return cached;
  const result = compileNew(set);
  compiledSets.set(set, result);
  return result;
}

const dimensionNames = new Set<string>(['ip', 'net', 'port', 'mark', 'iface']);
const isDimension = (text: string): text is Dimension => dimensionNames.has(text);

function compileNew(set: IpSet): Compiled | string {
  const dimensions = set.type.slice(set.type.indexOf(':') + 1).split(',');
  if (!dimensions.every(isDimension)) return `type ${set.type} is not understood`;
  const header = set.source.kind === 'file' ? set.source.text : '';
  // These change what is compared; the entries alone do not show it.
  if (/\b(bitmask|markmask)\b/.test(header)) return 'its mask option is not understood';
  const netmask = Number(/\bnetmask (\d{1,3})\b/.exec(header)?.[1] ?? addressBits(set.family));
  return {
    dimensions,
    entries: set.entries.map((entry: IpSetEntry) => ({
      nomatch: entry.nomatch,
      parts: dimensions.map((dimension, i) => {
        const part = compilePart(dimension, entry.parts[i] ?? '', set.type, entry.wildcard ?? false);
        // The elements were stored masked; the first address of the packet is masked before it is looked up.
        return i === 0 && dimension === 'ip' ? masked(part, netmask) : part;
      }),
    })),
  };
}

const masked = (part: Part, length: number): Part =>
  part.kind === 'prefix' && part.prefix.length > length
    ? { kind: 'prefix', prefix: makePrefix(part.prefix, length) }
    : part;

function compilePart(dimension: Dimension, text: string, type: string, wildcard: boolean): Part {
  switch (dimension) {
    case 'ip':
    case 'net':
      return addressPart(text);
    case 'port':
      return portPart(text, type);
    case 'mark':
      return /^(0x[0-9a-f]+|[0-9]+)$/i.test(text)
        ? { kind: 'mark', mark: Number(text) }
        : { kind: 'not-understood', text };
    case 'iface':
      return text === '' || text.startsWith('physdev:')
        ? { kind: 'not-understood', text }
        : { kind: 'iface', name: text, isPrefix: wildcard };
  }
}

function addressPart(text: string): Part {
  const prefix = parsePrefix(text);
  if (prefix !== undefined) return { kind: 'prefix', prefix };
  const [from, to, ...more] = text.split('-').map(parseAddress);
  if (from === undefined || to === undefined || more.length > 0 || from.family !== to.family)
    return { kind: 'not-understood', text };
  return { kind: 'range', family: from.family, from: from.value, to: to.value };
}

const protocols: Readonly<Record<string, number>> = { ...protocolNumber, 'ipv6-icmp': 58, udplite: 136 };

const icmpNames: Readonly<Record<string, number>> = {
  'icmp:echo-request': 8 * 256,
  'icmp:ping': 8 * 256,
  'icmp:echo-reply': 0,
  'icmp:pong': 0,
  'icmpv6:echo-request': 128 * 256,
  'icmpv6:ping': 128 * 256,
  'icmpv6:echo-reply': 129 * 256,
  'icmpv6:pong': 129 * 256,
};

/** `tcp:80`, `80` (tcp), `udp:1000-2000`, `icmp:8/0`; bitmap:port has bare numbers for both protocols. */
function portPart(text: string, type: string): Part {
  const [before, after] = text.includes(':') ? text.split(':', 2) : ['tcp', text];
  const protocolText = (before ?? '').toLowerCase();
  const protocol = /^[0-9]+$/.test(protocolText) ? Number(protocolText) : protocols[protocolText];
  const named = icmpNames[`${protocolText}:${after}`];
  if (protocol === undefined) return { kind: 'not-understood', text };
  if (named !== undefined) return { kind: 'port', protocol, from: named, to: named };
  const icmp = /^([0-9]+)\/([0-9]+)$/.exec(after ?? '');
  if (icmp) {
    const value = Number(icmp[1]) * 256 + Number(icmp[2]);
    return { kind: 'port', protocol, from: value, to: value };
  }
  const range = /^([0-9]+)(?:-([0-9]+))?$/.exec(after ?? '');
  if (range === null) return { kind: 'not-understood', text };
  const from = Number(range[1]);
  const to = range[2] === undefined ? from : Number(range[2]);
  return type === 'bitmap:port' ? { kind: 'port', from, to } : { kind: 'port', protocol, from, to };
}
