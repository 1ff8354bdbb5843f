import { expect, it } from 'vitest';
import { cluster as emptyCluster } from '../../test/support/objects.ts';
import type { Cluster, Node, Pod, Service } from '../model/cluster.ts';
import type { Flow } from '../model/flow.ts';
import { known, unknown } from '../model/known.ts';
import type { Device, Netns } from '../model/netns.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { address } from '../net/address.ts';
import { prefix } from '../net/prefix.ts';
import { planProbes } from './plan.ts';
import { commandOf } from './request.ts';

const source = { kind: 'file', file: 'x', text: 'x' } as const;

const device = (name: string, ip: string, mtuBytes: number): Device => ({
  index: 2,
  name,
  kind: 'veth',
  up: true,
  carrier: true,
  mtuBytes,
  addresses: [{ address: address(ip), prefix: prefix(`${ip}/24`), scope: 'global' }],
  source,
});

function netns(id: string, dev: Device, nameservers: string[] = []): Netns {
  const [node = '', podPart] = id.split('/');
  const [namespace = '', name = ''] = podPart?.split('_') ?? [];
  const none = unknown('not in this test');
  return {
    id,
    node,
    ...(podPart === undefined ? {} : { pod: { namespace, name } }),
    devices: known([dev]),
    routes: none,
    routes6: none,
    nexthops: none,
    rules: none,
    rules6: none,
    neighbours: none,
    fdb: none,
    bridgePorts: none,
    wireguard: none,
    rulesets: none,
    nftTables: none,
    ipsets: none,
    ipvs: none,
    ciliumServices: none,
    ciliumIpcache: none,
    ciliumEndpoints: none,
    ciliumPolicies: none,
    sysctls: none,
    sockets: none,
    conntrack: none,
    counters: none,
    resolver: known({
      nameservers: nameservers.map(address),
      search: ['shop.svc.cluster.local', 'svc.cluster.local'],
      ndots: 5,
    }),
  };
}

const pod = (name: string, node: string, ip: string): Pod => ({
  namespace: 'shop',
  name,
  labels: {},
  annotations: {},
  serviceAccount: 'default',
  node,
  hostNetwork: false,
  addresses: [address(ip)],
  phase: 'Running',
  ready: true,
  terminating: false,
  containers: [],
  dnsPolicy: 'ClusterFirst',
});
const node = (name: string, ip: string): Node => ({
  name,
  labels: {},
  annotations: {},
  internalAddresses: [address(ip)],
  podCidrs: [],
  conditions: {},
  taints: [],
});
const api: Service = {
  namespace: 'shop',
  name: 'api',
  type: 'ClusterIP',
  clusterIps: [address('10.96.1.2')],
  headless: false,
  selector: { app: 'api' },
  ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 'http' }],
  internalTrafficPolicy: 'Cluster',
};
const cluster: Cluster = {
  ...emptyCluster({}),
  pods: known([
    pod('web-1', 'node1', '10.244.1.5'),
    pod('web-2', 'node2', '10.244.2.5'),
    pod('api-2', 'node2', '10.244.2.6'),
  ]),
  nodes: known([node('node1', '10.99.0.11'), node('node2', '10.99.0.12')]),
  namespaces: known([]),
  services: known([api]),
  endpointSlices: known([
    {
      namespace: 'shop',
      name: 'api-x',
      service: 'api',
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints: [
        { addresses: [address('10.244.2.6')], ready: true, serving: true, terminating: false },
        { addresses: [address('10.244.3.6')], ready: false, serving: false, terminating: false },
      ],
    },
  ]),
  networkPolicies: known([]),
  workloads: known([]),
  configMaps: known([]),
  problems: [],
};
const snapshot: Snapshot = {
  schema: 1,
  takenAt: '2026-01-01T00:00:00Z',
  source: { kind: 'lab', name: 't' },
  cluster,
  netns: new Map(
    [
      netns('node1', device('eth0', '10.99.0.11', 1500)),
      netns('node2', device('eth0', '10.99.0.12', 1500)),
      netns('node1/shop_web-1', device('eth0', '10.244.1.5', 1450), ['10.96.0.10']),
      netns('node2/shop_web-2', device('eth0', '10.244.2.5', 1450)),
      netns('node2/shop_api-2', device('eth0', '10.244.2.6', 1450)),
    ].map((one) => [one.id, one]),
  ),
  probes: unknown('none were sent'),
  gaps: [],
};

