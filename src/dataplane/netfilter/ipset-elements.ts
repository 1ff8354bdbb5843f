/** Recorded ipset elements made ready to compare: an index by what the kernel hashes, and a list of what it cannot. */
import type { IpSet, IpSetEntry } from '../../model/netfilter.ts';
import { addressBits, parseAddress } from '../../net/address.ts';
import { parseMac } from '../../net/mac.ts';
import { protocolNumber } from '../../net/packet.ts';
import { makePrefix, type Prefix, parsePrefix } from '../../net/prefix.ts';

export type Dimension = 'ip' | 'net' | 'port' | 'mark' | 'iface' | 'mac';

/** One part of an entry, ready to compare. */
export type Part =
  | { readonly kind: 'prefix'; readonly prefix: Prefix }
  | { readonly kind: 'range'; readonly family: 4 | 6; readonly from: bigint; readonly to: bigint }
  /** protocol undefined: bitmap:port compares numbers alone. */
  | { readonly kind: 'port'; readonly protocol?: number; readonly from: number; readonly to: number }
  | { readonly kind: 'mark'; readonly mark: number }
  | { readonly kind: 'iface'; readonly name: string; readonly isPrefix: boolean }
  /** address undefined: bitmap:ip,mac takes the MAC address of the first packet. */
  | { readonly kind: 'mac'; readonly address?: string }
  | { readonly kind: 'not-understood'; readonly text: string };

export interface Element {
  readonly parts: readonly Part[];
  readonly nomatch: boolean;
}

/** Elements of one shape: the same prefix length in each place that has one. */
interface Shape {
  readonly lengths: readonly (number | undefined)[];
  readonly elements: Map<string, Element[]>;
}

export interface Compiled {
  readonly type: string;
  readonly dimensions: readonly Dimension[];
  /** Of the first address: the packet's is masked before it is looked up. */
  readonly addressMask: bigint;
  readonly markMask: number;
  readonly shapes: readonly Shape[];
  /** Elements that no key finds: ranges, devices, what is not understood. */
  readonly others: readonly Element[];
}

/** What a packet has in one dimension. Undefined: nothing that could be in a set. */
export type Value =
  | { readonly kind: 'address'; readonly family: 4 | 6; readonly value: bigint }
  | { readonly kind: 'port'; readonly protocol: number; readonly port: number }
  | { readonly kind: 'mark'; readonly mark: number }
  | { readonly kind: 'iface'; readonly name: string }
  /** The frame's address is not followed. */
  | { readonly kind: 'some-mac' };

const compiledSets = new WeakMap<IpSet, Compiled | string>();

/** Text: why the set is not understood. */
export function compileSet(set: IpSet): Compiled | string {
  const cached = compiledSets.get(set);
  if (cached !== undefined) return cached;
  const result = compile(set);
  compiledSets.set(set, result);
  return result;
}

const dimensionNames = new Set<string>(['ip', 'net', 'port', 'mark', 'iface', 'mac']);
const isDimension = (text: string): text is Dimension => dimensionNames.has(text);

function compile(set: IpSet): Compiled | string {
  const dimensions = set.type.slice(set.type.indexOf(':') + 1).split(',');
  if (!dimensions.every(isDimension)) return `type ${set.type} is not understood`;
  const header = set.source.kind === 'file' ? set.source.text : '';
  const addressMask = maskOf(set, header);
  if (addressMask === undefined) return 'its mask is not understood';
  const isBitmask = /\bbitmask\b/.test(header);
  if (isBitmask && dimensions.includes('net')) return 'its bitmask is not understood';
  const markMask = Number(/\bmarkmask (0x[0-9a-f]+|\d+)\b/i.exec(header)?.[1] ?? 0xffffffff);
  const shapes = new Map<string, Shape>();
  const others: Element[] = [];
  for (const entry of set.entries) {
    const element = elementOf(entry, set.type, dimensions);
    const key = keyOfElement(element);
    if (key === undefined) {
      others.push(element);
      continue;
    }
    const lengths = element.parts.map((part) => (part.kind === 'prefix' ? part.prefix.length : undefined));
    const name = lengths.join();
    const shape = shapes.get(name) ?? { lengths, elements: new Map<string, Element[]>() };
    shapes.set(name, shape);
    const same = shape.elements.get(key);
    if (same === undefined) shape.elements.set(key, [element]);
    else same.push(element);
  }
  return { type: set.type, dimensions, addressMask, markMask, shapes: [...shapes.values()], others };
}

