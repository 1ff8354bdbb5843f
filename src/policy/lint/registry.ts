/** Every lint rule, in the order of docs/policy-lint.md. */
import { andOr } from './and-or.ts';
import { deprecatedKind } from './deprecated-kind.ts';
import { dnsForgotten } from './dns.ts';
import { equalPriority } from './equal-priority.ts';
import { hostNetwork } from './host-network.ts';
import { invalidPart } from './invalid-part.ts';
import { ipBlock } from './ip-block.ts';
import { noEffect } from './no-effect.ts';
import { peerMatchesNothing } from './peer-matches-nothing.ts';
import { policyTypes } from './policy-types.ts';
import { namedPort, servicePort } from './ports.ts';
import type { LintRule } from './rule.ts';
import { shadowedRule } from './shadowed-rule.ts';
import { subjectMatchesNothing } from './subject-matches-nothing.ts';
import { unreachableTier } from './unreachable-tier.ts';

export const lintRules: readonly LintRule[] = [
  invalidPart,
  policyTypes,
  subjectMatchesNothing,
  peerMatchesNothing,
  andOr,
  servicePort,
  namedPort,
  dnsForgotten,
  ipBlock,
  hostNetwork,
  shadowedRule,
  noEffect,
  unreachableTier,
  equalPriority,
  deprecatedKind,
];
