/** Matches of nftables as sets of field values. What has no such form is a condition of its own, known by its words. */
import type { NftExpr, NftStatement } from '../../../model/nft.ts';
import { addressBits, parseAddress } from '../../../net/address.ts';
import { parsePrefix } from '../../../net/prefix.ts';
import { bitSet, complement, type FieldSet, nameSet, rangeSet } from './field-sets.ts';
import { fragmentOf, portProtocols, protocols, stateSet, truth } from './vocabulary.ts';

export type Fields = readonly (readonly [string, FieldSet])[];

type NftMatch = Extract<NftStatement, { kind: 'match' }>;

/** `volatile` where equal packets can differ in the answer. */
export function fieldsOf(match: NftMatch, family: string): Fields | 'volatile' {
  if (isVolatile(match.left) || isVolatile(match.right)) return 'volatile';
  const negate = match.op === '!=';
  const direct = match.op === '==' || match.op === 'in' || negate ? directFields(match, family) : undefined;
  if (direct !== undefined) {
    const { implied, field, set } = direct;
    return [...implied, [field, negate ? complement(set) : set]];
  }
  const op = match.op === '!=' ? '==' : match.op;
  return [
    ...impliedBy(match.left),
    [`atom:${JSON.stringify([op, match.left, match.right])}`, truth(!negate)],
  ];
}

interface Direct {
  /** Hold whether or not the match is negated: the field exists only in such packets. */
  readonly implied: Fields;
  readonly field: string;
  readonly set: FieldSet;
}

function directFields({ op, left, right }: NftMatch, family: string): Direct | undefined {
  const implied = [...impliedBy(left), ...familyOf(left, family)];
  if (left.kind === 'payload') {
    const address = addressSet(left, right);
    if (address !== undefined) return { implied, ...address };
    if (left.field === 'sport' || left.field === 'dport') {
      const set = numberSet(right, 65_536, () => undefined);
      return set === undefined ? undefined : { implied, field: left.field, set };
    }
    if (left.protocol === 'ip' && left.field === 'protocol') return protocolField(implied, right);
    return undefined;
  }
  if (left.kind === 'meta') return metaFields(left.key, right, implied);
  if (left.kind === 'ct' && left.key === 'state') {
    const words = wordsOf(right);
    if (words === undefined || (op === '==' && words.length > 1)) return undefined;
    return { implied, field: 'state', set: stateSet(words.map((word) => word.toUpperCase())) };
  }
  return left.kind === 'binary' ? maskedField(left, right, implied) : undefined;
}

function metaFields(key: string, right: NftExpr, implied: Fields): Direct | undefined {
  if (key === 'iifname' || key === 'oifname') {
    const words = wordsOf(right);
    if (words === undefined) return undefined;
    const names = words.map((word) =>
      word.endsWith('*') ? { text: word.slice(0, -1), exact: false } : { text: word, exact: true },
    );
    return { implied, field: key.slice(0, 3), set: nameSet(names) };
  }
  if (key === 'l4proto') return protocolField(implied, right);
  if (key !== 'mark') return undefined;
  const value = wordOf(right);
  const number = typeof value === 'number' ? value : undefined;
  return number === undefined ? undefined : { implied, field: 'mark', set: bitSet(number, 0xffffffff) };
}

/** `meta mark & 0x4000 == 0x4000`. */
function maskedField(
  left: Extract<NftExpr, { kind: 'binary' }>,
  right: NftExpr,
  implied: Fields,
): Direct | undefined {
  const field =
    left.left.kind === 'meta' && left.left.key === 'mark'
      ? 'mark'
      : left.left.kind === 'ct' && left.left.key === 'mark'
        ? 'connmark'
        : undefined;
  const [mask, value] = [wordOf(left.right), wordOf(right)];
  if (field === undefined || left.op !== '&' || typeof mask !== 'number' || typeof value !== 'number')
    return undefined;
  return { implied, field, set: bitSet(value, mask) };
}

function protocolField(implied: Fields, right: NftExpr): Direct | undefined {
  const set = numberSet(right, 256, (word) => protocolNumbers[word]);
  return set === undefined ? undefined : { implied, field: 'proto', set };
}

