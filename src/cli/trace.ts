import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { PodpathError } from '../model/errors.ts';
import type { Verdict } from '../model/verdict.ts';
import { out, withOutputOption } from './context.ts';
import { answerCode, type FlowFlags, openSource, questionOf, style, withFlow } from './source.ts';

export function register(program: Command): void {
  withOutputOption(
    withFlow(
      program.command('trace').description('the way of a flow hop by hop, there and back; sends nothing'),
    ),
  )
    .option(
      '--pcap <file>',
      'also write the packets, as each device would see them, to a capture file (pcapng)',
    )
    .option('--all-backends', 'every backend of the Service: which fail, and why')
    .action(run);
}

interface TraceFlags extends FlowFlags {
  readonly pcap?: string;
  readonly allBackends?: boolean;
}

async function run(src: string, dst: string, flags: TraceFlags): Promise<void> {
  const { askedFlows } = await import('../diagnose/question.ts');
  const { investigate } = await import('../diagnose/investigate.ts');
  const { worstFlow } = await import('../diagnose/pairs.ts');
  const { World } = await import('../dataplane/world.ts');
  const question = await questionOf(src, dst, flags);
  const { snapshot } = await openSource(flags, question);
  const asked = askedFlows(snapshot, question);
  const { verdict } = investigate(new World(snapshot), worstFlow(snapshot, asked.flows), {
    explain: true,
  });
  if (flags.pcap !== undefined) await writePcap(flags.pcap, verdict, flags.allBackends === true);
  if (flags.allBackends === true) {
    const { backendsJson, backendsText } = await import('../report/backends.ts');
    out(
      flags.output === 'json'
        ? JSON.stringify(backendsJson(verdict), null, 1)
        : backendsText(verdict, style()),
    );
  } else if (flags.output === 'json') {
    const { traceJson } = await import('../report/json.ts');
    out(JSON.stringify(traceJson(verdict), null, 1));
  } else {
    const { traceText } = await import('../report/text.ts');
    out(traceText(verdict, style()));
  }
  process.exitCode = answerCode[verdict.answer];
}

/** The branch that the report shows, or all of them. */
async function writePcap(path: string, verdict: Verdict, all: boolean): Promise<void> {
  const { pcapng } = await import('../report/pcap.ts');
  const shown = verdict.branches.filter((branch) => branch.trace === verdict.trace);
  const capture = pcapng(all ? verdict.branches : shown);
  try {
    await writeFile(path, capture);
  } catch (error) {
    throw new PodpathError({
      code: 'trace/no-pcap',
      what: 'the capture file cannot be written',
      where: path,
      why: error instanceof Error ? error.message : String(error),
      todo: 'name another file with --pcap',
    });
  }
}
