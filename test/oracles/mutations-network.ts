/** Routes, rules, neighbours, forwarding, address plans, sizes. */
import {
  both,
  hostGw,
  type Mutation,
  type Recorded,
  type RouteEntry,
  viaService,
  vxlan,
  webToApi,
} from './mutations-support.ts';

const node = (n: number) => `nodes/node${n}`;
const cidr = (n: number) => `10.244.${n}.0/24`;
const without = (dst: string) => (routes: RouteEntry[]) =>
  routes.filter((route) => route.dst !== dst || route.table === 'local');
const fromTo = (at: Recorded, from: number, to: number) => ({
  src: at.id('web', from),
  dst: at.id('api', to),
  port: 8080,
});
const rule = (priority: number, table: string, more: Record<string, unknown> = {}) => ({
  priority,
  src: 'all',
  table,
  ...more,
});
const addRule = (at: Recorded, n: number, entry: unknown) =>
  at.json<unknown[]>(`${node(n)}/ip-rule.json`, (rules) => [...rules.slice(0, 1), entry, ...rules.slice(1)]);

const refusing = (type: 'blackhole' | 'unreachable' | 'prohibit'): Mutation => ({
  name: `a ${type} route in place of the pod CIDR's`,
  on: both,
  apply: (at) =>
    at.routes(node(1), (routes) => [...without(cidr(3))(routes), { type, dst: cidr(3), flags: [] }]),
  flow: webToApi,
  causes: ['route/blackhole'],
});

