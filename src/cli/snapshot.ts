import { rm } from 'node:fs/promises';
import type { Command } from 'commander';
import type { CollectedFiles } from '../collect/sections.ts';
import type { Lab } from '../lab/lab.ts';
import { PodpathError } from '../model/errors.ts';
import { type ClusterFlags, collectLive, withClusterFlags } from './cluster.ts';
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
  withClusterFlags(
    snapshot
      .command('collect')
      .description('write a snapshot of a cluster or lab: a directory, .tar.gz or .zip by its name')
      .option('--lab <name>', 'a running lab instead of a cluster')
      .option('-n, --namespace <ns>', "also looked into where the account may not list all of a cluster's"),
  )
    .option('--out <path>', 'where to write (default: NAME-TIME.tar.gz here)')
    .option(
      '-o, --output <path|format>',
      'text or json: how to print what was done; anything else as --out',
      'text',
    )
    .option('--probes', 'of a lab: also send probes between the pods and keep what happened')
    .option('--force', 'replace the snapshot that is there')
    .addHelpText(
      'after',
      `
Of a cluster only objects are read, never Secrets; credentials in other objects are taken out.
Exits 0 if a snapshot was written, also one with gaps; 3 if none could be.`,
    )
    .action(collect);
  withOutputOption(
    withClusterFlags(
      snapshot
        .command('show')
        .description(
          'what a snapshot holds, and what it does not; without a path, what one of the cluster would',
        )
        .argument('[path]', 'directory, .tar.gz, .tar or .zip')
        .option('--lab <name>', 'what a snapshot of this lab would hold now')
        .option('-n, --namespace <ns>', "also looked into where the account may not list all of a cluster's"),
    ),
  ).action(show);
}

interface CollectFlags extends ClusterFlags {
  readonly lab?: string;
  readonly out?: string;
  readonly probes?: boolean;
  readonly force?: boolean;
  readonly output: string;
}

async function collect(given: CollectFlags): Promise<void> {
  const { formatOf } = await import('../collect/write.ts');
  // kubectl's -o is the form of the output; here a path may stand there too.
  const isPath = given.output !== 'text' && given.output !== 'json';
  const flags = isPath ? { ...given, output: 'text', out: given.out ?? given.output } : given;
  if (flags.probes === true && flags.lab === undefined)
    throw new PodpathError({
      code: 'usage/probes-need-a-lab',
      what: '--probes was given without --lab',
      why: 'a snapshot of a cluster is taken without sending anything in it',
      todo: 'leave --probes out',
    });
  const { files, gaps, name } =
    flags.lab === undefined
      ? await collectLive(flags)
      : await collectFromLab(flags.lab, flags.probes === true);
  const path = flags.out ?? `${fileName(name)}-${new Date().toISOString().replace(/[:.]/g, '-')}.tar.gz`;
  await writeOut(path, files, flags.force === true);
  const format = formatOf(path);
  const source = flags.lab === undefined ? { cluster: name } : { lab: name };
  if (flags.output === 'json')
    out(json('SnapshotCollection', { path, format, ...source, files: files.size, gaps }));
  else out(collectedText(path, files.size, gaps));
}

/** Names of contexts may hold slashes and colons (`arn:aws:eks:...`). */
const fileName = (name: string): string => name.replace(/[^\w.-]+/g, '-').replace(/^[-.]+/, '') || 'cluster';

async function collectFromLab(
  name: string,
  probes: boolean,
): Promise<CollectedFiles & { readonly name: string }> {
  const { collectLab } = await import('../collect/lab.ts');
  const { toolVersions } = await import('../collect/tools.ts');
  const lab = await openLab(name);
  const step = progress(`collecting lab ${name}`);
  try {
    const extra = probes ? await probeLab(lab, step.update) : undefined;
    step.update(`reading the network namespaces of lab ${name}`);
    const tools = await toolVersions();
    return { ...(await collectLab(lab, { tools, ...(extra === undefined ? {} : { extra }) })), name };
  } finally {
    step.done();
  }
}

/** Ctrl-C while it is written removes the unfinished file. */
async function writeOut(path: string, files: ReadonlyMap<string, string>, force: boolean): Promise<void> {
  const { writeSnapshot } = await import('../collect/write.ts');
  let temporary: string | undefined;
  const forget = onInterrupt(async () => {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
  });
  try {
    await writeSnapshot(path, files, {
      force,
      modified: new Date(),
      onTemporary: (name) => {
        temporary = name;
      },
    });
  } finally {
    forget();
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

interface ShowFlags extends ClusterFlags {
  readonly lab?: string;
  readonly output: string;
}

async function show(path: string | undefined, flags: ShowFlags): Promise<void> {
  const { snapshotFromFiles } = await import('../collect/build.ts');
  const { summarize } = await import('../collect/summary.ts');
  const { files, origin } = await filesToShow(path, flags);
  const summary = summarize(snapshotFromFiles(files, origin), files);
  if (flags.output === 'json') {
    out(json('SnapshotSummary', summary));
    return;
  }
  const { summaryText } = await import('../collect/show.ts');
  const style = { widthColumns: widthColumns(), unicode: unicodeOn(), verbose: verbosity() > 0, tint };
  out(summaryText(summary, style));
}

async function filesToShow(path: string | undefined, flags: ShowFlags) {
  if (path !== undefined && flags.lab !== undefined)
    throw new PodpathError({
      code: 'usage',
      what: 'it is not clear which snapshot to show',
      why: 'both a path and --lab were given',
      todo: 'podpath snapshot show PATH, or podpath snapshot show --lab NAME',
    });
  if (path !== undefined) {
    const { readSnapshotFiles } = await import('../collect/open.ts');
    return { files: await readSnapshotFiles(path), origin: path };
  }
  if (flags.lab === undefined) {
    const { files, name } = await collectLive(flags);
    return { files: { files, unreadable: [] }, origin: `cluster ${name}` };
  }
  const { collectLab } = await import('../collect/lab.ts');
  const { files } = await collectLab(await openLab(flags.lab));
  return { files: { files, unreadable: [] }, origin: `lab ${flags.lab}` };
}

async function openLab(name: string): Promise<Lab> {
  const lab = await import('../lab/lab.ts');
  return lab.openLab(name);
}

const json = (kind: string, value: object): string => JSON.stringify({ apiVersion, kind, ...value }, null, 2);
