/** Outcomes: making them, telling equal ones, and joining those of a fork. */
import { known } from '../../model/known.ts';
import type { Tuple } from '../../model/netns.ts';
import type { SourceRef } from '../../model/source.ts';
import { formatAddress } from '../../net/address.ts';
import type { Packet } from '../../net/packet.ts';
import { type Connections, refresh, type Tracking } from './conntrack.ts';
import type { HookOutcome } from './context.ts';
import type { State } from './state.ts';

/** The outcome of a packet that has come as far as `state`. */
export function outcome(
  state: State,
  verdict: HookOutcome['verdict'],
  netns: string,
  more?: Partial<
    Pick<
      HookOutcome,
      'decisive' | 'nearest' | 'rejectWith' | 'unknownBecause' | 'unknownWhy' | 'alternatives'
    >
  >,
): HookOutcome {
  const made: { -readonly [K in keyof HookOutcome]: HookOutcome[K] } = {
    verdict,
    packet: state.packet,
    tracking: state.tracking,
    connections: inFlight(refresh(state.connections, state.tracking), netns, state.tracking),
    share: state.share,
    steps: state.steps,
    unseenTables: noneUnseen,
  };
  const { decisive, path, routeMark } = state;
  if (decisive !== undefined) made.decisive = decisive;
  if (path !== undefined) made.path = path;
  if (routeMark !== undefined) made.routeMark = routeMark;
  return more === undefined ? made : Object.assign(made, more);
}

const noneUnseen = known([]);

/** The table with what the packet carries. Spelled out: each hook of each packet ends here. */
function inFlight(
  { entries, setChanges, nftChanges, balanced }: Connections,
  netns: string,
  tracking: Tracking,
): Connections {
  const carried = { netns, tracking };
  if (setChanges === undefined && nftChanges === undefined && balanced === undefined)
    return { entries, inFlight: carried };
  return {
    entries,
    inFlight: carried,
    ...(setChanges === undefined ? {} : { setChanges }),
    ...(nftChanges === undefined ? {} : { nftChanges }),
    ...(balanced === undefined ? {} : { balanced }),
  };
}

/** Two packets that nothing later can tell apart have one key; how they came to it does not matter. */
function keyOf(entry: HookOutcome): string {
  const { connection } = entry.tracking;
  return [
    entry.verdict,
    entry.rejectWith ?? '',
    entry.routeMark ?? '',
    packetKey(entry.packet),
    entry.tracking.state,
    entry.tracking.direction,
    entry.connections.setChanges?.length ?? 0,
    entry.connections.nftChanges?.length ?? 0,
    connection === undefined
      ? ''
      : [
          tupleKey(connection.original),
          tupleKey(connection.reply),
          connection.mark,
          connection.seenReply,
          JSON.stringify([connection.natDone, connection.natChanged, connection.tcp, connection.zone]),
        ].join(' '),
  ].join('|');
}

function packetKey(packet: Packet): string {
  const { icmp, flags } = packet;
  return [
    formatAddress(packet.src),
    packet.madeUp?.src?.of ?? packet.srcPort,
    formatAddress(packet.dst),
    packet.madeUp?.dst?.of ?? packet.dstPort,
    packet.protocol,
    packet.mark,
    packet.ttl,
    packet.tos ?? 0,
    icmp === undefined ? '' : JSON.stringify(icmp),
    flags === undefined ? '' : JSON.stringify(flags),
    packet.quoted === undefined ? '' : packetKey(packet.quoted),
  ].join(' ');
}

const tupleKey = (tuple: Tuple): string =>
  [
    formatAddress(tuple.src),
    tuple.madeUp?.src?.of ?? tuple.srcPort,
    formatAddress(tuple.dst),
    tuple.madeUp?.dst?.of ?? tuple.dstPort,
  ].join(' ');

/** Backends of a Service differ in their address: seen before keys are made. */
function goApart(outcomes: readonly HookOutcome[]): boolean {
  if (outcomes.length > 8) return false;
  return outcomes.every(({ packet }, i) =>
    outcomes.every(
      ({ packet: other }, j) =>
        i >= j || packet.dst.value !== other.dst.value || packet.dstPort !== other.dstPort,
    ),
  );
}

/** Joins equal outcomes; their shares add up. */
export function merge(outcomes: readonly HookOutcome[]): readonly HookOutcome[] {
  if (outcomes.length < 2 || goApart(outcomes)) return outcomes;
  const byKey = new Map<string, HookOutcome>();
  for (const entry of outcomes) {
    // Unknown outcomes stay apart: each has its own reasons.
    const key = entry.verdict === 'unknown' ? `unknown ${byKey.size}` : keyOf(entry);
    const same = byKey.get(key);
    byKey.set(key, same === undefined ? entry : { ...same, share: same.share + entry.share });
  }
  return [...byKey.values()];
}

/** Shares that differ by less than this are equal: they are sums of products of decimal fractions. */
const shareEpsilon = 1e-9;

/**
 * A rule that may or may not match: if both ways end alike, that is how it ends; else the end is unknown because of the rule.
 * `state` is the packet at the rule.
 */
export function joinDoubt(
  state: State,
  netns: string,
  because: readonly SourceRef[],
  why: string,
  matched: readonly HookOutcome[],
  unmatched: readonly HookOutcome[],
): readonly HookOutcome[] {
  const [a, b] = [merge(matched), merge(unmatched)];
  if (sameDistribution(a, b)) return b;
  const all = [...a, ...b];
  const nested = all.filter((entry) => entry.verdict === 'unknown');
  const possible = all.flatMap((entry) =>
    entry.verdict === 'unknown' ? (entry.alternatives ?? []) : [entry],
  );
  return [
    outcome(state, 'unknown', netns, {
      unknownBecause: distinctSources([...because, ...nested.flatMap((entry) => entry.unknownBecause ?? [])]),
      unknownWhy: why,
      alternatives: distinct(possible),
    }),
  ];
}

function sameDistribution(a: readonly HookOutcome[], b: readonly HookOutcome[]): boolean {
  if (a.length !== b.length) return false;
  const shares = new Map(b.map((entry) => [keyOf(entry), entry.share]));
  return a.every((entry) => {
    const share = shares.get(keyOf(entry));
    return entry.verdict !== 'unknown' && share !== undefined && Math.abs(share - entry.share) < shareEpsilon;
  });
}

function distinct(outcomes: readonly HookOutcome[]): readonly HookOutcome[] {
  const seen = new Map<string, HookOutcome>();
  for (const entry of outcomes) if (!seen.has(keyOf(entry))) seen.set(keyOf(entry), entry);
  return [...seen.values()];
}

const distinctSources = (sources: readonly SourceRef[]): readonly SourceRef[] => [...new Set(sources)];
