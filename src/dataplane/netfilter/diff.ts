/** How two saves of a host's rules differ by meaning: counters, names of generated chains and order that no packet can tell count for nothing. */
import type { NetfilterChange, NetfilterDiff, NetfilterTableDiff } from '../../model/netfilter-report.ts';
import { diffChain } from './diff-chain.ts';
import { matchChains } from './diff-match.ts';
import { compareMeaning } from './diff-meaning.ts';
import { graphOf } from './lint/graph.ts';
import { programsOf, type RecordedRules } from './lint/lint.ts';
import type { Program } from './lint/program.ts';
import { placeOf } from './lint/rule.ts';

type Side = Pick<RecordedRules, 'rulesets' | 'nftTables' | 'ipsets'>;

export function diffNetfilter(a: Side, b: Side): NetfilterDiff {
  const tables = pairTables(programsOf(a), programsOf(b)).map(([one, two]) => diffTable(one, two, a, b));
  return {
    tables: tables.filter(
      ({ changes, renamed, reordered }) => changes.length + renamed.length + reordered > 0,
    ),
  };
}

type Pair = readonly [a: Program | undefined, b: Program | undefined];

const nameOf = ({ family, table }: Program): string => `${family} ${table}`;

/** By family and name; tables of the same backend first, so that a host that moved from one to the other is compared as well. */
function pairTables(as: readonly Program[], bs: readonly Program[]): readonly Pair[] {
  const left = new Set(bs);
  const pairs: Pair[] = [];
  const lonely: Program[] = [];
  for (const a of as) {
    const b = [...left].find((one) => nameOf(one) === nameOf(a) && one.backend === a.backend);
    if (b === undefined) lonely.push(a);
    else {
      left.delete(b);
      pairs.push([a, b]);
    }
  }
  for (const a of lonely) {
    const b = [...left].find(
      (one) => nameOf(one) === nameOf(a) && one.backend !== 'nftables' && a.backend !== 'nftables',
    );
    if (b !== undefined) left.delete(b);
    pairs.push([a, b]);
  }
  return [...pairs, ...[...left].map((b): Pair => [undefined, b])];
}

function diffTable(
  a: Program | undefined,
  b: Program | undefined,
  sideA: Side,
  sideB: Side,
): NetfilterTableDiff {
  if (a === undefined || b === undefined) return oneSided(a, b);
  const matched = matchChains(a, b);
  const graphs = { a: graphOf(a), b: graphOf(b) };
  const changes: NetfilterChange[] = [];
  let reordered = 0;
  for (const [one, two] of matched.pairs) {
    const result = diffChain({ a, b, graphs, names: matched.names }, one, two);
    for (const change of result.changes) changes.push(change);
    reordered += result.reordered;
  }
  for (const chain of matched.onlyA)
    changes.push(lonelyChain('chain-removed', a, chain.name, chain.rules.length));
  for (const chain of matched.onlyB)
    changes.push(lonelyChain('chain-added', b, chain.name, chain.rules.length));
  const sets = diffSets(a, b, sideA, sideB);
  changes.push(...sets);
  return {
    family: b.family,
    table: b.table,
    backends: [a.backend, b.backend],
    changes,
    meaning:
      changes.length === 0
        ? { state: 'equal' }
        : sets.length > 0
          ? { state: 'unknown', why: 'sets that the rules ask have other elements' }
          : compareMeaning(a, b),
    renamed: matched.pairs.flatMap(([one, two]) =>
      one.name === two.name ? [] : [[one.name, two.name] as const],
    ),
    reordered,
  };
}

function lonelyChain(
  kind: 'chain-added' | 'chain-removed',
  program: Program,
  name: string,
  rules: number,
): NetfilterChange {
  const source = program.chains.get(name)?.source;
  return {
    kind,
    family: program.family,
    table: program.table,
    chain: name,
    text: `chain with ${rules} ${rules === 1 ? 'rule' : 'rules'}`,
    ...(source === undefined ? {} : { [kind === 'chain-added' ? 'b' : 'a']: placeOf(source) }),
  };
}

/** A table of the one side only: nothing, if it lets everything pass. */
function oneSided(a: Program | undefined, b: Program | undefined): NetfilterTableDiff {
  const program = a ?? b;
  const kind = a === undefined ? 'table-added' : 'table-removed';
  const rules = [...(program?.chains.values() ?? [])].reduce((sum, chain) => sum + chain.rules.length, 0);
  const isEmpty = rules === 0 && !(program?.bases ?? []).some(({ policy }) => policy === 'drop');
  const { family = '', table = '', backend = 'nft' } = program ?? {};
  const changes: NetfilterChange[] = isEmpty
    ? []
    : [
        {
          kind,
          family,
          table,
          chain: '',
          text: `table with ${rules} ${rules === 1 ? 'rule' : 'rules'} (${backend})`,
        },
      ];
  return {
    family,
    table,
    backends: [backend, backend],
    changes,
    meaning: isEmpty ? { state: 'equal' } : { state: 'unknown', why: 'one side does not have the table' },
    renamed: [],
    reordered: 0,
  };
}

/** Sets that rules of the table ask, where both sides have them. */
function diffSets(a: Program, b: Program, sideA: Side, sideB: Side): readonly NetfilterChange[] {
  const [one, two] = [elementsOf(a, sideA), elementsOf(b, sideB)];
  const asked = new Set(
    [a, b].flatMap(({ chains }) =>
      [...chains.values()].flatMap(({ rules }) => rules.flatMap(({ sets }) => sets)),
    ),
  );
  return [...asked].sort().flatMap((name): readonly NetfilterChange[] => {
    const [before, after] = [one?.get(name), two?.get(name)];
    if (before === undefined || after === undefined) return [];
    const added = after.filter((element) => !before.includes(element)).length;
    const removed = before.filter((element) => !after.includes(element)).length;
    if (added + removed === 0) return [];
    const text = `set ${name}: ${added} ${added === 1 ? 'element' : 'elements'} added, ${removed} removed`;
    return [{ kind: 'set', family: b.family, table: b.table, chain: '', text }];
  });
}

function elementsOf(program: Program, side: Side): ReadonlyMap<string, readonly string[]> | undefined {
  if (program.sets !== undefined) return program.sets;
  if (side.ipsets.state === 'unknown') return undefined;
  return new Map(
    side.ipsets.value.map(({ name, entries }) => [
      name,
      entries.map(({ parts, nomatch }) => `${parts.join(',')}${nomatch ? ' nomatch' : ''}`),
    ]),
  );
}
