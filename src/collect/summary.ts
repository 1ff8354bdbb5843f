/** What a snapshot holds, in short: the data behind `snapshot show`. */
import { type DetectedCni, detectCni } from '../cni/detect.ts';
import type { Pod } from '../model/cluster.ts';
import type { Gap } from '../model/gap.ts';
import { type Known, mapKnown } from '../model/known.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { formatAddress } from '../net/address.ts';
import { formatPrefix } from '../net/prefix.ts';
import { notUnderstood } from './facts.ts';
import type { SnapshotFiles } from './files.ts';
import { clusterKind, netnsPath } from './layout.ts';

export interface SnapshotSummary {
  readonly takenAt: string;
  readonly source: Snapshot['source'];
  readonly sizeBytes: number;
  readonly nodes: Known<readonly NodeSummary[]>;
  /** Namespaces in the snapshot with the number of files of each. */
  readonly netns: readonly { readonly id: string; readonly files: number }[];
  /** Kubernetes kinds in the snapshot. */
  readonly kinds: readonly string[];
  readonly pods: Known<readonly PodSummary[]>;
  readonly services: Known<
    readonly {
      readonly name: string;
      readonly type: string;
      readonly addresses: readonly string[];
      readonly ports: readonly string[];
    }[]
  >;
  readonly policies: Known<readonly { readonly name: string; readonly directions: readonly string[] }[]>;
  /** The pod network, `flannel (vxlan flannel.1): node1 has the device flannel.1`. */
  readonly cni: Known<string>;
  readonly probes: Known<{ readonly all: number; readonly ok: number }>;
  /** Objects that were skipped because of their shape. */
  readonly problems: readonly string[];
  readonly gaps: readonly Gap[];
}

export interface NodeSummary {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly podCidrs: readonly string[];
  readonly ready: string;
  readonly pods: number;
  readonly collected: boolean;
}

export interface PodSummary {
  readonly name: string;
  readonly node: string;
  readonly addresses: readonly string[];
  readonly phase: string;
  readonly hostNetwork: boolean;
}

/** Parses every file, so that what is not understood is among the gaps. */
export function summarize(snapshot: Snapshot, input: SnapshotFiles): SnapshotSummary {
  const { cluster } = snapshot;
  const pods = mapKnown(cluster.pods, (all) => all.map(podSummary));
  return {
    takenAt: snapshot.takenAt,
    source: snapshot.source,
    sizeBytes: [...input.files.values()].reduce((sum, text) => sum + Buffer.byteLength(text), 0),
    nodes: mapKnown(cluster.nodes, (nodes) =>
      nodes.map((node) => ({
        name: node.name,
        addresses: node.internalAddresses.map(formatAddress),
        podCidrs: node.podCidrs.map(formatPrefix),
        ready: node.conditions.Ready?.status ?? 'Unknown',
        pods: pods.state === 'known' ? pods.value.filter((pod) => pod.node === node.name).length : 0,
        collected: snapshot.netns.has(node.name),
      })),
    ),
    netns: countFiles(snapshot, input),
    kinds: [...input.files.keys()].flatMap((path) => clusterKind(path) ?? []),
    pods,
    services: mapKnown(cluster.services, (services) =>
      services.map((service) => ({
        name: `${service.namespace}/${service.name}`,
        type: service.headless ? 'headless' : service.type,
        addresses: service.clusterIps.map(formatAddress),
        ports: service.ports.map((port) => `${port.port}/${port.protocol}`),
      })),
    ),
    policies: mapKnown(cluster.networkPolicies, (policies) =>
      policies.map((policy) => ({
        name: `${policy.namespace}/${policy.name}`,
        directions: [...(policy.ingress ? ['ingress'] : []), ...(policy.egress ? ['egress'] : [])],
      })),
    ),
    cni: mapKnown(detectCni(snapshot), cniText),
    probes: mapKnown(snapshot.probes, (results) => ({
      all: results.length,
      ok: results.filter((result) => result.outcome === 'ok').length,
    })),
    problems: cluster.problems.map((problem) => problem.text),
    gaps: toldOnce(snapshot.gaps, notUnderstood(snapshot, input)),
  };
}

/** A list that the API server refused is explained by who asked for it, and is not understood either: told once. */
function toldOnce(told: readonly Gap[], more: readonly Gap[]): readonly Gap[] {
  const places = new Set(told.map(({ where }) => where));
  return [...told, ...more.filter(({ where }) => !where.startsWith('cluster/') || !places.has(where))];
}

function cniText({ cni, tunnel, because }: DetectedCni): string {
  const via = tunnel === undefined ? 'no tunnel' : `${tunnel.kind} ${tunnel.device}`;
  return `${cni.name} (${via}): ${because}`;
}

const podSummary = (pod: Pod): PodSummary => ({
  name: `${pod.namespace}/${pod.name}`,
  node: pod.node,
  addresses: pod.addresses.map(formatAddress),
  phase: pod.phase,
  hostNetwork: pod.hostNetwork,
});

function countFiles(snapshot: Snapshot, { files }: SnapshotFiles): SnapshotSummary['netns'] {
  const counts = new Map<string, number>([...snapshot.netns.keys()].map((id) => [id, 0]));
  for (const path of files.keys()) {
    const id = netnsPath(path)?.id;
    if (id !== undefined) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return [...counts].map(([id, count]) => ({ id, files: count }));
}
