/** Where a command looks: a live cluster, a snapshot on disk or a lab. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Question } from '../diagnose/question.ts';
import type { Lab } from '../lab/lab.ts';
import { PodpathError } from '../model/errors.ts';
import type { FlowProtocol } from '../model/flow.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { Answer } from '../model/verdict.ts';
import type { Style } from '../report/style.ts';
import { type ClusterFlags, contextNamespace, liveSnapshot, withClusterFlags } from './cluster.ts';
import { progress, tint, unicodeOn, verbosity, widthColumns } from './context.ts';
import { exitCode } from './errors.ts';

export const answerCode: Readonly<Record<Answer, number>> = {
  reachable: exitCode.ok,
  unreachable: exitCode.found,
  unknown: exitCode.unknown,
};

export interface SourceFlags extends ClusterFlags {
  readonly snapshot?: string;
  readonly lab?: string;
}

export interface FlowFlags extends SourceFlags {
  readonly protocol?: FlowProtocol;
  readonly size?: number;
  readonly ipv6?: boolean;
  readonly output: string;
}

/** Neither of both: the cluster that kubectl would ask. */
export const withSource = (command: Command): Command =>
  withClusterFlags(
    command
      .option('-s, --snapshot <path>', 'a snapshot instead of a cluster: directory, .tar.gz or .zip')
      .option('--lab <name>', 'a running lab instead of a cluster (podpath lab list)'),
  );

const isLive = (flags: SourceFlags): boolean => flags.snapshot === undefined && flags.lab === undefined;

/** Where endpoints are that name no namespace: -n, or of a live cluster the context's. */
export const namespaceOf = async (flags: SourceFlags): Promise<string> =>
  flags.namespace ?? (isLive(flags) ? contextNamespace(flags) : 'default');

export const withFlow = (command: Command): Command =>
  withSource(
    command
      .argument('<src>', '[NS/]POD, [NS/]KIND/NAME (pod, deploy, ds, sts, node) or an address')
      .argument('<dst[:port]>', 'the same, or svc/NAME, or a host name as the source would resolve it'),
  )
    .option(
      '-n, --namespace <ns>',
      "namespace of endpoints that name none (default: the context's, or default)",
    )
    .addOption(
      new Option('-p, --protocol <protocol>', 'default: tcp with a port, icmp without').choices([
        'tcp',
        'udp',
        'sctp',
        'icmp',
      ]),
    )
    .option('--size <bytes>', 'ask about packets of this size only', parseSize)
    .option('-6, --ipv6', 'use the IPv6 addresses of both ends');

function parseSize(text: string): number {
  const size = Number(text);
  if (!Number.isInteger(size) || size < 28 || size > 65_535)
    throw new InvalidArgumentError('It is a packet size from 28 to 65535 bytes.');
  return size;
}

/** Reading a namespace costs about 30 ms of two cores: past this many, those that the question does not touch are left out. */
const wholeLabNamespaces = 48;

/** The snapshot, and the lab if it is one. A question narrows what is read of a large lab. */
export async function openSource(
  flags: SourceFlags,
  question?: Question,
): Promise<{ readonly snapshot: Snapshot; readonly lab?: Lab }> {
  if (flags.snapshot !== undefined && flags.lab !== undefined) {
    throw new PodpathError({
      code: 'usage/two-sources',
      what: 'both --snapshot and --lab were given',
      why: 'one run looks at one cluster',
      todo: 'leave one of them out',
    });
  }
  if (flags.snapshot !== undefined) {
    const { readSnapshot } = await import('../collect/read.ts');
    return { snapshot: await readSnapshot(flags.snapshot) };
  }
  if (flags.lab === undefined) return { snapshot: await liveSnapshot(flags) };
  const { openLab } = await import('../lab/lab.ts');
  const { snapshotOfLab } = await import('../collect/lab.ts');
  const lab = await openLab(flags.lab);
  const step = progress(`reading the network namespaces of lab ${flags.lab}`);
  try {
    const { nodes, pods } = lab.state;
    if (question === undefined || nodes.length + pods.length <= wholeLabNamespaces)
      return { snapshot: await snapshotOfLab(lab), lab };
    const { concernedPods } = await import('../diagnose/scope.ts');
    const objects = await snapshotOfLab(lab, { netns: [] });
    const netns = [...nodes.map((node) => node.name), ...concernedPods(objects, question)];
    return { snapshot: await snapshotOfLab(lab, { netns }), lab };
  } finally {
    step.done();
  }
}

export const questionOf = async (src: string, dst: string, flags: FlowFlags): Promise<Question> => ({
  src,
  dst,
  namespace: await namespaceOf(flags),
  ...(flags.protocol === undefined ? {} : { protocol: flags.protocol }),
  ...(flags.size === undefined ? {} : { sizeBytes: flags.size }),
  ...(flags.ipv6 === true ? { family: 6 as const } : {}),
});

export const style = (): Style => ({
  widthColumns: widthColumns(),
  unicode: unicodeOn(),
  verbose: verbosity() > 0,
  tint,
});
