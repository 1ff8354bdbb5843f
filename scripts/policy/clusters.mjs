// Writes made-up clusters as plain Kubernetes manifests that any tool can read. The same seed gives the same bytes.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { adversaries, adversary } from './hostile.mjs';
import { makePod, policyOf } from './objects.mjs';
import { randomOf } from './random.mjs';
import { rulesFor } from './rules.mjs';

/** `empty`: policies without effect beyond isolation: they select nothing, or have no rules. M has the shape of a published cluster. */
const sizes = {
  S: { pods: 500, namespaces: 50, policies: 500, empty: 130 },
  M: { pods: 5_413, namespaces: 604, policies: 13_678, empty: 3_559 },
  L: { pods: 50_000, namespaces: 5_000, policies: 75_000, empty: 19_500 },
  XL: { pods: 150_000, namespaces: 10_000, policies: 100_000, empty: 26_000 },
};

export const clusterNames = [...Object.keys(sizes), ...Object.keys(adversaries)];

const teams = 40;
const envs = ['prod', 'prod', 'prod', 'staging', 'dev'];
const tiers = ['frontend', 'backend', 'data', 'batch'];
const systems = ['kube-system', 'monitoring', 'ingress'];

/** Plural -> objects. */
export function makeCluster(name, seed) {
  if (name in adversaries) return adversary(name, seed);
  const size = sizes[name];
  if (size === undefined) throw new Error(`no cluster is called ${name}: ${clusterNames.join(', ')}`);
  const random = randomOf(seed);
  const nodes = Array.from({ length: Math.ceil(size.pods / 40) }, (_, i) => makeNode(i));
  const namespaces = makeNamespaces(size.namespaces, random);
  const place = placer(nodes);
  const daemons = nodes.flatMap((node) => daemonPods(node, random));
  const workloads = makeWorkloads(namespaces, size.pods - daemons.length, random);
  const pods = [...daemons, ...workloads.flatMap((workload) => podsOf(workload, place, random))];
  return {
    nodes,
    namespaces: namespaces.map(({ name, labels }) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels: { 'kubernetes.io/metadata.name': name, ...labels } },
      status: { phase: 'Active' },
    })),
    pods,
    networkpolicies: makePolicies(size, namespaces, workloads, random),
  };
}

