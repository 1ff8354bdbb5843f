/** A small healthy cluster for the checks' tests: two or three nodes, flannel-shaped VXLAN, kube-proxy-shaped rules, real-looking state. */
import type { Cluster, Pod } from '../../src/model/cluster.ts';
import { known, unknown } from '../../src/model/known.ts';
import type { Ruleset } from '../../src/model/netfilter.ts';
import type { Device, FdbEntry, Neighbour, Netns, Route, Socket } from '../../src/model/netns.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import type { SourceRef } from '../../src/model/source.ts';
import { address, formatAddress } from '../../src/net/address.ts';
import { prefix } from '../../src/net/prefix.ts';
import { parseIptablesSave } from '../../src/parse/iptables-save.ts';
import { cluster, namespace, node, pod, ports, service } from './objects.ts';

const file = (name: string, text: string): SourceRef => ({ kind: 'file', file: name, text });

export const device = (
  index: number,
  name: string,
  kind: string,
  mtuBytes: number,
  more: Partial<Device> = {},
): Device => ({
  index,
  name,
  kind,
  up: true,
  carrier: true,
  mtuBytes,
  addresses: [],
  source: file('ip-link.json', name),
  ...more,
});

const on = (text: string, network: string) => ({
  address: address(text),
  prefix: prefix(network),
  scope: 'global',
});

export function route(dst: string, dev: string | undefined, via?: string, more: Partial<Route> = {}): Route {
  return {
    family: 4,
    type: 'unicast',
    dst: prefix(dst),
    table: 'main',
    nexthops:
      dev === undefined
        ? []
        : [
            {
              device: dev,
              ...(via === undefined ? {} : { gateway: address(via) }),
              onlink: dev.startsWith('flannel'),
              dead: false,
              weight: 1,
            },
          ],
    scope: via === undefined ? 'link' : 'global',
    metric: 0,
    protocol: 'static',
    source: file('ip-route.json', `${dst} ${via ?? ''} ${dev ?? ''}`),
    ...more,
  };
}

export const neighbour = (ip: string, dev: string, mac: string | undefined, state: string): Neighbour => ({
  address: address(ip),
  device: dev,
  ...(mac === undefined ? {} : { mac }),
  states: [state],
  proxy: false,
  source: file('ip-neigh.json', `${ip} ${mac ?? ''} ${state}`),
});

export const fdbEntry = (mac: string, remote: string): FdbEntry => ({
  mac,
  device: 'flannel.1',
  remote: address(remote),
  self: true,
  state: 'permanent',
  source: file('bridge-fdb.json', `${mac} dst ${remote}`),
});

export const listener = (port: number, local?: string, protocol: 'tcp' | 'udp' = 'tcp'): Socket => ({
  protocol,
  state: protocol === 'tcp' ? 'LISTEN' : 'UNCONN',
  ...(local === undefined ? {} : { local: address(local) }),
  port,
  source: file('ss.txt', `${protocol} ${local ?? '*'}:${port}`),
});

/** iptables-save text as a rule set of the nft backend. */
export function ruleset(text: string, backend: 'nft' | 'legacy' = 'nft'): Ruleset {
  const parsed = parseIptablesSave(text, { file: 'iptables-save.txt', family: 4, backend });
  if (!parsed.ok) throw new Error(parsed.error.message);
  return parsed.value;
}

export const filter = (policy: 'ACCEPT' | 'DROP', ...rules: string[]): string =>
  [
    '*filter',
    ':INPUT ACCEPT [0:0]',
    `:FORWARD ${policy} [0:0]`,
    ':OUTPUT ACCEPT [0:0]',
    ...rules,
    'COMMIT',
    '',
  ].join('\n');

const noDump = unknown('not dumped');

const emptyNetns = (id: string, nodeName: string): Netns => ({
  id,
  node: nodeName,
  devices: known([]),
  routes: known([]),
  routes6: known([]),
  nexthops: known([]),
  rules: known([]),
  rules6: known([]),
  neighbours: known([]),
  fdb: known([]),
  bridgePorts: known([]),
  wireguard: known([]),
  rulesets: known([]),
  nftTables: known([]),
  ipsets: known([]),
  ipvs: known([]),
  ciliumServices: noDump,
  ciliumIpcache: noDump,
  ciliumEndpoints: noDump,
  ciliumPolicies: noDump,
  sysctls: known(new Map()),
  sockets: known([]),
  conntrack: known([]),
  counters: known(new Map()),
  resolver: known({ nameservers: [], search: [], ndots: 1 }),
});