/** `netmask 24` or `bitmask 255.0.255.0`: elements were stored masked. */
function maskOf({ family }: IpSet, header: string): bigint | undefined {
  const bits = addressBits(family);
  const all = (1n << BigInt(bits)) - 1n;
  const bitmask = /\bbitmask (\S+)/.exec(header)?.[1];
  if (bitmask !== undefined) {
    const mask = parseAddress(bitmask);
    return mask?.family === family ? mask.value : undefined;
  }
  const netmask = /\bnetmask (\d{1,3})\b/.exec(header)?.[1];
  if (netmask === undefined) return all;
  const length = Number(netmask);
  return length > bits ? undefined : all ^ ((1n << BigInt(bits - length)) - 1n);
}

function elementOf(entry: IpSetEntry, type: string, dimensions: readonly Dimension[]): Element {
  return {
    nomatch: entry.nomatch,
    parts: dimensions.map((dimension, i) =>
      compilePart(dimension, entry.parts[i] ?? '', type, entry.wildcard ?? false),
    ),
  };
}

/** Undefined for elements that stand for several keys. */
function keyOfElement({ parts }: Element): string | undefined {
  const keys: string[] = [];
  for (const part of parts) {
    if (part.kind === 'prefix') keys.push(addressKey(part.prefix, part.prefix.length));
    else if (part.kind === 'port' && part.from === part.to) keys.push(`${part.protocol ?? ''}:${part.from}`);
    else if (part.kind === 'mark') keys.push(String(part.mark));
    else return undefined;
  }
  return keys.join(' ');
}

const addressKey = (
  { family, value }: { readonly family: 4 | 6; readonly value: bigint },
  length: number,
): string => `${family}/${(value >> BigInt(addressBits(family) - length)).toString(36)}`;

/** The elements that can match, in no order. */
export function candidates(compiled: Compiled, values: readonly Value[]): readonly Element[] {
  const found: Element[] = [...compiled.others];
  for (const { lengths, elements } of compiled.shapes) {
    const key = keyOfValues(values, lengths, compiled.type);
    const same = key === undefined ? undefined : elements.get(key);
    if (same !== undefined) found.push(...same);
  }
  return found;
}

/** Undefined where a prefix is longer than the address. */
function keyOfValues(
  values: readonly Value[],
  lengths: readonly (number | undefined)[],
  type: string,
): string | undefined {
  const keys: string[] = [];
  for (const [i, value] of values.entries()) {
    const length = lengths[i];
    if (value.kind === 'address') {
      if (length === undefined || length > addressBits(value.family)) return undefined;
      keys.push(addressKey(value, length));
    } else if (value.kind === 'port')
      keys.push(type === 'bitmap:port' ? `:${value.port}` : `${value.protocol}:${value.port}`);
    else if (value.kind === 'mark') keys.push(String(value.mark));
    else return undefined;
  }
  return keys.join(' ');
}

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
    case 'mac': {
      if (text === '' && type === 'bitmap:ip,mac') return { kind: 'mac' };
      const address = parseMac(text);
      return address === undefined ? { kind: 'not-understood', text } : { kind: 'mac', address };
    }
  }
}

function addressPart(text: string): Part {
  const prefix = parsePrefix(text);
  if (prefix !== undefined) return { kind: 'prefix', prefix: makePrefix(prefix, prefix.length) };
  const [from, to, ...more] = text.split('-').map(parseAddress);
  if (from === undefined || to === undefined || more.length > 0 || from.family !== to.family)
    return { kind: 'not-understood', text };
  return { kind: 'range', family: from.family, from: from.value, to: to.value };
}

const protocols: Readonly<Record<string, number>> = {
  ...protocolNumber,
  'ipv6-icmp': 58,
  udplite: 136,
  gre: 47,
  esp: 50,
  ah: 51,
  dccp: 33,
};

