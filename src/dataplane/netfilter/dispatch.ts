/**
 * Long chains by what their rules look at: of ten thousand rules that each ask for another address a packet tries the few that
 * can match it, in their order. A rule is left out only where one of its conditions is surely false for the packet.
 */
import type { Chain, Match, Rule } from '../../model/netfilter.ts';
import { addressBits, type Family } from '../../net/address.ts';
import { type Packet, protocolNumber } from '../../net/packet.ts';
import type { Prefix } from '../../net/prefix.ts';

/** What a rule's place in the index depends on. It must not change between two rules that are tried. */
export interface Seen {
  readonly packet: Packet;
  readonly inDevice?: string | undefined;
  readonly outDevice?: string | undefined;
}

type Key = number | bigint | string;

/** One way to read a packet: the rules that read it so are told apart by the value that they ask for. */
export type Lane =
  | {
      readonly kind: 'address';
      readonly side: 'src' | 'dst';
      readonly family: Family;
      readonly length: number;
    }
  | { readonly kind: 'port'; readonly side: 'src' | 'dst' }
  | { readonly kind: 'mark'; readonly mask: number }
  | { readonly kind: 'protocol' }
  /** `length` is that of a name with `+`; absent for a whole name. */
  | { readonly kind: 'device'; readonly direction: 'in' | 'out'; readonly length?: number };

/** A rule matches no packet that reads otherwise. */
export interface Condition {
  readonly lane: Lane;
  readonly key: Key;
}

/** Index of the first rule at or behind `from` that may match; the number of rules if there is none. */
export type NextRule = (from: number) => number;

/** Finding the rules of a short chain costs more than trying them. */
export const shortChain = 12;

const compiled = new WeakMap<Chain, Dispatch>();

/** The rules of a chain that may match, those that only look among them: a walk may be asked for all that matched. */
export function nextRules(chain: Chain, seen: Seen): NextRule | undefined {
  if (chain.rules.length <= shortChain) return undefined;
  let dispatch = compiled.get(chain);
  if (dispatch === undefined) {
    dispatch = makeDispatch(chain.rules, conditionsOf);
    compiled.set(chain, dispatch);
  }
  return dispatch(seen);
}

function conditionsOf(rule: Rule): readonly Condition[] {
  const conditions: Condition[] = [];
  for (const match of rule.matches) {
    const condition = conditionOf(match);
    if (condition !== undefined) conditions.push(condition);
  }
  return conditions;
}

function conditionOf(match: Match): Condition | undefined {
  if (match.kind === 'rate' || match.kind === 'always' || match.kind === 'unknown' || match.negate)
    return undefined;
  switch (match.kind) {
    case 'address':
      return match.prefix.length === 0 ? undefined : addressCondition(match.side, match.prefix);
    case 'port': {
      const [range, ...more] = match.ranges;
      if (match.side === 'either' || more.length > 0 || range?.from !== range?.to) return undefined;
      return range && { lane: match.side === 'src' ? sourcePort : destinationPort, key: range.from };
    }
    case 'protocol':
      return match.protocol === 0 ? undefined : { lane: protocolLane, key: match.protocol };
    case 'mark':
      return { lane: { kind: 'mark', mask: match.mask }, key: match.value >>> 0 };
    case 'device':
      return match.name.endsWith('+')
        ? deviceCondition(match.direction, match.name.slice(0, -1), true)
        : deviceCondition(match.direction, match.name, false);
    default:
      return undefined;
  }
}

const protocolLane: Lane = { kind: 'protocol' };
const sourcePort: Lane = { kind: 'port', side: 'src' };
const destinationPort: Lane = { kind: 'port', side: 'dst' };

export const addressCondition = (side: 'src' | 'dst', { family, length, value }: Prefix): Condition => ({
  lane: { kind: 'address', side, family, length },
  key: networkKey(family, length, value),
});

/** A name, or the start of names; the empty start asks for nothing. */
export function deviceCondition(
  direction: 'in' | 'out',
  name: string,
  isPrefix: boolean,
): Condition | undefined {
  if (!isPrefix) return { lane: { kind: 'device', direction }, key: name };
  const { length } = name;
  return length === 0 ? undefined : { lane: { kind: 'device', direction, length }, key: name };
}

