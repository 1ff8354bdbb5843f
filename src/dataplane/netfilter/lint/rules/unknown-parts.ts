/** Parts of rules that podpath does not know: what they decide is not known either. */
import type { NetfilterFinding } from '../../../../model/netfilter-report.ts';
import { finding, type LintRule, rulesOf } from '../rule.ts';

const id = 'unknown-part';

/** Modules that are known, and ask for facts that no dump has, are no mistake of anybody. */
const notKnown =
  /is not known|not understood|neither known nor|belong to no option|a quote is not closed|not an? /;

export const unknownParts: LintRule = {
  id,
  run: ({ programs }) =>
    programs.flatMap(({ program }) => {
      const found: NetfilterFinding[] = [];
      for (const [chain, rule] of rulesOf(program)) {
        const what = rule.notUnderstood.find(
          (text) => program.backend === 'nftables' || notKnown.test(text.slice(text.lastIndexOf(': '))),
        );
        if (what === undefined) continue;
        found.push(
          finding(program, chain, rule, {
            rule: id,
            severity: 'info',
            text: `podpath does not understand it (${what}): a walk that comes here ends as unknown`,
            todo: 'check the spelling; if the kernel takes the rule, judge it by hand',
          }),
        );
      }
      return found;
    }),
};
