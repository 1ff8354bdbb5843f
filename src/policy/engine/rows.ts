/**
 * One subject's answer towards every class, as runs of classes with the same answer. Where a run begins and ends is where some rule
 * begins or ends to match; between, nothing changes.
 */
import { eachId, hasId, noIds, unionIds } from '../../net/id-set.ts';
import type { Direction, Layer } from '../ir.ts';
import { type Cell, cellKey } from './cell.ts';
import { type CompiledLayer, type CompiledPolicy, resolvePorts } from './compile.ts';
import { type ActiveRule, cellDecider, type DecideCell } from './decide.ts';
import type { EndpointClass, Universe } from './universe.ts';

/** Classes from starts[i] to starts[i + 1], exclusive, have cells[i]. starts[0] is 0. */
export interface Row {
  readonly starts: Int32Array;
  readonly cells: readonly Cell[];
}

export function cellAt({ starts, cells }: Row, id: number): Cell {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] as number) <= id) low = middle;
    else high = middle;
  }
  return cells[low] as Cell;
}

/** Rows of one layer and direction, each made when first asked for and shared by all subjects that the same policies select. */
export interface Rows {
  readonly of: (subject: number) => Row;
  /** The policies that select the subject, in the order in which they are asked. */
  readonly policiesOf: (subject: number) => readonly CompiledPolicy[];
  /** The same with one policy exchanged, added (no `before`) or removed (no `after`), and all policies then; rows of others are shared. */
  readonly edited: (
    before: CompiledPolicy | undefined,
    after: CompiledPolicy | undefined,
    policies: readonly (CompiledPolicy | undefined)[],
  ) => Rows;
}

/** What rows are made from; never changed once rows were made from it. */
interface Ground {
  readonly layer: Layer;
  readonly universe: Universe;
  readonly intern: (cell: Cell) => Cell;
  readonly decide: DecideCell;
  /** By rank; undefined where one was removed. */
  readonly policies: readonly (CompiledPolicy | undefined)[];
  /** For each class the ranks of the policies that select it, sorted. */
  readonly lists: readonly (readonly number[] | undefined)[];
}

export function layerRows(
  compiled: CompiledLayer,
  direction: Direction,
  universe: Universe,
  intern: (cell: Cell) => Cell,
): Rows {
  const policies = compiled.policies[direction];
  return rowsOn(
    {
      layer: compiled.layer,
      universe,
      intern,
      decide: cellDecider(compiled.layer),
      policies,
      lists: subjectLists(policies, universe.classes.length),
    },
    new Array<Row | undefined>(universe.classes.length),
    new Map(),
  );
}

function rowsOn(ground: Ground, rows: (Row | undefined)[], shared: Map<string, Row>): Rows {
  const { lists, universe } = ground;
  const policiesOf = (subject: number): readonly CompiledPolicy[] =>
    (lists[subject] ?? []).map((rank) => ground.policies[rank] as CompiledPolicy).sort(inOrder);
  return {
    policiesOf,
    of: (subject) => {
      const known = rows[subject];
      if (known !== undefined) return known;
      const own = policiesOf(subject);
      const personal = own.some((one) => one.personal);
      const key = `${(lists[subject] ?? []).join()}${personal ? `@${subject}` : ''}`;
      const row = shared.get(key) ?? makeRow(ground, own, subject);
      shared.set(key, row);
      rows[subject] = row;
      return row;
    },
    edited: (before, after, policies) => {
      const affected = unionIds(before?.subjects ?? noIds, after?.subjects ?? noIds);
      const nextLists = [...lists];
      const nextRows = [...rows];
      for (const id of eachId(affected)) {
        nextRows[id] = undefined;
        const kept = (lists[id] ?? []).filter((rank) => rank !== before?.rank);
        const added = after !== undefined && hasId(after.subjects, id) ? [...kept, after.rank] : kept;
        nextLists[id] = added.sort((a, b) => a - b);
      }
      // Keys name policies by rank: those of the old policy must not be found again.
      return rowsOn({ ...ground, universe, policies, lists: nextLists }, nextRows, new Map());
    },
  };
}

