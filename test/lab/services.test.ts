/** Every way to call a Service, on a real kernel with kube-proxy's rules: real connections against what the walk says of each backend. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { snapshotOfLab } from '../../src/collect/lab.ts';
import { World } from '../../src/dataplane/world.ts';
import { investigate } from '../../src/diagnose/investigate.ts';
import { askedFlows } from '../../src/diagnose/question.ts';
import { downLab, type Lab, upLab } from '../../src/lab/lab.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import type { Verdict } from '../../src/model/verdict.ts';
import { labName, ownStateDir, whyNoLab } from './support.ts';

ownStateDir();

interface Shape {
  readonly name: string;
  readonly ip: string;
  /** Replicas of shop/api that it leads to. */
  readonly endpoints: readonly number[];
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly nodePort?: number;
  readonly balancerIp?: string;
  /** Port of the endpoints; nothing listens on another than 8080. */
  readonly ports?: readonly number[];
}

const shapes: readonly Shape[] = [
  { name: 'plain', ip: '10.96.0.150', endpoints: [1, 2, 3], nodePort: 30_150 },
  {
    name: 'outside',
    ip: '10.96.0.151',
    endpoints: [1, 2, 3],
    spec: { externalIPs: ['203.0.113.7'], type: 'LoadBalancer' },
    nodePort: 30_151,
    balancerIp: '203.0.113.8',
  },
  { name: 'kept', ip: '10.96.0.152', endpoints: [1, 2, 3], spec: { sessionAffinity: 'ClientIP' } },
  {
    name: 'edge',
    ip: '10.96.0.153',
    endpoints: [2],
    spec: { externalTrafficPolicy: 'Local', type: 'NodePort', externalIPs: ['203.0.113.9'] },
    nodePort: 30_153,
  },
  { name: 'near', ip: '10.96.0.154', endpoints: [2, 3], spec: { internalTrafficPolicy: 'Local' } },
  { name: 'nobody', ip: '10.96.0.155', endpoints: [], nodePort: 30_155 },
  { name: 'half', ip: '10.96.0.156', endpoints: [1, 2], ports: [8080, 9999] },
];

const service = ({ name, ip, spec, nodePort, balancerIp }: Shape) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'shop', name },
  spec: {
    type: nodePort === undefined ? 'ClusterIP' : 'NodePort',
    clusterIP: ip,
    clusterIPs: [ip],
    ports: [{ port: 80, protocol: 'TCP', targetPort: 8080, ...(nodePort === undefined ? {} : { nodePort }) }],
    ...spec,
  },
  status: { loadBalancer: balancerIp === undefined ? {} : { ingress: [{ ip: balancerIp }] } },
});

const slices = ({ name, endpoints, ports = [8080] }: Shape, lab: Lab) =>
  ports.map((port, i) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace: 'shop', name: `${name}-${i}`, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: '', port, protocol: 'TCP' }],
    endpoints: endpoints
      .filter((_, at) => ports.length === 1 || at === i)
      .map((replica) => {
        const { addresses, node } = lab.pod(`shop/api-${replica}`);
        return {
          addresses: addresses.slice(0, 1),
          nodeName: node,
          conditions: { ready: true, serving: true, terminating: false },
          targetRef: { kind: 'Pod', namespace: 'shop', name: `api-${replica}` },
        };
      }),
  }));

/** Connections in a row; each prints the port of its endpoint's end or what went wrong. */
const script = `
import socket, sys
for _ in range(int(sys.argv[3])):
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.7) as s:
            s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            print("ok" if s.recv(100) else "closed")
    except Exception as e:
        print(type(e).__name__)
`;

