// Clusters that defeat the usual short cuts: no two pods alike, no two CIDRs alike, one policy with thousands of rules.
import { makePod, policyOf } from './objects.mjs';
import { randomOf } from './random.mjs';

export const adversaries = {
  unique: uniqueLabels,
  cidrs: manyCidrs,
  rules: manyRules,
};

export const adversary = (name, seed) => adversaries[name](randomOf(seed));

/** 10,000 pods with labels of their own; each has a policy that lets one other pod in. */
function uniqueLabels(random) {
  const count = 10_000;
  const { base, pods } = plain(count, 10, random, (i) => ({ app: `app-${i}`, id: `id-${i}` }));
  return {
    ...base,
    pods,
    networkpolicies: pods.map((pod, i) =>
      policyOf({ name: pod.metadata.namespace }, `only-${i}`, {
        podSelector: { matchLabels: { app: `app-${i}` } },
        policyTypes: ['Ingress', 'Egress'],
        ingress: [
          { from: [peer(random.below(count))], ports: [{ protocol: 'TCP', port: 1024 + (i % 5000) }] },
        ],
        egress: [{ to: [peer(random.below(count)), peer(random.below(count))] }],
      }),
    ),
  };
}

const peer = (i) => ({ namespaceSelector: {}, podSelector: { matchLabels: { id: `id-${i}` } } });

/** 10,000 distinct CIDRs of every length, nested and apart, with exceptions. */
function manyCidrs(random) {
  const { base, pods } = plain(2_000, 20, random, (i) => ({ app: `app-${i % 400}` }));
  const seen = new Set();
  while (seen.size < 10_000) {
    const length = 8 + random.below(25);
    const value = (random.bits() & (length === 0 ? 0 : -1 << (32 - length))) >>> 0;
    seen.add(`${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}/${length}`);
  }
  const cidrs = [...seen];
  return {
    ...base,
    pods,
    networkpolicies: Array.from({ length: 1_000 }, (_, i) =>
      policyOf({ name: pods[i].metadata.namespace }, `ranges-${i}`, {
        podSelector: { matchLabels: { app: `app-${i % 400}` } },
        policyTypes: ['Ingress', 'Egress'],
        ingress: [{ from: blocks(cidrs.slice(i * 10, i * 10 + 5)), ports: [{ port: 80 }] }],
        egress: [{ to: blocks(cidrs.slice(i * 10 + 5, i * 10 + 10)) }],
      }),
    ),
  };
}

/** An exception is the upper half of its block: a /32 has none. */
const blocks = (cidrs) =>
  cidrs.map((cidr) => {
    const [address, length] = cidr.split('/');
    if (Number(length) >= 32) return { ipBlock: { cidr } };
    const value = address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
    const upper = (value + 2 ** (31 - Number(length))) >>> 0;
    const text = [24, 16, 8, 0].map((shift) => (upper >>> shift) & 255).join('.');
    return { ipBlock: { cidr, except: [`${text}/${Number(length) + 1}`] } };
  });

/** One policy of 5,000 rules that selects every pod of its namespace. */
function manyRules(random) {
  const { base, pods } = plain(2_000, 4, random, (i) => ({ app: `app-${i % 500}`, tier: `tier-${i % 7}` }));
  const namespace = { name: pods[0].metadata.namespace };
  return {
    ...base,
    pods,
    networkpolicies: [
      policyOf(namespace, 'everything', {
        podSelector: {},
        policyTypes: ['Ingress'],
        ingress: Array.from({ length: 5_000 }, (_, i) => ({
          from: [
            i % 3 === 0
              ? { ipBlock: { cidr: `198.${18 + (i & 1)}.${(i >> 1) & 255}.0/24` } }
              : { namespaceSelector: {}, podSelector: { matchLabels: { app: `app-${random.below(500)}` } } },
          ],
          ports: [
            { protocol: random.pick(['TCP', 'UDP', 'SCTP']), port: 1 + i, endPort: 1 + i + random.below(50) },
          ],
        })),
      }),
    ],
  };
}

function plain(count, namespaces, random, labelsOf) {
  const nodes = Math.ceil(count / 100);
  return {
    base: {
      namespaces: Array.from({ length: namespaces }, (_, i) => ({
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: `ns-${i}`, labels: { 'kubernetes.io/metadata.name': `ns-${i}` } },
      })),
    },
    pods: Array.from({ length: count }, (_, i) =>
      makePod({
        namespace: `ns-${i % namespaces}`,
        name: `pod-${i}`,
        labels: labelsOf(i),
        owner: { kind: 'ReplicaSet', name: `set-${i}` },
        ports: [{ name: 'http', containerPort: 80, protocol: 'TCP' }],
        at: {
          node: `node-${i % nodes}`,
          host: `172.16.${(i % nodes) >> 8}.${(i % nodes) & 255}`,
          ip: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
        },
        hostNetwork: false,
        random,
      }),
    ),
  };
}
