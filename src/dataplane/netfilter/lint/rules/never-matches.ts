/** Rules that no packet can match: conditions that exclude each other, or exclude how their chain is entered. */
import type { NetfilterFinding } from '../../../../model/netfilter-report.ts';
import type { Call } from '../graph.ts';
import { type ProgramRule, ruleText } from '../program.ts';
import type { RuleFate } from '../reach.ts';
import { finding, type LintRule, ownerIn, rulesOf } from '../rule.ts';

const id = 'never-matches';

export const neverMatches: LintRule = {
  id,
  run: ({ programs }) =>
    programs.flatMap(({ program, fate }) => {
      const found: NetfilterFinding[] = [];
      for (const [chain, rule] of rulesOf(program)) {
        const wrong = said(rule, fate(chain, rule), ownerIn(program, chain, rule) === 'foreign');
        if (wrong !== undefined) found.push(finding(program, chain, rule, { rule: id, ...wrong }));
      }
      return found;
    }),
};

/** Programs write such rules on purpose, for chains that they fill later; a person's is a mistake. */
function said(rule: ProgramRule, fate: RuleFate, byHand: boolean) {
  const mixed = foreignModule(rule);
  if (mixed !== undefined)
    return {
      severity: 'error' as const,
      text: `${mixed}: the kernel refuses such a rule`,
      todo: 'match the ports with the module of the protocol that -p names',
    };
  if (fate.kind === 'contradiction')
    return {
      severity: byHand ? ('warning' as const) : ('info' as const),
      text: 'it can never match: its own conditions exclude each other',
      todo: 'remove the rule, or the condition that is not meant',
    };
  if (fate.kind !== 'context') return undefined;
  const because = fate.calls.map(({ rule: caller }) => caller.source);
  return {
    severity: byHand ? ('warning' as const) : ('info' as const),
    text: `it can never match: ${contextText(fate.base?.hook, fate.calls)}`,
    todo: 'remove the rule, or lead other packets to its chain',
    because: because.slice(0, 4),
  };
}

function contextText(hook: string | undefined, calls: readonly Call[]): string {
  if (hook !== undefined && calls.length === 0) return `no packet at the hook ${hook} is like that`;
  if (calls.length === 1) return 'one rule only leads to its chain, and lets no such packet in';
  return `none of the ${calls.length} rules that lead to its chain lets such a packet in`;
}

/** A condition of another protocol's module. xt_check_match refuses it with EINVAL; a file can hold it all the same. */
function foreignModule(rule: ProgramRule): string | undefined {
  const words = / -p (tcp|udp|sctp|icmp)\b.* -m (tcp|udp|sctp|icmp)\b/.exec(` ${ruleText(rule)}`);
  if (words === null || words[1] === words[2]) return undefined;
  return `-m ${words[2]} does not go with -p ${words[1]}`;
}
