/** The recorded rules as packets meet them, with what is known about each. */
import type { NetfilterRules, ShownChain, ShownRule } from '../../../model/netfilter-report.ts';
import { decodeChain, decodeComment, formatSubject } from '../owner.ts';
import { type Graph, graphOf } from './graph.ts';
import { programsOf, type RecordedRules } from './lint.ts';
import { type Program, type ProgramChain, type ProgramRule, targetsOf } from './program.ts';
import { ownerIn, placeOf } from './rule.ts';

const hookOrder = ['ingress', 'prerouting', 'input', 'forward', 'output', 'postrouting', 'egress'];

/** Base chains first, hook by hook in the order of their priorities; then the other chains, table by table. */
export function describeRules(rules: Pick<RecordedRules, 'rulesets' | 'nftTables'>): NetfilterRules {
  const programs = programsOf(rules);
  const chains = programs.flatMap((program) => {
    const graph = graphOf(program);
    return [...program.chains.values()].map((chain) => shownChain(program, graph, chain));
  });
  const files = [...rules.rulesets.map(({ file }) => file), ...rules.nftTables.map(({ file }) => file)];
  return {
    files: [...new Set(files)],
    chains: [
      ...chains.filter(({ base }) => base !== undefined).sort(inHookOrder),
      ...chains.filter(({ base }) => base === undefined),
    ],
  };
}

const hookRank = (hook: string): number => {
  const rank = hookOrder.indexOf(hook);
  return rank < 0 ? hookOrder.length : rank;
};

function inHookOrder({ base: a }: ShownChain, { base: b }: ShownChain): number {
  if (a === undefined || b === undefined) return 0;
  return hookRank(a.hook) - hookRank(b.hook) || a.priority - b.priority;
}

function shownChain(program: Program, graph: Graph, chain: ProgramChain): ShownChain {
  const base = program.bases.find((one) => one.chain === chain.name);
  const about = decodeChain(chain.name) ?? commonSubject(program, graph, chain);
  return {
    backend: program.backend,
    family: program.family,
    table: program.table,
    name: chain.name,
    owner: ownerIn(program, chain),
    ...(about === undefined ? {} : { subject: typeof about === 'string' ? about : formatSubject(about) }),
    ...(base === undefined
      ? {}
      : {
          base: {
            hook: base.hook,
            priority: base.priority,
            ...(base.policy === undefined ? {} : { policy: base.policy.toUpperCase() }),
            devices: base.devices,
          },
        }),
    place: placeOf(chain.source),
    calledBy: [...new Set((graph.callers.get(chain.name) ?? []).map(({ from }) => from.name))],
    reachable: graph.reachable.has(chain.name),
    rules: chain.rules.map((rule) => shownRule(program, chain, rule)),
  };
}

const subjectOf = (program: Program, chain: ProgramChain, rule: ProgramRule): string | undefined => {
  const table = program.backend === 'nftables' ? `${program.family} ${program.table}` : program.table;
  const subject = decodeComment(rule.comment, chain.name, table);
  return subject === undefined ? undefined : formatSubject(subject);
};

/** All rules that lead to a chain, or all of its own, are about one object. */
function commonSubject(program: Program, graph: Graph, chain: ProgramChain): string | undefined {
  const calls = (graph.callers.get(chain.name) ?? []).map(({ from, rule }) => subjectOf(program, from, rule));
  const own = chain.rules.map((rule) => subjectOf(program, chain, rule));
  return theOne(calls) ?? theOne(own.filter((subject) => subject !== undefined));
}

const theOne = (subjects: readonly (string | undefined)[]): string | undefined =>
  new Set(subjects).size === 1 ? subjects[0] : undefined;

function shownRule(program: Program, chain: ProgramChain, rule: ProgramRule): ShownRule {
  const subject = subjectOf(program, chain, rule);
  return {
    place: placeOf(rule.source),
    owner: ownerIn(program, chain, rule),
    ...(subject === undefined ? {} : { subject }),
    ...(rule.comment === undefined ? {} : { comment: rule.comment }),
    ...(rule.counters === undefined ? {} : { counters: rule.counters }),
    targets: [...new Set(targetsOf(rule.effect))],
    unknown: rule.notUnderstood,
  };
}
