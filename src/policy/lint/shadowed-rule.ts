/** Rules that decide nothing, whatever pods there are, because another rule matches all that they do. */
import { policyText } from '../../model/policy-diff.ts';
import type { Direction, LoweredPolicy, Rule } from '../ir.ts';
import { ruleImplies } from './implies.ts';
import { defineRule, directions, type Found, foundIn, listText } from './rule.ts';

/** Past this many rules of one policy, each with each is too much work for a remark. */
const most = 500;

export const shadowedRule = defineRule({
  id: 'shadowed-rule',
  title: 'every rule can decide something',
  needsPods: false,
  leavesOut: ({ lowered }) => {
    const long = lowered.filter(
      ({ layer, policy }) =>
        layer === 'network' && directions.some((direction) => rulesOf(policy, direction).length > most),
    );
    if (long.length === 0) return undefined;
    const names = [...new Set(long.map(({ policy }) => policyText(policy.id)))];
    return `more than ${most} rules of one direction: ${listText(names)}`;
  },
  run: ({ lowered }) =>
    lowered.flatMap(({ layer, policy }) =>
      layer !== 'network' ? [] : directions.flatMap((direction) => shadowed(policy, direction)),
    ),
});

const rulesOf = (policy: LoweredPolicy, direction: Direction): readonly Rule[] =>
  (policy[direction]?.rules ?? []).filter(({ peer }) => peer.is !== 'none');

function shadowed(policy: LoweredPolicy, direction: Direction): Found[] {
  const rules = rulesOf(policy, direction);
  if (rules.length > most) return [];
  // Where all rules do the same their order makes no difference: a later rule covers an earlier one too.
  const ordered = new Set(rules.map(({ action }) => action)).size > 1;
  const fields = new Map<string, { readonly all: Rule[]; cover: Rule | undefined; covered: number }>();
  for (const [i, rule] of rules.entries()) {
    const own = fields.get(rule.field) ?? { all: [], cover: undefined, covered: 0 };
    fields.set(rule.field, own);
    own.all.push(rule);
    const cover = rules.find(
      (other, j) =>
        other.field !== rule.field &&
        (ordered ? j < i : j < i || !ruleImplies(other, rule)) &&
        (ordered || other.action === rule.action) &&
        ruleImplies(rule, other),
    );
    if (cover === undefined || rule.condition !== undefined) continue;
    own.cover = cover;
    own.covered++;
  }
  return [...fields].flatMap(([field, { all, cover, covered }]) =>
    cover === undefined || covered < all.length
      ? []
      : [
          foundIn(
            policy,
            ordered && cover.action !== all[0]?.action ? 'warning' : 'info',
            field,
            `decides nothing: ${cover.field} ${ordered ? 'comes first and ' : ''}matches all that it matches`,
            cover.action === all[0]?.action
              ? 'remove the rule, or narrow the other one if that was not meant'
              : 'move the rule in front of the other one, or remove it',
          ),
        ],
  );
}