const protocolNumbers: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  ipip: 4,
  tcp: 6,
  udp: 17,
  dccp: 33,
  gre: 47,
  esp: 50,
  ah: 51,
  'ipv6-icmp': 58,
  icmpv6: 58,
  sctp: 132,
  udplite: 136,
};

/** Header fields exist in packets of that header only. */
function impliedBy(left: NftExpr): Fields {
  const header = left.kind === 'binary' ? left.left : left;
  if (header.kind !== 'payload') return [];
  if (header.protocol === 'th') return [['proto', portProtocols], fragmentOf(false)];
  const number = protocolNumbers[header.protocol];
  return number === undefined ? [] : [['proto', protocols([number])], fragmentOf(false)];
}

/** In tables of several families `ip saddr` takes IPv4 packets only. */
function familyOf(left: NftExpr, family: string): Fields {
  if (left.kind !== 'payload' || family === 'ip' || family === 'ip6') return [];
  if (left.protocol !== 'ip' && left.protocol !== 'ip6') return [];
  return [['nfproto', rangeSet(left.protocol === 'ip' ? [[4, 4]] : [[6, 6]], 16)]];
}

function addressSet(
  left: Extract<NftExpr, { kind: 'payload' }>,
  right: NftExpr,
): { field: string; set: FieldSet } | undefined {
  if ((left.protocol !== 'ip' && left.protocol !== 'ip6') || !/^[sd]addr$/.test(left.field)) return undefined;
  const family = left.protocol === 'ip' ? 4 : 6;
  const ranges = partsOf(right).map((part) => addressRange(part, family));
  const known = ranges.filter((range) => range !== undefined);
  if (known.length === 0 || known.length < ranges.length) return undefined;
  const field = `${left.field === 'saddr' ? 'src' : 'dst'}${family}`;
  return { field, set: rangeSet(known, 1n << BigInt(addressBits(family))) };
}

function addressRange(part: NftExpr, family: 4 | 6): readonly [bigint, bigint] | undefined {
  if (part.kind === 'range') {
    const [from, to] = [addressRange(part.from, family), addressRange(part.to, family)];
    return from === undefined || to === undefined ? undefined : [from[0], to[1]];
  }
  if (part.kind === 'prefix') {
    const base = wordOf(part.address);
    const found = typeof base === 'string' ? parsePrefix(`${base}/${part.length}`) : undefined;
    if (found === undefined || found.family !== family) return undefined;
    return [found.value, found.value + (1n << BigInt(addressBits(family) - found.length)) - 1n];
  }
  const word = wordOf(part);
  const found = typeof word === 'string' ? parseAddress(word) : undefined;
  return found === undefined || found.family !== family ? undefined : [found.value, found.value];
}

function numberSet(
  right: NftExpr,
  limit: number,
  named: (word: string) => number | undefined,
): FieldSet | undefined {
  const number = (value: NftExpr): number | undefined => {
    const word = wordOf(value);
    if (typeof word === 'number') return word;
    if (typeof word !== 'string') return undefined;
    return /^[0-9]+$/.test(word) ? Number(word) : named(word);
  };
  const ranges: [number, number][] = [];
  for (const part of partsOf(right)) {
    const [from, to] =
      part.kind === 'range' ? [number(part.from), number(part.to)] : [number(part), number(part)];
    if (from === undefined || to === undefined) return undefined;
    ranges.push([from, to]);
  }
  return ranges.length === 0 ? undefined : rangeSet(ranges, limit);
}

/** The members of a set that is written out, of a list, or the one value. */
function partsOf(right: NftExpr): readonly NftExpr[] {
  if (right.kind === 'set') return right.set.elements.map(({ key }) => key);
  return right.kind === 'list' ? right.items : [right];
}

const wordOf = (value: NftExpr): string | number | undefined =>
  value.kind === 'constant' && typeof value.value !== 'boolean' ? value.value : undefined;

function wordsOf(right: NftExpr): readonly string[] | undefined {
  const words = partsOf(right).map(wordOf);
  return words.every((word) => typeof word === 'string') ? (words as string[]) : undefined;
}

/** Chance, and whatever is not understood. */
function isVolatile(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if ('kind' in value && (value.kind === 'spread' || value.kind === 'unknown')) return true;
  return Object.values(value).some(isVolatile);
}
