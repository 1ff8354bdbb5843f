import type { ProbeResult } from './evidence.ts';
import type { Cause } from './finding.ts';
import type { Gap } from './gap.ts';
import type { Verdict } from './verdict.ts';

/** Everything that `diagnose` found out about one flow: what the reports print. */
export interface Diagnosis {
  readonly verdict: Verdict;
  /** Best first; empty where the flow is reachable or nothing explains it. */
  readonly causes: readonly Cause[];
  /** What could not be seen, the verdict's own gaps included. */
  readonly gaps: readonly Gap[];
  /** Empty where nothing was probed. */
  readonly probes: readonly ProbeResult[];
  /** True sentences that are no cause: `real packets pass what NetworkPolicy shop/deny refuses: nobody enforces it`. */
  readonly remarks?: readonly string[];
  readonly durationMs: number;
}
