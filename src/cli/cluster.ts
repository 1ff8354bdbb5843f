/** The live cluster as a source: kubectl's own flags, and the collection that every command begins with. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ClusterOptions } from '../collect/kubernetes/options.ts';
import type { CollectedFiles } from '../collect/sections.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { note, onInterrupt, progress, verbosity } from './context.ts';
import { version } from './version.ts';

/** As commander names the flags. */
export interface ClusterFlags extends ClusterOptions {
  /** Milliseconds; 0: none. */
  readonly requestTimeout?: number;
  readonly qps?: number;
}

/** The common ones are in the help, kubectl's others are understood all the same. */
export function withClusterFlags(command: Command): Command {
  const shown = [
    new Option('--kubeconfig <file>', 'kubeconfig of the cluster (default: KUBECONFIG, or ~/.kube/config)'),
    new Option('--context <name>', 'context of the kubeconfig'),
    new Option('--as <user>', 'act as this user'),
    new Option('--as-group <group>', 'act as a member of this group; may be repeated').argParser(repeated),
    new Option('--request-timeout <time>', 'per request: 30s, 1m, 0 for none (default: 30s)').argParser(
      duration,
    ),
    new Option('--qps <rate>', 'requests a second at most (default: 20, 40 at once)').argParser(rate),
  ];
  const hidden = [
    new Option('--cluster <name>', 'cluster of the kubeconfig'),
    new Option('--user <name>', 'user of the kubeconfig'),
    new Option('--server <url>', 'the API server'),
    new Option('--token <token>', 'bearer token'),
    new Option('--as-uid <uid>', 'act with this UID'),
    new Option('--certificate-authority <file>', "the API server's authority"),
    new Option('--client-certificate <file>', 'certificate to log in with'),
    new Option('--client-key <file>', 'its key'),
    new Option('--tls-server-name <name>', "name in the API server's certificate"),
    new Option('--insecure-skip-tls-verify', "do not check the API server's certificate"),
  ];
  for (const option of shown) command.addOption(option);
  for (const option of hidden) command.addOption(option.hideHelp());
  return command;
}

const repeated = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, '': 1_000 };

/** kubectl's: a number of seconds, or with a unit. */
function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|)$/.exec(text);
  const ms = Number(match?.[1]) * (units[match?.[2] ?? ''] ?? Number.NaN);
  if (match === null || !Number.isFinite(ms)) throw new InvalidArgumentError('It is a time: 30s, 1m, 0.');
  return ms;
}

function rate(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 10_000)) throw new InvalidArgumentError('It is a number above 0.');
  return value;
}

const defaultTimeoutMs = 30_000;
const defaultQps = 20;

/** A line a second is enough where nothing draws over it. */
const sayEveryMs = process.stderr.isTTY === true ? 100 : 2_000;

/** The namespace that kubectl would take. */
export async function contextNamespace(flags: ClusterFlags): Promise<string> {
  const { findTarget } = await import('../collect/kubernetes/kubeconfig.ts');
  return (await findTarget(flags)).namespace;
}

/** The objects of the cluster as a snapshot's files. Ctrl-C ends all requests; nothing is left in the cluster. */
export async function collectLive(flags: ClusterFlags): Promise<CollectedFiles & { readonly name: string }> {
  const { connect } = await import('../collect/kubernetes/connection.ts');
  const { openApi } = await import('../collect/kubernetes/api.ts');
  const { tokenBucket } = await import('../collect/kubernetes/rate.ts');
  const { collectCluster } = await import('../collect/kubernetes/collect.ts');
  const connection = await connect(flags);
  const stop = new AbortController();
  const step = progress(`reading the objects of ${connection.name}`);
  const forget = onInterrupt(() => {
    stop.abort();
    connection.close();
    step.done();
  });
  const qps = flags.qps ?? defaultQps;
  const api = openApi(connection, {
    rate: tokenBucket(qps, qps * 2),
    timeoutMs: flags.requestTimeout ?? defaultTimeoutMs,
    signal: stop.signal,
    userAgent: `podpath/${version}`,
    say: step.update,
  });
  let said = performance.now();
  const say = (text: string) => {
    if (performance.now() - said < sayEveryMs) return;
    said = performance.now();
    step.update(text);
  };
  try {
    const found = await collectCluster(api, {
      say,
      namespaces: [],
      tools: { podpath: version },
    });
    if (verbosity() > 0) note(`${api.requests} requests to ${connection.base}`);
    return { ...found, name: connection.name };
  } finally {
    forget();
    step.done();
    connection.close();
  }
}

/** The cluster as it is now, as a snapshot in memory. */
export async function liveSnapshot(flags: ClusterFlags): Promise<Snapshot> {
  const { snapshotFromFiles } = await import('../collect/build.ts');
  const { files, name } = await collectLive(flags);
  return snapshotFromFiles({ files, unreadable: [] }, `cluster ${name}`);
}