/** A policy that was added later stands behind its tier's others, whatever its rank. */
const inOrder = (a: CompiledPolicy, b: CompiledPolicy): number =>
  a.tier - b.tier || a.group - b.group || a.rank - b.rank;

function subjectLists(
  policies: readonly (CompiledPolicy | undefined)[],
  size: number,
): (number[] | undefined)[] {
  const lists: (number[] | undefined)[] = new Array<number[] | undefined>(size);
  for (const policy of policies) {
    if (policy === undefined) continue;
    for (const id of eachId(policy.subjects)) {
      const list = lists[id];
      if (list === undefined) lists[id] = [policy.rank];
      else list.push(policy.rank);
    }
  }
  return lists;
}

/** The policies' rules as they hold for this subject. */
export function rulesFor(
  policies: readonly CompiledPolicy[],
  subject: number,
  universe: Universe,
): ActiveRule[] {
  const out: ActiveRule[] = [];
  for (const policy of policies)
    for (const rule of policy.rules) {
      if (rule.self !== undefined && !hasId(rule.self, subject)) continue;
      const ports = rule.ports ?? resolvePorts(rule.rule.ports, universe.classes[subject] as EndpointClass);
      if (ports.length > 0) out.push({ policy, rule, ports });
    }
  return out;
}

/** Of one subject that these policies select. */
export function makeRow(
  { universe, intern, decide }: Pick<Ground, 'universe' | 'intern' | 'decide'>,
  policies: readonly CompiledPolicy[],
  subject: number,
): Row {
  const rules = rulesFor(policies, subject, universe);
  const events = changes(rules);
  const starts: number[] = [];
  const cells: Cell[] = [];
  const known = new Map<string, Cell>();
  const active: number[] = [];
  let next = 0;
  for (let at = 0; at < universe.classes.length; ) {
    for (; next < events.length && Math.floor((events[next] as number) / eventSpan) <= at; next++)
      toggle(active, (events[next] as number) % eventSpan);
    const key = active.join();
    let cell = known.get(key);
    if (cell === undefined) {
      cell = intern(
        decide(
          policies,
          active.map((i) => rules[i] as ActiveRule),
        ),
      );
      known.set(key, cell);
    }
    if (cells[cells.length - 1] !== cell) {
      starts.push(at);
      cells.push(cell);
    }
    at = next < events.length ? Math.floor((events[next] as number) / eventSpan) : universe.classes.length;
  }
  return { starts: Int32Array.from(starts), cells };
}

/** More rules than any object that the API server accepts (1.5 MiB) can hold. */
const eventSpan = 2 ** 21;

/** Where each rule begins or ends to match: position * eventSpan + rule, sorted. */
function changes(rules: readonly ActiveRule[]): Float64Array {
  let count = 0;
  for (const { rule } of rules) count += rule.peers.length;
  const events = new Float64Array(count);
  let at = 0;
  for (const [i, { rule }] of rules.entries())
    for (const position of rule.peers) events[at++] = position * eventSpan + i;
  return events.sort();
}

/** Adds or removes, keeping the order. */
function toggle(active: number[], rule: number): void {
  let low = 0;
  let high = active.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((active[middle] as number) < rule) low = middle + 1;
    else high = middle;
  }
  if (active[low] === rule) active.splice(low, 1);
  else active.splice(low, 0, rule);
}

/** One object for equal cells, so that runs of equal answers can be told by identity. */
export function cellPool(): (cell: Cell) => Cell {
  const pool = new Map<string, Cell>();
  return (cell) => {
    const key = cellKey(cell);
    const known = pool.get(key);
    if (known !== undefined) return known;
    pool.set(key, cell);
    return cell;
  };
}
