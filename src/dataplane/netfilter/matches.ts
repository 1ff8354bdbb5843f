/** One match of one rule against one packet. */
import type { Match, Rule } from '../../model/netfilter.ts';
import { isMulticast, isUnspecified } from '../../net/address.ts';
import { portIn, whyMadeUp } from '../../net/made-up.ts';
import { type Packet, protocolNumber } from '../../net/packet.ts';
import { contains } from '../../net/prefix.ts';
import { addressType4 } from '../address-type.ts';
import { isLocal } from '../routing-tables.ts';
import type { Connections, Tracking } from './conntrack.ts';
import type { HookContext } from './context.ts';
import {
  entryMatches,
  hasFrames,
  hasState,
  macMatches,
  ownerMatches,
  packetTypeMatches,
  reversePathMatches,
} from './entry-matches.ts';
import { inSet } from './ipsets.ts';
import { moduleMatches } from './modules/match.ts';
import { allOf, type MatchResult, negateIf, type Truth } from './truth.ts';

/** What a rule looks at; the packet and its tracking change from rule to rule. */
export interface Subject {
  readonly context: HookContext;
  readonly packet: Packet;
  readonly tracking: Tracking;
  /** As the rules before left them; absent: as they came to the hook. */
  readonly connections?: Connections;
}

export function evaluateRule(rule: Rule, subject: Subject): MatchResult {
  const { matches } = rule;
  for (let i = 0; i < matches.length; i++) {
    const match = matches[i] as Match;
    const result = evaluateMatch(match, subject);
    if (result === false) return false;
    // Nearly every match is sure; the rare other ones are joined with all that stand behind them.
    if (result !== true) return allOf(joined(result, matches, i + 1, subject));
  }
  return true;
}

function* joined(
  first: MatchResult,
  matches: readonly Match[],
  from: number,
  subject: Subject,
): Generator<MatchResult> {
  yield first;
  for (const match of matches.slice(from)) yield evaluateMatch(match, subject);
}

const hasPorts = (packet: Packet): boolean =>
  packet.protocol === 'tcp' || packet.protocol === 'udp' || packet.protocol === 'sctp';

export function evaluateMatch(match: Match, subject: Subject): MatchResult {
  const { context, packet, tracking } = subject;
  switch (match.kind) {
    case 'protocol':
      return negateIf(
        match.negate,
        match.protocol === 0 || match.protocol === protocolNumber[packet.protocol],
      );
    case 'address':
      return negateIf(match.negate, contains(match.prefix, match.side === 'src' ? packet.src : packet.dst));
    case 'address-range': {
      const { value } = match.side === 'src' ? packet.src : packet.dst;
      return negateIf(match.negate, match.from <= value && value <= match.to);
    }
    case 'device': {
      const name = match.direction === 'in' ? context.inDevice : context.outDevice;
      return negateIf(match.negate, nameMatches(match.name, name));
    }
    case 'port':
      // Rules with ports stand beside a protocol match; other packets never get here with a yes.
      return hasPorts(packet) && negateIf(match.negate, portMatches(match, packet));
    case 'icmp-type':
      return packet.icmp !== undefined && negateIf(match.negate, icmpMatches(match, packet.icmp));
    case 'tcp-flags':
      return packet.protocol === 'tcp' && negateIf(match.negate, flagsMatch(match, packet));
    case 'ct-state':
      return negateIf(match.negate, hasState(tracking, match.states));
    case 'mark':
      return negateIf(match.negate, (packet.mark & match.mask) >>> 0 === match.value >>> 0);
    case 'connmark':
      // connmark_mt: without a connection the answer is no, negated or not.
      return (
        tracking.connection !== undefined &&
        negateIf(match.negate, (tracking.connection.mark & match.mask) >>> 0 === match.value >>> 0)
      );
    case 'set': {
      const { inDevice, outDevice } = context;
      return negateIf(
        match.negate,
        inSet(context.netns, match.set, {
          packet,
          inDevice,
          outDevice,
          directions: match.directions,
          framed: hasFrames(context),
          changes: (subject.connections ?? context.connections).setChanges,
          ...(match.nomatch === undefined ? {} : { nomatch: true }),
        }),
      );
    }
    case 'addrtype':
      return negateIf(match.negate, addressTypeMatches(match, subject));
    case 'statistic':
      return negateIf(match.negate, { chance: match.probability });
    case 'statistic-nth':
      return negateIf(match.negate, { chance: 1 / match.every });
    case 'physdev':
      return negateIf(match.negate, physdevMatches(match.condition, context));
    case 'physdev-name': {
      const name = match.direction === 'in' ? context.physIn : context.physOut;
      return negateIf(match.negate, name !== undefined && nameMatches(match.name, name));
    }
    case 'length':
      return negateIf(match.negate, match.from <= packet.lengthBytes && packet.lengthBytes <= match.to);
    case 'fragment':
      // Conntrack puts fragments together before any rule sees them (nf_defrag, priority -400).
      return negateIf(match.negate, false);
    case 'ct-entry':
      return entryMatches(match, tracking);
    case 'ttl':
      return negateIf(match.negate, compareTtl(match, packet.ttl));
    case 'tos':
      return negateIf(match.negate, ((packet.tos ?? 0) & match.mask) === match.value);
    case 'packet-type':
      return packetTypeMatches(match, subject);
    case 'mac':
      return macMatches(match, context);
    case 'owner':
      return ownerMatches(match, context);
    case 'reverse-path':
      return reversePathMatches(match, subject);
    case 'module':
      return moduleMatches(match, subject);
    case 'rate':
      // Hooks remark on what clients that were there before meet.
      if (match.affinity === true) return false;
      return { doubt: `whether "${match.text}" lets this packet pass depends on other traffic` };
    case 'always':
      return true;
    case 'unknown':
      return { doubt: `${match.text}: ${match.why}` };
  }
}