function makeNode(i) {
  const name = `node-${i}`;
  const internal = `172.${16 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: { 'kubernetes.io/hostname': name, 'topology.kubernetes.io/zone': `zone-${i % 3}` },
    },
    spec: { podCIDR: `10.${i >> 8}.${i & 255}.0/24`, podCIDRs: [`10.${i >> 8}.${i & 255}.0/24`] },
    status: {
      addresses: [
        { type: 'InternalIP', address: internal },
        { type: 'Hostname', address: name },
      ],
      conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'ready' }],
    },
  };
}

function makeNamespaces(count, random) {
  return Array.from({ length: count }, (_, i) => {
    const system = systems[i];
    if (system !== undefined) return { name: system, labels: { team: 'platform', env: 'prod' } };
    const team = `team-${random.below(teams)}`;
    return { name: `${team}-${random.word()}-${i}`, labels: { team, env: random.pick(envs) } };
  });
}

/** Pods go to the nodes in turn, so that no node's /24 runs out. */
function placer(nodes) {
  const used = nodes.map(() => 1);
  let next = 0;
  return () => {
    const i = next++ % nodes.length;
    used[i] += 1;
    return {
      node: nodes[i].metadata.name,
      host: nodes[i].status.addresses[0].address,
      ip: `10.${i >> 8}.${i & 255}.${used[i]}`,
    };
  };
}

/** Two DaemonSets on the nodes' own network: 5 % of the pods. */
function daemonPods(node, random) {
  const ip = node.status.addresses[0].address;
  return [
    { namespace: 'kube-system', app: 'kube-proxy', ports: [] },
    {
      namespace: 'monitoring',
      app: 'node-exporter',
      ports: [{ name: 'metrics', containerPort: 9100, protocol: 'TCP' }],
    },
  ].map(({ namespace, app, ports }) =>
    makePod({
      namespace,
      name: `${app}-${random.suffix(5)}`,
      labels: {
        app,
        'controller-revision-hash': random.suffix(10),
        'pod-template-generation': '1',
      },
      owner: { kind: 'DaemonSet', name: app },
      ports,
      at: { node: node.metadata.name, host: ip, ip },
      hostNetwork: true,
      random,
    }),
  );
}

/** Namespaces differ in size as they do in life: most are small, a few are ten times as large. */
function makeWorkloads(namespaces, pods, random) {
  const weights = namespaces.map(() => 0.25 + random.unit() ** 4 * 4);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const workloads = [];
  let left = pods;
  let share = total;
  for (const [i, namespace] of namespaces.entries()) {
    const last = i === namespaces.length - 1;
    let quota = last ? left : Math.round((left * weights[i]) / share);
    share -= weights[i];
    namespace.weight = weights[i] / total;
    namespace.workloads = [];
    while (quota > 0) {
      const workload = makeWorkload(namespace, quota, random);
      namespace.workloads.push(workload);
      workloads.push(workload);
      quota -= workload.replicas;
      left -= workload.replicas;
    }
  }
  return workloads;
}

function makeWorkload(namespace, limit, random) {
  const known = wellKnown[namespace.name]?.[namespace.workloads.length];
  const app = known?.app ?? `${random.word()}-${namespace.workloads.length}`;
  const stateful = known === undefined && random.chance(0.12);
  const replicas =
    known !== undefined || random.chance(0.6) ? 2 : random.chance(0.5) ? 3 : 4 + random.below(7);
  return {
    namespace,
    app,
    labels: known?.labels ?? { app },
    stateful,
    replicas: Math.min(limit, replicas),
    tier: random.pick(tiers),
    version: `v${1 + random.below(3)}`,
    hash: random.suffix(10),
    ports: known?.ports ?? [
      { name: 'http', containerPort: random.pick([80, 3000, 8000, 8080, 8443]), protocol: 'TCP' },
      ...(random.chance(0.5) ? [{ name: 'metrics', containerPort: 9090, protocol: 'TCP' }] : []),
    ],
  };
}

/** What policies of all namespaces speak about. */
const wellKnown = {
  'kube-system': [
    {
      app: 'coredns',
      labels: { 'k8s-app': 'kube-dns' },
      ports: [
        { name: 'dns', containerPort: 53, protocol: 'UDP' },
        { name: 'dns-tcp', containerPort: 53, protocol: 'TCP' },
      ],
    },
  ],
  monitoring: [{ app: 'prometheus', labels: { app: 'prometheus' } }],
  ingress: [{ app: 'ingress-nginx', labels: { app: 'ingress-nginx' } }],
};

function podsOf(workload, place, random) {
  const { namespace, app, stateful, replicas, tier, version, hash, ports } = workload;
  return Array.from({ length: replicas }, (_, i) => {
    const name = stateful ? `${app}-${i}` : `${app}-${hash}-${random.suffix(5)}`;
    return makePod({
      namespace: namespace.name,
      name,
      labels: {
        ...workload.labels,
        tier,
        version,
        ...(stateful
          ? { 'statefulset.kubernetes.io/pod-name': name, 'controller-revision-hash': `${app}-${hash}` }
          : { 'pod-template-hash': hash }),
      },
      owner: stateful ? { kind: 'StatefulSet', name: app } : { kind: 'ReplicaSet', name: `${app}-${hash}` },
      ports,
      at: place(),
      hostNetwork: false,
      random,
    });
  });
}

function makePolicies(size, namespaces, workloads, random) {
  const policies = [];
  const owners = namespaces.filter(({ workloads: own }) => own.length > 0);
  const all = owners.reduce((sum, { weight }) => sum + weight, 0);
  let reach = 0;
  for (const namespace of owners) {
    reach += namespace.weight / all;
    const until = namespace === owners.at(-1) ? size.policies : Math.round(size.policies * reach);
    // Every namespace starts with the policy that isolates all of its pods.
    for (let i = 0; policies.length < until; i++)
      policies.push(
        makePolicy(namespace, i, size.empty / size.policies, { namespaces: owners, workloads, random }),
      );
  }
  return settleEmpty(policies, size.empty, random);
}

function makePolicy(namespace, i, emptyShare, around) {
  const { random } = around;
  if (i === 0) return policyOf(namespace, 'default-deny', { podSelector: {}, policyTypes: ['Ingress'] });
  if (random.chance(emptyShare)) return emptyPolicy(namespace, i, random);
  const workload = random.pick(namespace.workloads);
  return policyOf(namespace, `allow-${i}`, {
    podSelector: { matchLabels: workload.labels },
    ...rulesFor(workload, around),
  });
}

/** Left over from a workload that is gone, or isolating one without any rule. */
const emptyPolicy = (namespace, i, random) =>
  policyOf(namespace, `stale-${i}`, {
    podSelector: {
      matchLabels: random.chance(0.7)
        ? { app: `gone-${random.word()}-${i}` }
        : random.pick(namespace.workloads).labels,
    },
    policyTypes: ['Ingress'],
  });

/** Exactly the wanted number of empty policies: some at the wrong side are turned. */
function settleEmpty(policies, wanted, random) {
  const isEmpty = ({ spec }) => spec.ingress === undefined && spec.egress === undefined;
  let surplus = policies.filter(isEmpty).length - wanted;
  const order = policies.map((_, i) => i).filter((i) => policies[i].metadata.name !== 'default-deny');
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  for (const i of order) {
    if (surplus === 0) break;
    const { spec } = policies[i];
    if (surplus > 0 && isEmpty(policies[i])) {
      spec.ingress = [{ from: [{ podSelector: spec.podSelector }] }];
      surplus--;
    } else if (surplus < 0 && !isEmpty(policies[i])) {
      delete spec.ingress;
      delete spec.egress;
      surplus++;
    }
  }
  return policies;
}

/** Files of at most `perFile` objects, `pods-0003.json`. Returns their number and bytes. */
export function writeCluster(folder, objects, { perFile = 1000, yaml = false } = {}) {
  mkdirSync(folder, { recursive: true });
  let files = 0;
  let bytes = 0;
  for (const [plural, items] of Object.entries(objects))
    for (let at = 0; at < items.length; at += perFile) {
      const part = items.slice(at, at + perFile);
      const text = yaml
        ? part.map((item) => stringify(item, { aliasDuplicateObjects: false })).join('---\n')
        : JSON.stringify({ apiVersion: 'v1', kind: 'List', items: part });
      const name = `${plural}-${String(at / perFile).padStart(4, '0')}.${yaml ? 'yaml' : 'json'}`;
      writeFileSync(join(folder, name), text);
      files += 1;
      bytes += Buffer.byteLength(text);
    }
  return { files, bytes };
}
