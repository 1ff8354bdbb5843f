/** The answers of two engines made comparable: equal cells get the same number, whichever engine gave them. */
import type { ConnectionPorts } from '../../model/policy-diff.ts';
import {
  complementPorts,
  intersectPorts,
  lineProtocols,
  noPorts,
  type PortSet,
  portless,
  subtractPorts,
  unionPorts,
} from '../../net/port-set.ts';
import { linesOf } from '../connectivity.ts';
import { bothCells, type Cell, cellKey, closedCell } from '../engine/cell.ts';

export interface CellReader {
  /** Cells that differ in nothing have the same number. */
  readonly number: (cell: Cell) => number;
  /** The number of a cell that lets pass what both do. */
  readonly both: (a: number, b: number) => number;
  /** A cell's number -> its answer's: the same for cells that differ only in the way they say it. */
  readonly answer: (cell: number) => number;
  /** An answer's lines by number: equal where `policy list` prints the same. */
  readonly shown: (answer: number) => number;
  readonly lines: (answer: number) => readonly ConnectionPorts[];
  readonly changed: (before: number, after: number) => ChangedPorts;
  /** The answer of a pair that is not there. */
  readonly nothing: number;
}

/** The ports that pass on one side only, or of which one side is not certain. */
export interface ChangedPorts {
  /** Equal for equal ports. */
  readonly id: number;
  readonly ports: PortSet;
}

export function cellReader(icmp: boolean): CellReader {
  const [cells, answers, shown, ports] = [numbers(), numbers(), numbers(), numbers()];
  const cellBy: Cell[] = [];
  const answerOf: number[] = [];
  const cellOfAnswer: Cell[] = [];
  const shownOf: number[] = [];
  const linesBy: (readonly ConnectionPorts[])[] = [];
  const byCell = new Map<Cell, number>();
  const joined: number[][] = [];
  const changes: ChangedPorts[][] = [];
  const protocols = lineProtocols.filter(
    (protocol) => protocol !== 'ICMPv6' && (protocol !== 'ICMP' || icmp),
  );
  const newAnswer = (cell: Cell): number => {
    const lines = protocols.flatMap((protocol) => linesOf(cell, protocol, undefined));
    const text = JSON.stringify(lines);
    const inside = [intersectPorts(cell.allow, portless), intersectPorts(cell.maybe, portless)];
    const id = answers(`${text} ${inside.map((set) => set.join()).join('|')}`);
    if (id === cellOfAnswer.length) {
      cellOfAnswer.push(cell);
      linesBy.push(lines);
      shownOf.push(shown(text));
    }
    return id;
  };
  const number = (cell: Cell): number => {
    const known = byCell.get(cell);
    if (known !== undefined) return known;
    const plain = sorted(cell);
    const id = cells(cellKey(plain));
    byCell.set(cell, id);
    if (id === cellBy.length) {
      cellBy.push(plain);
      answerOf.push(newAnswer(plain));
    }
    return id;
  };
  const lineSet = icmp ? complementPorts(noPorts) : complementPorts(portless);
  const changedPorts = (before: number, after: number): ChangedPorts => {
    const [a, b] = [cellOfAnswer[before] as Cell, cellOfAnswer[after] as Cell];
    const same = unionPorts(
      intersectPorts(a.allow, b.allow),
      intersectPorts(complementPorts(possible(a)), complementPorts(possible(b))),
    );
    const set = intersectPorts(subtractPorts(complementPorts(noPorts), same), lineSet);
    return { id: ports(set.join()), ports: set };
  };
  return {
    number,
    both: (a, b) => {
      if (a === b) return a;
      const known = joined[a]?.[b];
      return known ?? put(joined, a, b, number(bothCells(cellBy[a] as Cell, cellBy[b] as Cell)));
    },
    answer: (cell) => answerOf[cell] as number,
    shown: (answer) => shownOf[answer] as number,
    lines: (answer) => linesBy[answer] as readonly ConnectionPorts[],
    changed: (before, after) =>
      changes[before]?.[after] ?? put(changes, before, after, changedPorts(before, after)),
    nothing: answerOf[number(closedCell)] as number,
  };
}

function put<T>(table: T[][], row: number, column: number, value: T): T {
  const list = table[row] ?? [];
  list[column] = value;
  table[row] = list;
  return value;
}

/** Texts by number, from 0. */
function numbers(): (text: string) => number {
  const known = new Map<string, number>();
  return (text) => {
    const number = known.get(text) ?? known.size;
    if (number === known.size) known.set(text, number);
    return number;
  };
}

const possible = (cell: Cell): PortSet => unionPorts(cell.allow, cell.maybe);

/** The reasons of a conditional answer come in the order of the policies, which makes no difference. */
function sorted(cell: Cell): Cell {
  if (cell.conditions.length < 2) return cell;
  const conditions = [...cell.conditions].sort((a, b) => (a.condition.text < b.condition.text ? -1 : 1));
  return { ...cell, conditions };
}
