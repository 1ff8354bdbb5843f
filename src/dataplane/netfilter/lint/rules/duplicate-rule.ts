/** The same rule twice in one chain, where the first does not already take the packets. */
import type { NetfilterFinding } from '../../../../model/netfilter-report.ts';
import type { ProgramRule } from '../program.ts';
import { touches } from '../region.ts';
import { finding, type LintRule } from '../rule.ts';

const id = 'duplicate-rule';

export const duplicateRule: LintRule = {
  id,
  run: ({ programs }) =>
    programs.flatMap(({ program, graph, fate }) => {
      const found: NetfilterFinding[] = [];
      for (const chain of program.chains.values()) {
        const seen = new Map<string, ProgramRule>();
        const changed = new Map<string, number>();
        for (const rule of chain.rules) {
          const before = seen.get(rule.key);
          seen.set(rule.key, rule);
          if (before !== undefined && fate(chain, rule).kind === 'live' && sameAgain(before, rule, changed))
            found.push(
              finding(program, chain, rule, {
                rule: id,
                severity: 'info',
                text: 'the chain has the same rule before, and it does no more the second time',
                todo: 'remove one of them',
                because: [before.source],
              }),
            );
          for (const field of rule.changes) changed.set(field, rule.index);
          const { effect } = rule;
          if (effect.kind === 'jump')
            for (const field of graph.changes(effect.chain)) changed.set(field, rule.index);
        }
      }
      return found;
    }),
};

/** Nothing that it asks about changed in between, and doing it twice is doing it once. */
function sameAgain(before: ProgramRule, rule: ProgramRule, changed: ReadonlyMap<string, number>): boolean {
  if (rule.volatile !== undefined || rule.effect.kind !== 'jump') return false;
  const after = new Set([...changed].filter(([, index]) => index >= before.index).map(([field]) => field));
  if (after.has('*')) return false;
  return !rule.region.some((box) => [...box.keys()].some((field) => touches(after, field)));
}
