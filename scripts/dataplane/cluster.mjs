// Made-up recordings for the data plane's benchmark: nodes with a bridge each, routes between them, pods, and the rules of N Services.
import { policyRules, proxyRules, proxyTables } from './rules.mjs';

const mac = (...bytes) => ['02', ...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
const nodeMac = (n) => mac(0, 0, 0, 1, n);
const bridgeMac = (n) => mac(0, 0, 0, 2, n);
const podMac = (n, i) => mac(0, 1, n, i >> 8, i & 255);
const portMac = (n, i) => mac(0, 2, n, i >> 8, i & 255);
const nodeAddress = (n) => `10.99.0.${10 + n}`;
const blockOf = (n) => `10.244.${n * 4}.0/22`;
const gatewayOf = (n) => `10.244.${n * 4}.1`;
const podAddress = (n, i) => `10.244.${n * 4 + ((i + 2) >> 8)}.${(i + 2) & 255}`;

/** `services` x 3 endpoints over `nodes` x `podsPerNode`; mode is kube-proxy's. A map from snapshot path to text. */
export function makeFiles({ nodes, podsPerNode, services, mode = 'iptables', policies = false }) {
  const pods = Array.from({ length: nodes * podsPerNode }, (_, at) => {
    const [n, i] = [1 + (at % nodes), Math.floor(at / nodes)];
    return { n, i, name: `app-${at}`, address: podAddress(n, i), node: `node${n}` };
  });
  const list = Array.from({ length: services }, (_, s) => ({
    name: `svc-${s}`,
    address: `10.${96 + (s >> 16)}.${(s >> 8) & 255}.${s & 255}`,
    // 7 shares no factor with the numbers of nodes: endpoints are spread over all of them.
    endpoints: [0, 1, 2].map((e) => pods[(s * 7 + e) % pods.length]),
  }));
  const files = new Map([['podpath.json', manifest], ...clusterFiles(nodes, pods, list)]);
  const rules = mode === 'iptables' ? proxyRules(list) : undefined;
  const tables = mode === 'nftables' ? proxyTables(list) : '{"nftables":[]}';
  for (let n = 1; n <= nodes; n++) {
    const own = pods.filter((pod) => pod.n === n);
    const extra = policies ? policyRules(own) : { filter: '', sets: '' };
    addNode(files, n, nodes, own, {
      'iptables-save.txt': saveOf(rules, extra.filter),
      'ipset.txt': extra.sets,
      'nft.json': tables,
    });
    for (const pod of own) addPod(files, pod);
  }
  return files;
}

const manifest = JSON.stringify({
  schema: 1,
  takenAt: '2026-01-01T00:00:00Z',
  source: { kind: 'recorded', kubernetes: 'made up' },
  gaps: [],
});

function saveOf(rules, filter) {
  const heads = {
    mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
    filter: ['INPUT', 'FORWARD', 'OUTPUT'],
    nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  };
  const tables =
    rules ??
    Object.keys(heads)
      .map((table) => `*${table}\nCOMMIT\n`)
      .join('');
  return tables
    .replace(
      /^\*(\w+)\n/gm,
      (_, table) => `*${table}\n${heads[table].map((c) => `:${c} ACCEPT [0:0]\n`).join('')}`,
    )
    .replace(/(^\*filter\n[^*]*?)^COMMIT$/m, (_, text) => `${text}${filter}COMMIT`);
}

const up = ['BROADCAST', 'MULTICAST', 'UP', 'LOWER_UP'];
const loopback = {
  ifindex: 1,
  ifname: 'lo',
  flags: ['LOOPBACK', 'UP', 'LOWER_UP'],
  mtu: 65536,
  link_type: 'loopback',
};
const inet = (local, prefixlen, scope = 'global') => ({ family: 'inet', local, prefixlen, scope });
const local = (dst, dev, prefsrc = dst) => ({
  type: 'local',
  dst,
  dev,
  table: 'local',
  protocol: 'kernel',
  scope: 'host',
  prefsrc,
  flags: [],
});
const loopbackRoutes = [local('127.0.0.0/8', 'lo', '127.0.0.1'), local('127.0.0.1', 'lo')];
const rules = JSON.stringify([
  { priority: 0, src: 'all', table: 'local' },
  { priority: 32766, src: 'all', table: 'main' },
  { priority: 32767, src: 'all', table: 'default' },
]);

const sysctls = (devices) =>
  [
    'net.ipv4.ip_forward = 1',
    'net.bridge.bridge-nf-call-iptables = 1',
    ...['all', 'default', 'lo', ...devices].flatMap((device) =>
      Object.entries(deviceSysctls).map(([key, value]) => `net.ipv4.conf.${device}.${key} = ${value}`),
    ),
  ]
    .map((line) => `${line}\n`)
    .join('');

const deviceSysctls = { accept_local: 0, forwarding: 1, proxy_arp: 0, route_localnet: 0, rp_filter: 0 };

/** Files that are the same everywhere. */
const common = {
  'ip-route6.json': '[]',
  'ip-rule.json': rules,
  'ip-rule6.json': rules,
  'ip6tables-save.txt': '',
  'iptables-legacy-save.txt': '',
  'ip6tables-legacy-save.txt': '',
  'conntrack.txt': '',
};

function addNode(files, n, nodes, pods, own) {
  const ports = pods.map(({ i }) => ({
    ifindex: 10 + i,
    ifname: `veth${i}`,
    flags: up,
    mtu: 1500,
    address: portMac(n, i),
    link_index: 2,
    link_netnsid: 1 + i,
    master: 'cni0',
    linkinfo: { info_kind: 'veth' },
  }));
  const others = Array.from({ length: nodes }, (_, o) => o + 1).filter((o) => o !== n);
  const links = [
    loopback,
    { ifindex: 2, ifname: 'eth0', flags: up, mtu: 1500, link_type: 'ether', address: nodeMac(n) },
    {
      ifindex: 3,
      ifname: 'cni0',
      flags: up,
      mtu: 1500,
      address: bridgeMac(n),
      linkinfo: { info_kind: 'bridge' },
    },
    ...ports,
  ];
  put(files, `nodes/node${n}/`, {
    'ip-link.json': links,
    'ip-addr.json': [
      { ifindex: 1, ifname: 'lo', addr_info: [inet('127.0.0.1', 8, 'host')] },
      { ifindex: 2, ifname: 'eth0', addr_info: [inet(nodeAddress(n), 24)] },
      { ifindex: 3, ifname: 'cni0', addr_info: [inet(gatewayOf(n), 22)] },
    ],
    'ip-route.json': [
      { dst: 'default', gateway: '10.99.0.1', dev: 'eth0', flags: [] },
      { dst: '10.99.0.0/24', dev: 'eth0', scope: 'link', prefsrc: nodeAddress(n), flags: [] },
      { dst: blockOf(n), dev: 'cni0', scope: 'link', prefsrc: gatewayOf(n), flags: [] },
      ...others.map((o) => ({ dst: blockOf(o), gateway: nodeAddress(o), dev: 'eth0', flags: [] })),
      local(nodeAddress(n), 'eth0'),
      local(gatewayOf(n), 'cni0'),
      ...loopbackRoutes,
    ],
    'ip-neigh.json': [
      ...others.map((o) => ({ dst: nodeAddress(o), dev: 'eth0', lladdr: nodeMac(o), state: ['REACHABLE'] })),
      ...pods.map(({ i, address }) => ({
        dst: address,
        dev: 'cni0',
        lladdr: podMac(n, i),
        state: ['REACHABLE'],
      })),
    ],
    'bridge-fdb.json': [
      { mac: bridgeMac(n), ifname: 'cni0', flags: [], master: 'cni0', state: 'permanent' },
      ...pods.map(({ i }) => ({
        mac: podMac(n, i),
        ifname: `veth${i}`,
        flags: [],
        master: 'cni0',
        state: '',
      })),
    ],
    'bridge-link.json': ports.map((port) => ({
      ...port,
      state: 'forwarding',
      hairpin: true,
      isolated: false,
    })),
    'sysctl.txt': sysctls(['eth0', 'cni0', ...ports.map(({ ifname }) => ifname)]),
    'ss.txt': 'tcp LISTEN 0 4096 *:10256 *:* users:(("kube-proxy",pid=1,fd=8))\n',
    ...common,
    ...own,
  });
}

function addPod(files, { n, i, name, address }) {
  put(files, `nodes/node${n}/pods/shop_${name}/`, {
    'ip-link.json': [
      loopback,
      {
        ifindex: 2,
        ifname: 'eth0',
        flags: up,
        mtu: 1500,
        address: podMac(n, i),
        link_index: 10 + i,
        link_netnsid: 0,
        linkinfo: { info_kind: 'veth' },
      },
    ],
    'ip-addr.json': [
      { ifindex: 1, ifname: 'lo', addr_info: [inet('127.0.0.1', 8, 'host')] },
      { ifindex: 2, ifname: 'eth0', addr_info: [inet(address, 22)] },
    ],
    'ip-route.json': [
      { dst: 'default', gateway: gatewayOf(n), dev: 'eth0', flags: [] },
      { dst: blockOf(n), dev: 'eth0', scope: 'link', prefsrc: address, flags: [] },
      local(address, 'eth0'),
      ...loopbackRoutes,
    ],
    'ip-neigh.json': [{ dst: gatewayOf(n), dev: 'eth0', lladdr: bridgeMac(n), state: ['REACHABLE'] }],
    'bridge-fdb.json': [],
    'bridge-link.json': [],
    'iptables-save.txt': '',
    'ipset.txt': '',
    'nft.json': '{"nftables":[]}',
    'sysctl.txt': sysctls(['eth0']),
    'ss.txt': 'tcp LISTEN 0 4096 *:8080 *:* users:(("app",pid=1,fd=5))\n',
    ...common,
  });
}

function put(files, prefix, own) {
  for (const [name, content] of Object.entries(own))
    files.set(prefix + name, typeof content === 'string' ? content : JSON.stringify(content));
}

function clusterFiles(nodes, pods, services) {
  const items = (plural, list) => [
    `cluster/${plural}.json`,
    JSON.stringify({ kind: 'List', apiVersion: 'v1', items: list }),
  ];
  return [
    items(
      'nodes',
      Array.from({ length: nodes }, (_, o) => nodeObject(o + 1)),
    ),
    items('namespaces', [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } }]),
    items('pods', pods.map(podObject)),
    items('services', services.map(serviceObject)),
    items('endpointslices.discovery.k8s.io', services.map(sliceObject)),
    items('networkpolicies.networking.k8s.io', []),
    items('configmaps', []),
  ];
}

const nodeObject = (n) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: `node${n}` },
  spec: { podCIDR: blockOf(n), podCIDRs: [blockOf(n)] },
  status: {
    addresses: [{ type: 'InternalIP', address: nodeAddress(n) }],
    conditions: [{ type: 'Ready', status: 'True' }],
  },
});

const podObject = ({ name, address, node }) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'shop', labels: { app: name } },
  spec: { nodeName: node, containers: [{ name: 'app', ports: [{ containerPort: 8080 }] }] },
  status: {
    phase: 'Running',
    podIP: address,
    podIPs: [{ ip: address }],
    conditions: [{ type: 'Ready', status: 'True' }],
  },
});

const serviceObject = ({ name, address }) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec: {
    type: 'ClusterIP',
    clusterIP: address,
    clusterIPs: [address],
    ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
  },
});

const sliceObject = ({ name, endpoints }) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  addressType: 'IPv4',
  metadata: { name: `${name}-x`, namespace: 'shop', labels: { 'kubernetes.io/service-name': name } },
  endpoints: endpoints.map((pod) => ({
    addresses: [pod.address],
    conditions: { ready: true },
    nodeName: pod.node,
    targetRef: { kind: 'Pod', namespace: 'shop', name: pod.name },
  })),
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
});
