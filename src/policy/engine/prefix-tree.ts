/**
 * All prefixes that policies name, as the tree they form: any two are nested or disjoint. Every address has one deepest prefix, and two
 * addresses with the same deepest prefix are the same to every policy. In the order of (family, first address, length) each prefix comes
 * before those inside of it, so a prefix with all that lies inside is one run of numbers.
 */
import { type Address, addressBits, type Family } from '../../net/address.ts';
import { type IdSet, idRange } from '../../net/id-set.ts';
import { contains, covers, type Prefix, prefix } from '../../net/prefix.ts';

export interface PrefixTree {
  readonly nodes: readonly PrefixNode[];
  /** Numbers of the prefix and of all inside of it. The prefix must be one that the tree was made from. */
  readonly inside: (of: Prefix) => IdSet;
  readonly has: (one: Prefix) => boolean;
  /** Number of the deepest prefix that holds the address. */
  readonly deepest: (of: Address) => number;
}

export interface PrefixNode {
  readonly prefix: Prefix;
  readonly parent: number;
  readonly children: readonly number[];
  /** One past the last number inside. */
  readonly end: number;
  /** True if the prefixes inside leave no address over. */
  readonly empty: boolean;
}

const roots = [prefix('0.0.0.0/0'), prefix('::/0')];
const keyOf = (p: Prefix): string => `${p.family}/${p.value}/${p.length}`;

export function prefixTree(prefixes: Iterable<Prefix>): PrefixTree {
  const distinct = new Map<string, Prefix>();
  for (const one of [...roots, ...prefixes]) distinct.set(keyOf(one), one);
  const sorted = [...distinct.values()].sort(
    (a, b) => a.family - b.family || (a.value < b.value ? -1 : a.value > b.value ? 1 : a.length - b.length),
  );
  const nodes = linked(sorted);
  const numbers = new Map(sorted.map((one, i) => [keyOf(one), i] as const));
  const firstOf6 = sorted.findIndex(({ family }) => family === 6);
  return {
    nodes,
    inside: (of) => {
      const at = numbers.get(keyOf(of));
      if (at === undefined) throw new RangeError(`prefix ${keyOf(of)} is not in the tree`);
      return idRange(at, (nodes[at] as PrefixNode).end);
    },
    has: (one) => numbers.has(keyOf(one)),
    deepest: (of) => deepest(nodes, of, of.family === 4 ? [0, firstOf6] : [firstOf6, nodes.length]),
  };
}

function linked(sorted: readonly Prefix[]): PrefixNode[] {
  const parents: number[] = [];
  const children: number[][] = sorted.map(() => []);
  const ends: number[] = sorted.map(() => sorted.length);
  const open: number[] = [];
  for (const [i, one] of sorted.entries()) {
    while (open.length > 0 && !covers(sorted[open[open.length - 1] as number] as Prefix, one))
      ends[open.pop() as number] = i;
    const parent = open[open.length - 1] ?? -1;
    parents.push(parent);
    if (parent >= 0) (children[parent] as number[]).push(i);
    open.push(i);
  }
  return sorted.map((one, i) => {
    const inner = children[i] as number[];
    const taken = inner.reduce((sum, child) => sum + sizeOf(sorted[child] as Prefix), 0n);
    return {
      prefix: one,
      parent: parents[i] as number,
      children: inner,
      end: ends[i] as number,
      empty: taken === sizeOf(one),
    };
  });
}

const sizeOf = (p: Prefix): bigint => 1n << BigInt(addressBits(p.family) - p.length);

function deepest(nodes: readonly PrefixNode[], of: Address, [first, end]: readonly [number, number]): number {
  let low = first;
  let high = end;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((nodes[middle] as PrefixNode).prefix.value <= of.value) low = middle;
    else high = middle;
  }
  let at = low;
  while (!contains((nodes[at] as PrefixNode).prefix, of)) at = (nodes[at] as PrefixNode).parent;
  return at;
}

/** The addresses of a node that lie in none of its children, as prefixes. */
export function ownPrefixes(nodes: readonly PrefixNode[], at: number): Prefix[] {
  const { prefix: own, children } = nodes[at] as PrefixNode;
  const left: Prefix[] = [];
  let from = own.value;
  for (const child of children) {
    const inner = (nodes[child] as PrefixNode).prefix;
    left.push(...rangePrefixes(own.family, from, inner.value));
    from = inner.value + sizeOf(inner);
  }
  left.push(...rangePrefixes(own.family, from, own.value + sizeOf(own)));
  return left;
}

/** The fewest prefixes that cover [from, to). */
export function rangePrefixes(family: Family, from: bigint, to: bigint): Prefix[] {
  const out: Prefix[] = [];
  const bits = BigInt(addressBits(family));
  let at = from;
  while (at < to) {
    let host = 0n;
    while (host < bits && at % (1n << (host + 1n)) === 0n && at + (1n << (host + 1n)) <= to) host++;
    out.push({ family, value: at, length: Number(bits - host) });
    at += 1n << host;
  }
  return out;
}
