import type { Command } from 'commander';
import type { AskedFlows } from '../diagnose/question.ts';
import type { Lab } from '../lab/lab.ts';
import type { Diagnosis } from '../model/diagnosis.ts';
import type { Flow } from '../model/flow.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { note, out, progress, withOutputOption } from './context.ts';
import { answerCode, type FlowFlags, openSource, style, withFlow } from './source.ts';

export function register(program: Command): void {
  withOutputOption(
    withFlow(
      program
        .command('diagnose')
        .description('why can SRC not reach DST? the cause, with its proof')
        .option('--no-probe', 'send nothing: judge by recorded state alone'),
    ),
  )
    .addHelpText(
      'after',
      '\nExamples:\n  podpath diagnose shop/web-1 shop/api-2:8080 --lab demo\n  podpath diagnose shop/web-1 api.shop:80 -s cluster.tar.gz -o json',
    )
    .action(run);
}

async function run(src: string, dst: string, flags: FlowFlags & { probe: boolean }): Promise<void> {
  const started = performance.now();
  const { askedFlows } = await import('../diagnose/question.ts');
  const { snapshot, lab } = await openSource(flags);
  const asked = askedFlows(snapshot, {
    src,
    dst,
    namespace: flags.namespace,
    ...(flags.protocol === undefined ? {} : { protocol: flags.protocol }),
    ...(flags.size === undefined ? {} : { sizeBytes: flags.size }),
    ...(flags.ipv6 === true ? { family: 6 as const } : {}),
  });
  const diagnosis = await judge(snapshot, flags.probe ? lab : undefined, asked, started);
  await print(diagnosis, asked, flags.output);
  process.exitCode = answerCode[diagnosis.verdict.answer];
}

async function judge(
  snapshot: Snapshot,
  lab: Lab | undefined,
  asked: AskedFlows,
  started: number,
): Promise<Diagnosis> {
  const { diagnose } = await import('../diagnose/diagnose.ts');
  const { worstFlow } = await import('../diagnose/pairs.ts');
  const { runChecks } = await import('../checks/run.ts');
  const { readProbes } = await import('../probe/read.ts');
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

/** Fresh probes in a lab; of a snapshot, those that were recorded with it and concern the flow. */
async function probe(snapshot: Snapshot, lab: Lab | undefined, flow: Flow) {
  const { planProbes } = await import('../probe/plan.ts');
  if (lab === undefined) {
    const { recordedFor } = await import('../probe/recorded.ts');
    return snapshot.probes.state === 'known' ? recordedFor(flow, snapshot.probes.value) : [];
  }
  const { runLabProbes } = await import('../probe/lab.ts');
  const step = progress('probing the path with real packets');
  try {
    return await runLabProbes(lab, planProbes(flow, snapshot));
  } finally {
    step.done();
  }
}

async function print(diagnosis: Diagnosis, asked: AskedFlows, output: string): Promise<void> {
  if (output === 'json') {
    const { diagnosisJson } = await import('../report/json.ts');
    out(JSON.stringify(diagnosisJson(diagnosis), null, 1));
    return;
  }
  const { diagnosisText } = await import('../report/text.ts');
  out(diagnosisText(diagnosis, style()));
  const others = asked.flows.length - 1 + asked.leftOut;
  if (others > 0) note(`\n${others} other pairs match what you asked; this is the worst of ${asked.flows.length} walked.`);
}
