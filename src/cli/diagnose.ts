import type { Command } from 'commander';
import type { AskedFlows } from '../diagnose/question.ts';
import type { Diagnosis } from '../model/diagnosis.ts';
import { note, out, withOutputOption } from './context.ts';
import { answerCode, type FlowFlags, openSource, questionOf, style, withFlow } from './source.ts';

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
  const { judge } = await import('./judge.ts');
  const question = await questionOf(src, dst, flags);
  const { snapshot, lab } = await openSource(flags, question);
  const asked = askedFlows(snapshot, question);
  const diagnosis = await judge(snapshot, asked, {
    started,
    ...(flags.probe && lab !== undefined ? { lab } : {}),
  });
  await print(diagnosis, asked, flags.output);
  process.exitCode = answerCode[diagnosis.verdict.answer];
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
  if (others > 0)
    note(`\n${others} other pairs match what you asked; this is the worst of ${asked.flows.length} walked.`);
}
