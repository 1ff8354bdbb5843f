/** Where the subcommands of `policy` look: a directory of manifests, a snapshot or a lab; and how they say what they could not use. */
import { type Command, Option } from 'commander';
import type { Locate } from '../collect/manifests/locate.ts';
import type { Cluster, ObjectProblem } from '../model/cluster.ts';
import { PodpathError } from '../model/errors.ts';
import type { Gap } from '../model/gap.ts';
import type { EntryPoint } from '../model/ingress.ts';
import type { PolicyEngine } from '../policy/index.ts';
import type { Dialect, PolicyReading } from '../policy/options.ts';
import { note, tint } from './context.ts';
import { openSource, type SourceFlags, withSource } from './source.ts';

export interface PolicySourceFlags extends SourceFlags {
  readonly dialect?: Dialect;
  readonly ipBlock?: 'outside' | 'pods';
  /** Calico's staged policies as if they were enforced. */
  readonly staged?: boolean;
}

/** Adds -s, --lab and how the policies are to be read. The manifests' directory is an argument of each subcommand. */
export const withPolicySource = (command: Command): Command =>
  withSource(command)
    .addOption(
      new Option(
        '--dialect <name>',
        'who enforces the policies (default: found in a cluster; of manifests, whose policies they are)',
      ).choices(['kubernetes', 'calico', 'cilium']),
    )
    .addOption(
      new Option(
        '--ip-block <reading>',
        'what an ipBlock matches: addresses outside only, or pods too',
      ).choices(['outside', 'pods']),
    )
    .option('--staged', "judge Calico's staged policies as if they were enforced");

export interface PolicySource {
  readonly cluster: Cluster;
  readonly entryPoints: readonly EntryPoint[];
  /** Parts of the input that could not be used, with file and line where there are some. */
  readonly problems: readonly PlacedProblem[];
  /** What was read although a server would not have taken it as it stands. */
  readonly remarks: readonly PlacedProblem[];
  /** The line of an object's field, for objects from manifests. */
  readonly locate: Locate;
  /** The reading that the flags and the kind of source ask for. */
  readonly reading: Partial<PolicyReading>;
  readonly engine: PolicyEngine;
  readonly engineOf: (cluster: Cluster) => PolicyEngine;
}

export interface PlacedProblem {
  readonly text: string;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  readonly field?: string;
}

/** `path`: a directory of manifests, one file, or `-`. Throws PodpathError if there is not exactly one source. */
export async function openPolicySource(
  path: string | undefined,
  flags: PolicySourceFlags,
): Promise<PolicySource> {
  const { policyEngine } = await import('../policy/index.ts');
  const { policyProblems } = await import('../policy/problems.ts');
  const found = path === undefined ? await fromCluster(flags) : await fromManifests(path, flags);
  const { cluster, locate } = found;
  const reading = { ...found.reading, ...chosen(flags) };
  const engineOf = (one: Cluster) => policyEngine(one, reading, { includeStaged: flags.staged === true });
  const problems = [...found.problems];
  for (const problem of policyProblems(cluster)) problems.push(await placed(problem, locate));
  return { ...found, problems, reading, engineOf, engine: engineOf(cluster) };
}

const chosen = ({ dialect, ipBlock }: PolicySourceFlags): Partial<PolicyReading> => ({
  ...(dialect === undefined ? {} : { dialect }),
  ...(ipBlock === undefined ? {} : { ipBlockMatchesPods: ipBlock === 'pods' }),
});

type Found = Pick<PolicySource, 'cluster' | 'entryPoints' | 'problems' | 'remarks' | 'locate' | 'reading'>;

