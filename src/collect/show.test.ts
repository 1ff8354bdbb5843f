import { expect, test } from 'vitest';
import { plainStyle } from '../report/style.ts';
import { snapshotFromFiles } from './build.ts';
import { planMesh } from './mesh.ts';
import { summaryText } from './show.ts';
import { summarize } from './summary.ts';

const list = (...items: unknown[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
const pod = (
  name: string,
  node: string,
  ip: string,
  owner: string,
  spec: object = {},
  phase = 'Running',
) => ({
  metadata: {
    namespace: 'shop',
    name,
    ownerReferences: [{ apiVersion: 'apps/v1', kind: 'DaemonSet', name: owner, controller: true, uid: 'u' }],
  },
  spec: { nodeName: node, containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 80 }] }], ...spec },
  status: { phase, podIP: ip, podIPs: [{ ip }] },
});

const input = {
  unreadable: [],
  files: new Map([
    [
      'podpath.json',
      JSON.stringify({
        schema: 1,
        takenAt: '2026-01-02T03:04:05Z',
        source: { kind: 'recorded', name: 'small' },
        gaps: [{ what: 'node n2', where: 'nodes/n2/', why: 'ssh: connection refused', todo: 'start sshd' }],
      }),
    ],
    [
      'cluster/nodes.json',
      list({
        metadata: { name: 'n1' },
        spec: { podCIDR: '10.1.0.0/24', podCIDRs: ['10.1.0.0/24'] },
        status: {
          addresses: [{ type: 'InternalIP', address: '192.0.2.1' }],
          conditions: [{ type: 'Ready', status: 'True' }],
        },
      }),
    ],
    [
      'cluster/pods.json',
      list(
        pod('web-1', 'n1', '10.1.0.2', 'web'),
        pod('web-2', 'n1', '10.1.0.3', 'web'),
        pod('agent', 'n1', '192.0.2.1', 'agent', { hostNetwork: true }),
        pod('job', 'n1', '10.1.0.9', 'job', {}, 'Succeeded'),
      ),
    ],
    ['cluster/services.json', list()],
    ['nodes/n1/ip-link.json', 'garbage'],
    ['nodes/n1/ip-addr.json', '[]'],
    ['nodes/n1/pods/shop_web-1/ss.txt', ''],
    ['nodes/n1/pods/shop_web-2/ss.txt', ''],
  ]),
};
const snapshot = snapshotFromFiles(input, 'small');

test('show as text', () => {
  const lines = summaryText(summarize(snapshot, input), plainStyle).split('\n');
  expect(lines[0]).toBe('small: a recorded cluster, taken 2026-01-02T03:04:05Z');
  for (const line of [
    '  n1    192.0.2.1  10.1.0.0/24  True   4     2',
    '  n1    shop/web-1  10.1.0.2   Running    1',
    "  n1    shop/agent  192.0.2.1  Running    its node's",
    '  n1    shop/job    10.1.0.9   Succeeded  none',
    'Probes: unknown (no probes were recorded)',
    'Services (0)',
    '  node n2 (nodes/n2/)',
    '    why: ssh: connection refused',
  ])
    expect(lines).toContain(line);
});

test('a file that is there and is not understood is a gap of the summary', () => {
  const { gaps } = summarize(snapshot, input);
  expect(gaps).toContainEqual(
    expect.objectContaining({ what: 'devices of n1', where: 'nodes/n1/ip-link.json' }),
  );
});

test('show as JSON holds nothing that JSON cannot', () => {
  const summary = summarize(snapshot, input);
  expect(JSON.parse(JSON.stringify(summary))).toEqual(summary);
});

test('probes go from a pod of each owner to every other running pod', () => {
  const plan = planMesh(snapshot).map(({ from, request }) => [
    from,
    request.kind,
    'dst' in request ? request.dst : '',
  ]);
  expect(plan).toEqual([
    ['n1/shop_web-1', 'icmp', '10.1.0.3'],
    ['n1/shop_web-1', 'tcp', '10.1.0.3'],
  ]);
});
