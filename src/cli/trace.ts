import type { Command } from 'commander';
import { out, withOutputOption } from './context.ts';
import { answerCode, type FlowFlags, openSource, questionOf, style, withFlow } from './source.ts';

export function register(program: Command): void {
  withOutputOption(
    withFlow(
      program.command('trace').description('the way of a flow hop by hop, there and back; sends nothing'),
    ),
  ).action(run);
}

async function run(src: string, dst: string, flags: FlowFlags): Promise<void> {
  const { askedFlows } = await import('../diagnose/question.ts');
  const { investigate } = await import('../diagnose/investigate.ts');
  const { worstFlow } = await import('../diagnose/pairs.ts');
  const { World } = await import('../dataplane/world.ts');
  const question = questionOf(src, dst, flags);
  const { snapshot } = await openSource(flags, question);
  const asked = askedFlows(snapshot, question);
  const { verdict } = investigate(new World(snapshot), worstFlow(snapshot, asked.flows));
  if (flags.output === 'json') {
    const { traceJson } = await import('../report/json.ts');
    out(JSON.stringify(traceJson(verdict), null, 1));
  } else {
    const { traceText } = await import('../report/text.ts');
    out(traceText(verdict, style()));
  }
  process.exitCode = answerCode[verdict.answer];
}