const web1 = { kind: 'pod', namespace: 'shop', name: 'web-1', address: address('10.244.1.5') } as const;
const api2 = { kind: 'pod', namespace: 'shop', name: 'api-2', address: address('10.244.2.6') } as const;
const apiService = {
  kind: 'service',
  namespace: 'shop',
  name: 'api',
  address: address('10.96.1.2'),
} as const;
const ladder = (flow: Flow) =>
  planProbes(flow, snapshot).map((probe) => `${probe.purpose} ${probe.from} ${commandOf(probe.request)}`);

it('climbs from the ping to the transfer, with the nodes below and the way back beside it', () => {
  expect(ladder({ src: web1, dst: api2, protocol: 'tcp', dstPort: 8080 })).toEqual([
    'ping node1/shop_web-1 ping -n -c1 -W 0.9 10.244.2.6',
    'full-size-ping node1/shop_web-1 ping -n -c1 -W 0.9 -M do -s 1422 10.244.2.6',
    "connect node1/shop_web-1 timeout 0.9 bash -c '</dev/tcp/10.244.2.6/8080'",
    "transfer node1/shop_web-1 bash -c 'head -c 100000 /dev/zero | curl -sS -m 0.9 --data-binary @- http://10.244.2.6:8080/'",
    'transfer node1/shop_web-1 curl -sS -f -m 0.9 -o /dev/null http://10.244.2.6:8080/bytes/1 -o /dev/null http://10.244.2.6:8080/bytes/100000',
    "service node1/shop_web-1 timeout 0.9 bash -c '</dev/tcp/10.96.1.2/80'",
    'return-ping node2/shop_api-2 ping -n -c1 -W 0.9 10.244.1.5',
    'node-ping node1 ping -n -c1 -W 0.9 10.99.0.12',
    'node-full-size-ping node1 ping -n -c1 -W 0.9 -M do -s 1472 10.99.0.12',
  ]);
});

it('asks a Service by its name and address and its ready backends one by one', () => {
  const lines = ladder({ src: web1, dst: apiService, protocol: 'tcp', dstPort: 80, hostName: 'api' });
  expect(lines.filter((line) => line.startsWith('connect'))).toEqual([
    "connect node1/shop_web-1 timeout 0.9 bash -c '</dev/tcp/10.244.2.6/8080'",
  ]);
  expect(lines.filter((line) => line.startsWith('service'))).toHaveLength(2);
  expect(lines.filter((line) => line.startsWith('dns'))).toEqual([
    'dns node1/shop_web-1 dig +tries=1 +time=1 @10.96.0.10 api.shop.svc.cluster.local A',
    'dns node1/shop_web-1 dig +tries=1 +time=1 @10.96.0.10 api.svc.cluster.local A',
    'dns node1/shop_web-1 dig +tries=1 +time=1 @10.96.0.10 api A',
    'dns node1/shop_web-1 dig +tries=1 +time=1 +tcp @10.96.0.10 api.shop.svc.cluster.local A',
  ]);
});

it('fills one packet for UDP and sends only the size that was asked about', () => {
  const udp: Flow = { src: web1, dst: api2, protocol: 'udp', dstPort: 8081 };
  expect(ladder(udp)).toContain(
    "transfer node1/shop_web-1 bash -c 'exec 3<>/dev/udp/10.244.2.6/8081; head -c 1422 /dev/zero >&3; timeout 0.9 head -c 1 <&3'",
  );
  const sized = ladder({ src: web1, dst: api2, protocol: 'tcp', dstPort: 8080, sizeBytes: 1300 });
  expect(sized).toContain('full-size-ping node1/shop_web-1 ping -n -c1 -W 0.9 -M do -s 1272 10.244.2.6');
  expect(sized.filter((line) => line.startsWith('transfer'))).toEqual([]);
});

it('leaves out what does not apply', () => {
  const sameNode = ladder({
    src: { kind: 'pod', namespace: 'shop', name: 'web-2', address: address('10.244.2.5') },
    dst: api2,
    protocol: 'icmp',
    dstPort: 0,
  });
  expect(sameNode.map((line) => line.split(' ')[0])).toEqual(['ping', 'full-size-ping', 'return-ping']);
  const outside = { kind: 'external', address: address('192.0.2.1') } as const;
  expect(ladder({ src: outside, dst: api2, protocol: 'tcp', dstPort: 8080 })).toEqual([]);
  expect(ladder({ src: web1, dst: outside, protocol: 'icmp', dstPort: 0 })).toHaveLength(2);
});
