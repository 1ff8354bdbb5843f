/** How the rules of one chain differ between A and B. */
import type { NetfilterChange } from '../../model/netfilter-report.ts';
import { renamedKey } from './diff-match.ts';
import type { Graph } from './lint/graph.ts';
import { type Program, type ProgramChain, type ProgramRule, targetsOf } from './lint/program.ts';
import { forget, overlap } from './lint/region.ts';
import { ownerIn, placeOf } from './lint/rule.ts';
import { decodeComment, formatSubject } from './owner.ts';

export interface DiffContext {
  readonly a: Program;
  readonly b: Program;
  readonly graphs: { readonly a: Graph; readonly b: Graph };
  /** Chain names of A -> B. */
  readonly names: ReadonlyMap<string, string>;
}

/** A rule that both sides have. */
interface Common {
  readonly a: ProgramRule;
  readonly b: ProgramRule;
}

export function diffChain(
  context: DiffContext,
  one: ProgramChain,
  two: ProgramChain,
): { readonly changes: readonly NetfilterChange[]; readonly reordered: number } {
  const changes: NetfilterChange[] = [...baseChanges(context, one, two)];
  const rename = (chain: string) => context.names.get(chain) ?? `${chain} of A`;
  const left = keyed(one.rules, (rule) => renamedKey(rule, rename));
  const right = keyed(two.rules, (rule) => rule.key);
  const common: Common[] = [];
  for (const [key, rule] of left) {
    const other = right.get(key);
    if (other === undefined) changes.push(changeOf(context.a, one, two, 'removed', rule, undefined));
    else common.push({ a: rule, b: other });
  }
  for (const [key, rule] of right)
    if (!left.has(key)) changes.push(changeOf(context.b, two, two, 'added', undefined, rule));
  let reordered = 0;
  for (const moved of outOfOrder(common)) {
    const matters = common.some(
      (other) =>
        other.a.index < moved.a.index !== other.b.index < moved.b.index &&
        other !== moved &&
        !commute(context.graphs.b, moved.b, other.b),
    );
    if (matters) changes.push(changeOf(context.b, two, two, 'moved', moved.a, moved.b));
    else reordered++;
  }
  return { changes: changes.sort(inChainOrder), reordered };
}

const inChainOrder = (x: NetfilterChange, y: NetfilterChange): number =>
  ((x.b ?? x.a)?.line ?? 0) - ((y.b ?? y.a)?.line ?? 0);

/** Equal rules are told apart by which of them it is. */
function keyed(
  rules: readonly ProgramRule[],
  keyOf: (rule: ProgramRule) => string,
): ReadonlyMap<string, ProgramRule> {
  const counts = new Map<string, number>();
  const out = new Map<string, ProgramRule>();
  for (const rule of rules) {
    const key = keyOf(rule);
    const count = counts.get(key) ?? 0;
    counts.set(key, count + 1);
    out.set(`${count} ${key}`, rule);
  }
  return out;
}

/** All but a longest run of rules that stand in the same order on both sides. `common` is in the order of A. */
function outOfOrder(common: readonly Common[]): readonly Common[] {
  // Patience sorting: the last rule of the best run of each length, and what stands before it.
  const ends: number[] = [];
  const previous: number[] = [];
  for (const [i, { b }] of common.entries()) {
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((common[ends[middle] as number] as Common).b.index < b.index) low = middle + 1;
      else high = middle;
    }
    previous[i] = low === 0 ? -1 : (ends[low - 1] as number);
    ends[low] = i;
  }
  const stays = new Set<number>();
  for (let i = ends.at(-1) ?? -1; i >= 0; i = previous[i] ?? -1) stays.add(i);
  return common.filter((_, i) => !stays.has(i));
}

/** No packet can tell which of the two comes first. */
function commute(graph: Graph, x: ProgramRule, y: ProgramRule): boolean {
  const [changesX, changesY] = [changesOf(graph, x), changesOf(graph, y)];
  const all = new Set([...changesX, ...changesY]);
  const apart = !overlap(
    x.region.map((box) => forget(box, all)),
    y.region.map((box) => forget(box, all)),
  );
  if (apart) return true;
  if (all.size > 0 || x.volatile !== undefined || y.volatile !== undefined) return false;
  if (x.effect.kind === 'continue' || y.effect.kind === 'continue') return x.effect.kind === y.effect.kind;
  return x.effect.kind === 'verdict' && JSON.stringify(x.effect) === JSON.stringify(y.effect);
}

const changesOf = (graph: Graph, rule: ProgramRule): ReadonlySet<string> =>
  new Set([...rule.changes, ...targetsOf(rule.effect).flatMap((target) => [...graph.changes(target)])]);

function* baseChanges(
  { a, b }: DiffContext,
  one: ProgramChain,
  two: ProgramChain,
): Generator<NetfilterChange> {
  const [before, after] = [
    a.bases.find(({ chain }) => chain === one.name),
    b.bases.find(({ chain }) => chain === two.name),
  ];
  const at = {
    family: b.family,
    table: b.table,
    chain: two.name,
    a: placeOf(one.source),
    b: placeOf(two.source),
  };
  if (before === undefined || after === undefined) {
    if (before !== after)
      yield {
        ...at,
        kind: 'hook',
        text: `${before === undefined ? 'is now' : 'is no longer'} attached to a hook`,
      };
    return;
  }
  if (before.policy !== after.policy)
    yield {
      ...at,
      kind: 'policy',
      text: `policy ${(before.policy ?? 'unknown').toUpperCase()} -> ${(after.policy ?? 'unknown').toUpperCase()}`,
    };
  if (before.hook !== after.hook || before.priority !== after.priority)
    yield {
      ...at,
      kind: 'hook',
      text: `hook ${before.hook} ${before.priority} -> ${after.hook} ${after.priority}`,
    };
}

function changeOf(
  program: Program,
  chain: ProgramChain,
  shown: ProgramChain,
  kind: 'added' | 'removed' | 'moved',
  a: ProgramRule | undefined,
  b: ProgramRule | undefined,
): NetfilterChange {
  const rule = b ?? a;
  const table = program.backend === 'nftables' ? `${program.family} ${program.table}` : program.table;
  const subject = decodeComment(rule?.comment, chain.name, table);
  const owner = rule === undefined ? 'foreign' : ownerIn(program, chain, rule);
  const said = subject === undefined ? (owner === 'foreign' ? undefined : owner) : formatSubject(subject);
  return {
    kind,
    family: program.family,
    table: program.table,
    chain: shown.name,
    text:
      kind === 'moved'
        ? `rule ${(a?.index ?? 0) + 1} is now rule ${(b?.index ?? 0) + 1}`
        : `rule ${(rule?.index ?? 0) + 1}`,
    ...(said === undefined ? {} : { subject: said }),
    ...(a === undefined ? {} : { a: placeOf(a.source) }),
    ...(b === undefined ? {} : { b: placeOf(b.source) }),
  };
}
