/** Engine and reference on clusters in which policies of all kinds meet, all of them known or not. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { formatAddress } from '../../../src/net/address.ts';
import type { LineProtocol } from '../../../src/net/port-set.ts';
import type { JsonObject } from '../../../src/parse/json.ts';
import { createEngine } from '../../../src/policy/engine/engine.ts';
import { defaultReading, type PolicyReading } from '../../../src/policy/options.ts';
import { programOf, traitSources } from '../../../src/policy/program.ts';
import type { Outcome } from '../../../src/policy/reference/contract.ts';
import { referenceVerdict } from '../../../src/policy/reference/index.ts';
import { agree, agreeOn, type Contest, clusterCount } from './agree.ts';
import { allObjects, allReadings, clusterWithout, partlyKnown } from './all.ts';
import { clusterFrom, endsOf, type RawObjects } from './world.ts';

const contest: Contest = { program: programOf, traits: traitSources, reference: referenceVerdict };

it('engine and reference agree on all kinds together', () => {
  expect(agree(allObjects, allReadings, contest, clusterCount(100))).toBeGreaterThan(10_000);
}, 120_000);

it('engine and reference agree where some lists were not collected', () => {
  expect(agreeOn(partlyKnown, clusterWithout, allReadings, contest, clusterCount(100))).toBeGreaterThan(
    5_000,
  );
}, 120_000);

it('the random clusters hold objects of every kind, and pods in every mesh', () => {
  const clusters = fc.sample(allObjects, { numRuns: 100, seed: 1 }).map(clusterFrom);
  const filled = (part: 'networkPolicies' | 'adminPolicies' | 'calico' | 'cilium' | 'istio' | 'linkerd') =>
    clusters.filter((cluster) => {
      const found = cluster[part];
      return found.state === 'known' && Object.values(found.value).flat().length > 0;
    }).length;
  for (const part of ['networkPolicies', 'adminPolicies', 'calico', 'cilium', 'istio', 'linkerd'] as const)
    expect(filled(part), part).toBeGreaterThan(30);
  const pods = clusters.flatMap(({ pods }) => (pods.state === 'known' ? pods.value : []));
  const proxied = (...names: readonly string[]) =>
    pods.filter(({ containers }) => names.every((name) => containers.some((one) => one.name === name)))
      .length;
  expect(proxied('istio-proxy')).toBeGreaterThan(20);
  expect(proxied('linkerd-proxy')).toBeGreaterThan(20);
  expect(proxied('istio-proxy', 'linkerd-proxy')).toBeGreaterThan(3);
});

/** One answer of both, which must be the same. */
function bothSay(
  raw: RawObjects,
  question: readonly [src: string, dst: string, protocol: LineProtocol, port: number],
  { missing = [], ...reading }: Partial<PolicyReading> & { readonly missing?: readonly string[] } = {},
): Outcome {
  const world = { cluster: clusterWithout({ raw, missing }), reading: { ...defaultReading, ...reading } };
  const [from, to, protocol, port] = question;
  const end = (name: string) =>
    endsOf(world.cluster).find((one) =>
      one.kind === 'pod'
        ? `${one.pod.namespace}/${one.pod.name}` === name
        : one.kind === 'external' && formatAddress(one.address) === name,
    );
  const [src, dst] = [end(from), end(to)];
  if (src === undefined || dst === undefined) throw new Error(`no such end: ${question.join(' ')}`);
  const flow = { src, dst, protocol, port };
  const verdict = referenceVerdict(world, flow);
  expect(createEngine(world, programOf(world), traitSources).verdict(flow).verdict).toBe(verdict);
  return verdict;
}

const somePod = (id: string, ip: string, annotations = {}, container = 'main', node = 'n1'): JsonObject => ({
  kind: 'Pod',
  metadata: { name: id.split('/')[1] ?? '', namespace: id.split('/')[0] ?? '', annotations },
  spec: { nodeName: node, containers: [{ name: 'main' }, { name: container }] },
  status: { phase: 'Running', podIP: ip },
});

const networkPolicy = (spec: JsonObject): RawObjects => ({
  'networkpolicies.networking.k8s.io': [
    { kind: 'NetworkPolicy', metadata: { name: 'p', namespace: 'a' }, spec },
  ],
});

