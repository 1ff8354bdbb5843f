/**
 * The whole connectivity in the small: the classes, the rows between them, and how many pairs of pods they stand for. Pairs are counted
 * without being listed: a destination's row is constant over long runs of sources, so a sweep over the sources meets only the changes.
 */

import { bothCells, type Cell, openCell } from './engine/cell.ts';
import type { Engine, EngineLayer } from './engine/engine.ts';
import type { Row } from './engine/rows.ts';

export interface Quotient {
  readonly classes: number;
  readonly pods: number;
  /** Distinct rows of all layers and directions. */
  readonly rows: number;
  /** Ordered pairs of pods, a pod with itself too, between which some port is allowed; and between which some is conditional only. */
  readonly allowedPairs: number;
  readonly conditionalPairs: number;
  readonly deniedPairs: number;
  /** Of every class's members and rows: the same connectivity gives the same text. */
  readonly fingerprint: string;
}

type Bucket = 'allow' | 'maybe' | 'deny';
const bucketOf = (cell: Cell): Bucket =>
  cell.allow.length > 0 ? 'allow' : cell.maybe.length > 0 ? 'maybe' : 'deny';

export function quotient(engine: Engine): Quotient {
  const { universe } = engine;
  const pods = universe.podsTo;
  const weights = universe.classes.slice(0, pods).map(({ members }) => members.length);
  const rows = new Set<Row>();
  const fingerprint = new Fingerprint();
  for (const layer of engine.layers)
    for (const direction of ['egress', 'ingress'] as const)
      for (let id = 0; id < pods; id++) {
        const row = layer.rows[direction].of(id);
        fingerprint.add(row, rows.has(row));
        rows.add(row);
      }
  for (const { members } of universe.classes.slice(0, pods))
    for (const end of members)
      if (end.kind === 'pod') fingerprint.text(`${end.pod.namespace}/${end.pod.name}`);
  const counts = countPairs(engine, weights);
  return {
    classes: universe.classes.length,
    pods: weights.reduce((sum, weight) => sum + weight, 0),
    rows: rows.size,
    allowedPairs: counts.allow,
    conditionalPairs: counts.maybe,
    deniedPairs: counts.deny,
    fingerprint: fingerprint.value(),
  };
}

/** What the layers together say of one direction at one subject, as one row. */
function combinedRow(layers: readonly EngineLayer[], direction: 'egress' | 'ingress', id: number): Row {
  const rows = layers.map((layer) => layer.rows[direction].of(id));
  const [only] = rows;
  if (rows.length === 1 && only !== undefined) return only;
  const starts = [...new Set(rows.flatMap((row) => [...row.starts]))].sort((a, b) => a - b);
  const at = rows.map(() => 0);
  const cells = starts.map((start) =>
    rows.reduce<Cell>((sum, row, i) => {
      while (
        (at[i] as number) + 1 < row.starts.length &&
        (row.starts[(at[i] as number) + 1] as number) <= start
      )
        at[i] = (at[i] as number) + 1;
      return bothCells(sum, row.cells[at[i] as number] as Cell);
    }, openCell),
  );
  return { starts: Int32Array.from(starts), cells };
}

function countPairs(engine: Engine, weights: readonly number[]): Record<Bucket, number> {
  const counts: Record<Bucket, number> = { allow: 0, maybe: 0, deny: 0 };
  const size = weights.length;
  const add = (src: number, dst: number, cell: Cell, sign = 1) => {
    counts[bucketOf(cell)] += sign * (weights[src] as number) * (weights[dst] as number);
  };
  if (engine.layers.some((layer) => layer.rewrites.length > 0)) {
    // A rewrite depends on both ends at once: every pair is asked.
    for (let src = 0; src < size; src++)
      for (let dst = 0; dst < size; dst++) add(src, dst, engine.cell(src, dst));
    return counts;
  }
  const join = joiner();
  const ingress = weights.map((_, id) => combinedRow(engine.layers, 'ingress', id));
  const { current, changes, totals } = ingressSweep(ingress, weights);
  for (let src = 0; src < size; src++) {
    for (const dst of changes.get(src) ?? []) {
      const row = ingress[dst] as Row;
      move(totals, current[dst] as Cell, nextCell(row, src), weights[dst] as number);
      current[dst] = nextCell(row, src);
    }
    const egress = combinedRow(engine.layers, 'egress', src);
    const main = widest(egress, size);
    for (const [cell, weight] of totals)
      counts[bucketOf(join(main, cell))] += weight * (weights[src] as number);
    eachOther(egress, main, size, (dst, cell) => {
      add(src, dst, join(main, current[dst] as Cell), -1);
      add(src, dst, join(cell, current[dst] as Cell));
    });
  }
  return counts;
}

