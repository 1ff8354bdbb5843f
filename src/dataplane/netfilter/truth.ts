/** Three-valued logic of matches, with chance as a fourth: `statistic` is neither known nor unknown. */

export type Truth = boolean | { readonly doubt: string };

export type MatchResult = Truth | { readonly chance: number };

/** A negated doubt stays a doubt. */
export function negateIf(negate: boolean, result: MatchResult): MatchResult {
  if (!negate) return result;
  if (typeof result === 'boolean') return !result;
  return 'chance' in result ? { chance: 1 - result.chance } : result;
}

/** All matches of a rule. One `false` decides whatever the others are. */
export function allOf(results: Iterable<MatchResult>): MatchResult {
  let doubt: string | undefined;
  let chance = 1;
  let hasChance = false;
  for (const result of results) {
    if (result === false) return false;
    if (result === true) continue;
    if ('doubt' in result) doubt ??= result.doubt;
    else {
      chance *= result.chance;
      hasChance = true;
    }
  }
  if (doubt !== undefined) return { doubt };
  if (!hasChance || chance >= 1) return true;
  return chance <= 0 ? false : { chance };
}
