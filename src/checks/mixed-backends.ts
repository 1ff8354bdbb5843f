/** Rules in both of iptables' backends: each tool sees only its own half, and packets pass both. */
import type { Ruleset } from '../model/netfilter.ts';
import { defineCheck, nodeSubject, observed } from './check.ts';

export const mixedBackends = defineCheck({
  id: 'mixed-backends',
  title: 'Rules live in one iptables backend',
  causes: ['netfilter/mixed-backends'],
  run: (context) =>
    context.nodes().flatMap(({ name, netns }) => {
      const rulesets = context.need(netns.rulesets) ?? [];
      return ([4, 6] as const).flatMap((family) => {
        const real = rulesets.filter((ruleset) => ruleset.family === family && countRules(ruleset) > 0);
        const backends = new Set(real.map(({ backend }) => backend));
        if (backends.size < 2) return [];
        return [
          {
            cause: 'netfilter/mixed-backends' as const,
            severity: 'warning' as const,
            subject: nodeSubject(name),
            concerns: [],
            statement: `${name} has IPv${family} rules in both iptables backends, legacy and nft`,
            evidence: real.map((ruleset) =>
              observed(`${countRules(ruleset)} rules of the ${ruleset.backend} backend`, firstRule(ruleset)),
            ),
          },
        ];
      });
    }),
});

/** Chain policies that accept change nothing; a tool may leave empty tables behind by merely listing them. */
const countRules = (ruleset: Ruleset): number =>
  ruleset.tables.reduce(
    (sum, table) => sum + [...table.chains.values()].reduce((n, chain) => n + chain.rules.length, 0),
    0,
  );

const firstRule = (ruleset: Ruleset) =>
  ruleset.tables.flatMap((table) => [...table.chains.values()]).find((chain) => chain.rules.length > 0)
    ?.rules[0]?.source;