async function fromManifests(path: string, flags: SourceFlags): Promise<Found> {
  if (flags.snapshot !== undefined || flags.lab !== undefined)
    throw new PodpathError({
      code: 'usage/two-sources',
      what: `both ${path} and ${flags.snapshot === undefined ? '--lab' : '--snapshot'} were given`,
      why: 'one run looks at one cluster',
      todo: 'leave one of them out',
    });
  const { readManifests } = await import('../collect/manifests/read.ts');
  const { cluster, entryPoints, problems, remarks, gaps, locate } = await readManifests(path);
  const all: PlacedProblem[] = gaps.map(gapProblem);
  for (const problem of problems) all.push('file' in problem ? problem : await placed(problem, locate));
  const said: PlacedProblem[] = [];
  for (const remark of remarks) said.push(await placed(remark, locate));
  return {
    cluster,
    entryPoints,
    problems: all,
    remarks: said,
    locate,
    reading: manifestReading(cluster),
  };
}

/**
 * Manifests are what somebody means to apply, on whatever cluster: the API's own words, unless their policies are a CNI's own. The pods
 * of an agent among them do not turn an ipBlock into something else.
 */
function manifestReading(cluster: Cluster): Partial<PolicyReading> {
  const own = (group: Cluster['calico' | 'cilium']): boolean =>
    group.state === 'known' &&
    Object.values(group.value).some((list) => Array.isArray(list) && list.length > 0);
  if (own(cluster.calico)) return { dialect: 'calico' };
  if (own(cluster.cilium)) return { dialect: 'cilium' };
  return { dialect: 'kubernetes', ipBlockMatchesPods: false };
}

async function fromCluster(flags: SourceFlags): Promise<Found> {
  const { lab, snapshot } = flags;
  // Both of them is an error, which openSource explains.
  const alone = lab !== undefined && snapshot === undefined;
  const { cluster } = alone ? await labCluster(lab) : (await openSource(flags)).snapshot;
  return {
    cluster,
    entryPoints: [],
    problems: [...cluster.problems.map(({ text }) => ({ text })), ...unknownLists(cluster)],
    remarks: [],
    locate: async ({ file }) => ({ file }),
    reading: {},
  };
}

/** Of a lab the objects only: policies are judged without a look into its network namespaces. */
async function labCluster(name: string): Promise<{ readonly cluster: Cluster }> {
  const { openLab } = await import('../lab/lab.ts');
  const { snapshotOfLab } = await import('../collect/lab.ts');
  return snapshotOfLab(await openLab(name), { netns: [] });
}

/** Lists without which an answer about policies is not whole. */
function unknownLists(cluster: Cluster): readonly PlacedProblem[] {
  const lists = [
    'pods',
    'namespaces',
    'networkPolicies',
    'adminPolicies',
    'calico',
    'cilium',
    'istio',
    'linkerd',
  ] as const;
  return lists.flatMap((name) => {
    const list = cluster[name];
    return list.state === 'unknown' ? [{ text: `${name} are not known: ${list.why}` }] : [];
  });
}

const gapProblem = ({ where, why }: Gap): PlacedProblem => ({ text: `not read: ${why}`, file: where });

async function placed(problem: ObjectProblem, locate: Locate): Promise<PlacedProblem> {
  const { text, field, origin } = problem;
  const at = origin === undefined ? {} : await locate(origin, field);
  return { text, ...(field === undefined ? {} : { field }), ...at };
}

/** Problems shown at once, unless -v. */
const shownProblems = 20;

/** Says on stderr what could not be used. */
export function noteProblems(problems: readonly PlacedProblem[], verbose: boolean): void {
  const shown = verbose ? problems : problems.slice(0, shownProblems);
  for (const { text, file, line, column } of shown) {
    const at = [file, line, column].filter((part) => part !== undefined).join(':');
    note(`${tint('yellow', 'podpath:', process.stderr)} ${at === '' ? '' : `${at}: `}${safe(text)}`);
  }
  if (problems.length > shown.length)
    note(`podpath: and ${problems.length - shown.length} more (-v shows all)`);
}

/** Text of manifests must not move the terminal's cursor. */
const safe = (text: string): string => text.replace(/\p{Cc}/gu, '?');