const defaultRules = [
  ['local', 0],
  ['main', 32_766],
  ['default', 32_767],
].map(([table, priority]) => ({
  priority: Number(priority),
  not: false,
  action: { kind: 'table' as const, table: String(table) },
  notUnderstood: [],
  source: file('ip-rule.json', `${priority}: from all lookup ${table}`),
}));

export const vtepMacOf = (n: number): string => `02:00:00:00:01:0${n}`;
const nicMacOf = (n: number): string => `02:00:00:00:00:0${n}`;

export const kubeProxyNat = [
  '*nat',
  ':PREROUTING ACCEPT [0:0]',
  ':OUTPUT ACCEPT [0:0]',
  ':KUBE-SERVICES - [0:0]',
  ':KUBE-SVC-API - [0:0]',
  ':KUBE-SVC-DNS - [0:0]',
  ':KUBE-SEP-A - [0:0]',
  ':KUBE-SEP-D - [0:0]',
  '-A PREROUTING -j KUBE-SERVICES',
  '-A OUTPUT -j KUBE-SERVICES',
  '-A KUBE-SERVICES -d 10.96.0.20/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-API',
  '-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 53 -j KUBE-SVC-DNS',
  '-A KUBE-SVC-API -j KUBE-SEP-A',
  '-A KUBE-SVC-DNS -j KUBE-SEP-D',
  '-A KUBE-SEP-D -p udp -m udp -j DNAT --to-destination 10.244.3.2:53',
  '-A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination 10.244.2.2:8080',
  'COMMIT',
  '',
].join('\n');

function nodeNetns(n: number, all: readonly number[]): Netns {
  const others = all.filter((m) => m !== n);
  const name = `node${n}`;
  const sysctls = ['all', 'eth0', 'cni0', 'flannel/1'].flatMap((dev): [string, string][] => [
    [`net.ipv4.conf.${dev}.rp_filter`, '0'],
    [`net.ipv4.conf.${dev}.forwarding`, '1'],
    [`net.ipv4.conf.${dev}.accept_local`, '0'],
  ]);
  return {
    ...emptyNetns(name, name),
    devices: known([
      device(1, 'lo', 'loopback', 65_536, {
        addresses: [{ ...on('127.0.0.1', '127.0.0.0/8'), scope: 'host' }],
      }),
      device(2, 'eth0', 'ether', 1500, { mac: nicMacOf(n), addresses: [on(`10.0.0.${n}`, '10.0.0.0/24')] }),
      device(3, 'cni0', 'bridge', 1450, { addresses: [on(`10.244.${n}.1`, `10.244.${n}.0/24`)] }),
      device(4, 'flannel.1', 'vxlan', 1450, {
        mac: vtepMacOf(n),
        addresses: [on(`10.244.${n}.0`, `10.244.${n}.0/32`)],
        tunnel: {
          kind: 'vxlan',
          external: false,
          vni: 1,
          port: 8472,
          local: address(`10.0.0.${n}`),
          underlay: 'eth0',
          learning: false,
          df: 'unset',
        },
      }),
    ]),
    rules: known(defaultRules),
    routes: known([
      route('0.0.0.0/0', 'eth0', '10.0.0.254'),
      route('10.0.0.0/24', 'eth0'),
      route(`10.244.${n}.0/24`, 'cni0'),
      ...others.map((m) => route(`10.244.${m}.0/24`, 'flannel.1', `10.244.${m}.0`)),
      ...['10.0.0', `10.244.${n}`].map((net, i) =>
        route(`${net}.${i === 0 ? n : 1}/32`, i === 0 ? 'eth0' : 'cni0', undefined, {
          type: 'local',
          table: 'local',
          scope: 'host',
        }),
      ),
    ]),
    neighbours: known([
      neighbour('10.0.0.77', 'eth0', undefined, 'FAILED'),
      ...others.flatMap((m) => [
        neighbour(`10.0.0.${m}`, 'eth0', nicMacOf(m), 'REACHABLE'),
        neighbour(`10.244.${m}.0`, 'flannel.1', vtepMacOf(m), 'PERMANENT'),
      ]),
    ]),
    fdb: known(others.map((m) => fdbEntry(vtepMacOf(m), `10.0.0.${m}`))),
    rulesets: known([ruleset(filter('ACCEPT') + kubeProxyNat)]),
    sysctls: known(new Map([['net.ipv4.ip_forward', '1'], ...sysctls])),
  };
}

