import { expect, test } from 'vitest';
import type { EndpointSlice, Service } from '../model/cluster.ts';
import { address } from '../net/address.ts';
import { prefix } from '../net/prefix.ts';
import { renderKubeProxy } from './kubeproxy.ts';
import { base32, endpointChain, serviceChain } from './kubeproxy-names.ts';
import { fitRules } from './restore.ts';

test('chain names are those of a real kube-proxy', () => {
  expect(base32(new TextEncoder().encode('foobar'))).toBe('MZXW6YTBOI');
  // As recorded from kube-proxy 1.36.
  expect(serviceChain('SVC', 'kube-system/kube-dns:dns', 'udp')).toBe('KUBE-SVC-TCOU7JCQXEZGVUNU');
  expect(serviceChain('SVC', 'shop/db', 'tcp')).toBe('KUBE-SVC-YXV5H5BMJ7R44KSX');
  expect(endpointChain('shop/api:http', 'tcp', '10.244.1.8:8080')).toBe('KUBE-SEP-WZRD6TF2LQP7I3LM');
});

const service = (fields: Partial<Service> = {}): Service => ({
  namespace: 'shop',
  name: 'api',
  type: 'ClusterIP',
  clusterIps: [address('10.96.0.7'), address('fd00::7')],
  headless: false,
  selector: {},
  ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
  internalTrafficPolicy: 'Cluster',
  ...fields,
});

const slice = (...ips: [ip: string, node: string, ready?: boolean][]): EndpointSlice => ({
  namespace: 'shop',
  name: 'api-x',
  service: 'api',
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  endpoints: ips.map(([ip, node, ready = true]) => ({
    addresses: [address(ip)],
    ready,
    serving: true,
    terminating: !ready,
    node,
  })),
});

const lines = (services: Service[], endpointSlices: EndpointSlice[], nfacct = false): string[] =>
  renderKubeProxy(
    { services, endpointSlices },
    { node: 'node1', families: [4, 6], clusterCidrs: [prefix('10.244.0.0/16')], nfacct },
  ).v4.split('\n');

const two = slice(['10.244.2.5', 'node2'], ['10.244.1.5', 'node1']);
const nodePort = [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080, nodePort: 30080 }] as const;

test.each<[string, string[], RegExp[]]>([
  [
    'endpoints share the connections evenly, in order of their text',
    lines([service()], [two]),
    [
      /-A KUBE-SVC-\S+ .*-> 10.244.1.5:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-/,
      /-A KUBE-SVC-\S+ .*-> 10.244.2.5:8080" -j KUBE-SEP-/,
    ],
  ],
  [
    'without endpoints the Service refuses',
    lines([service({ ports: nodePort })], []),
    [
      /-A KUBE-SERVICES -d 10.96.0.7\/32 .*has no endpoints" -m tcp --dport 80 -j REJECT/,
      /-A KUBE-EXTERNAL-SERVICES .*--dst-type LOCAL -m tcp --dport 30080 -j REJECT/,
    ],
  ],
  [
    'Local keeps to endpoints of the node',
    lines([service({ internalTrafficPolicy: 'Local' })], [two]),
    [
      /-A KUBE-SERVICES .*-j KUBE-SVL-/,
      /-A KUBE-SVL-\S+ -m comment --comment "shop\/api:http -> 10.244.1.5:8080" -j KUBE-SEP/,
    ],
  ],
  [
    'Local without an endpoint on the node drops',
    lines([service({ internalTrafficPolicy: 'Local' })], [slice(['10.244.2.5', 'node2'])]),
    [/-A KUBE-SERVICES .*has no local endpoints" -m tcp --dport 80 -j DROP/],
  ],
  [
    'a node port is masqueraded',
    lines([service({ ports: nodePort })], [two]),
    [
      /-A KUBE-NODEPORTS -p tcp .*--dport 30080 -j KUBE-EXT-/,
      /-A KUBE-EXT-\S+ .*-j KUBE-MARK-MASQ/,
      /-A KUBE-EXT-\S+ -j KUBE-SVC-/,
    ],
  ],
  [
    'endpoints that only still serve are used if no other is there',
    lines([service()], [slice(['10.244.2.5', 'node2', false])]),
    [/-> 10.244.2.5:8080" -j KUBE-SEP-/],
  ],
])('%s', (_, actual, expected) => {
  for (const pattern of expected) expect(actual.filter((line) => pattern.test(line))).toHaveLength(1);
});

test('a sync leaves foreign rules, adds no second jump, removes chains no longer wanted', () => {
  const wanted = renderKubeProxy(
    { services: [service()], endpointSlices: [two] },
    { node: 'node1', families: [4], clusterCidrs: [] },
  ).v4;
  const current = `*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SVC-OLD - [0:0]\n:FOREIGN - [0:0]\n-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES\nCOMMIT\n`;
  const text = fitRules(wanted, current, (chain) => chain.startsWith('KUBE-SVC-'));
  expect(text.match(/-A PREROUTING/g)).toBeNull();
  expect(text).toContain('-X KUBE-SVC-OLD\nCOMMIT');
  expect(text).not.toMatch(/FOREIGN|-X KUBE-SERVICES/);
});
