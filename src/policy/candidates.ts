/**
 * Pairs of classes worth a look. Most pairs of a closed cluster are denied, and a list that asked for each of them would take the square
 * of the pods; the rows of both ends tell in runs who can be reached at all.
 */
import type { Cell } from './engine/cell.ts';
import type { Engine } from './engine/engine.ts';
import type { Row } from './engine/rows.ts';

/** Flat pairs [from, to) of class numbers, ascending. */
type Runs = readonly number[];

/** Entries of the index of destinations by their sources; rows past it are looked at one by one. */
const maxIndexed = 20_000_000;

/**
 * For a source's class the classes of pods, ascending, that may have something to say: all for which `says` holds of the joint cell are
 * among them. `says` must not hold of less where it does not hold of more.
 */
export function candidates(
  engine: Engine,
  says: (cell: Cell) => boolean,
): (src: number) => readonly number[] {
  const size = engine.universe.podsTo;
  const known = new Map<Row, Runs>();
  const runsOf = (row: Row): Runs => {
    const runs = known.get(row) ?? speakingRuns(row, size, says);
    known.set(row, runs);
    return runs;
  };
  const [first, ...more] = engine.layers;
  if (first === undefined) return () => range(0, size);
  const { always, incoming } = indexSources(size, (dst) => runsOf(first.rows.ingress.of(dst)));
  return (src) => {
    // Rewrites and further layers only take away: one layer's runs are enough to find all, the shortest are the best.
    let egress = runsOf(first.rows.egress.of(src));
    for (const layer of more) {
      const other = runsOf(layer.rows.egress.of(src));
      if (lengthOf(other) < lengthOf(egress)) egress = other;
    }
    const sparse = incoming[src] ?? [];
    if (lengthOf(egress) <= always.length + sparse.length) return expand(egress);
    return within(merge(always, sparse), egress);
  };
}

function speakingRuns({ starts, cells }: Row, size: number, says: (cell: Cell) => boolean): Runs {
  const runs: number[] = [];
  for (const [i, cell] of cells.entries()) {
    const from = starts[i] as number;
    const to = Math.min(starts[i + 1] ?? size, size);
    if (from >= to || !says(cell)) continue;
    if (runs.at(-1) === from) runs[runs.length - 1] = to;
    else runs.push(from, to);
  }
  return runs;
}

function lengthOf(runs: Runs): number {
  let sum = 0;
  for (let i = 0; i < runs.length; i += 2) sum += (runs[i + 1] as number) - (runs[i] as number);
  return sum;
}

/** `incoming[src]`: destinations that few sources reach. `always`: those that most do, or for which the index has no room. */
function indexSources(
  size: number,
  runsOf: (dst: number) => Runs,
): { readonly always: readonly number[]; readonly incoming: readonly (readonly number[] | undefined)[] } {
  const always: number[] = [];
  const incoming = new Array<number[] | undefined>(size);
  let indexed = 0;
  for (let dst = 0; dst < size; dst++) {
    const runs = runsOf(dst);
    const length = lengthOf(runs);
    if (length > size / 2 || indexed + length > maxIndexed) {
      always.push(dst);
      continue;
    }
    indexed += length;
    for (let i = 0; i < runs.length; i += 2)
      for (let src = runs[i] as number; src < (runs[i + 1] as number); src++) {
        const list = incoming[src];
        if (list === undefined) incoming[src] = [dst];
        else list.push(dst);
      }
  }
  return { always, incoming };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

function expand(runs: Runs): number[] {
  const out: number[] = [];
  for (let i = 0; i < runs.length; i += 2)
    for (let id = runs[i] as number; id < (runs[i + 1] as number); id++) out.push(id);
  return out;
}

/** Two sorted lists without a common member as one. */
function merge(a: readonly number[], b: readonly number[]): readonly number[] {
  if (b.length === 0) return a;
  const out: number[] = [];
  let j = 0;
  for (const id of a) {
    for (; j < b.length && (b[j] as number) < id; j++) out.push(b[j] as number);
    out.push(id);
  }
  for (; j < b.length; j++) out.push(b[j] as number);
  return out;
}

function within(ids: readonly number[], runs: Runs): readonly number[] {
  if (runs.length === 2 && runs[0] === 0 && (ids.at(-1) ?? -1) < (runs[1] as number)) return ids;
  const out: number[] = [];
  let i = 0;
  for (const id of ids) {
    while (i < runs.length && (runs[i + 1] as number) <= id) i += 2;
    if (i >= runs.length) break;
    if (id >= (runs[i] as number)) out.push(id);
  }
  return out;
}