export const networkFaults: readonly Mutation[] = [
  {
    name: 'the route to the pod CIDR is gone',
    on: both,
    apply: (at) => at.routes(node(1), without(cidr(3))),
    flow: webToApi,
    causes: ['route/missing'],
  },
  {
    name: 'the route back is gone',
    on: both,
    apply: (at) => at.routes(node(3), without(cidr(1))),
    flow: webToApi,
    causes: ['route/missing'],
    works: (at) => [fromTo(at, 1, 2), fromTo(at, 2, 3), fromTo(at, 2, 1)],
  },
  {
    name: 'the route back is gone, asked by Service',
    on: both,
    apply: (at) => at.routes(node(3), without(cidr(1))),
    flow: viaService,
    causes: ['route/missing'],
    works: (at) => [fromTo(at, 1, 2)],
  },
  {
    name: 'the route to the pod CIDR is gone, asked by name',
    on: both,
    apply: (at) => at.routes(node(1), without(cidr(3))),
    flow: (at) => ({ src: at.id('web', 1), dst: 'api.shop', port: 80 }),
    causes: ['route/missing'],
    works: (at) => [fromTo(at, 1, 2)],
  },
  {
    name: 'the name is asked on the far side of a missing route',
    on: both,
    apply: (at) => at.routes(node(3), without(cidr(at.nodeOf('kube-dns')))),
    flow: (at) => ({ src: at.id('web', 3), dst: 'api.shop', port: 80 }),
    causes: ['route/missing'],
    works: (at) => [fromTo(at, 3, 2)],
  },
  refusing('blackhole'),
  refusing('unreachable'),
  refusing('prohibit'),
  {
    name: 'a more specific blackhole inside the pod CIDR',
    on: both,
    apply: (at) =>
      at.routes(node(1), (routes) => [{ type: 'blackhole', dst: '10.244.3.0/25', flags: [] }, ...routes]),
    flow: webToApi,
    causes: ['route/blackhole', 'route/shadowed'],
  },
  {
    name: 'the next hop is another node',
    on: hostGw,
    apply: (at) =>
      at.routes(node(1), (routes) =>
        routes.map((route) => (route.dst === cidr(3) ? { ...route, gateway: '10.99.0.12' } : route)),
      ),
    flow: webToApi,
    causes: ['route/wrong-next-hop'],
  },
  {
    name: 'the next hop is another node’s tunnel address',
    on: vxlan,
    apply: (at) =>
      at.routes(node(1), (routes) =>
        routes.map((route) => (route.dst === cidr(3) ? { ...route, gateway: '10.244.2.0' } : route)),
      ),
    flow: webToApi,
    causes: ['route/wrong-next-hop'],
  },
  {
    name: 'the next hop is an address that nobody has',
    on: hostGw,
    apply: (at) => {
      at.routes(node(1), (routes) =>
        routes.map((route) => (route.dst === cidr(3) ? { ...route, gateway: '10.99.0.77' } : route)),
      );
      at.json<unknown[]>(`${node(1)}/ip-neigh.json`, (entries) => [
        ...entries.filter((entry) => JSON.stringify(entry).includes('10.99.0.77') === false),
        { dst: '10.99.0.77', dev: 'eth0', state: ['FAILED'] },
      ]);
    },
    flow: webToApi,
    causes: ['route/wrong-next-hop'],
  },
  {
    name: 'the next hop back is an address that nobody has, and no neighbour entry is left',
    on: hostGw,
    apply: (at) =>
      at.routes(node(3), (routes) =>
        routes.map((route) => (route.dst === cidr(1) ? { ...route, gateway: '10.99.0.200' } : route)),
      ),
    flow: webToApi,
    causes: ['route/wrong-next-hop'],
  },
  {
    name: 'a rule sends pod packets to an empty table and then nowhere',
    on: both,
    apply: (at) => {
      addRule(at, 1, rule(100, '100', { dst: '10.244.3.0', dstlen: 24 }));
      at.routes(node(1), (routes) => [
        { type: 'blackhole', dst: 'default', table: '100', flags: [] },
        ...routes,
      ]);
    },
    flow: webToApi,
    causes: ['route/rule-shadows'],
  },
  {
    name: 'a rule refuses by itself',
    on: both,
    apply: (at) =>
      addRule(at, 1, { priority: 50, src: 'all', dst: '10.244.3.0', dstlen: 24, action: 'unreachable' }),
    flow: webToApi,
    causes: ['route/rule-shadows'],
  },
  {
    name: 'a rule for the pods’ addresses leads to a table with the default route only',
    on: both,
    apply: (at) => {
      addRule(at, 1, rule(200, '200', { src: '10.244.1.0', srclen: 24 }));
      at.routes(node(1), (routes) => [
        { dst: 'default', gateway: '10.99.0.1', dev: 'eth0', table: '200', flags: [] },
        ...routes,
      ]);
    },
    flow: webToApi,
    causes: ['route/rule-shadows'],
    works: (at) => [fromTo(at, 2, 3)],
  },
  {
    name: 'strict reverse path filter, and the way back differs',
    on: vxlan,
    apply: (at) => {
      at.sysctl(node(3), 'net.ipv4.conf.all.rp_filter', '1');
      at.routes(node(3), (routes) =>
        routes.map((route) =>
          route.dst === cidr(1) ? { dst: cidr(1), gateway: '10.99.0.11', dev: 'eth0', flags: [] } : route,
        ),
      );
    },
    flow: webToApi,
    causes: ['route/rp-filter'],
    scanToo: ['route/asymmetric'],
  },
  {
    name: 'one device does not forward: the tunnel or the NIC',
    on: both,
    apply: (at) => {
      const nic = at.files.get(`${node(3)}/ip-link.json`)?.includes('"flannel.1"') ? 'flannel/1' : 'eth0';
      at.sysctl(node(3), `net.ipv4.conf.${nic}.forwarding`, '0');
    },
    flow: webToApi,
    causes: ['route/ip-forward-off'],
  },
  {
    name: 'the pods’ bridge does not forward',
    on: both,
    apply: (at) => at.sysctl(node(1), 'net.ipv4.conf.cni0.forwarding', '0'),
    flow: webToApi,
    causes: ['route/ip-forward-off'],
    works: (at) => [fromTo(at, 2, 3)],
  },
  {
    name: 'the whole node does not forward',
    on: both,
    apply: (at) => {
      at.text(`${node(3)}/sysctl.txt`, (text) =>
        text.replace(/^(net\.ipv4\.conf\.\S+\.forwarding|net\.ipv4\.ip_forward) = 1$/gm, '$1 = 0'),
      );
    },
    flow: viaService,
    causes: ['route/ip-forward-off'],
  },
  {
    name: 'the peer node does not resolve',
    on: hostGw,
    apply: (at) =>
      at.json<{ dst: string }[]>(`${node(1)}/ip-neigh.json`, (entries) =>
        entries.map((entry) =>
          entry.dst === '10.99.0.13' ? { dst: entry.dst, dev: 'eth0', state: ['FAILED'] } : entry,
        ),
      ),
    flow: webToApi,
    // A dead entry is tried again by the next packet, so alone it is no proof.
    onlyProbed: true,
    causes: ['route/neighbour-failed'],
  },
  {
    name: 'a fixed neighbour entry for the peer node has a wrong MAC',
    on: both,
    apply: (at) =>
      at.json<{ dst: string }[]>(`${node(1)}/ip-neigh.json`, (entries) =>
        entries.map((entry) =>
          entry.dst === '10.99.0.13'
            ? { dst: entry.dst, dev: 'eth0', lladdr: '02:00:00:00:be:ef', state: ['PERMANENT'] }
            : entry,
        ),
      ),
    flow: webToApi,
    causes: ['route/neighbour-failed'],
  },
  {
    name: 'a fixed neighbour entry for the pod has a wrong MAC',
    on: both,
    apply: (at) => {
      const ip = at.ip('api', 3);
      at.json<{ dst: string }[]>(`${node(3)}/ip-neigh.json`, (entries) => [
        ...entries.filter((entry) => entry.dst !== ip),
        { dst: ip, dev: 'cni0', lladdr: '02:00:00:00:be:ef', state: ['PERMANENT'] },
      ]);
    },
    flow: webToApi,
    causes: ['route/neighbour-failed'],
    works: (at) => [fromTo(at, 1, 2), { src: at.id('web', 1), dst: at.id('ledger', 3), port: 9000 }],
  },
  {
    name: 'the pod’s own gateway entry has a wrong MAC',
    on: both,
    apply: (at) =>
      at.json<{ dst: string }[]>(`${at.folder('web', 1)}/ip-neigh.json`, (entries) => [
        ...entries.filter((entry) => entry.dst !== '10.244.1.1'),
        { dst: '10.244.1.1', dev: 'eth0', lladdr: '02:00:00:00:be:ef', state: ['PERMANENT'] },
      ]),
    flow: webToApi,
    causes: ['route/neighbour-failed'],
    works: (at) => [fromTo(at, 2, 3)],
  },
  {
    name: 'two nodes have one pod CIDR',
    on: both,
    apply: (at) =>
      at.one('nodes', 'node3', (object) => {
        object.spec.podCIDR = cidr(2);
        object.spec.podCIDRs = [cidr(2)];
        at.routes(node(1), without(cidr(3)));
        at.routes(node(2), without(cidr(3)));
      }),
    flow: webToApi,
    causes: ['cidr/duplicate-pod-cidr'],
  },
  {
    name: 'two pods have one address',
    on: both,
    apply: (at) => {
      const taken = at.ip('ledger', 3);
      const old = at.ip('api', 3);
      at.one('pods', at.id('api', 3), (pod) => {
        pod.status.podIP = taken;
        pod.status.podIPs = [{ ip: taken }];
      });
      const folder = at.folder('api', 3);
      const swap = (text: string) => text.replaceAll(`"${old}"`, `"${taken}"`);
      for (const file of ['ip-addr.json', 'ip-route.json']) at.text(`${folder}/${file}`, swap);
      at.text('cluster/endpointslices.discovery.k8s.io.json', swap);
      for (const n of [1, 2, 3])
        at.text(`${node(n)}/iptables-save.txt`, (text) =>
          text
            .replaceAll(`--to-destination ${old}:`, `--to-destination ${taken}:`)
            .replaceAll(`${old}/32`, `${taken}/32`),
        );
    },
    flow: (at) => ({ src: at.id('web', 1), dst: at.id('api', 3), port: 8080 }),
    causes: ['cidr/duplicate-pod-ip'],
  },
  {
    name: 'a pod kept an address of its node’s former block',
    on: both,
    apply: (at) => {
      const old = at.ip('api', 3);
      const stray = '10.244.9.6';
      at.one('pods', at.id('api', 3), (pod) => {
        pod.status.podIP = stray;
        pod.status.podIPs = [{ ip: stray }];
      });
      const folder = at.folder('api', 3);
      const swap = (text: string) => text.replaceAll(`"${old}"`, `"${stray}"`);
      at.text(`${folder}/ip-addr.json`, swap);
      at.text(`${folder}/ip-route.json`, (text) => swap(text).replaceAll('10.244.3.', '10.244.9.'));
      at.text('cluster/endpointslices.discovery.k8s.io.json', swap);
      for (const n of [1, 2, 3])
        at.text(`${node(n)}/iptables-save.txt`, (text) =>
          text
            .replaceAll(`--to-destination ${old}:`, `--to-destination ${stray}:`)
            .replaceAll(`${old}/32`, `${stray}/32`),
        );
    },
    flow: (at) => ({ src: at.id('web', 1), dst: at.id('api', 3), port: 8080 }),
    causes: ['cidr/pod-outside-node-cidr'],
    scanToo: ['route/missing'],
  },
  {
    name: 'the node’s block was changed and its bridge was not',
    on: hostGw,
    apply: (at) => {
      at.one('nodes', 'node3', (object) => {
        object.spec.podCIDR = cidr(7);
        object.spec.podCIDRs = [cidr(7)];
      });
      for (const n of [1, 2])
        at.routes(node(n), (routes) =>
          routes.map((route) => (route.dst === cidr(3) ? { ...route, dst: cidr(7) } : route)),
        );
    },
    flow: webToApi,
    causes: ['cidr/pod-outside-node-cidr'],
    scanToo: ['route/missing'],
  },
  {
    name: 'another network of the node covers the peer’s pods',
    on: both,
    apply: (at) => {
      at.routes(node(1), (routes) => [
        { dst: '10.244.3.0/24', dev: 'docker0', protocol: 'kernel', scope: 'link', flags: [] },
        ...without(cidr(3))(routes),
      ]);
      for (const file of ['ip-link.json', 'ip-addr.json'])
        at.json<object[]>(`${node(1)}/${file}`, (links) => [
          ...links,
          {
            ifindex: 90,
            ifname: 'docker0',
            flags: ['BROADCAST', 'MULTICAST', 'UP', 'LOWER_UP'],
            mtu: 1500,
            operstate: 'UP',
            link_type: 'ether',
            address: '02:42:aa:00:00:01',
            linkinfo: { info_kind: 'bridge', info_data: {} },
            addr_info: [
              { family: 'inet', local: '10.244.3.1', prefixlen: 24, scope: 'global', label: 'docker0' },
            ],
          },
        ]);
    },
    flow: webToApi,
    causes: [
      'cidr/overlaps-node-network',
      'cidr/overlaps-external',
      'route/wrong-next-hop',
      'route/shadowed',
    ],
  },
];
