/** What is odd about the policies of a cluster, as `policy lint` prints it. */
import type { ObjectOrigin } from './cluster.ts';
import type { PolicyName } from './policy-diff.ts';

/** `error`: the policy does not do what it says. `warning`: most likely a mistake. `info`: good to know. */
export type LintSeverity = 'error' | 'warning' | 'info';

export interface LintFinding {
  /** `peer-matches-nothing`: docs/policy-lint.md. */
  readonly rule: string;
  readonly severity: LintSeverity;
  readonly policy: PolicyName;
  /** `spec.ingress[0].from[1]`; empty for the policy as a whole. */
  readonly field: string;
  readonly text: string;
  readonly todo: string;
  readonly origin?: ObjectOrigin;
}

export interface PolicyLint {
  /** By policy, the worst first. */
  readonly findings: readonly LintFinding[];
  /** Rules that looked and could tell. */
  readonly rules: readonly string[];
  readonly notRun: readonly { readonly rule: string; readonly why: string }[];
  readonly policies: number;
}
