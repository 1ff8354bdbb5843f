/**
 * The whole connectivity in the small: the classes, the rows between them, and how many pairs of pods they stand for. Pairs are counted
 * without being listed: a destination's row is constant over long runs of sources, so a sweep over the sources meets only the changes.
 */

import { eachId, hasId, type IdSet, idRange, intersectIds, noIds, unionIds } from '../net/id-set.ts';
import { type PortSet, portless } from '../net/port-set.ts';
import { bothCells, type Cell, openCell } from './engine/cell.ts';
import type { EditedEngine } from './engine/edit.ts';
import type { Engine, EngineLayer } from './engine/engine.ts';
import { cellAt, type Row } from './engine/rows.ts';
import type { Universe } from './engine/universe.ts';
import type { Direction } from './ir.ts';

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
  readonly fingerprint: number;
}

type Bucket = 'allow' | 'maybe' | 'deny';

/** By TCP, UDP and SCTP: what NetworkPolicy leaves open about ICMP would make every denied pair a conditional one. */
const bucketOf = (cell: Cell): Bucket =>
  hasTransport(cell.allow) ? 'allow' : hasTransport(cell.maybe) ? 'maybe' : 'deny';

/** The line begins with the protocols that have ports. */
const hasTransport = (set: PortSet): boolean =>
  set.length > 0 && (set[0] as number) < (portless[0] as number);

export function quotient(engine: Engine): Quotient {
  const { universe } = engine;
  const weights = weightsOf(engine);
  const rows = new Set<Row>();
  let fingerprint = 0;
  for (let id = 0; id < universe.podsTo; id++)
    for (const direction of ['egress', 'ingress'] as const) {
      for (const layer of engine.layers) rows.add(layer.rows[direction].of(id));
      fingerprint = mixed(fingerprint, rowsHash(engine, direction, id), 1);
    }
  const counts = countPairs(engine, weights);
  return {
    classes: universe.classes.length,
    pods: weights.reduce((sum, weight) => sum + weight, 0),
    rows: rows.size,
    allowedPairs: counts.allow,
    conditionalPairs: counts.maybe,
    deniedPairs: counts.deny,
    fingerprint,
  };
}

/** The quotient after an edit of `engine`, from the rows that the edit changed alone; `rows` then counts those that were made anew too. */
export function editedQuotient(before: Quotient, engine: Engine, edited: EditedEngine): Quotient {
  const { affected, engine: after } = edited;
  if (affected === undefined) return quotient(after);
  const weights = weightsOf(engine);
  const pods = idRange(0, engine.universe.podsTo);
  const counts: Record<Bucket, number> = {
    allow: before.allowedPairs,
    maybe: before.conditionalPairs,
    deny: before.deniedPairs,
  };
  const recount = (src: number, dst: number) => {
    const weight = (weights[src] as number) * (weights[dst] as number);
    counts[bucketOf(engine.cell(src, dst))] -= weight;
    counts[bucketOf(after.cell(src, dst))] += weight;
  };
  const sources = intersectIds(affected.egress, pods);
  const destinations = intersectIds(affected.ingress, pods);
  for (const src of eachId(sources))
    for (const dst of eachId(intersectIds(pods, changedTowards(engine, after, 'egress', src))))
      recount(src, dst);
  for (const dst of eachId(destinations))
    for (const src of eachId(intersectIds(pods, changedTowards(engine, after, 'ingress', dst))))
      if (!recounted(engine, after, sources, src, dst)) recount(src, dst);
  let { fingerprint } = before;
  for (const [direction, ids] of [
    ['egress', sources],
    ['ingress', destinations],
  ] as const)
    for (const id of eachId(ids)) {
      fingerprint = mixed(fingerprint, rowsHash(engine, direction, id), -1);
      fingerprint = mixed(fingerprint, rowsHash(after, direction, id), 1);
    }
  return {
    ...before,
    allowedPairs: counts.allow,
    conditionalPairs: counts.maybe,
    deniedPairs: counts.deny,
    fingerprint,
  };
}

/** True if the source's own row has changed at the destination: the pair has been counted again with that. */
const recounted = (before: Engine, after: Engine, sources: IdSet, src: number, dst: number): boolean =>
  hasId(sources, src) && hasId(changedTowards(before, after, 'egress', src), dst);

