/** The answers of two engines made comparable: equal answers get the same number, whichever engine gave them. */
import type { ConnectionPorts } from '../model/policy-diff.ts';
import {
  complementPorts,
  intersectPorts,
  lineProtocols,
  noPorts,
  type PortSet,
  portless,
  subtractPorts,
  unionPorts,
} from '../net/port-set.ts';
import { linesOf } from './connectivity.ts';
import { type Cell, closedCell } from './engine/cell.ts';

export interface CellReader {
  /** Cells that differ in nothing have the same number. */
  readonly exact: (cell: Cell) => number;
  /** The number of the cell's lines: equal where `policy list` prints the same. */
  readonly shown: (exact: number) => number;
  readonly lines: (exact: number) => readonly ConnectionPorts[];
  /** The ports that pass on one side only, or of which one side is not certain. */
  readonly changedPorts: (before: number, after: number) => PortSet;
  /** The number of a pair that is not there. */
  readonly nothing: number;
}

export function cellReader(icmp: boolean): CellReader {
  const cells: Cell[] = [];
  const shownOf: number[] = [];
  const linesBy: (readonly ConnectionPorts[])[] = [];
  const byCell = new Map<Cell, number>();
  const byText = new Map<string, number>();
  const shownByText = new Map<string, number>();
  const protocols = lineProtocols.filter(
    (protocol) => protocol !== 'ICMPv6' && (protocol !== 'ICMP' || icmp),
  );
  const number = (map: Map<string, number>, key: string): number => {
    const known = map.get(key);
    if (known !== undefined) return known;
    map.set(key, map.size);
    return map.size - 1;
  };
  const exact = (cell: Cell): number => {
    const known = byCell.get(cell);
    if (known !== undefined) return known;
    const lines = protocols.flatMap((protocol) => linesOf(sorted(cell), protocol, undefined));
    const shown = JSON.stringify(lines);
    const inside = [intersectPorts(cell.allow, portless), intersectPorts(cell.maybe, portless)];
    const id = number(byText, `${shown} ${inside.map((set) => set.join()).join('|')}`);
    byCell.set(cell, id);
    if (id === cells.length) {
      cells.push(cell);
      linesBy.push(lines);
      shownOf.push(number(shownByText, shown));
    }
    return id;
  };
  const lineSet = icmp ? complementPorts(noPorts) : complementPorts(portless);
  return {
    exact,
    shown: (id) => shownOf[id] as number,
    lines: (id) => linesBy[id] as readonly ConnectionPorts[],
    changedPorts: (before, after) => {
      const [a, b] = [cells[before] as Cell, cells[after] as Cell];
      const same = unionPorts(
        intersectPorts(a.allow, b.allow),
        intersectPorts(complementPorts(possible(a)), complementPorts(possible(b))),
      );
      return intersectPorts(subtractPorts(complementPorts(noPorts), same), lineSet);
    },
    nothing: exact(closedCell),
  };
}

const possible = (cell: Cell): PortSet => unionPorts(cell.allow, cell.maybe);

/** The reasons of a conditional answer come in the order of the policies, which makes no difference. */
function sorted(cell: Cell): Cell {
  if (cell.conditions.length < 2) return cell;
  const conditions = [...cell.conditions].sort((a, b) => (a.condition.text < b.condition.text ? -1 : 1));
  return { ...cell, conditions };
}
