import { describe, expect, it } from 'vitest';
import { address } from '../../net/address.ts';
import { prefix } from '../../net/prefix.ts';
import { buildCluster } from './cluster.ts';
import { parseList } from './list.ts';

const cluster = (files: Record<string, unknown>) =>
  buildCluster(
    new Map(
      Object.entries(files).map(([name, items]) => [
        name,
        typeof items === 'string' ? items : JSON.stringify({ kind: 'List', items }),
      ]),
    ),
  );
const only = <T>(fact: { state: string; value?: readonly T[] }): T | undefined => fact.value?.[0];
const meta = { name: 'x', namespace: 'n' };

describe('buildCluster', () => {
  it('reads a pod', () => {
    const pod = {
      metadata: {
        ...meta,
        labels: { a: 'b' },
        deletionTimestamp: 'now',
        ownerReferences: [
          { kind: 'Other', name: 'o' },
          { kind: 'ReplicaSet', name: 'r', controller: true },
        ],
      },
      spec: {
        nodeName: 'node1',
        containers: [
          {
            name: 'c',
            ports: [
              { containerPort: 80, name: 'http' },
              { containerPort: 53, protocol: 'UDP' },
            ],
          },
        ],
        initContainers: [
          { name: 'i', ports: [{ containerPort: 1 }] },
          { name: 's', restartPolicy: 'Always', ports: [{ containerPort: 2 }] },
        ],
      },
      status: {
        phase: 'Running',
        podIP: '10.0.0.1',
        podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }],
        conditions: [{ type: 'Ready', status: 'True' }],
        containerStatuses: [
          { name: 'c', ready: false, restartCount: 3, state: { waiting: { reason: 'CrashLoopBackOff' } } },
        ],
      },
    };
    expect(only(cluster({ 'pods.json': [pod] }).pods)).toEqual({
      namespace: 'n',
      name: 'x',
      annotations: {},
      serviceAccount: 'default',
      labels: { a: 'b' },
      node: 'node1',
      hostNetwork: false,
      addresses: [address('10.0.0.1'), address('fd00::1')],
      phase: 'Running',
      ready: true,
      terminating: true,
      containers: [
        {
          name: 'c',
          ports: [
            { name: 'http', port: 80, protocol: 'TCP' },
            { port: 53, protocol: 'UDP' },
          ],
          ready: false,
          restarts: 3,
          waiting: 'CrashLoopBackOff',
        },
        { name: 's', ports: [{ port: 2, protocol: 'TCP' }], ready: false, restarts: 0 },
      ],
      owner: { kind: 'ReplicaSet', name: 'r' },
      dnsPolicy: 'ClusterFirst',
    });
  });
  it('reads Services with their defaults', () => {
    const service = (spec: object) => only(cluster({ services: [{ metadata: meta, spec }] }).services);
    expect(service({ clusterIP: '10.96.0.1', ports: [{ port: 80 }] })).toEqual({
      namespace: 'n',
      name: 'x',
      type: 'ClusterIP',
      clusterIps: [address('10.96.0.1')],
      headless: false,
      selector: {},
      ports: [{ name: '', port: 80, protocol: 'TCP', targetPort: 80 }],
      internalTrafficPolicy: 'Cluster',
    });
    expect(service({ clusterIP: 'None', clusterIPs: ['None'] })).toMatchObject({
      headless: true,
      clusterIps: [],
    });
    expect(
      service({ type: 'NodePort', ports: [{ port: 80, targetPort: 'http', nodePort: 30000 }] })?.ports,
    ).toEqual([{ name: '', port: 80, protocol: 'TCP', targetPort: 'http', nodePort: 30000 }]);
  });
  it('reads EndpointSlices: absent ready is true, serving follows it', () => {
    const slice = {
      metadata: { ...meta, labels: { 'kubernetes.io/service-name': 's' } },
      endpoints: [
        { addresses: ['10.0.0.1'], targetRef: { kind: 'Pod', name: 'p' } },
        {
          addresses: ['10.0.0.2'],
          conditions: { ready: false, serving: true, terminating: true },
          nodeName: 'node1',
        },
      ],
      ports: [{ port: 80 }],
    };
    expect(only(cluster({ 'endpointslices.discovery.k8s.io.json': [slice] }).endpointSlices)).toMatchObject({
      service: 's',
      endpoints: [
        { ready: true, serving: true, terminating: false, pod: { namespace: 'n', name: 'p' } },
        { ready: false, serving: true, terminating: true, node: 'node1' },
      ],
      ports: [{ name: '', port: 80, protocol: 'TCP' }],
    });
  });
  it('reads Nodes, Namespaces, workloads and ConfigMaps', () => {
    const read = cluster({
      'nodes.json': [
        {
          metadata: { name: 'a' },
          spec: { podCIDR: '10.1.0.0/24', taints: [{ key: 'k', effect: 'NoSchedule' }] },
          status: {
            addresses: [
              { type: 'Hostname', address: 'a' },
              { type: 'InternalIP', address: '192.168.0.1' },
            ],
            conditions: [{ type: 'Ready', status: 'False', reason: 'R' }],
          },
        },
      ],
      'namespaces.json': [{ metadata: { name: 'shop', labels: { team: 't' } } }],
      'deployments.apps.json': [{ metadata: meta, status: { readyReplicas: 1 } }],
      'daemonsets.apps.json': [{ metadata: meta, status: { desiredNumberScheduled: 3, numberReady: 2 } }],
      'configmaps.json': [{ metadata: meta, data: { k: 'v' } }],
    });
    expect(only(read.nodes)).toMatchObject({
      internalAddresses: [address('192.168.0.1')],
      podCidrs: [prefix('10.1.0.0/24')],
      conditions: { Ready: { status: 'False', reason: 'R', message: '' } },
      taints: ['k:NoSchedule'],
    });
    expect(only(read.namespaces)?.labels).toEqual({ team: 't', 'kubernetes.io/metadata.name': 'shop' });
    expect(read.workloads).toMatchObject({
      value: [
        { kind: 'Deployment', desired: 1, ready: 1 },
        { kind: 'DaemonSet', desired: 3, ready: 2 },
      ],
    });
    expect(only(read.configMaps)?.data).toEqual({ k: 'v' });
    expect(read.problems).toEqual([]);
  });
  it('does not take a missing or broken file for an empty one', () => {
    const read = cluster({ 'pods.json': '{"items": [', services: [] });
    expect(read.nodes).toEqual({ state: 'unknown', why: 'cluster/nodes.json was not collected' });
    expect(read.pods).toMatchObject({ state: 'unknown', why: expect.stringContaining('pods.json:1') });
    expect(read.services).toEqual({ state: 'known', value: [] });
    expect(read.workloads.state).toBe('unknown');
  });
  it.each([
    [null, 'pods.json: items[0] must be an object, is null'],
    [{}, 'Pod (without a name): metadata must be an object, is missing'],
    [{ metadata: meta, status: { podIP: 'x' } }, 'Pod n/x: status.podIP is no address: "x"'],
    [{ metadata: meta, spec: { containers: {} } }, 'Pod n/x: spec.containers must be a list, is an object'],
    [
      { metadata: meta, spec: { containers: [null] } },
      'Pod n/x: spec.containers[0] must be an object, is null',
    ],
    [
      { metadata: { ...meta, labels: { a: 1 } } },
      'Pod n/x: metadata.labels["a"] must be a string, is a number',
    ],
    [{ kind: 'Service', metadata: meta }, 'Service n/x: expected a Pod in pods.json'],
  ])('names %j', (item, problem) => {
    const read = cluster({ 'pods.json': [item, { metadata: { name: 'ok' } }] });
    expect(read.problems.map(({ text }) => text)).toEqual([problem]);
    expect(read.pods).toMatchObject({ value: [{ name: 'ok', namespace: 'default' }] });
  });
});

