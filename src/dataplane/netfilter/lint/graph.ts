/** Which chain calls which, in what order they can be looked at, and what a call can change. */
import {
  type Effect,
  noChange,
  type Program,
  type ProgramChain,
  type ProgramRule,
  targetsOf,
} from './program.ts';

export interface Call {
  readonly from: ProgramChain;
  readonly rule: ProgramRule;
}

export interface Graph {
  readonly callers: ReadonlyMap<string, readonly Call[]>;
  /** Chains that packets can be led to from a hook. */
  readonly reachable: ReadonlySet<string>;
  /** Reachable chains, every caller before what it calls; those of a loop are left out. */
  readonly order: readonly string[];
  /** All chains, every caller behind what it calls, loops aside. */
  readonly calleesFirst: readonly string[];
  /** Chains of which each calls the next and the last the first. */
  readonly loop?: readonly string[];
  /** What a chain and all that it calls can change. */
  readonly changes: (chain: string) => ReadonlySet<string>;
  /** No packet that enters comes back to the rule behind the jump. */
  readonly neverReturns: (chain: string) => boolean;
}

export function graphOf(program: Program): Graph {
  const callers = new Map<string, Call[]>();
  for (const from of program.chains.values())
    for (const rule of from.rules)
      for (const target of new Set(targetsOf(rule.effect))) {
        const calls = callers.get(target) ?? [];
        calls.push({ from, rule });
        callers.set(target, calls);
      }
  const { reachable, order, calleesFirst, loop } = sorted(program);
  const [changes, neverReturns] = [changesOf(program), neverReturnsOf(program)];
  // In this order none of them goes deep: damaged dumps may nest chains by the thousand.
  for (const name of calleesFirst) {
    changes(name);
    neverReturns(name);
  }
  return {
    callers,
    reachable,
    order,
    calleesFirst,
    ...(loop === undefined ? {} : { loop }),
    changes,
    neverReturns,
  };
}

const calledBy = (chain: ProgramChain | undefined): readonly string[] => [
  ...new Set((chain?.rules ?? []).flatMap(({ effect }) => targetsOf(effect))),
];

/** Depth first from the base chains, without recursion: dumps may nest without end. */
function sorted(program: Program) {
  const state = new Map<string, 'open' | 'done'>();
  const finished: string[] = [];
  let loop: readonly string[] | undefined;
  const starts = [...program.bases.map(({ chain }) => chain), ...program.chains.keys()];
  let reachable = new Set<string>();
  for (const [i, start] of starts.entries()) {
    // Behind the base chains come those that nobody leads to: their loops count as well.
    if (i === program.bases.length) reachable = new Set(state.keys());
    if (state.has(start)) continue;
    const stack: { readonly name: string; readonly calls: readonly string[]; next: number }[] = [];
    const open = (name: string) => {
      state.set(name, 'open');
      stack.push({ name, calls: calledBy(program.chains.get(name)), next: 0 });
    };
    open(start);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const called = top.calls[top.next++];
      if (called === undefined) {
        state.set(top.name, 'done');
        finished.push(top.name);
        stack.pop();
      } else if (state.get(called) === 'open')
        loop ??= stack.slice(stack.findIndex(({ name }) => name === called)).map(({ name }) => name);
      else if (!state.has(called)) open(called);
    }
  }
  if (program.bases.length === starts.length) reachable = new Set(state.keys());
  const order = finished.filter((name) => reachable.has(name)).reverse();
  return { reachable, order, calleesFirst: finished, loop };
}

function changesOf(program: Program): (chain: string) => ReadonlySet<string> {
  const known = new Map<string, ReadonlySet<string>>();
  const find = (name: string): ReadonlySet<string> => {
    const before = known.get(name);
    if (before !== undefined) return before;
    // A loop adds nothing that its other chains do not add.
    known.set(name, noChange);
    const chain = program.chains.get(name);
    const all = new Set<string>(chain === undefined ? ['*'] : []);
    for (const rule of chain?.rules ?? []) {
      for (const field of rule.changes) all.add(field);
      for (const target of targetsOf(rule.effect)) for (const field of find(target)) all.add(field);
    }
    known.set(name, all);
    return all;
  };
  return find;
}

function neverReturnsOf(program: Program): (chain: string) => boolean {
  const known = new Map<string, boolean>();
  const leaves = (effect: Effect): boolean =>
    effect.kind === 'verdict' || ((effect.kind === 'jump' || effect.kind === 'goto') && find(effect.chain));
  const comesBack = (effect: Effect): boolean =>
    effect.kind === 'return' ||
    effect.kind === 'unknown' ||
    (effect.kind === 'goto' && !find(effect.chain)) ||
    (effect.kind === 'choice' && effect.of.some(comesBack));
  const find = (name: string): boolean => {
    const before = known.get(name);
    if (before !== undefined) return before;
    known.set(name, false);
    let answer = false;
    for (const rule of program.chains.get(name)?.rules ?? []) {
      if (comesBack(rule.effect)) break;
      if (rule.volatile === undefined && leaves(rule.effect) && rule.region.some((box) => box.size === 0)) {
        answer = true;
        break;
      }
    }
    known.set(name, answer);
    return answer;
  };
  return find;
}
