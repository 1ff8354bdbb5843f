import { rm } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Lab } from '../lab/lab.ts';
import { PodpathError } from '../model/errors.ts';
import {
  onInterrupt,
  out,
  progress,
  tint,
  unicodeOn,
  verbosity,
  widthColumns,
  withOutputOption,
} from './context.ts';

const apiVersion = 'podpath.dev/v1alpha1';

export function register(program: Command): void {
  const snapshot = program
    .command('snapshot')
    .description('keep the state of a cluster or lab in a file, and look into one');
  withOutputOption(
    snapshot
      .command('collect')
      .description('write a snapshot: a directory, .tar.gz or .zip by the name of --out')
      .requiredOption('--lab <name>', 'the lab to collect from')
      .option('--out <path>', 'where to write (default: NAME-TIME.tar.gz here)')
      .option('--probes', 'also send probes between the pods and keep what happened')
      .option('--force', 'replace the snapshot that is there'),
  )
    .addHelpText('after', '\nExits 0 if a snapshot was written, also one with gaps; 3 if none could be.')
    .action(collect);
  withOutputOption(
    snapshot
      .command('show')
      .description('what a snapshot holds, and what it does not')
      .argument('[path]', 'directory, .tar.gz, .tar or .zip')
      .option('--lab <name>', 'what a snapshot of this lab would hold now'),
  ).action(show);
}

interface CollectFlags {
  readonly lab: string;
  readonly out?: string;
  readonly probes?: boolean;
  readonly force?: boolean;
  readonly output: string;
}

async function collect(flags: CollectFlags): Promise<void> {
  const { collectLab } = await import('../collect/lab.ts');
  const { toolVersions } = await import('../collect/tools.ts');
  const { formatOf, writeSnapshot } = await import('../collect/write.ts');
  const lab = await openLab(flags.lab);
  const step = progress(`collecting lab ${flags.lab}`);
  let temporary: string | undefined;
  const forget = onInterrupt(async () => {
    step.done();
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
  });
  try {
    const extra = flags.probes === true ? await probeLab(lab, step.update) : undefined;
    step.update(`reading the network namespaces of lab ${flags.lab}`);
    const tools = await toolVersions();
    const { files, gaps } = await collectLab(lab, { tools, ...(extra === undefined ? {} : { extra }) });
    const path = flags.out ?? `${flags.lab}-${new Date().toISOString().replace(/[:.]/g, '-')}.tar.gz`;
    await writeSnapshot(path, files, {
      force: flags.force === true,
      modified: new Date(),
      onTemporary: (name) => {
        temporary = name;
      },
    });
    step.done();
    const format = formatOf(path);
    if (flags.output === 'json')
      out(json('SnapshotCollection', { path, format, lab: flags.lab, files: files.size, gaps }));
    else out(collectedText(path, files.size, gaps));
  } finally {
    forget();
    step.done();
  }
}

function collectedText(path: string, files: number, gaps: readonly { what: string; why: string }[]): string {
  const lines = [`${path}: ${files} files, ${gaps.length === 0 ? 'no gaps' : `${gaps.length} gaps`}`];
  for (const { what, why } of gaps.slice(0, 8)) lines.push(`  not seen: ${what}: ${why}`);
  if (gaps.length > 8) lines.push(`  and ${gaps.length - 8} more: podpath snapshot show ${path}`);
  return lines.join('\n');
}

/** Probes between the lab's pods, as the file that a snapshot keeps them in. */
async function probeLab(lab: Lab, say: (text: string) => void): Promise<ReadonlyMap<string, string>> {
  const { snapshotOfLab } = await import('../collect/lab.ts');
  const { planMesh } = await import('../collect/mesh.ts');
  const { runLabProbes } = await import('../probe/lab.ts');
  const plan = planMesh(await snapshotOfLab(lab));
  say(`sending ${plan.length} probes`);
  const results = await runLabProbes(lab, plan);
  return new Map([['probes/results.json', `${JSON.stringify(results, null, 1)}\n`]]);
}

interface ShowFlags {
  readonly lab?: string;
  readonly output: string;
}

async function show(path: string | undefined, flags: ShowFlags): Promise<void> {
  const { snapshotFromFiles } = await import('../collect/build.ts');
  const { summarize } = await import('../collect/summary.ts');
  const { files, origin } = await filesToShow(path, flags.lab);
  const summary = summarize(snapshotFromFiles(files, origin), files);
  if (flags.output === 'json') {
    out(json('SnapshotSummary', summary));
    return;
  }
  const { summaryText } = await import('../collect/show.ts');
  const style = { widthColumns: widthColumns(), unicode: unicodeOn(), verbose: verbosity() > 0, tint };
  out(summaryText(summary, style));
}

async function filesToShow(path: string | undefined, name: string | undefined) {
  if (path !== undefined && name === undefined) {
    const { readSnapshotFiles } = await import('../collect/open.ts');
    return { files: await readSnapshotFiles(path), origin: path };
  }
  if (name !== undefined && path === undefined) {
    const { collectLab } = await import('../collect/lab.ts');
    const { files } = await collectLab(await openLab(name));
    return { files: { files, unreadable: [] }, origin: `lab ${name}` };
  }
  throw new PodpathError({
    code: 'usage',
    what: 'it is not clear which snapshot to show',
    why: path === undefined ? 'neither a path nor --lab was given' : 'both a path and --lab were given',
    todo: 'podpath snapshot show PATH, or podpath snapshot show --lab NAME',
  });
}

async function openLab(name: string): Promise<Lab> {
  const lab = await import('../lab/lab.ts');
  return lab.openLab(name);
}

const json = (kind: string, value: object): string => JSON.stringify({ apiVersion, kind, ...value }, null, 2);