function compareTtl({ compare, value }: Extract<Match, { kind: 'ttl' }>, ttl: number): boolean {
  if (compare === 'eq') return ttl === value;
  return compare === 'lt' ? ttl < value : ttl > value;
}

/** A missing device is the empty name: only `+` matches it. */
function nameMatches(pattern: string, name: string | undefined): boolean {
  const actual = name ?? '';
  return pattern.endsWith('+') ? actual.startsWith(pattern.slice(0, -1)) : actual === pattern;
}

function portMatches(match: Extract<Match, { kind: 'port' }>, packet: Packet): Truth {
  const { srcPort, dstPort, madeUp } = packet;
  const inRanges = (side: 'src' | 'dst'): Truth => {
    const made = madeUp?.[side];
    const found = portIn(side === 'src' ? srcPort : dstPort, made, match.ranges);
    return found === 'maybe' ? { doubt: made === undefined ? '' : whyMadeUp(made) } : found;
  };
  if (match.side !== 'either') return inRanges(match.side);
  const [src, dst] = [inRanges('src'), inRanges('dst')];
  return src === true || dst === true ? true : src === false ? dst : src;
}

function icmpMatches(
  match: Extract<Match, { kind: 'icmp-type' }>,
  icmp: { readonly type: number; readonly code: number },
): boolean {
  if (match.type === undefined) return true;
  return match.type === icmp.type && (match.code === undefined || match.code === icmp.code);
}

/** PSH and URG are taken as clear: the walk's packets do not carry them. */
function flagsMatch(match: Extract<Match, { kind: 'tcp-flags' }>, packet: Packet): boolean {
  const all = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG'];
  const expand = (names: readonly string[]) =>
    names.flatMap((name) => (name === 'ALL' ? all : name === 'NONE' ? [] : [name]));
  const flags = packet.flags ?? {};
  const present = new Set<string>();
  if (flags.syn) present.add('SYN');
  if (flags.ack) present.add('ACK');
  if (flags.fin) present.add('FIN');
  if (flags.rst) present.add('RST');
  const wanted = new Set(expand(match.set));
  return expand(match.mask).every((name) => present.has(name) === wanted.has(name));
}

/** is-bridged means that an output port is chosen; routed packets keep only the port that they came in by. */
function physdevMatches(condition: 'is-bridged' | 'is-in' | 'is-out', context: HookContext): boolean {
  return condition === 'is-in' ? context.physIn !== undefined : context.physOut !== undefined;
}

function addressTypeMatches(match: Extract<Match, { kind: 'addrtype' }>, subject: Subject): Truth {
  const address = match.side === 'src' ? subject.packet.src : subject.packet.dst;
  const { netns, inDevice, outDevice } = subject.context;
  const onDevice =
    match.onDevice === undefined ? undefined : ((match.onDevice === 'in' ? inDevice : outDevice) ?? '');
  if (address.family === 6) {
    if (onDevice !== undefined) return { doubt: 'the type of an IPv6 address on one device is not followed' };
    // addrtype's address checks are ANDed; a route is asked only for the types that need one.
    if (match.types.includes('MULTICAST') && !isMulticast(address)) return false;
    if (match.types.includes('UNSPEC') && !isUnspecified(address)) return false;
    if (match.types.includes('UNICAST') && isMulticast(address)) return false;
    if (!match.types.includes('LOCAL')) return true;
    const local = isLocal(netns, address);
    return local === 'unknown' ? { doubt: 'local addresses are not known' } : local;
  }
  const found = addressType4(netns, address, onDevice);
  if (found.state === 'known') return match.types.includes(found.value.toUpperCase());
  const local = isLocal(netns, address);
  return local === 'unknown' ? { doubt: found.why } : match.types.includes(local ? 'LOCAL' : 'UNICAST');
}
