/** Pairs that differ, gathered into changes between parties: whole workloads where their pods agree, else pod by pod. */
import type { ConnectionChange, DiffParty, NamedParty } from '../../model/policy-diff.ts';
import type { Direction } from '../ir.ts';
import type { CellReader } from './cells.ts';
import type { OutsideChange, OutsideChanges } from './outside.ts';
import type { Candidates, Side } from './rows.ts';
import type { Element, Joined, JoinedUnit } from './units.ts';

/** All that a comparison reads. */
export interface Compared {
  readonly a: Side;
  readonly b: Side;
  readonly joined: Joined;
  readonly reader: CellReader;
  readonly candidates: Candidates;
  readonly outside: OutsideChanges;
}

export interface Classes {
  readonly a?: number;
  readonly b?: number;
}

/** A change by the numbers of its answers, with classes that show it. */
export interface Found {
  readonly change: ConnectionChange['change'];
  readonly src: Classes;
  readonly dst: Classes;
  readonly from: DiffParty;
  readonly to: DiffParty;
  readonly before: number;
  readonly after: number;
}

/** All changes of which one unit is the source, and those of the outside towards it. */
export interface UnitChanges {
  readonly between: readonly Found[];
  readonly inside: readonly Found[];
  /** Pairs that differ in what is not shown only. */
  readonly portlessOnly: number;
}

export function unitChanges(compared: Compared, unit: JoinedUnit): UnitChanges {
  const { joined, outside } = compared;
  const found: Gathered = { between: [], inside: [], portlessOnly: 0 };
  pairChanges(compared, unit, found);
  const parts = unit.elements.map((at) => joined.elements[at] as Element);
  for (const direction of ['egress', 'ingress'] as const)
    outsideFound(
      compared,
      unit,
      direction,
      parts.map((part) => [part, outside(part, direction)]),
      found,
    );
  return found;
}

interface Gathered {
  readonly between: Found[];
  readonly inside: Found[];
  portlessOnly: number;
}

function add({ reader }: Compared, gathered: Gathered, inside: boolean, found: Omit<Found, 'change'>): void {
  const { before, after } = found;
  if (reader.shown(before) === reader.shown(after)) {
    gathered.portlessOnly++;
    return;
  }
  const change =
    reader.lines(before).length === 0 ? 'added' : reader.lines(after).length === 0 ? 'removed' : 'changed';
  (inside ? gathered.inside : gathered.between).push({ change, ...found });
}

/** One pair of elements that differs, by the numbers of its answers. */
interface Differing {
  readonly src: Element;
  readonly dst: Element;
  readonly before: number;
  readonly after: number;
}

function pairChanges(compared: Compared, unit: JoinedUnit, gathered: Gathered): void {
  const { units, elements } = compared.joined;
  const single = unit.elements.length === 1;
  const byDestination = new Map<number, Differing[]>();
  for (const from of unit.elements) {
    const src = elements[from] as Element;
    const [inA, inB] = [
      answersFrom(compared.a, compared.reader, src.a),
      answersFrom(compared.b, compared.reader, src.b),
    ];
    for (const to of compared.candidates(from)) {
      // A pod reaches itself whatever policies say; a workload's pods among themselves are a pair like others.
      if (from === to && !isGroup(unit)) continue;
      const dst = elements[to] as Element;
      const [before, after] = [inA(dst.a), inB(dst.b)];
      if (before === after) continue;
      const destination = units[dst.unit] as JoinedUnit;
      if (single && destination.elements.length === 1)
        add(compared, gathered, from === to, {
          src,
          dst,
          from: unit.party,
          to: destination.party,
          before,
          after,
        });
      else {
        const list = byDestination.get(dst.unit);
        if (list === undefined) byDestination.set(dst.unit, [{ src, dst, before, after }]);
        else list.push({ src, dst, before, after });
      }
    }
  }
  for (const [dst, list] of [...byDestination].sort(([x], [y]) => x - y))
    addPair(compared, unit, units[dst] as JoinedUnit, list, gathered);
}

