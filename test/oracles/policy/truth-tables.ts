/**
 * Policy sets by feature over one small world: namespaces x, y, z with pods a, b, c each, which serve ports 80 and 81 by TCP, UDP and SCTP.
 * A set's truth table has a cell for every pod to every pod on every port.
 */
import type { Cluster } from '../../../src/model/cluster.ts';
import type { LineProtocol } from '../../../src/net/port-set.ts';
import type { JsonObject } from '../../../src/parse/json.ts';
import type { PolicyFlow } from '../../../src/policy/endpoint.ts';
import { adminSets } from './truth-tables-admin.ts';
import { networkPolicySets } from './truth-tables-peers.ts';
import { egressPorts } from './truth-tables-ports.ts';
import { mergeObjects, type RawObjects } from './world.ts';

/** `x/a` -> its address. */
export type Addresses = Readonly<Record<string, string>>;

export interface PolicySet {
  readonly name: string;
  readonly objects: (addresses: Addresses) => RawObjects;
}

const truthNamespaces = ['x', 'y', 'z'] as const;
export const truthPods: readonly string[] = truthNamespaces.flatMap((space) =>
  ['a', 'b', 'c'].map((name) => `${space}/${name}`),
);
const truthPorts: readonly (readonly [LineProtocol, number])[] = (['TCP', 'UDP', 'SCTP'] as const).flatMap(
  (protocol) => [80, 81].map((port) => [protocol, port] as const),
);

/** Addresses as nodes with a /24 each give them. */
export const plainAddresses: Addresses = Object.fromEntries(
  truthPods.map((pod, i) => [pod, `10.244.${1 + (i % 3)}.${2 + Math.floor(i / 3)}`]),
);

const containerPorts = truthPorts.map(([protocol, port]) => ({
  name: `serve-${port}-${protocol.toLowerCase()}`,
  containerPort: port,
  protocol,
}));

/** The pods and namespaces; `nodes` names the node of each pod. */
export const truthWorld = (addresses: Addresses, nodes: (pod: string) => string): RawObjects => ({
  namespaces: truthNamespaces.map((name) => ({
    kind: 'Namespace',
    metadata: { name, labels: { ns: name } },
  })),
  pods: truthPods.map((pod): JsonObject => {
    const [namespace = '', name = ''] = pod.split('/');
    const ip = addresses[pod] ?? '';
    return {
      kind: 'Pod',
      metadata: { namespace, name, labels: { pod: name } },
      spec: { nodeName: nodes(pod), containers: [{ name: 'serve', ports: containerPorts }] },
      status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
    };
  }),
});

/** Nodes other than any pod's own: traffic of a node's own is always let through. */
export const plainWorld = truthWorld(plainAddresses, (pod) => `node-${plainAddresses[pod]?.split('.')[2]}`);

export const policySets: readonly PolicySet[] = [...networkPolicySets, ...egressPorts, ...adminSets];

/** All policies of two sets at once. */
export const together = (a: PolicySet, b: PolicySet): PolicySet => ({
  name: `${a.name}, within ${b.name}`,
  objects: (addresses) => mergeObjects(a.objects(addresses), b.objects(addresses)),
});

export interface TruthCell {
  readonly src: string;
  readonly dst: string;
  readonly flow: PolicyFlow;
}

export function truthCells(cluster: Cluster): readonly TruthCell[] {
  const all = cluster.pods.state === 'known' ? cluster.pods.value : [];
  const pod = (id: string) => {
    const found = all.find(({ namespace, name }) => `${namespace}/${name}` === id);
    if (found === undefined) throw new Error(`no pod ${id}`);
    return { kind: 'pod', pod: found } as const;
  };
  const cells: TruthCell[] = [];
  for (const [protocol, port] of truthPorts)
    for (const src of truthPods)
      for (const dst of truthPods)
        cells.push({ src, dst, flow: { src: pod(src), dst: pod(dst), protocol, port } });
  return cells;
}
