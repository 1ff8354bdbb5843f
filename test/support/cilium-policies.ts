/**
 * A small cluster for tests of Cilium's policies, and the verdict of engine and reference on it: shop/web on n1; shop/api (port http),
 * ops/tool (service account robot) and the hostNetwork pod ops/agent on n2; n3 has no pods. Namespaces have the label `team`, pods `app`,
 * nodes `zone`.
 */
import { expect } from 'vitest';
import type { Cluster } from '../../src/model/cluster.ts';
import { address, parseAddress } from '../../src/net/address.ts';
import type { LineProtocol } from '../../src/net/port-set.ts';
import type { JsonObject } from '../../src/parse/json.ts';
import type { FlowEnd, PolicyFlow } from '../../src/policy/endpoint.ts';
import { createEngine } from '../../src/policy/engine/engine.ts';
import type { Condition } from '../../src/policy/ir.ts';
import { ciliumLayer } from '../../src/policy/kinds/cilium.ts';
import { defaultReading, type PolicyReading } from '../../src/policy/options.ts';
import { ciliumNetwork } from '../../src/policy/reference/cilium.ts';
import { bothAllow, type Outcome } from '../../src/policy/reference/contract.ts';
import { clusterFrom, type RawObjects } from '../oracles/policy/world.ts';

const pod = (id: string, node: string, ip: string, spec: object = {}): JsonObject => {
  const [namespace = '', name = ''] = id.split('/');
  return {
    kind: 'Pod',
    metadata: { namespace, name, labels: { app: name } },
    spec: { nodeName: node, containers: [{ name: 'main' }], ...spec },
    status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
  };
};

const http = { name: 'main', ports: [{ name: 'http', containerPort: 8080 }] };

const base: RawObjects = {
  nodes: ['n1', 'n2', 'n3'].map((name, i) => ({
    kind: 'Node',
    metadata: { name, labels: { zone: name } },
    status: { addresses: [{ type: 'InternalIP', address: `192.168.0.${i + 1}` }] },
  })),
  namespaces: ['shop', 'ops'].map((name) => ({
    kind: 'Namespace',
    metadata: { name, labels: { team: name } },
  })),
  pods: [
    pod('shop/web', 'n1', '10.1.0.2'),
    pod('shop/api', 'n2', '10.2.0.2', { containers: [http] }),
    pod('ops/tool', 'n2', '10.2.0.3', { serviceAccountName: 'robot' }),
    pod('ops/agent', 'n2', '192.168.0.2', { hostNetwork: true, containers: [http] }),
  ],
};

const plurals: Readonly<Record<string, string>> = {
  CiliumNetworkPolicy: 'ciliumnetworkpolicies.cilium.io',
  CiliumClusterwideNetworkPolicy: 'ciliumclusterwidenetworkpolicies.cilium.io',
  CiliumCIDRGroup: 'ciliumcidrgroups.cilium.io',
  NetworkPolicy: 'networkpolicies.networking.k8s.io',
  AdminNetworkPolicy: 'adminnetworkpolicies.policy.networking.k8s.io',
  BaselineAdminNetworkPolicy: 'baselineadminnetworkpolicies.policy.networking.k8s.io',
  Service: 'services',
  EndpointSlice: 'endpointslices.discovery.k8s.io',
  ConfigMap: 'configmaps',
};

let count = 0;
export const object = (kind: string, namespace: string | undefined, body: object): JsonObject => ({
  kind,
  metadata: { name: `p${count++}`, ...(namespace === undefined ? {} : { namespace }) },
  ...body,
});

/** Selects every pod of the namespace unless it says otherwise. */
export const cnp = (namespace: string, spec: object): JsonObject =>
  object('CiliumNetworkPolicy', namespace, { spec: { endpointSelector: {}, ...spec } });

/** Selects every pod unless it says otherwise. */
export const ccnp = (spec: object): JsonObject =>
  object('CiliumClusterwideNetworkPolicy', undefined, {
    spec: 'nodeSelector' in spec ? spec : { endpointSelector: {}, ...spec },
  });

export const np = (namespace: string, spec: object): JsonObject =>
  object('NetworkPolicy', namespace, { spec: { podSelector: {}, ...spec } });

export const apiServerAt = (...addresses: readonly string[]): JsonObject => ({
  kind: 'EndpointSlice',
  addressType: 'IPv4',
  metadata: { name: 'k', namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
  endpoints: [{ addresses }],
});

export const config = (data: object): JsonObject => ({
  kind: 'ConfigMap',
  metadata: { name: 'cilium-config', namespace: 'kube-system' },
  data,
});

export const clusterOf = (objects: readonly JsonObject[]): Cluster => {
  const lists: Record<string, JsonObject[]> = {};
  for (const one of objects) {
    const plural = plurals[String(one.kind)];
    if (plural === undefined) throw new Error(`no list for ${String(one.kind)}`);
    lists[plural] = [...(lists[plural] ?? []), one];
  }
  return clusterFrom({ ...base, ...lists });
};

function endOf(cluster: Cluster, name: string): FlowEnd {
  if (parseAddress(name) !== undefined) return { kind: 'external', address: address(name) };
  const nodes = cluster.nodes.state === 'known' ? cluster.nodes.value : [];
  const node = nodes.find((one) => one.name === name);
  if (node !== undefined) return { kind: 'node', node };
  const pods = cluster.pods.state === 'known' ? cluster.pods.value : [];
  const found = pods.find((one) => `${one.namespace}/${one.name}` === name);
  if (found === undefined) throw new Error(`no end ${name}`);
  return { kind: 'pod', pod: found };
}

export interface Asked {
  readonly verdict: Outcome;
  readonly conditions: readonly Condition[];
}

export interface Question {
  /** `TCP 80`; for ICMP the type, or type and code: `ICMP 3.4`. */
  readonly port?: string;
  readonly reading?: Partial<PolicyReading>;
}

/** `shop/web`, `n1`, `192.0.2.1`. Engine and reference must say the same. */
export function ask(cluster: Cluster, src: string, dst: string, more: Question = {}): Asked {
  const [name = '', number = ''] = (more.port ?? 'TCP 80').split(' ');
  const protocol = name as LineProtocol;
  const [first = 0, code = 0] = number.split('.').map(Number);
  const port = protocol.startsWith('ICMP') ? first * 256 + code : first;
  const flow: PolicyFlow = { src: endOf(cluster, src), dst: endOf(cluster, dst), protocol, port };
  const world = { cluster, reading: { ...defaultReading, dialect: 'cilium' as const, ...more.reading } };
  const engine = createEngine(world, { layers: [ciliumLayer(world)], notes: [] }).verdict(flow);
  const reference = bothAllow(ciliumNetwork(world, flow, 'egress'), ciliumNetwork(world, flow, 'ingress'));
  expect(engine.verdict, 'engine and reference').toBe(reference);
  return engine;
}

export const verdict = (
  objects: readonly JsonObject[],
  src: string,
  dst: string,
  more: Question = {},
): Outcome => ask(clusterOf(objects), src, dst, more).verdict;
