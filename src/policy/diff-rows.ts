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
  const [denseA, denseB] = [a, b].map(({ engine }) => new Int32Array(engine.universe.podsTo)) as unknown as [
    Int32Array,
    Int32Array,
  ];
  return (direction, classA, classB) => {
    const one = a.row(direction, classA);
    const other = b.row(direction, classB);
    const key = `${one.id}/${other.id}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const out: number[] = [];
    const constant = one.cells.length === 1 && other.cells.length === 1 && one.cells[0] === other.cells[0];
    if (!constant) {
      spread(one, denseA);
      spread(other, denseB);
      for (const [i, element] of elements.entries())
        if (element.a !== undefined && element.b !== undefined && denseA[element.a] !== denseB[element.b])
          out.push(i);
    }
    const found = Int32Array.from(out);
    known.set(key, found);
    return found;
  };
}

function spread({ starts, cells }: NumberedRow, into: Int32Array): void {
  for (const [i, cell] of cells.entries())
    into.fill(
      cell,
      Math.min(starts[i] as number, into.length),
      Math.min(starts[i + 1] ?? into.length, into.length),
    );
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
