/**
 * Small random clusters for the policy oracles, as raw API objects: they go through the parsers as real ones do. Names, labels, ports
 * and addresses come from small pools, so that policies of every kind often meet the same pods.
 */
import fc from 'fast-check';
import type { Cluster } from '../../../src/model/cluster.ts';
import { address } from '../../../src/net/address.ts';
import type { LineProtocol } from '../../../src/net/port-set.ts';
import type { JsonObject } from '../../../src/parse/json.ts';
import { clusterOf } from '../../../src/parse/kubernetes/cluster.ts';
import { parsed } from '../../../src/parse/result.ts';
import type { FlowEnd, PolicyFlow } from '../../../src/policy/endpoint.ts';

/** `networkpolicies.networking.k8s.io` -> objects. */
export type RawObjects = Readonly<Record<string, readonly JsonObject[]>>;

export const namespaceNames = ['a', 'b', 'c'] as const;
export const labelKeys = ['app', 'tier', 'team'] as const;
export const labelValues = ['web', 'api', 'x', ''] as const;
export const portNumbers = [79, 80, 81, 443] as const;
export const portNames = ['http', 'dns'] as const;
export const serviceAccounts = ['default', 'robot'] as const;
/** Prefixes that split the pods' and the outside's addresses in different places. */
export const cidrs = [
  '0.0.0.0/0',
  '10.0.0.0/8',
  '10.1.0.0/16',
  '10.0.0.2/32',
  '192.0.2.0/24',
  '192.0.2.128/25',
  '192.168.0.0/16',
  'fd00::/8',
  '::/0',
] as const;

export const labelsOf: fc.Arbitrary<Record<string, string>> = fc.dictionary(
  fc.constantFrom(...labelKeys),
  fc.constantFrom(...labelValues),
  { maxKeys: 2 },
);

/** A Kubernetes label selector. */
export const labelSelector: fc.Arbitrary<JsonObject> = fc.record(
  {
    matchLabels: fc.dictionary(fc.constantFrom(...labelKeys), fc.constantFrom(...labelValues), {
      maxKeys: 1,
    }),
    matchExpressions: fc.array(
      fc.oneof(
        fc.record({
          key: fc.constantFrom(...labelKeys, 'none'),
          operator: fc.constantFrom('In', 'NotIn'),
          values: fc.subarray([...labelValues], { minLength: 1 }),
        }),
        fc.record({
          key: fc.constantFrom(...labelKeys, 'none'),
          operator: fc.constantFrom('Exists', 'DoesNotExist'),
        }),
      ),
      { maxLength: 2 },
    ),
  },
  { requiredKeys: [] },
);

/** As `labelSelector`, or one that names namespaces by the label that the API server sets. */
export const namespaceSelector: fc.Arbitrary<JsonObject> = fc.oneof(
  { weight: 2, arbitrary: labelSelector },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(...namespaceNames)
      .map((name) => ({ matchLabels: { 'kubernetes.io/metadata.name': name } })),
  },
);

const containerPorts = fc.array(
  fc.record(
    {
      name: fc.constantFrom(...portNames),
      containerPort: fc.constantFrom(...portNumbers),
      protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'),
    },
    { requiredKeys: ['containerPort'] },
  ),
  { maxLength: 2 },
);

/** Node n1 and n2, three namespaces, up to two pods in each; some on the host's network, finished, dual-stack or without an address. */
export const baseObjects: fc.Arbitrary<RawObjects> = fc
  .record({
    namespaces: fc.tuple(labelsOf, labelsOf, labelsOf),
    pods: fc.array(
      fc.record({
        namespace: fc.constantFrom(0, 1, 2),
        labels: labelsOf,
        ports: containerPorts,
        node: fc.constantFrom('n1', 'n2'),
        shape: fc.constantFrom('plain', 'plain', 'plain', 'plain', 'host', 'finished', 'dual', 'no-address'),
        serviceAccount: fc.constantFrom(...serviceAccounts),
      }),
      { minLength: 2, maxLength: 6 },
    ),
  })
  .map(({ namespaces, pods }) => ({
    nodes: [node('n1', '192.168.0.1'), node('n2', '192.168.0.2')],
    namespaces: namespaces.map((labels, i) => ({
      kind: 'Namespace',
      metadata: { name: namespaceNames[i], labels },
    })),
    pods: pods.map((pod, i) => {
      const ip =
        pod.shape === 'host'
          ? pod.node === 'n1'
            ? '192.168.0.1'
            : '192.168.0.2'
          : `10.${pod.namespace}.0.${i + 1}`;
      const ips = pod.shape === 'dual' ? [{ ip }, { ip: `fd00:${pod.namespace}::${i + 1}` }] : [{ ip }];
      return {
        kind: 'Pod',
        metadata: { name: `p${i}`, namespace: namespaceNames[pod.namespace], labels: pod.labels },
        spec: {
          nodeName: pod.node,
          serviceAccountName: pod.serviceAccount,
          hostNetwork: pod.shape === 'host',
          containers: [{ name: 'main', ports: pod.ports }],
        },
        status:
          pod.shape === 'no-address'
            ? { phase: 'Pending' }
            : { phase: pod.shape === 'finished' ? 'Succeeded' : 'Running', podIP: ip, podIPs: ips },
      };
    }),
  }));

const node = (name: string, ip: string): JsonObject => ({
  kind: 'Node',
  metadata: { name, labels: { 'kubernetes.io/hostname': name, tier: name === 'n1' ? 'x' : 'web' } },
  status: { addresses: [{ type: 'InternalIP', address: ip }] },
});

/** Kinds of several generators in one cluster. */
export function mergeObjects(...parts: readonly RawObjects[]): RawObjects {
  const all: Record<string, JsonObject[]> = {};
  for (const part of parts)
    for (const [plural, items] of Object.entries(part)) all[plural] = [...(all[plural] ?? []), ...items];
  return all;
}

export function clusterFrom(objects: RawObjects): Cluster {
  return clusterOf((plural) => {
    const items = objects[plural] ?? [];
    return { where: plural, objects: parsed(items.map((object) => ({ object }))) };
  });
}

const outside = ['192.0.2.1', '192.0.2.200', '198.51.100.1', '2001:db8::1'];

/** Every end a question can have, finished pods aside. */
export function endsOf(cluster: Cluster): readonly FlowEnd[] {
  const pods = cluster.pods.state === 'known' ? cluster.pods.value : [];
  const nodes = cluster.nodes.state === 'known' ? cluster.nodes.value : [];
  return [
    ...pods
      .filter(({ phase }) => phase !== 'Succeeded' && phase !== 'Failed')
      .map((pod): FlowEnd => ({ kind: 'pod', pod })),
    ...nodes.map((node): FlowEnd => ({ kind: 'node', node })),
    ...outside.map((text): FlowEnd => ({ kind: 'external', address: address(text) })),
  ];
}

const questions: readonly (readonly [LineProtocol, number])[] = [
  ...(['TCP', 'UDP', 'SCTP'] as const).flatMap((protocol) =>
    [...portNumbers, 8080].map((port) => [protocol, port] as const),
  ),
  ['TCP', 15008],
  ['ICMP', 8 * 256],
  ['ICMPv6', 128 * 256],
];

/** Every flow between two ends of which one at least is a pod, on every port that the pools name and one that they do not. */
export function* flowsOf(cluster: Cluster): Generator<PolicyFlow> {
  const ends = endsOf(cluster);
  for (const src of ends)
    for (const dst of ends)
      if (src.kind === 'pod' || dst.kind === 'pod')
        for (const [protocol, port] of questions) yield { src, dst, protocol, port };
}
