/** Runs every check over a snapshot. */
import type { Finding } from '../model/finding.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { type Check, makeContext, type NotRun, share } from './check.ts';
import { checks as allChecks } from './registry.ts';

export interface CheckReport {
  /** Errors first, then in the order of the registry. */
  readonly findings: readonly Finding[];
  readonly notRun: readonly NotRun[];
}

export function runChecks(snapshot: Snapshot, checks: readonly Check[] = allChecks): CheckReport {
  const shared = share(snapshot);
  const findings: Finding[] = [];
  const notRun: NotRun[] = [];
  for (const check of checks) {
    const reasons = new Set<string>();
    const context = makeContext(snapshot, shared, (why) => reasons.add(why));
    for (const finding of check.run(context)) findings.push({ check: check.id, ...finding });
    for (const why of reasons) notRun.push({ check: check.id, why });
  }
  const rank = (finding: Finding) => (finding.severity === 'error' ? 0 : 1);
  return { findings: findings.toSorted((a, b) => rank(a) - rank(b)), notRun };
}