describe.skipIf(whyNoLab !== undefined)('calling Services', () => {
  const name = labName('svc');
  let lab: Lab;
  let snapshot: Snapshot;

  beforeAll(async () => {
    lab = await upLab({ name, cni: 'flannel-vxlan', ownerPid: process.pid });
    await lab.writeObjects('services', [...(await lab.objects('services')), ...shapes.map(service)]);
    await lab.writeObjects('endpointslices.discovery.k8s.io', [
      ...(await lab.objects('endpointslices.discovery.k8s.io')),
      ...shapes.flatMap((shape) => slices(shape, lab)),
    ]);
    await lab.syncServices();
    snapshot = await snapshotOfLab(lab);
  }, 60_000);
  afterAll(async () => {
    await downLab(name);
  });

  const walked = (src: string, dst: string): Verdict => {
    const { flows } = askedFlows(snapshot, { src, dst, namespace: 'shop' });
    return investigate(new World(snapshot), flows[0]).verdict;
  };

  /** `3 of 3`, `1 of 2`: backends that answer a small packet, and of how many. */
  const answering = ({ branches }: Verdict): string => {
    const names = [...new Set(branches.map(({ backend }) => backend ?? ''))];
    const good = names.filter((one) =>
      branches.every((branch) => (branch.backend ?? '') !== one || branch.answer === 'reachable'),
    );
    return `${good.length} of ${names.length}`;
  };

  /** `all`, `none` or `some` of the connections. */
  const connects = async (src: string, dst: string, times: number): Promise<string> => {
    const [host = '', port = ''] = dst.split(':');
    const netns = src.startsWith('node/') ? lab.node(src.slice(5)).netns : lab.pod(src).netns;
    const argv = ['python3', '-c', script, host, port, String(times)];
    const { stdout } = await lab.exec(netns, argv, { timeoutMs: 60_000 });
    const outcomes = stdout.trim().split('\n');
    const good = outcomes.filter((one) => one === 'ok').length;
    return good === outcomes.length ? 'all' : good === 0 ? 'none' : 'some';
  };

  const nodeIp = (node: string): string => lab.node(node).addresses[0] ?? '';

  test.each<[string, string, () => string, string, string]>([
    ['a ClusterIP', 'shop/web-1', () => '10.96.0.150:80', '3 of 3', 'all'],
    ['a node port of the own node', 'shop/web-1', () => `${nodeIp('node1')}:30150`, '3 of 3', 'all'],
    ['a node port of another node', 'shop/web-1', () => `${nodeIp('node2')}:30150`, '3 of 3', 'all'],
    ['a node port from a node', 'node/node3', () => `${nodeIp('node2')}:30150`, '3 of 3', 'all'],
    ['an external address', 'shop/web-1', () => '203.0.113.7:80', '3 of 3', 'all'],
    ['a load balancer address', 'shop/web-1', () => '203.0.113.8:80', '3 of 3', 'all'],
    ['session affinity', 'shop/web-1', () => '10.96.0.152:80', '3 of 3', 'all'],
    ['one that the pod backs itself', 'shop/api-1', () => '10.96.0.150:80', '3 of 3', 'all'],
    ['external Local with an endpoint', 'node/node3', () => `${nodeIp('node2')}:30153`, '1 of 1', 'all'],
    ['external Local without', 'node/node3', () => `${nodeIp('node1')}:30153`, '0 of 1', 'none'],
    ['external Local, from a pod', 'shop/web-1', () => '203.0.113.9:80', '1 of 1', 'all'],
    ['external Local, from its own node', 'node/node1', () => '203.0.113.9:80', '1 of 1', 'all'],
    ['internal Local with an endpoint', 'shop/web-2', () => '10.96.0.154:80', '1 of 1', 'all'],
    ['internal Local without', 'shop/web-1', () => '10.96.0.154:80', '0 of 1', 'none'],
    ['nobody behind it', 'shop/web-1', () => '10.96.0.155:80', '0 of 1', 'none'],
    ['nobody behind its node port', 'shop/web-1', () => `${nodeIp('node1')}:30155`, '0 of 1', 'none'],
    ['one of two that nothing serves', 'shop/web-3', () => '10.96.0.156:80', '1 of 2', 'some'],
  ])('%s: %s', async (_name, src, dst, expected, met) => {
    expect(answering(walked(src, dst()))).toBe(expected);
    expect(await connects(src, dst(), met === 'none' ? 2 : 20)).toBe(met);
  });

  test('affinity is remarked on, and shares are those of a new client', () => {
    const { branches } = walked('shop/web-1', '10.96.0.152:80');
    const small = branches.filter(({ size }) => size === 'small');
    expect(small.map(({ share }) => share.toFixed(2))).toEqual(['0.33', '0.33', '0.33']);
    expect(small[0]?.remarks.map(({ text }) => text)).toContainEqual(
      expect.stringContaining('session affinity'),
    );
  });

  test('each loss has its reason', () => {
    const reason = (src: string, dst: string) => {
      const broken = walked(src, dst).branches.find(({ answer }) => answer !== 'reachable')?.broken;
      return broken?.step.reason;
    };
    expect(reason('node/node3', `${nodeIp('node1')}:30153`)).toBe('no-endpoints');
    expect(reason('shop/web-1', '10.96.0.154:80')).toBe('no-endpoints');
    expect(reason('shop/web-1', '10.96.0.155:80')).toBe('no-endpoints');
    expect(reason('shop/web-3', '10.96.0.156:80')).toBe('not-listening');
  });
});
