/** Which pairs of elements may differ: those of which the source's egress row or the destination's ingress row does. */

import type { CellReader } from './diff-cells.ts';
import type { Element } from './diff-units.ts';
import { bothCells, type Cell, openCell } from './engine/cell.ts';
import type { Engine } from './engine/engine.ts';
import type { Row } from './engine/rows.ts';
import type { Direction } from './ir.ts';

/** One engine's rows as numbers: equal numbers, equal rows. */
export interface Side {
  readonly engine: Engine;
  /** What all layers together say of a class in one direction; the same object for the same rows. */
  readonly row: (direction: Direction, id: number) => NumberedRow;
  /** True if an answer is that of the two rows: nothing depends on both ends at once. */
  readonly separable: boolean;
}

export interface NumberedRow {
  readonly id: number;
  readonly starts: Int32Array;
  /** Numbers of the reader's cells. */
  readonly cells: readonly number[];
}

export function sideOf(engine: Engine, reader: CellReader): Side {
  const numbers = new Map<Row, number>();
  const numberOf = (row: Row): number => {
    const known = numbers.get(row) ?? numbers.size;
    numbers.set(row, known);
    return known;
  };
  const made = new Map<string, NumberedRow>();
  const row = (direction: Direction, id: number): NumberedRow => {
    const rows = engine.layers.map((layer) => layer.rows[direction].of(id));
    const key = rows.map(numberOf).join();
    const known = made.get(key);
    if (known !== undefined) return known;
    const joined = joinRows(rows);
    const one = { id: made.size, starts: joined.starts, cells: joined.cells.map(reader.exact) };
    made.set(key, one);
    return one;
  };
  return { engine, row, separable: engine.layers.every(({ rewrites }) => rewrites.length === 0) };
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

/** For each element as a source the destinations to look at, sorted. */
export function candidates(a: Side, b: Side, elements: readonly Element[]): readonly Int32Array[] {
  const all = Int32Array.from(elements, (_, i) => i);
  if (!a.separable || !b.separable) return elements.map(() => all);
  const oneSided: number[] = [];
  for (const [i, element] of elements.entries())
    if (element.a === undefined || element.b === undefined) oneSided.push(i);
  const differing = differ(a, b, elements);
  const bySource: number[][] = elements.map(() => []);
  for (const [i, { a: classA, b: classB }] of elements.entries())
    if (classA !== undefined && classB !== undefined)
      for (const src of differing('ingress', classA, classB)) (bySource[src] as number[]).push(i);
  return elements.map(({ a: classA, b: classB }, i) => {
    if (classA === undefined || classB === undefined) return all;
    const egress = differing('egress', classA, classB);
    const others = bySource[i] as number[];
    if (others.length === 0 && oneSided.length === 0) return egress;
    return Int32Array.from(new Set([...egress, ...others, ...oneSided])).sort();
  });
}

/** Elements of both sides towards which two rows differ, once for each pair of rows. */
function differ(
  a: Side,
  b: Side,
  elements: readonly Element[],
): (direction: Direction, classA: number, classB: number) => Int32Array {
  const known = new Map<string, Int32Array>();
  const { ofA, ofB } = byClass(a, b, elements);
  const all = Int32Array.from(elements.keys());
  return (direction, classA, classB) => {
    const one = a.row(direction, classA);
    const other = b.row(direction, classB);
    const key = `${one.id}/${other.id}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    // Most of a row is one cell: where both have the same, only the rest can differ.
    const [mostA, mostB] = [usual(one, ofA.length), usual(other, ofB.length)];
    const some =
      mostA === mostB ? new Set([...unusual(one, mostA, ofA), ...unusual(other, mostB, ofB)]) : all;
    const out: number[] = [];
    for (const i of some) {
      const { a: from, b: to } = elements[i] as Element;
      if (from !== undefined && to !== undefined && numberAt(one, from) !== numberAt(other, to)) out.push(i);
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
function usual({ starts, cells }: NumberedRow, size: number): number {
  const spans = new Map<number, number>();
  let most = cells[0] as number;
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i] as number;
    const span = Math.min(starts[i + 1] ?? size, size) - Math.min(starts[i] as number, size);
    spans.set(cell, (spans.get(cell) ?? 0) + span);
    if ((spans.get(cell) ?? 0) > (spans.get(most) ?? 0)) most = cell;
  }
  return most;
}

function* unusual({ starts, cells }: NumberedRow, most: number, elements: Elements): Generator<number> {
  for (let i = 0; i < cells.length; i++) {
    if (cells[i] === most) continue;
    const end = Math.min(starts[i + 1] ?? elements.length, elements.length);
    for (let id = starts[i] as number; id < end; id++) yield* elements[id] as readonly number[];
  }
}

export function numberAt({ starts, cells }: NumberedRow, id: number): number {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] as number) <= id) low = middle;
    else high = middle;
  }
  return cells[low] as number;
}
