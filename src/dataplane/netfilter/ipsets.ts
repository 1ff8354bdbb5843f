/** ipset lookups as the kernel's set types do them, and what rules of the walk changed in the sets. */
import type { SetOperation } from '../../model/match-modules.ts';
import type { IpSet } from '../../model/netfilter.ts';
import type { Netns } from '../../model/netns.ts';
import { type MadeUpPort, whyMadeUp } from '../../net/made-up.ts';
import { type Packet, protocolNumber } from '../../net/packet.ts';
import { contains } from '../../net/prefix.ts';
import {
  type Compiled,
  candidates,
  compileSet,
  type Element,
  type Part,
  type Value,
} from './ipset-elements.ts';
import type { Truth } from './truth.ts';

export type SetDirection = 'src' | 'dst';

export interface SetQuery {
  readonly packet: Packet;
  readonly inDevice?: string | undefined;
  readonly outDevice?: string | undefined;
  readonly directions: readonly SetDirection[];
  /** --return-nomatch: elements marked `nomatch` count, the others do not. */
  readonly nomatch?: boolean;
  /** Whether the packet's frame has MAC addresses; absent if that is not known. */
  readonly framed?: boolean | undefined;
  readonly changes?: readonly SetChange[] | undefined;
}

/** What a SET rule did. */
export interface SetChange {
  readonly netns: string;
  readonly set: string;
  readonly how: 'add' | 'del';
  /** Undefined: which element it was is not known. */
  readonly values?: readonly Value[];
}

/** Whether the packet's fields are in the set. A set that is missing, or of a type not understood, is a doubt. */
export function inSet(netns: Netns, name: string, query: SetQuery): Truth {
  if (netns.ipsets.state === 'unknown') return { doubt: `set ${name}: ${netns.ipsets.why}` };
  const set = findSet(netns.ipsets.value, name);
  if (set === undefined) return { doubt: `set ${name} is not among the recorded sets` };
  if (set.type === 'list:set') return inListOfSets(netns, set, query);
  const compiled = compileSet(set);
  if (typeof compiled === 'string') return { doubt: `set ${name}: ${compiled}` };
  if (!takes(set, compiled, query)) return false;
  const values = valuesOf(compiled, query);
  if (values === undefined) return false;
  const unsure = madeUpPort(compiled, query);
  if (unsure !== undefined) return { doubt: `set ${name}: ${whyMadeUp(unsure)}` };
  const recorded = lookup(name, compiled, values, query);
  const changes = (query.changes ?? []).filter((one) => one.netns === netns.id && one.set === name);
  return changes.length === 0 ? recorded : changed(name, recorded, compiled, values, changes);
}

/** The port that the set asks for, where the kernel made it up. */
function madeUpPort({ dimensions }: Compiled, { packet, directions }: SetQuery): MadeUpPort | undefined {
  if (packet.madeUp === undefined || packet.icmp !== undefined) return undefined;
  for (const [i, dimension] of dimensions.entries()) {
    const made = dimension === 'port' ? packet.madeUp[directions[i] ?? 'src'] : undefined;
    if (made !== undefined) return made;
  }
  return undefined;
}

const setNames = new WeakMap<readonly IpSet[], ReadonlyMap<string, IpSet>>();

function findSet(sets: readonly IpSet[], name: string): IpSet | undefined {
  let names = setNames.get(sets);
  if (names === undefined) {
    names = new Map(sets.map((set) => [set.name, set]));
    setNames.set(sets, names);
  }
  return names.get(name);
}