it('Calico denies ICMP at a pod that a NetworkPolicy isolates, whether namespaces are known or not', () => {
  const raw = { pods: [somePod('a/x', '10.0.0.1'), somePod('a/y', '10.0.0.2')], ...networkPolicy({}) };
  const at = { dialect: 'calico', missing: ['namespaces'] } as const;
  expect(bothSay(raw, ['a/x', 'a/y', 'ICMP', 2048], at)).toBe('deny');
  expect(bothSay(raw, ['a/x', 'a/y', 'ICMP', 2048], { missing: ['namespaces'] })).toBe('conditional');
});

it('a peer that matches without the labels that nobody knows allows for certain', () => {
  const to = [{ namespaceSelector: { matchLabels: { app: 'web' } } }, { ipBlock: { cidr: '192.0.2.0/24' } }];
  const raw = {
    pods: [somePod('a/x', '10.0.0.1'), somePod('b/y', '10.0.0.2')],
    ...networkPolicy({ egress: [{ to }], policyTypes: ['Egress'] }),
  };
  const missing = ['namespaces'];
  expect(bothSay(raw, ['a/x', '192.0.2.1', 'TCP', 80], { missing })).toBe('allow');
  expect(bothSay(raw, ['a/x', 'b/y', 'TCP', 80], { missing })).toBe('conditional');
  expect(bothSay(raw, ['a/x', '198.51.100.1', 'TCP', 80], { missing })).toBe('deny');
});

const ztunnel: JsonObject = {
  ...somePod('istio-system/z', '10.0.0.3'),
  metadata: { name: 'z', namespace: 'istio-system', labels: { app: 'ztunnel' } },
};

it('the tunnel of an ambient mesh is there without any policy of Istio, and whether they are known or not', () => {
  const raw = {
    pods: [somePod('b/x', '10.0.0.1'), somePod('a/y', '10.0.0.2'), ztunnel],
    namespaces: ['a', 'b'].map((name) => ({
      kind: 'Namespace',
      metadata: { name, labels: { 'istio.io/dataplane-mode': 'ambient' } },
    })),
    ...networkPolicy({ ingress: [{ ports: [{ port: 80 }] }] }),
  };
  const question = ['b/x', 'a/y', 'TCP', 80] as const;
  expect(bothSay(raw, question)).toBe('deny');
  expect(bothSay(raw, question, { missing: ['authorizationpolicies.security.istio.io'] })).toBe('deny');
  expect(bothSay(raw, question, { missing: ['services'] })).toBe('deny');
  expect(bothSay(raw, question, { missing: ['namespaces'] })).toBe('conditional');
  expect(bothSay(raw, ['b/x', 'a/y', 'UDP', 15008])).toBe('deny');
});

it('Linkerd proxies send plainly to ports that the other one does not take in', () => {
  const skips = { 'config.linkerd.io/skip-inbound-ports': '80' };
  const raw = {
    pods: [
      somePod('b/x', '10.0.0.1', {}, 'linkerd-proxy'),
      somePod('a/y', '10.0.0.2', skips, 'linkerd-proxy'),
    ],
    ...networkPolicy({ ingress: [{ ports: [{ port: 80 }, { port: 81 }, { port: 3306 }] }] }),
  };
  expect(bothSay(raw, ['b/x', 'a/y', 'TCP', 80])).toBe('allow');
  expect(bothSay(raw, ['b/x', 'a/y', 'TCP', 81])).toBe('conditional');
  expect(bothSay(raw, ['b/x', 'a/y', 'TCP', 3306])).toBe('deny');
  expect(bothSay(raw, ['b/x', 'a/y', 'TCP', 3306], { missing: ['namespaces'] })).toBe('conditional');
});

it("Cilium's toNodes is not certain of a node that was not collected", () => {
  const host = somePod('b/y', '192.168.0.1', {}, 'main', 'n2');
  const raw = {
    pods: [somePod('a/x', '10.0.0.1'), { ...host, spec: { ...(host.spec as object), hostNetwork: true } }],
    'ciliumclusterwidenetworkpolicies.cilium.io': [
      {
        kind: 'CiliumClusterwideNetworkPolicy',
        metadata: { name: 'p' },
        spec: { endpointSelector: {}, egress: [{ toNodes: [{ matchLabels: { tier: 'x' } }] }] },
      },
    ],
  };
  const at = { dialect: 'cilium', missing: ['nodes'] } as const;
  expect(bothSay(raw, ['a/x', 'b/y', 'TCP', 80], at)).toBe('conditional');
  expect(bothSay(raw, ['a/x', 'b/y', 'TCP', 80], { dialect: 'cilium' })).toBe('deny');
});

