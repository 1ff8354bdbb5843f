/** Which pairs of elements may differ: those of which the source's egress row or the destination's ingress row does. */

import { bothCells, type Cell, openCell } from '../engine/cell.ts';
import type { Engine } from '../engine/engine.ts';
import type { Row } from '../engine/rows.ts';
import type { Direction } from '../ir.ts';
import type { CellReader } from './cells.ts';
import { type Runs, runsMaker, valueAt } from './runs.ts';
import type { Element } from './units.ts';

/** One engine's rows as numbers of the reader's cells. */
export interface Side {
  readonly engine: Engine;
  /** What all layers together say of a class in one direction; the same object for the same rows. */
  readonly row: (direction: Direction, id: number) => NumberedRow;
  /** The reader's number of the answer from one class to another. */
  readonly answer: (src: number, dst: number) => number;
  /** The same from one class to many. */
  readonly answersFrom: (src: number) => (dst: number) => number;
  /** True if an answer is that of the two rows: nothing depends on both ends at once. */
  readonly separable: boolean;
  readonly runs: (starts: Int32Array, values: readonly number[]) => Runs;
}

export interface NumberedRow extends Runs {
  readonly id: number;
}

export function sideOf(engine: Engine, reader: CellReader): Side {
  const { podsTo, classes } = engine.universe;
  const runs = runsMaker(podsTo);
  const numbers = new Map<Row, number>();
  const numberOf = (row: Row): number => {
    const known = numbers.get(row) ?? numbers.size;
    numbers.set(row, known);
    return known;
  };
  const made = new Map<string, NumberedRow>();
  const make = (direction: Direction, id: number): NumberedRow => {
    const rows = engine.layers.map((layer) => layer.rows[direction].of(id));
    const key = rows.map(numberOf).join();
    const known = made.get(key);
    if (known !== undefined) return known;
    const joined = joinRows(rows);
    const one = { id: made.size, ...runs(joined.starts, joined.cells.map(reader.number)) };
    made.set(key, one);
    return one;
  };
  const known = {
    egress: new Array<NumberedRow | undefined>(classes.length),
    ingress: new Array<NumberedRow | undefined>(classes.length),
  };
  const row: Side['row'] = (direction, id) => (known[direction][id] ??= make(direction, id));
  const separable = engine.layers.every(({ rewrites }) => rewrites.length === 0);
  const answer: Side['answer'] = separable
    ? (src, dst) =>
        reader.answer(reader.both(valueAt(row('egress', src), dst), valueAt(row('ingress', dst), src)))
    : (src, dst) => reader.answer(reader.number(engine.cell(src, dst)));
  let columns: Columns | undefined;
  return {
    engine,
    row,
    separable,
    runs,
    answer,
    answersFrom: (src) => {
      if (!separable) return (dst) => answer(src, dst);
      columns ??= columnsOf(Array.from({ length: podsTo }, (_, id) => row('ingress', id)));
      const { places, column } = columns;
      const [egress, ingress] = [row('egress', src), column(src)];
      return (dst) =>
        reader.answer(reader.both(valueAt(egress, dst), ingress[places[dst] as number] as number));
    },
  };
}

/** What the rows of many destinations say of one source, side by side. */
interface Columns {
  /** Class of a destination -> place in a column. */
  readonly places: Int32Array;
  readonly column: (src: number) => Int32Array;
}

/** Numbers of all columns together: 100 MB. Past that a column is made whenever it is asked for. */
const roomOfColumns = 25_000_000;

function columnsOf(rows: readonly NumberedRow[]): Columns {
  const distinct = [...new Set(rows)];
  const numbers = new Map(distinct.map((row, i) => [row, i] as const));
  const places = Int32Array.from(rows, (row) => numbers.get(row) as number);
  const count = distinct.length;
  if (count * rows.length > roomOfColumns)
    return { places, column: (src) => Int32Array.from(distinct, (row) => valueAt(row, src)) };
  const all = new Int32Array(count * rows.length);
  for (const [place, { starts, values }] of distinct.entries())
    for (let i = 0; i < values.length; i++) {
      const end = Math.min(starts[i + 1] ?? rows.length, rows.length);
      for (let id = starts[i] as number; id < end; id++) all[id * count + place] = values[i] as number;
    }
  return { places, column: (src) => all.subarray(src * count, (src + 1) * count) };
}

function joinRows(rows: readonly Row[]): Row {
  const [only] = rows;
  if (rows.length === 1 && only !== undefined) return only;
  const starts = [...new Set([0, ...rows.flatMap((row) => [...row.starts])])].sort((a, b) => a - b);
  const at = rows.map(() => 0);
  const cells = starts.map((start) =>
    rows.reduce<Cell>((sum, { starts: own, cells: theirs }, i) => {
      let place = at[i] as number;
      while (place + 1 < own.length && (own[place + 1] as number) <= start) place++;
      at[i] = place;
      return bothCells(sum, theirs[place] as Cell);
    }, openCell),
  );
  return { starts: Int32Array.from(starts), cells };
}

