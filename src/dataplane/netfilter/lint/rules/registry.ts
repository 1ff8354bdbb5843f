/** Every rule of the linter, in the order of docs/netfilter.md. */
import type { LintRule } from '../rule.ts';
import { bothBackends } from './both-backends.ts';
import { chainLoop, emptyChain, missingChain, unusedChain } from './chains.ts';
import { dropsAll } from './drops-all.ts';
import { duplicateRule } from './duplicate-rule.ts';
import { incomplete } from './incomplete.ts';
import { masqueradePods } from './masquerade-pods.ts';
import { missingSet } from './missing-set.ts';
import { neverMatches } from './never-matches.ts';
import { shadowedRule } from './shadowed-rule.ts';
import { unknownParts } from './unknown-parts.ts';

export const netfilterLintRules: readonly LintRule[] = [
  missingChain,
  chainLoop,
  missingSet,
  incomplete,
  bothBackends,
  dropsAll,
  neverMatches,
  shadowedRule,
  duplicateRule,
  unusedChain,
  emptyChain,
  masqueradePods,
  unknownParts,
];
