/** A fault of the real cluster: one way in which it really breaks, applied and taken back. One file each in this folder. */
import type { FaultFlow } from '../../../src/lab/faults/fault.ts';
import { PodpathError } from '../../../src/model/errors.ts';
import type { CauseId } from '../../../src/model/finding.ts';
import type { Cluster } from '../cluster.ts';
import { type Attempt, podsOf, type RunningPod } from '../flows.ts';
import type { ClusterCni } from '../plan.ts';

/** The cluster as it stood before the fault: where its pods run. */
export interface World {
  readonly cluster: Cluster;
  /** The pod of an application on a node (`node1`); its first one where none is given. Throws PodpathError if there is none. */
  pod(app: string, node?: string): RunningPod;
  readonly pods: readonly RunningPod[];
  /** The address of a Service of the namespace shop. */
  serviceAddress(name: string): string;
}

export interface ClusterFault {
  /** File name without `.ts`. */
  readonly name: string;
  /** One clause. */
  readonly title: string;
  /** The cause that a diagnosis must rank first. */
  readonly cause: CauseId;
  /** Causes that are as true and may come first instead. */
  readonly alsoAccepted: readonly CauseId[];
  /** Where the fault makes sense. */
  readonly cnis: readonly ClusterCni[];
  /** Flows that it breaks; the first is the one to diagnose. */
  broken(world: World): readonly FaultFlow[];
  /** Flows that keep working, at least two. */
  kept(world: World): readonly FaultFlow[];
  apply(world: World): Promise<void>;
  /** Brings back the former state, also after an `apply` that stopped half-way. */
  heal(world: World): Promise<void>;
}

export const everyCni: readonly ClusterCni[] = ['flannel-vxlan', 'flannel-host-gw'];

export async function seeWorld(cluster: Cluster): Promise<World> {
  const apps = { web: 'shop', api: 'shop', db: 'shop', ledger: 'payments', toolbox: 'ops' };
  const pods = new Map(
    await Promise.all(
      Object.entries(apps).map(
        async ([app, namespace]) => [app, await podsOf(cluster, namespace, app)] as const,
      ),
    ),
  );
  const services = await cluster.list('services', 'shop');
  return {
    cluster,
    pods: [...pods.values()].flat(),
    pod(app, node) {
      const pod = pods.get(app)?.find((candidate) => node === undefined || candidate.node === node);
      if (pod !== undefined) return pod;
      throw new PodpathError({
        code: 'cluster/no-pod',
        what: `no pod of ${app} runs on ${node ?? 'any node'}`,
        why: 'the fault is about one of the applications',
        todo: 'make the cluster with three nodes',
      });
    },
    serviceAddress: (name) =>
      String(services.find(({ metadata }) => metadata.name === name)?.spec.clusterIP ?? ''),
  };
}

const podName = ({ namespace, name }: RunningPod): string => `${namespace}/${name}`;

/** HTTP from one pod to another. */
export const toPod = (src: RunningPod, dst: RunningPod, more: Partial<FaultFlow> = {}): FaultFlow => ({
  src: podName(src),
  dst: podName(dst),
  port: 8080,
  protocol: 'tcp',
  ...more,
});

/** From a pod to a Service of the namespace shop. */
export const toService = (
  src: RunningPod,
  service: string,
  port: number,
  more: Partial<FaultFlow> = {},
): FaultFlow => ({ src: podName(src), dst: `shop/svc/${service}`, port, protocol: 'tcp', ...more });

/** web of one node to api of another. */
export const across = (world: World, from: string, to: string): FaultFlow =>
  toPod(world.pod('web', from), world.pod('api', to));

/** What a client sends to try the flow. */
export async function attemptOf(world: World, flow: FaultFlow): Promise<Attempt> {
  const service = /^shop\/svc\/(.+)$/.exec(flow.dst)?.[1];
  const host =
    flow.hostName ??
    (service === undefined ? await addressOf(world, flow.dst) : world.serviceAddress(service));
  const kind = flow.protocol === 'udp' ? 'udp' : flow.port === 8080 || flow.port === 80 ? 'http' : 'tcp';
  return {
    kind,
    host,
    port: flow.port,
    ...(flow.sizeBytes === undefined ? {} : { sizeBytes: flow.sizeBytes }),
  };
}

async function addressOf(world: World, pod: string): Promise<string> {
  const [namespace = '', name = ''] = pod.split('/');
  const address = ['get', 'pod', name, `--namespace=${namespace}`, '--output=jsonpath={.status.podIP}'];
  return world.cluster.kubectlOut(address);
}

/** The pod that a flow starts in. */
export function sourceOf(world: World, flow: FaultFlow): RunningPod {
  const found = world.pods.find((pod) => podName(pod) === flow.src);
  if (found !== undefined) return found;
  throw new PodpathError({
    code: 'cluster/no-pod',
    what: `no pod ${flow.src} runs`,
    why: 'it is gone, or another cluster has it',
    todo: 'look at the cluster again (seeWorld)',
  });
}