interface Sweep {
  /** Of each destination the cell for the source at which the sweep stands. */
  readonly current: Cell[];
  /** Source -> destinations whose cell changes there. */
  readonly changes: ReadonlyMap<number, readonly number[]>;
  /** Cell -> how many pods are destinations with it. */
  readonly totals: Map<Cell, number>;
}

function ingressSweep(ingress: readonly Row[], weights: readonly number[]): Sweep {
  const changes = new Map<number, number[]>();
  const totals = new Map<Cell, number>();
  const current = ingress.map((row) => row.cells[0] as Cell);
  for (const [dst, row] of ingress.entries()) {
    totals.set(current[dst] as Cell, (totals.get(current[dst] as Cell) ?? 0) + (weights[dst] as number));
    for (let i = 1; i < row.starts.length; i++) {
      const start = row.starts[i] as number;
      const list = changes.get(start);
      if (list === undefined) changes.set(start, [dst]);
      else list.push(dst);
    }
  }
  return { current, changes, totals };
}

function move(totals: Map<Cell, number>, from: Cell, to: Cell, weight: number): void {
  const left = (totals.get(from) ?? 0) - weight;
  if (left === 0) totals.delete(from);
  else totals.set(from, left);
  totals.set(to, (totals.get(to) ?? 0) + weight);
}

function nextCell({ starts, cells }: Row, at: number): Cell {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] as number) <= at) low = middle;
    else high = middle;
  }
  return cells[low] as Cell;
}

/** The cell that most of the pods' classes have. */
function widest({ starts, cells }: Row, size: number): Cell {
  const spans = new Map<Cell, number>();
  for (const [i, cell] of cells.entries()) {
    const span = Math.min(starts[i + 1] ?? size, size) - Math.min(starts[i] as number, size);
    spans.set(cell, (spans.get(cell) ?? 0) + span);
  }
  return [...spans].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}

function eachOther(
  { starts, cells }: Row,
  main: Cell,
  size: number,
  visit: (id: number, cell: Cell) => void,
): void {
  for (const [i, cell] of cells.entries()) {
    if (cell === main) continue;
    const end = Math.min(starts[i + 1] ?? size, size);
    for (let id = starts[i] as number; id < end; id++) visit(id, cell);
  }
}

function joiner(): (a: Cell, b: Cell) => Cell {
  const known = new Map<Cell, Map<Cell, Cell>>();
  return (a, b) => {
    const inner = known.get(a) ?? new Map<Cell, Cell>();
    known.set(a, inner);
    const cell = inner.get(b) ?? bothCells(a, b);
    inner.set(b, cell);
    return cell;
  };
}

/** FNV-1a over 53 bits' worth of two halves: enough to tell results apart, and pure. */
class Fingerprint {
  private a = 0x811c9dc5;
  private b = 0x01000193;
  private readonly ids = new Map<Row, number>();

  add(row: Row, known: boolean): void {
    if (known) {
      this.number(this.ids.get(row) as number);
      return;
    }
    this.ids.set(row, this.ids.size);
    for (const [i, cell] of row.cells.entries()) {
      this.number(row.starts[i] as number);
      for (const port of cell.allow) this.number(port);
      for (const port of cell.maybe) this.number(-port);
    }
  }

  text(value: string): void {
    for (let i = 0; i < value.length; i++) this.number(value.charCodeAt(i));
  }

  value(): string {
    return [this.a, this.b].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
  }

  private number(value: number): void {
    this.a = Math.imul(this.a ^ (value & 0xffff), 0x01000193);
    this.b = Math.imul(this.b ^ (value >>> 7) ^ this.a, 0x85ebca6b);
  }
}