/** ip_set_test: a set of the other family, or with more dimensions than directions, matches nothing. */
function takes(set: IpSet, { dimensions }: Compiled, { packet, directions }: SetQuery): boolean {
  const isAnyFamily = set.type === 'bitmap:port' || set.type === 'hash:mac';
  return (isAnyFamily || set.family === packet.src.family) && directions.length >= dimensions.length;
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

/** What the packet has in each dimension of the set; undefined where it has nothing there (the kadt functions' EINVAL). */
function valuesOf(compiled: Compiled, query: SetQuery): readonly Value[] | undefined {
  const { packet } = query;
  const values: Value[] = [];
  for (const [i, dimension] of compiled.dimensions.entries()) {
    const direction = query.directions[i] ?? 'src';
    switch (dimension) {
      case 'ip':
      case 'net': {
        const { family, value } = direction === 'src' ? packet.src : packet.dst;
        values.push({ kind: 'address', family, value: i === 0 ? value & compiled.addressMask : value });
        break;
      }
      case 'port': {
        const port = packetPort(packet, direction, compiled.type);
        if (port === undefined) return undefined;
        values.push({ kind: 'port', protocol: protocolNumber[packet.protocol], port });
        break;
      }
      case 'mark':
        values.push({ kind: 'mark', mark: (packet.mark & compiled.markMask) >>> 0 });
        break;
      case 'iface': {
        const name = direction === 'src' ? query.inDevice : query.outDevice;
        if (name === undefined) return undefined;
        values.push({ kind: 'iface', name });
        break;
      }
      case 'mac':
        // Own packets have no frame yet; others than Ethernet have no MAC address.
        if (query.inDevice === undefined || query.inDevice === 'lo' || query.framed === false)
          return undefined;
        values.push({ kind: 'some-mac' });
    }
  }
  return values;
}

/** ip_set_get_ip_port: ICMP's type and code stand for a port, other protocols have port 0; bitmap:port takes TCP and UDP. */
function packetPort(packet: Packet, direction: SetDirection, type: string): number | undefined {
  const { protocol, icmp } = packet;
  if (type === 'bitmap:port' && protocol !== 'tcp' && protocol !== 'udp') return undefined;
  if (icmp !== undefined) return icmp.type * 256 + icmp.code;
  return direction === 'src' ? packet.srcPort : packet.dstPort;
}

/** The most specific network that holds the packet's fields decides; a `nomatch` entry decides for no (mtype_test_cidrs). */
function lookup(name: string, compiled: Compiled, values: readonly Value[], query: SetQuery): Truth {
  let best: { readonly rank: number; readonly nomatch: boolean } | undefined;
  let doubt: string | undefined;
  for (const entry of deciding(compiled, values)) {
    const match = elementMatches(entry, values);
    if (match === false) continue;
    if (match !== true) {
      doubt = match;
      continue;
    }
    const rank = rankOf(entry);
    if (best === undefined || rank > best.rank) best = { rank, nomatch: entry.nomatch };
  }
  const takesNomatch = compiled.dimensions.includes('net');
  const found = best !== undefined && best.nomatch === (takesNomatch && (query.nomatch ?? false));
  // Without nomatch one element that surely matches is enough.
  if (doubt === undefined || (found && !takesNomatch)) return found;
  return { doubt: `set ${name}: ${doubt}` };
}

/** Earlier dimensions are the outer loop of the kernel's search. */
const rankOf = ({ parts }: Element): number =>
  parts.reduce((rank, part) => (part.kind === 'prefix' ? rank * 256 + part.prefix.length : rank), 0);

/** Text: why it is not known. */
function elementMatches({ parts }: Element, values: readonly Value[]): boolean | string {
  let why: string | undefined;
  for (const [i, part] of parts.entries()) {
    const value = values[i];
    const match = value === undefined ? false : partMatches(part, value);
    if (match === false) return false;
    if (match !== true) why = match;
  }
  return why ?? true;
}

function partMatches(part: Part, value: Value): boolean | string {
  switch (part.kind) {
    case 'prefix':
      return value.kind === 'address' && contains(part.prefix, value);
    case 'range':
      return (
        value.kind === 'address' &&
        part.family === value.family &&
        part.from <= value.value &&
        value.value <= part.to
      );
    case 'port':
      return (
        value.kind === 'port' &&
        (part.protocol === undefined || part.protocol === value.protocol) &&
        part.from <= value.port &&
        value.port <= part.to
      );
    case 'mark':
      return value.kind === 'mark' && value.mark === part.mark;
    case 'iface':
      return (
        value.kind === 'iface' &&
        (part.isPrefix ? value.name.startsWith(part.name) : part.name === value.name)
      );
    case 'mac':
      // bitmap_ipmac_do_test: an element without a MAC address takes the first one that comes.
      return part.address === undefined || 'the MAC address that the frame comes from is not followed';
    case 'not-understood':
      return `entry part ${part.text} is not understood`;
  }
}

/**
 * hash:net,iface looks no further than the most specific network that holds the address, whatever its device: data_equal
 * counts it as `multi` before it compares the device, and that ends mtype_test_cidrs.
 */
function deciding(compiled: Compiled, values: readonly Value[]): readonly Element[] {
  const elements = candidates(compiled, values);
  if (!compiled.dimensions.includes('iface')) return elements;
  const [value] = values;
  const lengthOf = ([part]: readonly Part[]): number =>
    part?.kind === 'prefix' && value !== undefined && partMatches(part, value) === true
      ? part.prefix.length
      : -1;
  const longest = elements.reduce((most, { parts }) => Math.max(most, lengthOf(parts)), -1);
  return elements.filter(({ parts }) => parts[0]?.kind !== 'prefix' || lengthOf(parts) === longest);
}

/** The last change of the packet's own element decides. */
function changed(
  name: string,
  recorded: Truth,
  { dimensions }: Compiled,
  values: readonly Value[],
  changes: readonly SetChange[],
): Truth {
  const unsure = { doubt: `a rule changed set ${name}, and which element it changed is not known` };
  // A network that a rule adds gets its length from the elements that are there (INIT_CIDR).
  if (dimensions.includes('net')) return unsure;
  let result = recorded;
  for (const change of changes) {
    if (change.values === undefined) result = unsure;
    else if (change.values.every((value, i) => sameValue(value, values[i]))) result = change.how === 'add';
  }
  return result;
}

const sameValue = (a: Value, b: Value | undefined): boolean => {
  if (b === undefined || a.kind !== b.kind) return false;
  switch (a.kind) {
    case 'address':
      return b.kind === 'address' && a.value === b.value;
    case 'port':
      return b.kind === 'port' && a.protocol === b.protocol && a.port === b.port;
    case 'mark':
      return b.kind === 'mark' && a.mark === b.mark;
    case 'iface':
      return b.kind === 'iface' && a.name === b.name;
    case 'some-mac':
      return false;
  }
};

/** ip_set_add and ip_set_del of xt_set: what a SET rule changes for this packet. Undefined: nothing. */
export function setChange(netns: Netns, operation: SetOperation, query: SetQuery): SetChange | undefined {
  const { set: name, how } = operation;
  if (how === 'map') return undefined;
  const unsure: SetChange = { netns: netns.id, set: name, how };
  const set = netns.ipsets.state === 'known' ? findSet(netns.ipsets.value, name) : undefined;
  const compiled = set === undefined || set.type === 'list:set' ? undefined : compileSet(set);
  if (set === undefined || compiled === undefined || typeof compiled === 'string') return unsure;
  if (!takes(set, compiled, query)) return undefined;
  const values = valuesOf(compiled, query);
  if (madeUpPort(compiled, query) !== undefined) return unsure;
  return values && { ...unsure, values };
}
