import type { Command } from 'commander';
import { out, withOutputOption } from './context.ts';
import { answerCode, type FlowFlags, openSource, style, withFlow } from './source.ts';

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
  const { snapshot } = await openSource(flags);
  const asked = askedFlows(snapshot, {
    src,
    dst,
    namespace: flags.namespace,
    ...(flags.protocol === undefined ? {} : { protocol: flags.protocol }),
    ...(flags.size === undefined ? {} : { sizeBytes: flags.size }),
    ...(flags.ipv6 === true ? { family: 6 as const } : {}),
  });
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
