/** Real packets between the pods of a cluster, sent by the `tool` program that is in every image of the applications. */
import { PodpathError } from '../../src/model/errors.ts';
import type { Cluster, LooseObject } from './cluster.ts';

export interface Attempt {
  readonly kind: 'tcp' | 'udp' | 'http' | 'name';
  readonly host: string;
  readonly port?: number;
  /** Bytes to send and, on tcp and udp, to get back. Default: a few. */
  readonly sizeBytes?: number;
}

/** "ok", "timeout", "refused", "unreachable", "reset", "no such name", or other words. */
export type Outcome = string;

export interface RunningPod {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly address: string;
}

/** Running pods of an application, in the order of their nodes. */
export async function podsOf(cluster: Cluster, namespace: string, app: string): Promise<RunningPod[]> {
  const pods = await cluster.list('pods', namespace);
  return pods
    .filter((pod) => pod.metadata.labels?.app === app && pod.status?.phase === 'Running')
    .map(toRunningPod)
    .sort((a, b) => (a.node < b.node ? -1 : 1));
}

const toRunningPod = ({ metadata, spec, status }: LooseObject): RunningPod => ({
  namespace: metadata.namespace ?? '',
  name: metadata.name,
  node: String(spec.nodeName),
  address: String(status?.podIP),
});

/** Makes all attempts at once from inside the pod; outcomes in order. Throws if the pod cannot be entered. */
export async function tryFrom(
  cluster: Cluster,
  pod: RunningPod,
  attempts: readonly Attempt[],
  limitSeconds = 3,
): Promise<Outcome[]> {
  const result = await cluster.kubectl(
    [
      ...['exec', `--namespace=${pod.namespace}`, pod.name, '--'],
      ...['/bin/tool', 'try', JSON.stringify(attempts), `${limitSeconds}s`],
    ],
    { timeoutMs: 60_000 },
  );
  if (result.code === 0) return JSON.parse(result.stdout) as Outcome[];
  throw new PodpathError({
    code: 'cluster/exec-failed',
    what: `no attempt could be made from pod ${pod.namespace}/${pod.name}`,
    why: result.stderr.trim(),
    todo: 'see whether the pod runs and its node is ready',
  });
}

/** `http 10.244.0.3:8080` */
const label = ({ kind, host, port, sizeBytes }: Attempt): string =>
  `${kind} ${host}${port === undefined ? '' : `:${port}`}${sizeBytes === undefined ? '' : ` ${sizeBytes} bytes`}`;

/** Outcomes by what was tried, for comparison with what is expected. */
export async function outcomes(
  cluster: Cluster,
  pod: RunningPod,
  attempts: readonly Attempt[],
): Promise<Record<string, Outcome>> {
  const results = await tryFrom(cluster, pod, attempts);
  return Object.fromEntries(attempts.map((one, index) => [label(one), results[index] ?? 'not tried']));
}

export const all = (attempts: readonly Attempt[], outcome: Outcome): Record<string, Outcome> =>
  Object.fromEntries(attempts.map((one) => [label(one), outcome]));
