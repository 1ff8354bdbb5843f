/** Sets that rules ask and that do not exist. */
import type { NetfilterFinding } from '../../../../model/netfilter-report.ts';
import { finding, type LintRule, rulesOf } from '../rule.ts';

const id = 'missing-set';

export const missingSet: LintRule = {
  id,
  cannotRun: ({ ipsets, programs }) =>
    ipsets.state === 'unknown' &&
    programs.some(
      ({ program }) =>
        program.sets === undefined && [...rulesOf(program)].some(([, { sets }]) => sets.length > 0),
    )
      ? `of rules that ask ipsets: ${ipsets.why}`
      : undefined,
  run: ({ programs, ipsets }) =>
    programs.flatMap(({ program }) => {
      const found: NetfilterFinding[] = [];
      const known =
        program.sets ??
        (ipsets.state === 'known' ? new Set(ipsets.value.map(({ name }) => name)) : undefined);
      if (known === undefined) return found;
      for (const [chain, rule] of rulesOf(program)) {
        const missing = rule.sets.filter((name) => !known.has(name));
        if (missing.length === 0) continue;
        found.push(
          finding(program, chain, rule, {
            rule: id,
            severity: 'error',
            text: `it asks the set ${missing.join(', ')}, which is not among the recorded sets: the kernel refuses such a rule, so sets and rules were not saved together`,
            todo: 'save rules and sets again at one time, or create the set',
          }),
        );
      }
      return found;
    }),
};