/** The destinations to look at from one element, ascending. What is returned holds until the next call. */
export type Candidates = (from: number) => Int32Array;

export function candidates(a: Side, b: Side, elements: readonly Element[]): Candidates {
  const all = Int32Array.from(elements.keys());
  if (!a.separable || !b.separable) return () => all;
  const oneSided = all.filter((i) => !onBothSides(elements[i] as Element));
  const differing = differ(a, b, elements);
  // Destinations with the same two ingress rows stand together: their sources are found once.
  const groups = new Map<Int32Array, number[]>();
  for (const [i, { a: classA, b: classB }] of elements.entries())
    if (classA !== undefined && classB !== undefined) {
      const sources = differing('ingress', classA, classB);
      if (sources.length === 0) continue;
      const group = groups.get(sources);
      if (group === undefined) groups.set(sources, [i]);
      else group.push(i);
    }
  const bySource: number[][][] = elements.map(() => []);
  for (const [sources, group] of groups) for (const src of sources) bySource[src]?.push(group);
  const marks = new Uint8Array(elements.length);
  const found = new Int32Array(elements.length);
  return (from) => {
    const { a: classA, b: classB } = elements[from] as Element;
    if (classA === undefined || classB === undefined) return all;
    const egress = differing('egress', classA, classB);
    const others = bySource[from] ?? [];
    if (others.length === 0 && oneSided.length === 0) return egress;
    marks.fill(0);
    for (const list of [egress, oneSided, ...others]) for (const at of list) marks[at] = 1;
    let count = 0;
    for (let at = 0; at < marks.length; at++) if (marks[at] === 1) found[count++] = at;
    return found.subarray(0, count);
  };
}

const onBothSides = ({ a, b }: Element): boolean => a !== undefined && b !== undefined;

/** Elements of both sides towards which two rows differ, once for each pair of rows. */
function differ(
  a: Side,
  b: Side,
  elements: readonly Element[],
): (direction: Direction, classA: number, classB: number) => Int32Array {
  const known = new Map<number, Int32Array>();
  const { ofA, ofB } = byClass(a, b, elements);
  const all = Int32Array.from(elements.keys());
  return (direction, classA, classB) => {
    const one = a.row(direction, classA);
    const other = b.row(direction, classB);
    const key = one.id * 2 ** 26 + other.id;
    const before = known.get(key);
    if (before !== undefined) return before;
    // Most of a row is one cell: where both have the same, only the rest can differ.
    const [mostA, mostB] = [usual(one, ofA.length), usual(other, ofB.length)];
    const some =
      mostA === mostB ? new Set([...unusual(one, mostA, ofA), ...unusual(other, mostB, ofB)]) : all;
    const out: number[] = [];
    for (const i of some) {
      const { a: from, b: to } = elements[i] as Element;
      if (from !== undefined && to !== undefined && valueAt(one, from) !== valueAt(other, to)) out.push(i);
    }
    const found = Int32Array.from(out).sort();
    known.set(key, found);
    return found;
  };
}

type Elements = readonly (readonly number[])[];

/** Of each class of either side the elements that both sides have. */
function byClass(
  a: Side,
  b: Side,
  elements: readonly Element[],
): { readonly ofA: Elements; readonly ofB: Elements } {
  const lists = (side: Side): number[][] => Array.from({ length: side.engine.universe.podsTo }, () => []);
  const [ofA, ofB] = [lists(a), lists(b)];
  for (const [i, element] of elements.entries()) {
    if (element.a === undefined || element.b === undefined) continue;
    (ofA[element.a] as number[]).push(i);
    (ofB[element.b] as number[]).push(i);
  }
  return { ofA, ofB };
}

/** The cell that most of the classes below `size` have. */
function usual({ starts, values }: NumberedRow, size: number): number {
  const spans = new Map<number, number>();
  let most = values[0] as number;
  for (let i = 0; i < values.length; i++) {
    const cell = values[i] as number;
    const span = Math.min(starts[i + 1] ?? size, size) - Math.min(starts[i] as number, size);
    spans.set(cell, (spans.get(cell) ?? 0) + span);
    if ((spans.get(cell) ?? 0) > (spans.get(most) ?? 0)) most = cell;
  }
  return most;
}

function* unusual({ starts, values }: NumberedRow, most: number, elements: Elements): Generator<number> {
  for (let i = 0; i < values.length; i++) {
    if (values[i] === most) continue;
    const end = Math.min(starts[i + 1] ?? elements.length, elements.length);
    for (let id = starts[i] as number; id < end; id++) yield* elements[id] as readonly number[];
  }
}
