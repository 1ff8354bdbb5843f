import { checks } from '../checks/registry.ts';
import { runChecks } from '../checks/run.ts';
import type { Scan } from '../model/scan.ts';
import type { Snapshot } from '../model/snapshot.ts';

/** Every check over the whole snapshot, and how much there was to look at. */
export function scanSnapshot(snapshot: Snapshot): Omit<Scan, 'durationMs'> {
  const { findings, notRun } = runChecks(snapshot);
  const skipped = new Set(notRun.map((entry) => entry.check));
  const { nodes, pods, services, networkPolicies } = snapshot.cluster;
  return {
    findings,
    checks: checks.map((check) => check.id).filter((id) => !skipped.has(id)),
    notRun,
    gaps: snapshot.gaps,
    lookedAt: {
      ...(nodes.state === 'known' ? { nodes: nodes.value.length } : {}),
      ...(pods.state === 'known' ? { pods: pods.value.length } : {}),
      ...(services.state === 'known' ? { services: services.value.length } : {}),
      ...(networkPolicies.state === 'known' ? { policies: networkPolicies.value.length } : {}),
    },
  };
}
