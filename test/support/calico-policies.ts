/** A small cluster with Calico policies for tests: the engine and the reference are asked, and have to agree. */
import { expect } from 'vitest';
import type { Cluster } from '../../src/model/cluster.ts';
import { parseAddress } from '../../src/net/address.ts';
import type { LineProtocol } from '../../src/net/port-set.ts';
import type { JsonObject } from '../../src/parse/json.ts';
import { clusterOf } from '../../src/parse/kubernetes/cluster.ts';
import { parsed } from '../../src/parse/result.ts';
import type { FlowEnd, PolicyFlow } from '../../src/policy/endpoint.ts';
import { createEngine } from '../../src/policy/engine/engine.ts';
import { calicoLayer, calicoNotes } from '../../src/policy/kinds/calico.ts';
import { defaultReading, type PolicyWorld } from '../../src/policy/options.ts';
import { calicoNetwork } from '../../src/policy/reference/calico.ts';
import { bothAllow, type Outcome } from '../../src/policy/reference/contract.ts';

export type Objects = Readonly<Record<string, readonly JsonObject[]>>;

const pod = (
  namespace: string,
  name: string,
  ips: readonly string[],
  labels: JsonObject = {},
  spec: JsonObject = {},
): JsonObject => ({
  metadata: { name, namespace, labels },
  spec: {
    nodeName: name === 'host' ? 'n2' : 'n1',
    containers: [{ name: 'main', ports: [{ name: 'http', containerPort: 8080 }] }],
    ...spec,
  },
  status: { phase: 'Running', podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) },
});

/** shop/web, shop/api and ops/tool on node n1; ops/host on the network of n2; ops/dual with both families. */
const base: Objects = {
  nodes: [
    { metadata: { name: 'n1' }, status: { addresses: [{ type: 'InternalIP', address: '192.168.0.1' }] } },
    { metadata: { name: 'n2' }, status: { addresses: [{ type: 'InternalIP', address: '192.168.0.2' }] } },
  ],
  namespaces: [
    { metadata: { name: 'shop', labels: { team: 'shop' } } },
    { metadata: { name: 'ops', labels: { team: 'ops' } } },
  ],
  serviceaccounts: [{ metadata: { name: 'robot', namespace: 'ops', labels: { role: 'robot' } } }],
  pods: [
    pod('shop', 'web', ['10.0.0.1'], { app: 'web' }),
    pod('shop', 'api', ['10.0.0.2', 'fd00::2'], { app: 'api', tier: 'backend' }),
    pod('ops', 'tool', ['10.1.0.1'], {}, { serviceAccountName: 'robot' }),
    pod('ops', 'dual', ['10.1.0.2', 'fd00:1::2'], { app: 'dual' }),
    pod('ops', 'host', ['192.168.0.2'], { app: 'host' }, { hostNetwork: true }),
  ],
};

let count = 0;
const named = (kind: string, spec: JsonObject, metadata: JsonObject): JsonObject => ({
  kind,
  metadata: { name: `p${count++}`, ...metadata },
  spec,
});

/** A NetworkPolicy of the namespace shop. */
export const np = (spec: JsonObject, metadata: JsonObject = {}): Objects => ({
  'networkpolicies.projectcalico.org': [named('NetworkPolicy', spec, { namespace: 'shop', ...metadata })],
});
export const gnp = (spec: JsonObject, metadata: JsonObject = {}): Objects => ({
  'globalnetworkpolicies.projectcalico.org': [named('GlobalNetworkPolicy', spec, metadata)],
});
export const tier = (name: string, spec: JsonObject): Objects => ({
  'tiers.projectcalico.org': [named('Tier', spec, { name })],
});
export const profile = (name: string, spec: JsonObject): Objects => ({
  'profiles.projectcalico.org': [named('Profile', spec, { name })],
});
/** A GlobalNetworkSet; a NetworkSet where the metadata has a namespace. */
export const netSet = (nets: readonly string[], metadata: JsonObject): Objects =>
  metadata.namespace === undefined
    ? { 'globalnetworksets.projectcalico.org': [named('GlobalNetworkSet', { nets }, metadata)] }
    : { 'networksets.projectcalico.org': [named('NetworkSet', { nets }, metadata)] };

/** `without`: lists that were not collected. */
export function worldOf(objects: readonly Objects[], without: readonly string[] = []): PolicyWorld {
  const all: Record<string, JsonObject[]> = {};
  for (const part of [base, ...objects])
    for (const [plural, items] of Object.entries(part)) all[plural] = [...(all[plural] ?? []), ...items];
  const cluster: Cluster = clusterOf((plural) =>
    without.includes(plural)
      ? undefined
      : { where: plural, objects: parsed((all[plural] ?? []).map((object) => ({ object }))) },
  );
  return { cluster, reading: { ...defaultReading, dialect: 'calico' } };
}

function endOf({ cluster }: PolicyWorld, text: string): FlowEnd {
  const address = parseAddress(text);
  if (address !== undefined) return { kind: 'external', address };
  if (cluster.pods.state === 'unknown' || cluster.nodes.state === 'unknown') throw new Error('no pods');
  const node = cluster.nodes.value.find(({ name }) => name === text);
  if (node !== undefined) return { kind: 'node', node };
  const found = cluster.pods.value.find(({ namespace, name }) => `${namespace}/${name}` === text);
  if (found === undefined) throw new Error(`no pod ${text}`);
  return { kind: 'pod', pod: found };
}

export interface Question {
  readonly port?: number;
  readonly protocol?: LineProtocol;
  readonly includeStaged?: boolean;
}

export function verdictIn(world: PolicyWorld, from: string, to: string, question: Question = {}): Outcome {
  const { port = 80, protocol = 'TCP', includeStaged = false } = question;
  const flow: PolicyFlow = { src: endOf(world, from), dst: endOf(world, to), protocol, port };
  const layer = calicoLayer(world, { includeStaged });
  const fast = createEngine(world, { layers: [layer], notes: [] }).verdict(flow).verdict;
  const slow = bothAllow(
    calicoNetwork(world, flow, 'egress', { includeStaged }),
    calicoNetwork(world, flow, 'ingress', { includeStaged }),
  );
  expect(fast, `engine ${fast}, reference ${slow}: ${from} -> ${to}`).toBe(slow);
  return fast;
}

/** Both answers, which are one, to TCP 80 unless the question says otherwise. */
export const verdict = (
  objects: readonly Objects[],
  from: string,
  to: string,
  question: Question = {},
): Outcome => verdictIn(worldOf(objects), from, to, question);

export const notes = (objects: readonly Objects[]): readonly string[] =>
  calicoNotes(worldOf(objects)).map(({ text }) => text);