/** Classes towards which one class has another answer than before, in some layer. */
function changedTowards(before: Engine, after: Engine, direction: Direction, id: number): IdSet {
  const size = before.universe.classes.length;
  return before.layers.reduce<IdSet>((sum, layer, l) => {
    const old = layer.rows[direction].of(id);
    const now = (after.layers[l] as EngineLayer).rows[direction].of(id);
    return old === now ? sum : unionIds(sum, differing(old, now, size));
  }, noIds);
}

function differing(a: Row, b: Row, size: number): IdSet {
  const out: number[] = [];
  let i = 0;
  let j = 0;
  for (let at = 0; at < size; ) {
    const next = Math.min(a.starts[i + 1] ?? size, b.starts[j + 1] ?? size);
    if (a.cells[i] !== b.cells[j]) {
      if (out[out.length - 1] === at) out[out.length - 1] = next;
      else out.push(at, next);
    }
    if (a.starts[i + 1] === next) i += 1;
    if (b.starts[j + 1] === next) j += 1;
    at = next;
  }
  return Int32Array.from(out);
}

const weights = new WeakMap<Universe, readonly number[]>();

/** How many pods each class has. */
function weightsOf({ universe }: Engine): readonly number[] {
  const known = weights.get(universe);
  if (known !== undefined) return known;
  const made = universe.classes.slice(0, universe.podsTo).map(({ members }) => members.length);
  weights.set(universe, made);
  return made;
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
  const { join } = engine;
  const ingress = weights.map((_, id) => combinedRow(engine.layers, 'ingress', id));
  const { current, changes, totals } = ingressSweep(ingress, weights);
  for (let src = 0; src < size; src++) {
    for (const dst of changes.get(src) ?? []) {
      const row = ingress[dst] as Row;
      move(totals, current[dst] as Cell, cellAt(row, src), weights[dst] as number);
      current[dst] = cellAt(row, src);
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

const modulus = 2 ** 46;
/** A sum, so that the order does not matter and a part can be taken back. */
const mixed = (sum: number, value: number, sign: 1 | -1): number =>
  (((sum + sign * value) % modulus) + modulus) % modulus;

/** Of one class: who is in it, and its rows of all layers in one direction. */
function rowsHash(engine: Engine, direction: Direction, id: number): number {
  const hash = new Hash();
  for (const end of engine.universe.classes[id]?.members ?? [])
    if (end.kind === 'pod') hash.text(`${end.pod.namespace}/${end.pod.name}`);
  hash.text(direction);
  for (const layer of engine.layers) hash.number(rowHash(layer.rows[direction].of(id)));
  return hash.value();
}

const rowHashes = new WeakMap<Row, number>();

function rowHash(row: Row): number {
  const known = rowHashes.get(row);
  if (known !== undefined) return known;
  const hash = new Hash();
  for (const [i, cell] of row.cells.entries()) {
    hash.number(row.starts[i] as number);
    hash.number(cellHash(cell));
  }
  const value = hash.value() % 2 ** 31;
  rowHashes.set(row, value);
  return value;
}

const cellHashes = new WeakMap<Cell, number>();

function cellHash(cell: Cell): number {
  const known = cellHashes.get(cell);
  if (known !== undefined) return known;
  const hash = new Hash();
  for (const port of cell.allow) hash.number(port);
  hash.text('|');
  for (const port of cell.maybe) hash.number(port);
  const value = hash.value() % 2 ** 31;
  cellHashes.set(cell, value);
  return value;
}

/** FNV-1a in two halves of 23 bits: to tell results apart, not to keep secrets. */
class Hash {
  private a = 0x811c9dc5;
  private b = 0x01000193;

  number(value: number): void {
    this.a = Math.imul(this.a ^ value, 0x01000193);
    this.b = Math.imul(this.b ^ (this.a >>> 15) ^ value, 0x85ebca6b);
  }

  text(value: string): void {
    for (let i = 0; i < value.length; i++) this.number(value.charCodeAt(i));
  }

  value(): number {
    return (this.a >>> 9) * 2 ** 23 + (this.b >>> 9);
  }
}
