/** Which chain of A is which of B: by name, else by what they hold, else by the rules that lead to them. */
import { graphOf } from './lint/graph.ts';
import { type Program, type ProgramChain, type ProgramRule, targetsOf } from './lint/program.ts';

export interface MatchedChains {
  readonly pairs: readonly (readonly [a: ProgramChain, b: ProgramChain])[];
  /** Name in A -> name in B. */
  readonly names: ReadonlyMap<string, string>;
  readonly onlyA: readonly ProgramChain[];
  readonly onlyB: readonly ProgramChain[];
}

export function matchChains(a: Program, b: Program): MatchedChains {
  const names = new Map<string, string>();
  const taken = new Set<string>();
  const join = (one: string, two: string) => {
    if (names.has(one) || taken.has(two)) return;
    names.set(one, two);
    taken.add(two);
  };
  for (const name of a.chains.keys()) if (b.chains.has(name)) join(name, name);
  for (const one of a.bases) {
    const two = b.bases.find(
      (base) => base.hook === one.hook && base.nat === one.nat && !taken.has(base.chain),
    );
    if (two !== undefined) join(one.chain, two.chain);
  }
  joinAlike(a, b, names, taken, join);
  joinByCalls(a, b, names, taken, join);
  return {
    names,
    pairs: [...names].flatMap(([one, two]) => {
      const [before, after] = [a.chains.get(one), b.chains.get(two)];
      return before === undefined || after === undefined ? [] : [[before, after] as const];
    }),
    onlyA: [...a.chains.values()].filter(({ name }) => !names.has(name)),
    onlyB: [...b.chains.values()].filter(({ name }) => !taken.has(name)),
  };
}

type Join = (a: string, b: string) => void;

/** Chains of other names that hold the same rules, with whatever they lead to. */
function joinAlike(
  a: Program,
  b: Program,
  names: ReadonlyMap<string, string>,
  taken: ReadonlySet<string>,
  join: Join,
) {
  const isBase = (program: Program) => new Set(program.bases.map(({ chain }) => chain));
  const [basesA, basesB] = [isBase(a), isBase(b)];
  const [signA, signB] = [signatures(a), signatures(b)];
  const bySignature = new Map<string, string[]>();
  for (const name of b.chains.keys()) {
    if (taken.has(name) || basesB.has(name)) continue;
    const list = bySignature.get(signB(name)) ?? [];
    list.push(name);
    bySignature.set(signB(name), list);
  }
  for (const name of a.chains.keys()) {
    if (names.has(name) || basesA.has(name)) continue;
    const other = bySignature.get(signA(name))?.shift();
    if (other !== undefined) join(name, other);
  }
}

/** Rules of paired chains that differ only in where they lead: those chains belong together too. */
function joinByCalls(
  a: Program,
  b: Program,
  names: ReadonlyMap<string, string>,
  taken: ReadonlySet<string>,
  join: Join,
) {
  for (let before = -1; before < names.size; ) {
    before = names.size;
    for (const [one, two] of [...names]) {
      const [rulesA, rulesB] = [callsOf(a, one), callsOf(b, two)];
      for (const [key, targets] of rulesA)
        for (const [i, target] of targets.entries()) {
          const other = rulesB.get(key)?.[i];
          if (other !== undefined && !names.has(target) && !taken.has(other)) join(target, other);
        }
    }
  }
}

/** Chains that a chain leads to, by the rule without them. */
function callsOf(program: Program, name: string): ReadonlyMap<string, readonly string[]> {
  const calls = new Map<string, string[]>();
  for (const rule of program.chains.get(name)?.rules ?? []) {
    const targets = targetsOf(rule.effect);
    if (targets.length === 0) continue;
    const key = renamedKey(rule, () => '');
    calls.set(key, [...(calls.get(key) ?? []), ...targets]);
  }
  return calls;
}

/** The rule's key with other names for the chains that it leads to. */
export function renamedKey(rule: ProgramRule, rename: (chain: string) => string): string {
  return targetsOf(rule.effect).reduce(
    (key, target) =>
      key.replace(`"chain":${JSON.stringify(target)}`, `"chain":${JSON.stringify(rename(target))}`),
    rule.key,
  );
}

/** Equal for chains that do the same, whatever they and those below them are called. */
function signatures(program: Program): (name: string) => string {
  const { calleesFirst } = graphOf(program);
  const ids = new Map<string, string>();
  const known = new Map<string, string>();
  const find = (name: string): string => {
    const before = known.get(name);
    if (before !== undefined) return before;
    // Of a loop the name has to do.
    known.set(name, name);
    const rules = program.chains.get(name)?.rules ?? [];
    const text = rules.map((rule) => renamedKey(rule, find)).join('\n');
    // Short names: what nests deeply would otherwise grow with every level. They must be equal on both sides.
    const id = ids.get(text) ?? hash(text);
    ids.set(text, id);
    known.set(name, id);
    return id;
  };
  for (const name of calleesFirst) find(name);
  return find;
}

/** Two 32-bit FNV-1a sums and the length: equal by chance about never. */
function hash(text: string): string {
  let [one, two] = [0x811c9dc5, 0x01000193];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    one = Math.imul(one ^ code, 0x01000193);
    two = Math.imul(two ^ (code + i), 0x85ebca6b);
  }
  return `${(one >>> 0).toString(16)}${(two >>> 0).toString(16)}.${text.length}`;
}
