/**
 * Sets of small whole numbers as sorted intervals: [from, to) pairs, flat, disjoint and not touching. Numbers that belong together are
 * given out in a row, so "all pods" or "the namespace" is one pair, and the complement of a set is as small as the set.
 */
export type IdSet = Int32Array;

export const noIds: IdSet = new Int32Array(0);

export const idRange = (from: number, to: number): IdSet => (from < to ? Int32Array.of(from, to) : noIds);

/** `ids` sorted, each once. */
export function idsFrom(ids: ArrayLike<number>): IdSet {
  const out: number[] = [];
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number;
    if (out.length > 0 && out[out.length - 1] === id) out[out.length - 1] = id + 1;
    else out.push(id, id + 1);
  }
  return Int32Array.from(out);
}

export function unionIds(a: IdSet, b: IdSet): IdSet {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const out = new Int32Array(a.length + b.length);
  let size = 0;
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const takeA = j >= b.length || (i < a.length && (a[i] as number) <= (b[j] as number));
    const from = (takeA ? a[i] : b[j]) as number;
    const to = (takeA ? a[i + 1] : b[j + 1]) as number;
    if (takeA) i += 2;
    else j += 2;
    if (size > 0 && (out[size - 1] as number) >= from) {
      if ((out[size - 1] as number) < to) out[size - 1] = to;
    } else {
      out[size++] = from;
      out[size++] = to;
    }
  }
  return out.slice(0, size);
}

/** All sets in one: neighbours are united first, so that each interval is copied a logarithmic number of times. */
export function unionAll(sets: readonly IdSet[]): IdSet {
  if (sets.length === 0) return noIds;
  let round = sets;
  while (round.length > 1) {
    const next: IdSet[] = [];
    for (let i = 0; i < round.length; i += 2) {
      const second = round[i + 1];
      next.push(second === undefined ? (round[i] as IdSet) : unionIds(round[i] as IdSet, second));
    }
    round = next;
  }
  return round[0] as IdSet;
}

/** The smaller set leads: the intervals of the larger one are found by doubling steps, so a short set meets a long one in little time. */
export function intersectIds(a: IdSet, b: IdSet): IdSet {
  const [small, large] = a.length <= b.length ? [a, b] : [b, a];
  if (small.length === 0) return noIds;
  const out: number[] = [];
  let at = 0;
  for (let i = 0; i < small.length; i += 2) {
    const from = small[i] as number;
    const to = small[i + 1] as number;
    at = seek(large, at, from);
    for (let j = at; j < large.length && (large[j] as number) < to; j += 2)
      out.push(Math.max(from, large[j] as number), Math.min(to, large[j + 1] as number));
    if (at >= large.length) break;
  }
  return out.length === 0 ? noIds : Int32Array.from(out);
}

/** The first interval at or behind `start` (an even index) that ends after `value`. */
function seek(set: IdSet, start: number, value: number): number {
  let step = 2;
  let low = start;
  while (low + step < set.length && (set[low + step + 1] as number) <= value) {
    low += step;
    step *= 2;
  }
  let high = Math.min(set.length, low + step + 2);
  while (low < high) {
    const middle = ((low + high) >> 2) << 1;
    if ((set[middle + 1] as number) <= value) low = middle + 2;
    else high = middle;
  }
  return low;
}

/** Within 0 to `size`, exclusive. */
export function complementIds(a: IdSet, size: number): IdSet {
  const out = new Int32Array(a.length + 2);
  let count = 0;
  let from = 0;
  for (let i = 0; i < a.length; i += 2) {
    if ((a[i] as number) > from) {
      out[count++] = from;
      out[count++] = a[i] as number;
    }
    from = a[i + 1] as number;
  }
  if (from < size) {
    out[count++] = from;
    out[count++] = size;
  }
  return out.slice(0, count);
}

export function hasId(set: IdSet, id: number): boolean {
  const at = seek(set, 0, id);
  return at < set.length && (set[at] as number) <= id;
}

export function countIds(set: IdSet): number {
  let count = 0;
  for (let i = 0; i < set.length; i += 2) count += (set[i + 1] as number) - (set[i] as number);
  return count;
}

export function* eachId(set: IdSet): Generator<number> {
  for (let i = 0; i < set.length; i += 2)
    for (let id = set[i] as number; id < (set[i + 1] as number); id++) yield id;
}
