import { expect, test } from 'vitest';
import { PodpathError } from '../model/errors.ts';
import { cnis } from './cni/cnis.ts';
import { defaultObjects, defaultServers } from './objects.ts';
import { labCnis, type PlanOptions, planLab } from './plan.ts';

const plan = (options: Partial<PlanOptions> = {}) =>
  planLab({ name: 'x', ...options }, '2026-01-01T00:00:00Z');

test('three nodes have twelve pods, four each, with addresses of their node', () => {
  const { state } = plan({ dualStack: true });
  expect(state.pods).toHaveLength(12);
  for (const node of state.nodes) expect(state.pods.filter((pod) => pod.node === node.name)).toHaveLength(4);
  expect(state.nodes[1]).toEqual({
    name: 'node2',
    netns: 'pp-x-node2',
    addresses: ['10.99.0.12', 'fd00:99::12'],
    podCidrs: ['10.244.2.0/24', 'fd00:10:244:2::/64'],
  });
  expect(state.pods.find((pod) => pod.name === 'api-2')?.addresses).toEqual([
    '10.244.2.3',
    'fd00:10:244:2::3',
  ]);
});

test.each<[string, Partial<PlanOptions>, number]>([
  ['one node', { nodes: 1 }, 8],
  ['two nodes', { nodes: 2 }, 10],
  ['most nodes', { nodes: 200 }, 406],
  ['more pods', { nodes: 20, pods: 200 }, 200],
  ['an uneven rest', { pods: 25 }, 25],
])('%s: no address, namespace or device name is used twice', (_, options, pods) => {
  for (const cni of labCnis) {
    const { state } = plan({ ...options, cni, dualStack: true });
    expect(state.pods).toHaveLength(pods);
    const addresses = [...state.pods, ...state.nodes].flatMap((one) => one.addresses);
    expect(new Set(addresses).size).toBe(addresses.length);
    expect(new Set(state.pods.map((pod) => pod.netns)).size).toBe(pods);
    const devices = state.pods.map((pod) => `${pod.node} ${pod.hostDevice}`);
    expect(new Set(devices).size).toBe(pods);
    // IFNAMSIZ, with the final zero byte.
    for (const pod of state.pods) expect(pod.hostDevice.length).toBeLessThan(16);
  }
});

test.each<[string, Partial<PlanOptions>]>([
  ['--nodes', { nodes: 201 }],
  ['--nodes', { nodes: Number.NaN }],
  ['--pods', { pods: 11 }],
  ['--pods', { pods: 100_000 }],
  ['--underlay-mtu', { underlayMtuBytes: 1200 }],
  ['--pod-cidr', { podCidr: '10.244.0.0/24' }],
  ['--pod-cidr', { podCidr: 'fd00::/64' }],
  ['--pod-cidr', { podCidr: 'nonsense' }],
  ['--pod-cidr', { podCidr: '10.244.0.0/22', nodes: 4 }],
  ['--node-cidr', { nodeCidr: '10.99.0.0/26', nodes: 60 }],
  ['overlap', { serviceCidr: '10.244.128.0/20' }],
])('%s is refused: %j', (words, options) => {
  expect(() => plan(options)).toThrow(PodpathError);
  expect(() => plan(options)).toThrow(words);
});

test('objects name each other: owners exist, endpoints are pods, selectors select them', () => {
  const objects = defaultObjects(plan({ pods: 30, dualStack: true }));
  const uids = new Set(Object.values(objects).flatMap((items) => items.map((item) => item.metadata.uid)));
  const all = Object.values(objects).flat();
  expect(uids.size).toBe(all.length);
  for (const item of all)
    for (const owner of (item.metadata.ownerReferences ?? []) as { uid: string }[])
      expect(uids).toContain(owner.uid);
  const names = new Set(objects.namespaces.map((item) => item.metadata.name));
  for (const item of all)
    if (item.metadata.namespace !== undefined) expect(names).toContain(item.metadata.namespace);
  const slices = objects['endpointslices.discovery.k8s.io'] as unknown as {
    endpoints: { addresses: string[]; targetRef: { namespace: string; name: string } }[];
  }[];
  const pods = objects.pods as unknown as {
    metadata: { namespace: string; name: string };
    status: { podIPs: { ip: string }[] };
  }[];
  const endpoints = slices.flatMap((slice) => slice.endpoints);
  expect(endpoints).toHaveLength(2 * (2 + 3 + 1 + 2));
  for (const { addresses, targetRef } of endpoints) {
    const pod = pods.find(
      ({ metadata }) => metadata.namespace === targetRef.namespace && metadata.name === targetRef.name,
    );
    expect(pod?.status.podIPs.map(({ ip }) => ip)).toEqual(expect.arrayContaining(addresses));
  }
});

test('every container port has its server', () => {
  const servers = defaultServers(plan());
  expect(servers.filter(({ pod }) => pod === 'shop/api-1')).toEqual([
    { pod: 'shop/api-1', protocol: 'tcp', address: '0.0.0.0', port: 8080, kind: 'http' },
    { pod: 'shop/api-1', protocol: 'udp', address: '0.0.0.0', port: 8081, kind: 'echo' },
  ]);
});

test.each(labCnis)('%s: what a node says of itself in its annotations is what its peers are told', (name) => {
  const { state } = plan({ cni: name, dualStack: true });
  const [one, two] = state.nodes;
  if (one === undefined || two === undefined) throw new Error('no nodes');
  const cni = cnis[name];
  const [own, told] = [
    cni.nodeLines(state, one).join('\n'),
    [...cni.nodeLines(state, two), ...cni.fdbLines(state, two)].join('\n'),
  ];
  const macs = [...own.matchAll(/link add (?:flannel|vxlan)\S* address (\S+)/g)].map(
    (match) => match[1] ?? '',
  );
  expect(macs).toHaveLength(name.endsWith('-vxlan') ? 2 : 0);
  for (const mac of macs) {
    expect(told).toContain(`lladdr ${mac} `);
    expect(told).toContain(`fdb replace ${mac} `);
    if (name === 'flannel-vxlan') expect(JSON.stringify(cni.nodeAnnotations(state, one))).toContain(mac);
  }
  for (const cidr of one.podCidrs) expect(told).toContain(`route add ${cidr} via `);
});
