/** Sets of many elements: which of them can cover a key, found by the part of the key that tells most of them apart. */
import type { Pattern } from './patterns.ts';
import type { Scalar } from './values.ts';

/** Elements that may cover a key, in their order; the others surely do not. */
export type Narrow<E> = (parts: readonly Scalar[]) => readonly E[];

/** Looking through a few costs less. */
const shortList = 16;

export function narrowing<E extends { readonly patterns: readonly Pattern[] }>(
  entries: readonly E[],
): Narrow<E> {
  if (entries.length <= shortList) return () => entries;
  const made = new Map<string, PartIndex>();
  const indexOf = (position: number, kind: 'number' | 'name'): PartIndex => {
    const name = `${kind} ${position}`;
    let index = made.get(name);
    if (index === undefined) {
      const patterns = entries.map((entry) => entry.patterns[position]);
      index = kind === 'number' ? numberIndex(patterns) : nameIndex(patterns);
      made.set(name, index);
    }
    return index;
  };
  return (parts) => {
    let best: { readonly index: PartIndex; readonly key: bigint | string } | undefined;
    for (const [position, part] of parts.entries()) {
      const key = sureKey(part);
      if (key === undefined) continue;
      const index = indexOf(position, typeof key === 'string' ? 'name' : 'number');
      if (index.distinct > (best?.index.distinct ?? 1)) best = { index, key };
    }
    if (best === undefined) return entries;
    const found = best.index.find(best.key);
    return found.sort((a, b) => a - b).flatMap((at) => entries[at] ?? []);
  };
}

const sureKey = (part: Scalar): bigint | string | undefined => {
  if (part.kind === 'name') return part.name;
  return part.kind === 'number' && part.unclear === undefined ? part.value : undefined;
};

interface PartIndex {
  /** How many values of the part are told apart. */
  readonly distinct: number;
  /** Positions in no order. */
  readonly find: (key: bigint | string) => number[];
}

interface Interval {
  readonly at: number;
  readonly from: bigint;
  readonly to: bigint;
}

/** Ranges by their lower ends; every other pattern fits or is in doubt, and so it is always found. */
function numberIndex(patterns: readonly (Pattern | undefined)[]): PartIndex {
  const always: number[] = [];
  const intervals: Interval[] = [];
  for (const [at, pattern] of patterns.entries()) {
    if (pattern?.kind === 'range') intervals.push({ at, from: pattern.from, to: pattern.to });
    else always.push(at);
  }
  intervals.sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
  // The farthest end so far: behind a place whose farthest end is too low nothing reaches the key.
  const farthest: bigint[] = [];
  let end = -1n;
  for (const { to } of intervals) {
    if (to > end) end = to;
    farthest.push(end);
  }
  const find = (key: bigint | string): number[] => {
    const found = [...always];
    if (typeof key === 'string') return found;
    for (let i = countUpTo(intervals, key) - 1; i >= 0 && (farthest[i] ?? key) >= key; i--) {
      const interval = intervals[i];
      if (interval !== undefined && interval.to >= key) found.push(interval.at);
    }
    return found;
  };
  return { distinct: new Set(intervals.map(({ from }) => from)).size, find };
}

/** How many intervals begin at the key or below. */
function countUpTo(intervals: readonly Interval[], key: bigint): number {
  let [low, high] = [0, intervals.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const from = intervals[middle]?.from;
    if (from !== undefined && from <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whole names; names by their start and everything else are always found. */
function nameIndex(patterns: readonly (Pattern | undefined)[]): PartIndex {
  const always: number[] = [];
  const byName = new Map<string, number[]>();
  for (const [at, pattern] of patterns.entries()) {
    if (pattern?.kind !== 'name' || pattern.isPrefix) always.push(at);
    else {
      const same = byName.get(pattern.name);
      if (same === undefined) byName.set(pattern.name, [at]);
      else same.push(at);
    }
  }
  const find = (key: bigint | string): number[] => [
    ...always,
    ...(typeof key === 'string' ? (byName.get(key) ?? []) : []),
  ];
  return { distinct: byName.size, find };
}