/** Types by the names that ipset prints (ipset_get_icmp, ipset_get_icmpv6): type * 256 + code. */
const icmpNames: Readonly<Record<string, readonly (readonly [name: string, type: number, code: number])[]>> =
  {
    icmp: [
      ['echo-reply', 0, 0],
      ['pong', 0, 0],
      ['network-unreachable', 3, 0],
      ['host-unreachable', 3, 1],
      ['protocol-unreachable', 3, 2],
      ['port-unreachable', 3, 3],
      ['fragmentation-needed', 3, 4],
      ['source-route-failed', 3, 5],
      ['network-unknown', 3, 6],
      ['host-unknown', 3, 7],
      ['network-prohibited', 3, 9],
      ['host-prohibited', 3, 10],
      ['TOS-network-unreachable', 3, 11],
      ['TOS-host-unreachable', 3, 12],
      ['communication-prohibited', 3, 13],
      ['host-precedence-violation', 3, 14],
      ['precedence-cutoff', 3, 15],
      ['source-quench', 4, 0],
      ['network-redirect', 5, 0],
      ['host-redirect', 5, 1],
      ['TOS-network-redirect', 5, 2],
      ['TOS-host-redirect', 5, 3],
      ['echo-request', 8, 0],
      ['ping', 8, 0],
      ['router-advertisement', 9, 0],
      ['router-solicitation', 10, 0],
      ['ttl-zero-during-transit', 11, 0],
      ['ttl-zero-during-reassembly', 11, 1],
      ['ip-header-bad', 12, 0],
      ['required-option-missing', 12, 1],
      ['timestamp-request', 13, 0],
      ['timestamp-reply', 14, 0],
      ['address-mask-request', 17, 0],
      ['address-mask-reply', 18, 0],
    ],
    icmpv6: [
      ['no-route', 1, 0],
      ['communication-prohibited', 1, 1],
      ['address-unreachable', 1, 3],
      ['port-unreachable', 1, 4],
      ['packet-too-big', 2, 0],
      ['ttl-zero-during-transit', 3, 0],
      ['ttl-zero-during-reassembly', 3, 1],
      ['bad-header', 4, 0],
      ['unknown-header-type', 4, 1],
      ['unknown-option', 4, 2],
      ['echo-request', 128, 0],
      ['ping', 128, 0],
      ['echo-reply', 129, 0],
      ['pong', 129, 0],
      ['router-solicitation', 133, 0],
      ['router-advertisement', 134, 0],
      ['neighbour-solicitation', 135, 0],
      ['neigbour-solicitation', 135, 0],
      ['neighbour-advertisement', 136, 0],
      ['neigbour-advertisement', 136, 0],
      ['redirect', 137, 0],
    ],
  };

function namedIcmp(protocol: string, name: string): number | undefined {
  const found = icmpNames[protocol === 'ipv6-icmp' ? 'icmpv6' : protocol]?.find(([text]) => text === name);
  return found === undefined ? undefined : found[1] * 256 + found[2];
}

/** `tcp:80`, `80` (tcp), `udp:1000-2000`, `icmp:8/0`, `47:0`; bitmap:port has bare numbers for both protocols. */
function portPart(text: string, type: string): Part {
  const [before, after = ''] = text.includes(':') ? text.split(':', 2) : ['tcp', text];
  const protocolText = (before ?? '').toLowerCase();
  const protocol = /^[0-9]+$/.test(protocolText) ? Number(protocolText) : protocols[protocolText];
  if (protocol === undefined) return { kind: 'not-understood', text };
  const named = namedIcmp(protocolText, after);
  if (named !== undefined) return { kind: 'port', protocol, from: named, to: named };
  const icmp = /^([0-9]+)\/([0-9]+)$/.exec(after);
  if (icmp) {
    const value = Number(icmp[1]) * 256 + Number(icmp[2]);
    return { kind: 'port', protocol, from: value, to: value };
  }
  const range = /^([0-9]+)(?:-([0-9]+))?$/.exec(after);
  if (range === null) return { kind: 'not-understood', text };
  const from = Number(range[1]);
  const to = range[2] === undefined ? from : Number(range[2]);
  return type === 'bitmap:port' ? { kind: 'port', from, to } : { kind: 'port', protocol, from, to };
}
