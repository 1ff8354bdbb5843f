/** Pairs that differ, gathered into changes between parties: whole workloads where their pods agree, else pod by pod. */
import type { ChangeReason, ConnectionChange, DiffParty, NamedParty } from '../model/policy-diff.ts';
import type { CellReader } from './diff-cells.ts';
import type { OutsideChange } from './diff-outside.ts';
import type { PolicyPairs } from './diff-policies.ts';
import { reasonsFor } from './diff-reasons.ts';
import type { Side } from './diff-rows.ts';
import type { Element, Joined, JoinedUnit } from './diff-units.ts';
import type { Direction } from './ir.ts';

/** All that a comparison reads. */
export interface Compared {
  readonly a: Side;
  readonly b: Side;
  readonly joined: Joined;
  readonly reader: CellReader;
  readonly pairs: PolicyPairs;
}

/** One pair of elements that differs, by the numbers of its cells. */
export interface Differing {
  readonly src: Element;
  readonly dst: Element;
  readonly before: number;
  readonly after: number;
}

export interface Changes {
  readonly between: readonly ConnectionChange[];
  readonly inside: readonly ConnectionChange[];
  /** Pairs that differ in what is not shown only. */
  readonly portlessOnly: () => number;
  readonly addPair: (src: JoinedUnit, dst: JoinedUnit, list: readonly Differing[]) => void;
  readonly addOutside: (
    unit: JoinedUnit,
    direction: Direction,
    parts: readonly (readonly [Element, readonly OutsideChange[]])[],
  ) => void;
}

interface Classes {
  readonly a?: number;
  readonly b?: number;
}

/** A change with the classes that show it. */
interface Found {
  readonly src: Classes;
  readonly dst: Classes;
  readonly from: DiffParty;
  readonly to: DiffParty;
  readonly before: number;
  readonly after: number;
}

export function numberOf(
  { engine }: Side,
  reader: CellReader,
  src: number | undefined,
  dst: number | undefined,
): number {
  return src === undefined || dst === undefined ? reader.nothing : reader.exact(engine.cell(src, dst));
}

export function changesOf(compared: Compared): Changes {
  const { reader } = compared;
  const between: ConnectionChange[] = [];
  const inside: ConnectionChange[] = [];
  const because = reasonReader(compared);
  let portlessOnly = 0;
  const add = (into: ConnectionChange[], found: Found): void => {
    const { before, after, from, to } = found;
    if (reader.shown(before) === reader.shown(after)) {
      portlessOnly++;
      return;
    }
    const [old, now] = [reader.lines(before), reader.lines(after)];
    const [lost, added] = [endMissing('b', found), endMissing('a', found)];
    into.push({
      change: old.length === 0 ? 'added' : now.length === 0 ? 'removed' : 'changed',
      src: from,
      dst: to,
      before: old,
      after: now,
      ...(added === undefined ? {} : { newEnd: added }),
      ...(lost === undefined ? {} : { lostEnd: lost }),
      because: because(found),
    });
  };
  return {
    between,
    inside,
    portlessOnly: () => portlessOnly,
    addPair: (src, dst, list) => {
      const into = src === dst ? inside : between;
      const whole = wholeChange(compared, src, dst, list);
      if (whole === 'same') return;
      if (whole !== undefined) add(into, { ...whole, from: src.party, to: dst.party });
      else for (const one of list) add(into, { ...one, from: one.src.party, to: one.dst.party });
    },
    addOutside: (unit, direction, parts) => {
      const [first] = parts;
      const alike = parts.every(([, list]) => sameChanges(list, first?.[1] ?? []));
      for (const [part, list] of alike ? parts.slice(0, 1) : parts)
        for (const change of list)
          add(between, outsideFound(alike ? unit.party : part.party, part, direction, change));
    },
  };
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
  const numbers = new Set(from.flatMap((src) => to.map((dst) => numberOf(side, reader, src, dst))));
  const [only] = numbers;
  return numbers.size === 1 ? only : undefined;
}

const sameChanges = (one: readonly OutsideChange[], other: readonly OutsideChange[]): boolean =>
  one === other ||
  (one.length === other.length &&
    one.every((change, i) => {
      const { before, after, cidrs } = other[i] as OutsideChange;
      return change.before === before && change.after === after && change.cidrs.join() === cidrs.join();
    }));

function outsideFound(
  party: NamedParty,
  { a, b }: Element,
  direction: Direction,
  change: OutsideChange,
): Found {
  const { before, after, cidrs } = change;
  const own = { ...(a === undefined ? {} : { a }), ...(b === undefined ? {} : { b }) };
  const other = { a: change.a, b: change.b };
  return direction === 'egress'
    ? { src: own, dst: other, from: party, to: { cidrs }, before, after }
    : { src: other, dst: own, from: { cidrs }, to: party, before, after };
}

/** Reasons are the same for all pairs of the same classes, as long as they do not name the parties. */
function reasonReader({ a, b, reader, pairs }: Compared): (found: Found) => readonly ChangeReason[] {
  const known = new Map<string, readonly ChangeReason[]>();
  return ({ src, dst, from, to, before, after }) => {
    if (src.a === undefined || src.b === undefined || dst.a === undefined || dst.b === undefined) return [];
    const key = `${src.a}/${src.b}/${dst.a}/${dst.b}/${before}/${after}`;
    const seen = known.get(key);
    if (seen !== undefined) return seen;
    const ends = { ...('cidrs' in from ? {} : { src: from }), ...('cidrs' in to ? {} : { dst: to }) };
    const reasons = reasonsFor(
      { side: a, src: src.a, dst: dst.a },
      { side: b, src: src.b, dst: dst.b },
      reader.changedPorts(before, after),
      ends,
      pairs,
    );
    if (reasons.every(({ why }) => why === undefined)) known.set(key, reasons);
    return reasons;
  };
}

/** The party that is not on the side. */
function endMissing(side: 'a' | 'b', { src, dst, from, to }: Found): NamedParty | undefined {
  if (src[side] === undefined && !('cidrs' in from)) return from;
  return dst[side] === undefined && !('cidrs' in to) ? to : undefined;
}