/** Plain numbers where they hold the value: Maps find them several times faster. */
function networkKey(family: Family, length: number, value: bigint): Key {
  const bits = addressBits(family);
  const network = length === bits ? value : value >> BigInt(bits - length);
  return family === 4 ? Number(network) : network;
}

/** What the packet has where the lane looks; undefined if it has nothing there, and so no rule of the lane matches. */
function readKey(lane: Lane, { packet, inDevice, outDevice }: Seen): Key | undefined {
  switch (lane.kind) {
    case 'address': {
      const { family, value } = lane.side === 'src' ? packet.src : packet.dst;
      return family === lane.family ? networkKey(family, lane.length, value) : undefined;
    }
    case 'port': {
      const { protocol } = packet;
      if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') return undefined;
      return lane.side === 'src' ? packet.srcPort : packet.dstPort;
    }
    case 'mark':
      return (packet.mark & lane.mask) >>> 0;
    case 'protocol':
      return protocolNumber[packet.protocol];
    case 'device': {
      const name = (lane.direction === 'in' ? inDevice : outDevice) ?? '';
      if (lane.length === undefined) return name;
      return name.length < lane.length ? undefined : name.slice(0, lane.length);
    }
  }
}

/** Gives the rules that a packet can match. */
export type Dispatch = (seen: Seen) => NextRule;

interface LaneIndex {
  readonly lane: Lane;
  /** How many rules of the chain ask for a value. */
  readonly counts: Map<Key, number>;
  /** The rules that are found by it. */
  readonly buckets: Map<Key, number[]>;
}

/** `conditions` of a rule: all must hold; without any the rule is left to every packet. */
export function makeDispatch<R>(
  rules: readonly R[],
  conditions: (rule: R) => readonly Condition[],
): Dispatch {
  const lanes = new Map<string, LaneIndex>();
  const all = rules.map((rule) => conditions(rule).map((condition) => counted(lanes, condition)));
  const unconditional: number[] = [];
  for (const [index, own] of all.entries()) (rarestBucket(own) ?? unconditional).push(index);
  const used = [...lanes.values()].filter(({ buckets }) => buckets.size > 0);
  return (seen) => {
    const lists = unconditional.length > 0 ? [unconditional] : [];
    for (const { lane, buckets } of used) {
      // A port that the kernel made up may be any of them.
      if (lane.kind === 'port' && seen.packet.madeUp?.[lane.side] !== undefined) {
        for (const bucket of buckets.values()) lists.push(bucket);
        continue;
      }
      const key = readKey(lane, seen);
      const bucket = key === undefined ? undefined : buckets.get(key);
      if (bucket !== undefined) lists.push(bucket);
    }
    return (from) => {
      let next = rules.length;
      for (const list of lists) next = Math.min(next, firstFrom(list, from) ?? next);
      return next;
    };
  };
}

interface Place {
  readonly index: LaneIndex;
  readonly key: Key;
}

function counted(lanes: Map<string, LaneIndex>, { lane, key }: Condition): Place {
  const name = nameOf(lane);
  let index = lanes.get(name);
  if (index === undefined) {
    index = { lane, counts: new Map(), buckets: new Map() };
    lanes.set(name, index);
  }
  index.counts.set(key, (index.counts.get(key) ?? 0) + 1);
  return { index, key };
}

/** Each rule is found by the condition that the fewest others share. */
function rarestBucket(places: readonly Place[]): number[] | undefined {
  let rarest: Place | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const place of places) {
    const count = place.index.counts.get(place.key) ?? 0;
    if (count < least) [rarest, least] = [place, count];
  }
  if (rarest === undefined) return undefined;
  const { index, key } = rarest;
  let bucket = index.buckets.get(key);
  if (bucket === undefined) {
    bucket = [];
    index.buckets.set(key, bucket);
  }
  return bucket;
}

function nameOf(lane: Lane): string {
  switch (lane.kind) {
    case 'address':
      return `${lane.side}${lane.family}/${lane.length}`;
    case 'port':
      return `${lane.side} port`;
    case 'mark':
      return `mark ${lane.mask}`;
    case 'protocol':
      return 'protocol';
    case 'device':
      return `${lane.direction} ${lane.length ?? 'whole'}`;
  }
}

/** Of ascending numbers. */
function firstFrom(list: readonly number[], from: number): number | undefined {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle] ?? 0) < from) low = middle + 1;
    else high = middle;
  }
  return list[low];
}