it('a Calico policy that may not apply counts whole or not at all', () => {
  const policy = (spec: JsonObject): RawObjects => ({
    'globalnetworkpolicies.crd.projectcalico.org': [
      { kind: 'GlobalNetworkPolicy', metadata: { name: 'p' }, spec: { order: 0, ...spec } },
    ],
  });
  const pods = [somePod('a/x', '10.0.0.1'), somePod('a/y', '10.0.0.2')];
  const at = { dialect: 'calico', missing: ['namespaces'] } as const;
  const perhaps = { namespaceSelector: 'has(app)', types: ['Ingress'] };
  // Where it applies its rule allows; where it does not, nothing isolates.
  const allows = policy({ ...perhaps, ingress: [{ action: 'Allow', protocol: 'UDP' }] });
  expect(bothSay({ pods, ...allows }, ['a/x', 'a/y', 'UDP', 79], at)).toBe('allow');
  expect(bothSay({ pods, ...allows }, ['a/x', 'a/y', 'TCP', 79], at)).toBe('conditional');
  // Its rules deny, and so does the profile of the namespace: its own second rule never stands alone.
  const denies = policy({ ...perhaps, ingress: [{ action: 'Deny', protocol: 'TCP' }, { action: 'Allow' }] });
  const profile = {
    kind: 'Profile',
    metadata: { name: 'kns.a' },
    spec: { ingress: [], egress: [{ action: 'Allow' }] },
  };
  const raw = { pods, ...denies, 'profiles.projectcalico.org': [profile] };
  expect(bothSay(raw, ['a/x', 'a/y', 'TCP', 79], at)).toBe('deny');
  expect(bothSay(raw, ['a/x', 'a/y', 'UDP', 79], at)).toBe('conditional');
});

it('a Cilium policy that may not apply counts whole or not at all, its deny rules and its allow rules', () => {
  const clusterwide = (...specs: readonly JsonObject[]): RawObjects => ({
    'ciliumclusterwidenetworkpolicies.cilium.io': specs.map((spec, i) => ({
      kind: 'CiliumClusterwideNetworkPolicy',
      metadata: { name: `p${i}` },
      spec,
    })),
  });
  const pods = [somePod('a/x', '10.0.0.1'), somePod('a/y', '10.0.0.2')];
  const at = { dialect: 'cilium', missing: ['namespaces'] } as const;
  const perhaps = {
    endpointSelector: { matchLabels: { 'io.cilium.k8s.namespace.labels.team': 'x' } },
    ingress: [{ fromEntities: ['all'] }],
  };
  // Where it applies, it allows; where it does not, nothing isolates.
  expect(bothSay({ pods, ...clusterwide(perhaps) }, ['a/x', 'a/y', 'TCP', 80], at)).toBe('allow');
  // Another one isolates: without the allow rules only the denial is left, and with them the deny rule.
  const denies = { ingressDeny: [{ toPorts: [{ ports: [{ port: '80' }] }] }] };
  const isolates = { endpointSelector: {}, ingress: [] };
  const raw = { pods, ...clusterwide({ ...perhaps, ...denies }, { ...isolates, ingress: [{}] }) };
  expect(bothSay(raw, ['a/x', 'a/y', 'TCP', 80], at)).toBe('deny');
  expect(bothSay(raw, ['a/x', 'a/y', 'TCP', 81], at)).toBe('conditional');
});

it("Cilium's own labels of pods are on no node, whether nodes are known or not", () => {
  const host = somePod('a/y', '192.168.0.1', {}, 'main', 'n2');
  const raw = {
    pods: [somePod('a/x', '10.0.0.1'), { ...host, spec: { ...(host.spec as object), hostNetwork: true } }],
    'ciliumclusterwidenetworkpolicies.cilium.io': [
      {
        kind: 'CiliumClusterwideNetworkPolicy',
        metadata: { name: 'p' },
        spec: {
          endpointSelector: {},
          egress: [{ toEndpoints: [{ matchLabels: { 'io.cilium.k8s.namespace.labels.team': 'x' } }] }],
        },
      },
    ],
  };
  const at = { dialect: 'cilium', missing: ['nodes'] } as const;
  expect(bothSay(raw, ['a/x', 'a/y', 'TCP', 80], at)).toBe('deny');
});
