import type { Finding } from './finding.ts';
import type { Gap } from './gap.ts';

/** What every check over the whole snapshot came to. */
export interface Scan {
  readonly findings: readonly Finding[];
  /** Ids of the checks that looked and could tell. */
  readonly checks: readonly string[];
  /** Checks that could not look, and why. */
  readonly notRun: readonly { readonly check: string; readonly why: string }[];
  readonly gaps: readonly Gap[];
  /** How much was looked at; a count that is not known is left out. */
  readonly lookedAt: {
    readonly nodes?: number;
    readonly pods?: number;
    readonly services?: number;
    readonly policies?: number;
  };
  readonly durationMs: number;
}