/** Stands for several pods, or for a workload of which nobody knows how many it has. */
const isGroup = ({ party, elements }: JoinedUnit): boolean => party.kind !== 'Pod' && elements.length === 1;

function answersFrom(
  side: Side,
  { nothing }: CellReader,
  src: number | undefined,
): (dst: number | undefined) => number {
  if (src === undefined) return () => nothing;
  const answer = side.answersFrom(src);
  return (dst) => (dst === undefined ? nothing : answer(dst));
}

const answerOf = (
  side: Side,
  reader: CellReader,
  src: number | undefined,
  dst: number | undefined,
): number => (src === undefined || dst === undefined ? reader.nothing : side.answer(src, dst));

function addPair(
  compared: Compared,
  src: JoinedUnit,
  dst: JoinedUnit,
  list: readonly Differing[],
  gathered: Gathered,
): void {
  const whole = wholeChange(compared, src, dst, list);
  if (whole === 'same') return;
  const inside = src === dst;
  if (whole !== undefined) add(compared, gathered, inside, { ...whole, from: src.party, to: dst.party });
  else
    for (const one of list)
      add(compared, gathered, inside, { ...one, from: one.src.party, to: one.dst.party });
}

/** Set where the change holds for all pods of both alike; `same` where only pods differ that have no counterpart. */
function wholeChange(
  { a, b, joined, reader }: Compared,
  src: JoinedUnit,
  dst: JoinedUnit,
  list: readonly Differing[],
): Differing | 'same' | undefined {
  const [first] = list;
  if (first === undefined) return 'same';
  const own = src === dst && src.elements.length > 1 ? src.elements.length : 0;
  const agree = list.every(({ before, after }) => before === first.before && after === first.after);
  if (agree && list.length === src.elements.length * dst.elements.length - own) return first;
  const lonely = [...src.elements, ...dst.elements].some((at) => {
    const element = joined.elements[at] as Element;
    return element.a === undefined || element.b === undefined;
  });
  if (!lonely || src.a === undefined || src.b === undefined || dst.a === undefined || dst.b === undefined)
    return undefined;
  const before = uniform(a, reader, src.a.classes, dst.a.classes);
  const after = uniform(b, reader, src.b.classes, dst.b.classes);
  if (before === undefined || after === undefined) return undefined;
  if (before === after) return 'same';
  return list.find((one) => one.before === before && one.after === after);
}

function uniform(
  side: Side,
  reader: CellReader,
  from: readonly number[],
  to: readonly number[],
): number | undefined {
  const numbers = new Set(from.flatMap((src) => to.map((dst) => answerOf(side, reader, src, dst))));
  const [only] = numbers;
  return numbers.size === 1 ? only : undefined;
}

function outsideFound(
  compared: Compared,
  unit: JoinedUnit,
  direction: Direction,
  parts: readonly (readonly [Element, readonly OutsideChange[]])[],
  gathered: Gathered,
): void {
  const [first] = parts;
  const alike = parts.every(([, list]) => sameChanges(list, first?.[1] ?? []));
  for (const [part, list] of alike ? parts.slice(0, 1) : parts)
    for (const change of list) {
      const party: NamedParty = alike ? unit.party : part.party;
      const { before, after, outside } = change;
      add(
        compared,
        gathered,
        false,
        direction === 'egress'
          ? { src: part, dst: change, from: party, to: outside, before, after }
          : { src: change, dst: part, from: outside, to: party, before, after },
      );
    }
}

const sameChanges = (one: readonly OutsideChange[], other: readonly OutsideChange[]): boolean =>
  one === other ||
  (one.length === other.length &&
    one.every((change, i) => {
      const { before, after, outside } = other[i] as OutsideChange;
      return (
        change.before === before &&
        change.after === after &&
        change.outside.cidrs.join() === outside.cidrs.join()
      );
    }));
