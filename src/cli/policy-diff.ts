/** `podpath policy diff`: what another version of the policies lets pass differently. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { manifestFile } from '../collect/manifest.ts';
import { PodpathError } from '../model/errors.ts';
import type { ChangeReason, RulePlace } from '../model/policy-diff.ts';
import type { PolicyEngine } from '../policy/index.ts';
import type { PolicyReading } from '../policy/options.ts';
import { allChanges, changeTotal, type DiffSide, type PolicyDiffReport } from '../report/policy-diff.ts';
import { verbosity } from './context.ts';
import { exitCode } from './errors.ts';
import { writeAll } from './policy-list.ts';
import {
  noteProblems,
  openPolicySource,
  type PolicySource,
  type PolicySourceFlags,
} from './policy-source.ts';
import { style } from './source.ts';

const formats = ['text', 'json', 'csv', 'md', 'dot', 'html'] as const;

interface DiffFlags extends Pick<PolicySourceFlags, 'dialect' | 'ipBlock' | 'staged'> {
  readonly by: 'workload' | 'pod';
  readonly icmp?: boolean;
  readonly output: (typeof formats)[number];
}

export function register(parent: Command): void {
  parent
    .command('diff')
    .description('connections that B adds to A, removes or changes, and because of which policy')
    .argument('<a>', 'before: manifests (a directory or file) or a snapshot')
    .argument('[b]', 'after: the same; with --staged it may be left out and is A')
    .option('--staged', "in B, Calico's staged policies are enforced")
    .addOption(
      new Option('--dialect <name>', 'who enforces the policies (default: found on either side)').choices([
        'kubernetes',
        'calico',
        'cilium',
      ]),
    )
    .addOption(
      new Option(
        '--ip-block <reading>',
        'what an ipBlock matches: addresses outside only, or pods too',
      ).choices(['outside', 'pods']),
    )
    .addOption(
      new Option('--by <what>', 'pods of one owner as one, or each pod for itself')
        .choices(['workload', 'pod'])
        .default('workload'),
    )
    .option('--icmp', 'compare ICMP too; NetworkPolicy leaves it open')
    .addOption(
      new Option('-o, --output <format>', 'how to print the result').choices([...formats]).default('text'),
    )
    .addHelpText(
      'after',
      '\nExit codes:\n  0  no connection differs      1  some do      3  usage or access error',
    )
    .action(run);
}

/** One of the two, opened. */
interface Opened {
  readonly name: string;
  readonly staged?: boolean;
  readonly isSnapshot: boolean;
  readonly source: PolicySource;
}

async function run(a: string, b: string | undefined, flags: DiffFlags): Promise<void> {
  const { streamDiff } = await import('../policy/diff/diff.ts');
  if (b === undefined && flags.staged !== true)
    throw new PodpathError({
      code: 'usage/one-side',
      what: `nothing to compare ${a} with`,
      why: 'a difference has two sides',
      todo: 'give the other directory, file or snapshot; or --staged, to see what staged policies would change',
    });
  const { staged, ...asTheyAre } = flags;
  const before = await open(a, asTheyAre);
  const after = { ...(await open(b ?? a, flags)), staged: staged === true };
  const readings = sharedReading(before, after, flags);
  const [one, other] = [await readAs(before, readings.reading), await readAs(after, readings.reading)];
  const diff = streamDiff(one, other, { by: flags.by, icmp: flags.icmp ?? false });
  const report: PolicyDiffReport = {
    a: sideOf(before, one),
    b: sideOf(after, other),
    diff,
    entries: await entriesOf(before, after, readings.reading, flags.by),
    notes: readings.notes,
    place: () => undefined,
  };
  for (const { source } of [before, after]) noteProblems(source.problems, verbosity() > 0);
  const place = await placesOf(report, flags.output, before.source, after.source);
  await writeAll(await printed({ ...report, place }, flags.output));
  process.exitCode = changeTotal(report) > 0 ? exitCode.found : exitCode.ok;
}

async function open(path: string, { dialect, ipBlock, staged }: DiffFlags): Promise<Opened> {
  const flags = {
    ...(staged === undefined ? {} : { staged }),
    ...(dialect === undefined ? {} : { dialect }),
    ...(ipBlock === undefined ? {} : { ipBlock }),
  };
  const isSnapshot = await looksLikeSnapshot(path);
  const source = isSnapshot
    ? await openPolicySource(undefined, { ...flags, snapshot: path })
    : await openPolicySource(path, flags);
  return { name: path, isSnapshot, source };
}

/** An archive, or a directory that says of itself that it is a snapshot. */
async function looksLikeSnapshot(path: string): Promise<boolean> {
  if (/\.(tar\.gz|tgz|tar|zip)$/i.test(path)) return true;
  return await stat(join(path, manifestFile)).then(
    () => true,
    () => false,
  );
}

/**
 * Manifests do not say who enforces them: they are read as the other side is. Two snapshots are each read as they were; a policy system
 * that was replaced is a difference like any other.
 */
