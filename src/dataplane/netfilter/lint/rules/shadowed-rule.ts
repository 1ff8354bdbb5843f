/** Rules that earlier ones leave no packet for. */
import type { NetfilterFinding, NetfilterSeverity } from '../../../../model/netfilter-report.ts';
import type { ProgramRule } from '../program.ts';
import { finding, type LintRule, ownerIn, rulesOf } from '../rule.ts';

const id = 'shadowed-rule';

export const shadowedRule: LintRule = {
  id,
  run: ({ programs }) =>
    programs.flatMap(({ program, fate }) => {
      const found: NetfilterFinding[] = [];
      for (const [chain, rule] of rulesOf(program)) {
        const { kind, ...rest } = fate(chain, rule);
        if (kind !== 'shadowed' || !('by' in rest)) continue;
        const { by } = rest;
        const same = by.every((other) => doing(other) === doing(rule));
        found.push(
          finding(program, chain, rule, {
            rule: id,
            severity: severityOf(same, ownerIn(program, chain, rule) === 'foreign'),
            text: `no packet comes to it: ${same ? 'the same is done by' : 'taken before by'} ${by.length === 1 ? 'an earlier rule' : `${by.length} earlier rules together`}`,
            todo: same ? 'remove the rule' : 'put it before the rules that take its packets, or remove it',
            because: by.slice(0, 4).map(({ source }) => source),
          }),
        );
      }
      return found;
    }),
};

const doing = ({ effect }: ProgramRule): string => JSON.stringify(effect);

/** Programs write rules that others of theirs cover; a person's rule that does nothing is a mistake. */
const severityOf = (same: boolean, byHand: boolean): NetfilterSeverity =>
  !same && byHand ? 'warning' : 'info';
