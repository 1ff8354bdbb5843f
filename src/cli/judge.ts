/** One question asked of every engine: the walk, the policies, the checks and, in a lab, real packets. */
import { runChecks } from '../checks/run.ts';
import { diagnose } from '../diagnose/diagnose.ts';
import { worstFlow } from '../diagnose/pairs.ts';
import type { AskedFlows } from '../diagnose/question.ts';
import type { Lab } from '../lab/lab.ts';
import type { Diagnosis } from '../model/diagnosis.ts';
import type { ProbeResult } from '../model/evidence.ts';
import type { Flow } from '../model/flow.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { runLabProbes } from '../probe/lab.ts';
import { planProbes } from '../probe/plan.ts';
import { readProbes } from '../probe/read.ts';
import { recordedFor } from '../probe/recorded.ts';
import { progress } from './context.ts';

export interface JudgeOptions {
  /** performance.now() when the command began. */
  readonly started: number;
  /** Where fresh probes are sent from; without it, those recorded in the snapshot are read. */
  readonly lab?: Lab;
}

/** Diagnoses the worst of the flows that were asked about. */
export async function judge(
  snapshot: Snapshot,
  asked: AskedFlows,
  { started, lab }: JudgeOptions,
): Promise<Diagnosis> {
  const flow = worstFlow(snapshot, asked.flows);
  const results = await probe(snapshot, lab, flow);
  const { findings } = runChecks(snapshot);
  return diagnose({
    snapshot,
    flow,
    findings,
    ...(results.length === 0 ? {} : { probed: { ...readProbes(flow, results), results } }),
    ...(asked.notFound === undefined ? {} : { notFound: asked.notFound }),
    durationMs: performance.now() - started,
  });
}

async function probe(snapshot: Snapshot, lab: Lab | undefined, flow: Flow): Promise<readonly ProbeResult[]> {
  if (lab === undefined)
    return snapshot.probes.state === 'known' ? recordedFor(flow, snapshot.probes.value) : [];
  const step = progress('probing the path with real packets');
  try {
    return await runLabProbes(lab, planProbes(flow, snapshot));
  } finally {
    step.done();
  }
}