function sharedReading(
  a: Opened,
  b: Opened,
  flags: DiffFlags,
): { readonly reading: Partial<PolicyReading>; readonly notes: readonly string[] } {
  const [one, other] = [a.source.engine.reading, b.source.engine.reading];
  const same = one.dialect === other.dialect && one.ipBlockMatchesPods === other.ipBlockMatchesPods;
  if (same || (a.isSnapshot && b.isSnapshot) || flags.dialect !== undefined) {
    const note = `${a.name} is read as ${one.dialect} and ${b.name} as ${other.dialect} enforce policies`;
    return { reading: {}, notes: same ? [] : [note] };
  }
  const leads = a.isSnapshot || (!b.isSnapshot && one.dialect !== 'kubernetes') ? a : b;
  const { dialect, ipBlockMatchesPods } = leads.source.engine.reading;
  return {
    reading: { dialect, ...(flags.ipBlock === undefined ? { ipBlockMatchesPods } : {}) },
    notes: [
      `both sides are read as ${dialect} enforces policies, because of ${leads.name} (--dialect says otherwise)`,
    ],
  };
}

async function readAs({ source, staged }: Opened, reading: Partial<PolicyReading>): Promise<PolicyEngine> {
  if (Object.keys(reading).length === 0) return source.engine;
  const { policyEngine } = await import('../policy/index.ts');
  return policyEngine(source.cluster, { ...source.reading, ...reading }, { includeStaged: staged === true });
}

const sideOf = ({ name, source, staged }: Opened, { reading, because }: PolicyEngine): DiffSide => ({
  name: staged === true ? `${name} with its staged policies` : name,
  reading: { ...reading, because },
  problems: source.problems,
});

async function entriesOf(
  a: Opened,
  b: Opened,
  reading: Partial<PolicyReading>,
  by: DiffFlags['by'],
): Promise<PolicyDiffReport['entries']> {
  const { policyEngine } = await import('../policy/index.ts');
  const { entryConnections } = await import('../policy/entry.ts');
  const { diffEntries } = await import('../policy/diff/entries.ts');
  const entries = ({ source }: Opened) =>
    entryConnections(
      source.cluster,
      source.entryPoints,
      (cluster) => policyEngine(cluster, { ...source.reading, ...reading }),
      by,
    );
  return diffEntries(entries(a), entries(b));
}

/** The lines of all rules and policies that the format names, file by file. */
async function placesOf(
  report: PolicyDiffReport,
  format: DiffFlags['output'],
  a: PolicySource,
  b: PolicySource,
): Promise<PolicyDiffReport['place']> {
  const reasons = format === 'dot' ? new Set<ChangeReason>() : shownReasons(report, format);
  const wanted = (side: 'before' | 'after'): RulePlace[] => [
    ...[...reasons].flatMap((reason) => reason[side] ?? []),
    ...(format !== 'json' ? [] : report.diff.policies).flatMap((change) => {
      const origin = change[side];
      return origin === undefined ? [] : [{ field: '', origin }];
    }),
  ];
  const found = new Map<string, string>();
  for (const [side, source] of [
    ['before', a],
    ['after', b],
  ] as const) {
    const places = new Map(wanted(side).map((place) => [keyOf(place), place] as const));
    for (const [key, { origin, field }] of [...places].sort(([x], [y]) => (x < y ? -1 : 1))) {
      if (origin === undefined) continue;
      const { file, line } = await source.locate(origin, field);
      found.set(key, line === undefined ? file : `${file}:${line}`);
    }
  }
  return (place) => found.get(keyOf(place));
}

/** Text shows some of each reason's changes; the other formats show all. */
function shownReasons(report: PolicyDiffReport, format: DiffFlags['output']): ReadonlySet<ChangeReason> {
  const reasons = new Set<ChangeReason>();
  const shown =
    format === 'text'
      ? [...report.diff.groups.flatMap(({ changes }) => changes), ...report.entries]
      : allChanges(report);
  for (const { because } of shown) for (const reason of because) reasons.add(reason);
  return reasons;
}

const keyOf = ({ field, origin }: RulePlace): string =>
  origin === undefined ? '' : [origin.file, origin.document, origin.path, field].join('\n');

async function printed(report: PolicyDiffReport, format: DiffFlags['output']): Promise<Iterable<string>> {
  switch (format) {
    case 'text':
      return (await import('../report/policy-diff-text.ts')).policyDiffText(report, style());
    case 'json':
      return (await import('../report/policy-diff-json.ts')).policyDiffJson(report);
    case 'csv':
      return (await import('../report/policy-diff-csv.ts')).policyDiffCsv(report);
    case 'md':
      return (await import('../report/policy-diff-md.ts')).policyDiffMarkdown(report);
    case 'dot':
      return (await import('../report/policy-diff-dot.ts')).policyDiffDot(report);
    case 'html':
      return (await import('../report/policy-diff-html.ts')).policyDiffHtml(report);
  }
}
