/** The lab's policy rules, enforced by the kernel, admit what the reference engine says that they admit: on random policies. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { downLab, type Lab, type Plural, upLab } from '../../src/lab/lab.ts';
import type { Cluster } from '../../src/model/cluster.ts';
import type { Endpoint } from '../../src/model/flow.ts';
import { address } from '../../src/net/address.ts';
import { buildCluster } from '../../src/parse/kubernetes/cluster.ts';
import { decide } from '../../src/policy/reference.ts';
import { labName, ownStateDir, whyNoLab } from '../lab/support.ts';
import { type TriedFlow, tryFlows } from './flows.ts';

const rounds = 6;
const seed = Number(process.env.PODPATH_SEED ?? 1);

const labels = fc.constantFrom('web', 'api', 'db', 'ledger', 'toolbox');
const selector = fc.oneof(
  fc.constant({}),
  labels.map((app) => ({ matchLabels: { app } })),
  fc
    .record({
      key: fc.constantFrom('app', 'absent'),
      operator: fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist'),
      values: fc.uniqueArray(labels, { minLength: 1, maxLength: 2 }),
    })
    .map(({ key, operator, values }) => ({
      matchExpressions: [{ key, operator, ...(operator.endsWith('In') ? { values } : {}) }],
    })),
);
const namespaceSelector = fc.oneof(
  fc.constant({}),
  fc
    .constantFrom('shop', 'payments', 'ops')
    .map((name) => ({ matchLabels: { 'kubernetes.io/metadata.name': name } })),
  fc.constant({ matchLabels: { name: 'shop' } }),
);
const ipBlock = fc.constantFrom(
  { cidr: '10.244.1.0/24' },
  { cidr: '10.244.0.0/16', except: ['10.244.2.0/24'] },
  { cidr: '10.244.0.0/22', except: ['10.244.1.0/30', '10.244.3.0/25'] },
  { cidr: '0.0.0.0/0', except: ['10.244.1.0/24'] },
  { cidr: '0.0.0.0/0' },
  { cidr: '10.244.2.0/24', except: ['10.244.2.0/24'] },
  { cidr: 'fd00:10:244::/48', except: ['fd00:10:244:1::/64'] },
  { cidr: '::/0' },
);
const peer = fc.oneof(
  selector.map((podSelector) => ({ podSelector })),
  namespaceSelector.map((found) => ({ namespaceSelector: found })),
  fc.record({ namespaceSelector, podSelector: selector }),
  ipBlock.map((block) => ({ ipBlock: block })),
);
const port = fc.constantFrom<object>(
  { port: 8080 },
  { protocol: 'TCP', port: 5000, endPort: 9000 },
  { protocol: 'UDP' },
  { protocol: 'UDP', port: 'ping' },
  { port: 'http' },
  { port: 'ledger' },
  { protocol: 'TCP' },
);
const some = <T>(one: fc.Arbitrary<T>) =>
  fc.option(fc.array(one, { minLength: 1, maxLength: 3 }), { nil: undefined });
const rule = (side: 'from' | 'to') =>
  fc.record({ peers: some(peer), ports: some(port) }).map(({ peers, ports }) => ({ [side]: peers, ports }));
const policy = fc.record({
  namespace: fc.constantFrom('shop', 'payments', 'ops'),
  spec: fc.record({
    podSelector: selector,
    policyTypes: fc.constantFrom(undefined, ['Ingress'], ['Egress'], ['Ingress', 'Egress']),
    ingress: some(rule('from')),
    egress: some(rule('to')),
  }),
});
const policies = fc.array(policy, { minLength: 1, maxLength: 4 });

describe.skipIf(whyNoLab !== undefined)('random policies', () => {
  ownStateDir();
  let lab: Lab;
  beforeAll(async () => {
    lab = await upLab({ name: labName('netpol'), dualStack: true, ownerPid: process.pid });
  });
  afterAll(async () => {
    if (lab !== undefined) await downLab(lab.state.name);
  });

  test.each(fc.sample(policies, { numRuns: rounds, seed }).map((set, round) => [round, set] as const))(
    `round %i of seed ${seed}`,
    async (_, set) => {
      await lab.writeObjects(
        'networkpolicies.networking.k8s.io',
        set.map(({ namespace, spec }, index) => ({
          apiVersion: 'networking.k8s.io/v1',
          kind: 'NetworkPolicy',
          metadata: { namespace, name: `p${index}` },
          spec,
        })),
      );
      await lab.syncPolicies();
      const cluster = readCluster(lab);
      const asked = questions(lab);
      const results = await tryFlows(
        lab,
        asked.map(({ flow }) => flow),
      );
      const kernel: Record<string, string> = {};
      const reference: Record<string, string> = {};
      for (const [index, { name, query }] of asked.entries()) {
        kernel[name] = results[index] === true ? 'allow' : 'deny';
        reference[name] = decide(cluster, query).verdict;
      }
      expect(kernel, JSON.stringify(set)).toEqual(reference);
    },
  );
});

function readCluster(lab: Lab): Cluster {
  const plurals: Plural[] = ['pods', 'namespaces', 'networkpolicies.networking.k8s.io'];
  return buildCluster(
    new Map(
      plurals.map((plural) => [plural, readFileSync(join(lab.dir, 'cluster', `${plural}.json`), 'utf8')]),
    ),
  );
}

interface Question {
  readonly name: string;
  readonly flow: TriedFlow;
  readonly query: Parameters<typeof decide>[1];
}

/** From every pod to every listening port of the others, in both families. */
function questions(lab: Lab): Question[] {
  const ports: Record<string, [port: number, protocol: 'tcp' | 'udp'][]> = {
    web: [[8080, 'tcp']],
    api: [
      [8080, 'tcp'],
      [8081, 'udp'],
    ],
    db: [[5432, 'tcp']],
    ledger: [[9000, 'tcp']],
  };
  const pods = lab.state.pods;
  return pods.flatMap((src) =>
    pods
      .filter((dst) => dst !== src)
      .flatMap((dst) =>
        (ports[dst.name.replace(/-\d+$/, '')] ?? []).flatMap(([port, protocol]) =>
          dst.addresses.map((text, family): Question => {
            const end = (pod: typeof src, at = pod.addresses[family] ?? ''): Endpoint => ({
              kind: 'pod',
              namespace: pod.namespace,
              name: pod.name,
              address: address(at),
            });
            const srcName = `${src.namespace}/${src.name}`;
            return {
              name: `${srcName} -> ${dst.namespace}/${dst.name} ${text} ${port}/${protocol}`,
              flow: { src: srcName, address: text, port, protocol },
              query: { src: end(src), dst: end(dst, text), protocol, dstPort: port },
            };
          }),
        ),
      ),
  );
}
