/**
 * A small cluster for tests of the admin kinds, and the verdict of both engines on it: shop/web on n1; shop/api (port names), ops/tool and
 * the hostNetwork pod ops/agent on n2; n3 empty. Namespaces have the label `team`, pods `app`, nodes `zone`.
 */
import { expect } from 'vitest';
import type { Cluster } from '../../src/model/cluster.ts';
import { address, parseAddress } from '../../src/net/address.ts';
import type { LineProtocol } from '../../src/net/port-set.ts';
import type { JsonObject } from '../../src/parse/json.ts';
import type { FlowEnd, PolicyFlow } from '../../src/policy/endpoint.ts';
import { createEngine } from '../../src/policy/engine/engine.ts';
import type { Condition, PolicyProgram } from '../../src/policy/ir.ts';
import { lowerAdminTier, lowerBaselineTier } from '../../src/policy/kinds/admin.ts';
import { defaultReading, type PolicyWorld } from '../../src/policy/options.ts';
import { kubernetesLayer } from '../../src/policy/program.ts';
import { kubernetesNetwork } from '../../src/policy/reference/admin.ts';
import { bothAllow, type Outcome } from '../../src/policy/reference/contract.ts';
import { clusterFrom, type RawObjects } from '../oracles/policy/world.ts';

const pod = (id: string, ip: string, more: { host?: boolean; ports?: object[] } = {}): JsonObject => ({
  kind: 'Pod',
  metadata: {
    namespace: id.split('/')[0],
    name: id.split('/')[1],
    labels: { app: id.split('/')[1] },
  },
  spec: {
    nodeName: ip.startsWith('10.1') ? 'n1' : 'n2',
    hostNetwork: more.host ?? false,
    containers: [{ name: 'main', ports: more.ports ?? [] }],
  },
  status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
});

const node = (name: string, ...addresses: readonly string[]): JsonObject => ({
  kind: 'Node',
  metadata: { name, labels: { zone: name } },
  status: {
    addresses: [
      ...addresses.map((ip, i) => ({ type: i === 0 ? 'InternalIP' : 'ExternalIP', address: ip })),
      { type: 'Hostname', address: name },
    ],
  },
});

const named = [
  { name: 'http', containerPort: 8080 },
  { name: 'http', containerPort: 8081, protocol: 'UDP' },
];
const base: RawObjects = {
  nodes: [node('n1', '192.168.0.1'), node('n2', '192.168.0.2', '203.0.113.2'), node('n3', '192.168.0.3')],
  namespaces: ['shop', 'ops'].map((name) => ({
    kind: 'Namespace',
    metadata: { name, labels: { team: name } },
  })),
  pods: [
    pod('shop/web', '10.1.0.2'),
    pod('shop/api', '10.2.0.2', { ports: named }),
    pod('ops/tool', '10.2.0.3'),
    pod('ops/agent', '192.168.0.2', { host: true, ports: named }),
  ],
};

/** Raw policies; the kind tells the list that they belong to. */
export type Policy = JsonObject & { readonly kind: keyof typeof plurals };
const plurals = {
  AdminNetworkPolicy: 'adminnetworkpolicies.policy.networking.k8s.io',
  BaselineAdminNetworkPolicy: 'baselineadminnetworkpolicies.policy.networking.k8s.io',
  ClusterNetworkPolicy: 'clusternetworkpolicies.policy.networking.k8s.io',
  NetworkPolicy: 'networkpolicies.networking.k8s.io',
};

export const everyone = { namespaces: {} };
let count = 0;
export const policy = (kind: Policy['kind'], spec: object, name = `p${count++}`): Policy => ({
  kind,
  metadata: { name },
  spec: { subject: everyone, ...spec },
});
export const anp = (priority: number, spec: object) => policy('AdminNetworkPolicy', { priority, ...spec });
export const banp = (spec: object) => policy('BaselineAdminNetworkPolicy', spec, 'default');
export const cnp = (tier: 'Admin' | 'Baseline', priority: number, spec: object) =>
  policy('ClusterNetworkPolicy', { tier, priority, ...spec });
export const np = (spec: object): Policy => ({
  kind: 'NetworkPolicy',
  metadata: { name: `p${count++}`, namespace: 'shop' },
  spec,
});
export const to = (action: string, peer: object = everyone, more: object = {}) => ({
  action,
  to: [peer],
  ...more,
});
export const from = (action: string, peer: object = everyone, more: object = {}) => ({
  action,
  from: [peer],
  ...more,
});
export const tcp = (number: number) => ({ tcp: { destinationPort: { number } } });

export function clusterOf(policies: readonly Policy[]): Cluster {
  const lists: Record<string, readonly JsonObject[]> = { ...base };
  for (const one of policies) lists[plurals[one.kind]] = [...(lists[plurals[one.kind]] ?? []), one];
  return clusterFrom(lists);
}

/** `shop/web`, `n1`, `198.51.100.1`. */
function end(cluster: Cluster, id: string): FlowEnd {
  if (parseAddress(id) !== undefined) return { kind: 'external', address: address(id) };
  if (cluster.pods.state === 'unknown') throw new Error('no pods');
  const found = cluster.pods.value.find((one) => `${one.namespace}/${one.name}` === id);
  if (found !== undefined) return { kind: 'pod', pod: found };
  const { nodes } = clusterFrom(base);
  const host = nodes.state === 'known' ? nodes.value.find(({ name }) => name === id) : undefined;
  if (host === undefined) throw new Error(`no end ${id}`);
  return { kind: 'node', node: host };
}

/** The admin kinds around NetworkPolicy alone, whatever else the program puts into the layer. */
export function adminProgram(world: PolicyWorld): PolicyProgram {
  const layer = kubernetesLayer(world);
  const middle = layer.tiers.filter(({ name }) => name === 'NetworkPolicy');
  const tiers = [lowerAdminTier(world), ...middle, lowerBaselineTier(world)];
  return { layers: [{ ...layer, tiers: tiers.filter((tier) => tier !== undefined) }], notes: [] };
}

function question(
  policies: readonly Policy[] | Cluster,
  src: string,
  dst: string,
  port: number,
  protocol: LineProtocol,
): { readonly world: PolicyWorld; readonly flow: PolicyFlow } {
  const cluster = 'pods' in policies ? policies : clusterOf(policies);
  const flow: PolicyFlow = { src: end(cluster, src), dst: end(cluster, dst), protocol, port };
  return { world: { cluster, reading: defaultReading }, flow };
}

/** `verdict(policies, 'shop/web', 'shop/api', 80)`: both engines, which have to say the same. */
export function verdict(
  policies: readonly Policy[] | Cluster,
  src: string,
  dst: string,
  port = 80,
  protocol: LineProtocol = 'TCP',
): Outcome {
  const { world, flow } = question(policies, src, dst, port, protocol);
  const slow = bothAllow(kubernetesNetwork(world, flow, 'egress'), kubernetesNetwork(world, flow, 'ingress'));
  expect(createEngine(world, adminProgram(world)).verdict(flow).verdict, 'engine').toBe(slow);
  return slow;
}

/** Why a verdict is conditional. */
export function conditions(policies: readonly Policy[], src: string, dst: string): readonly Condition[] {
  const { world, flow } = question(policies, src, dst, 80, 'TCP');
  return createEngine(world, adminProgram(world)).verdict(flow).conditions;
}
