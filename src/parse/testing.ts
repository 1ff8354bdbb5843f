/** Helpers of the tests in this folder. */
import type { Ruleset } from '../model/netfilter.ts';

/** The rules without their positions, which printing changes. */
export const withoutSources = (ruleset: Ruleset) =>
  ruleset.tables.map((table) => ({
    name: table.name,
    chains: [...table.chains.values()].map(({ name, policy, rules }) => ({
      name,
      policy,
      rules: rules.map(({ source: _, ...rule }) => rule),
    })),
  }));