function podNetns(p: Pod, sockets: readonly Socket[]): Netns {
  const id = `${p.node}/${p.namespace}_${p.name}`;
  const [ip] = p.addresses;
  return {
    ...emptyNetns(id, p.node),
    pod: { namespace: p.namespace, name: p.name },
    devices: known([
      device(2, 'eth0', 'veth', 1450, {
        addresses: ip === undefined ? [] : [on(formatAddress(ip), `${formatAddress(ip)}/24`)],
      }),
    ]),
    sockets: known(sockets),
  };
}

export const web = pod('shop/web', '10.244.1.2');
export const api = pod('shop/api', '10.244.2.2', { node: 'node2', containers: ports([8080, 'http']) });
export const dnsPod = pod('kube-system/coredns', '10.244.3.2', {
  node: 'node3',
  labels: { 'k8s-app': 'kube-dns' },
  dnsPolicy: 'Default',
  containers: ports([53, 'dns', 'UDP']),
});

const slice = (ns: string, name: string, p: Pod, port: number, protocol: 'TCP' | 'UDP') => ({
  namespace: ns,
  name: `${name}-1`,
  service: name,
  endpoints: [
    {
      addresses: p.addresses,
      ready: true,
      serving: true,
      terminating: false,
      node: p.node,
      pod: { namespace: ns, name: p.name },
    },
  ],
  ports: [{ name: '', port, protocol }],
});

/** What a test changes: objects of the API, and namespaces by id. */
export interface Change {
  readonly cluster?: Parameters<typeof cluster>[0];
  readonly netns?: Readonly<Record<string, (netns: Netns) => Partial<Netns>>>;
}

const objects = (): Parameters<typeof cluster>[0] => ({
  pods: [web, api, dnsPod],
  namespaces: [namespace('shop'), namespace('kube-system'), namespace('ops')],
  nodes: [1, 2, 3].map((n) =>
    node(`node${n}`, `10.0.0.${n}`, `10.244.${n}.0/24`, {
      annotations: {
        'flannel.alpha.coreos.com/backend-type': 'vxlan',
        'flannel.alpha.coreos.com/backend-data': `{"VNI":1,"VtepMAC":"${vtepMacOf(n)}"}`,
      },
    }),
  ),
  services: [
    service('shop/api', '10.96.0.20', {
      ports: [{ name: '', port: 80, protocol: 'TCP', targetPort: 'http' }],
    }),
    service('kube-system/kube-dns', '10.96.0.10', {
      selector: { 'k8s-app': 'kube-dns' },
      ports: [{ name: '', port: 53, protocol: 'UDP', targetPort: 53 }],
    }),
  ],
  endpointSlices: [
    slice('shop', 'api', api, 8080, 'TCP'),
    slice('kube-system', 'kube-dns', dnsPod, 53, 'UDP'),
  ],
});

export function makeSnapshot(change: Change = {}): Snapshot {
  const netnses = new Map<string, Netns>();
  for (const n of [1, 2, 3]) netnses.set(`node${n}`, nodeNetns(n, [1, 2, 3]));
  for (const [p, sockets] of [
    [web, []],
    [api, [listener(8080)]],
    [dnsPod, [listener(53, undefined, 'udp')]],
  ] as const) {
    const netns = podNetns(p, sockets);
    netnses.set(netns.id, netns);
  }
  for (const [id, edit] of Object.entries(change.netns ?? {})) {
    const netns = netnses.get(id);
    if (netns === undefined) throw new Error(`no namespace ${id}`);
    netnses.set(id, { ...netns, ...edit(netns) });
  }
  return {
    schema: 1,
    takenAt: '2026-01-01T00:00:00Z',
    source: { kind: 'recorded', name: 'test' },
    cluster: cluster({ ...objects(), ...change.cluster }) satisfies Cluster,
    netns: netnses,
    probes: known([]),
    gaps: [],
  };
}

export const healthyObjects = objects;