describe('parseList', () => {
  const names = (text: string) => {
    const result = parseList(text, 'f');
    return result.ok
      ? result.value.map((item) => String(item.kind))
      : `${result.error.code}:${result.error.line}`;
  };
  it.each([
    ['{"kind":"List","items":[{"kind":"A"},{"kind":"BList","items":[{"kind":"B"}]}]}', ['A', 'B']],
    ['{"kind":"PodList","items":null}', []],
    ['[{"kind":"A"},{"kind":"B"}]', ['A', 'B']],
    ['{"kind":"A"}', ['A']],
    ['# note\nkind: A\n---\n---\nkind: List\nitems:\n- kind: B\n', ['A', 'B']],
    ['kind: [a', 'kubernetes/not-yaml:1'],
    ['{"kind"', 'kubernetes/not-json:1'],
    ['{"items": 5}', 'kubernetes/items:undefined'],
  ])('%j', (text, expected) => expect(names(text)).toEqual(expected));
  it('refuses YAML that grows by its anchors', () => {
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      ...'bcdefgh'
        .split('')
        .map((key, i) => `${key}: &${key} [${Array(9).fill(`*${'abcdefgh'[i]}`).join()}]`),
    ].join('\n');
    expect(names(bomb)).toContain('kubernetes/not-yaml');
  });
});
