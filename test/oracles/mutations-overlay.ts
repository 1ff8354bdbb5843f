/** The tunnel: devices, MACs, forwarding entries, parameters, its port, its size. */
import {
  type FdbLine,
  hostGw,
  type Mutation,
  type NeighbourEntry,
  type Recorded,
  viaService,
  vxlan,
  webToApi,
} from './mutations-support.ts';

const node = (n: number) => `nodes/node${n}`;
const device = 'flannel.1';
const macOf = (at: Recorded, n: number) => at.link(node(n), device).address;
const fdb = (at: Recorded, n: number, change: (entries: FdbLine[]) => FdbLine[]) =>
  at.json<FdbLine[]>(`${node(n)}/bridge-fdb.json`, change);

export const overlayFaults: readonly Mutation[] = [
  {
    name: 'the tunnel device is down at the far end',
    on: vxlan,
    apply: (at) => {
      at.links(node(3), (link) => {
        if (link.ifname !== device) return;
        link.flags = link.flags.filter((flag) => flag !== 'UP' && flag !== 'LOWER_UP');
        link.operstate = 'DOWN';
        if (link.addr_info) link.addr_info = link.addr_info.filter(({ family }) => family === 'inet');
      });
      at.routes(node(3), (routes) =>
        routes.filter((route) => route.dev !== device || route.dst === '10.244.3.0'),
      );
      at.json<NeighbourEntry[]>(`${node(3)}/ip-neigh.json`, (all) =>
        all.filter((entry) => entry.dev !== device),
      );
    },
    flow: webToApi,
    causes: ['overlay/device-down'],
  },
  {
    name: 'the tunnel device is down at the near end',
    on: vxlan,
    apply: (at) => {
      at.links(node(1), (link) => {
        if (link.ifname !== device) return;
        link.flags = link.flags.filter((flag) => flag !== 'UP' && flag !== 'LOWER_UP');
        link.operstate = 'DOWN';
      });
      at.routes(node(1), (routes) =>
        routes.filter((route) => route.dev !== device || route.table === 'local'),
      );
      at.json<NeighbourEntry[]>(`${node(1)}/ip-neigh.json`, (all) =>
        all.filter((entry) => entry.dev !== device),
      );
    },
    flow: viaService,
    causes: ['overlay/device-down'],
    works: (at) => [{ src: at.id('web', 2), dst: at.id('api', 3), port: 8080 }],
  },
  {
    name: 'the tunnel device is gone',
    on: vxlan,
    apply: (at) => {
      at.links(node(3), (link) => (link.ifname === device ? false : undefined));
      at.routes(node(3), (routes) => routes.filter((route) => route.dev !== device));
      at.json<NeighbourEntry[]>(`${node(3)}/ip-neigh.json`, (all) =>
        all.filter((entry) => entry.dev !== device),
      );
      fdb(at, 3, (entries) => entries.filter((entry) => entry.ifname !== device));
    },
    flow: webToApi,
    causes: ['overlay/device-missing'],
  },
  {
    name: 'the device has a new MAC that nobody was told',
    on: vxlan,
    apply: (at) =>
      at.links(node(3), (link) => {
        if (link.ifname === device) link.address = '02:11:22:33:44:55';
      }),
    flow: webToApi,
    causes: ['overlay/vtep-mac-mismatch'],
  },
  {
    name: 'the annotation announces another MAC, and peers follow it',
    on: vxlan,
    apply: (at) => {
      const right = macOf(at, 3);
      at.one('nodes', 'node3', (object) => {
        const annotations = object.metadata.annotations ?? {};
        annotations['flannel.alpha.coreos.com/backend-data'] = '{"VNI":1,"VtepMAC":"02:11:22:33:44:55"}';
      });
      for (const n of [1, 2]) {
        at.text(`${node(n)}/ip-neigh.json`, (text) => text.replaceAll(right, '02:11:22:33:44:55'));
        at.text(`${node(n)}/bridge-fdb.json`, (text) => text.replaceAll(right, '02:11:22:33:44:55'));
      }
    },
    flow: webToApi,
    causes: ['overlay/vtep-mac-mismatch'],
  },
  {
    name: 'one node remembers another MAC for its peer',
    on: vxlan,
    apply: (at) =>
      at.text(`${node(1)}/ip-neigh.json`, (text) => text.replaceAll(macOf(at, 3), '02:11:22:33:44:55')),
    flow: webToApi,
    causes: ['overlay/vtep-mac-mismatch', 'route/neighbour-failed', 'overlay/fdb-missing'],
    scanToo: ['overlay/fdb-missing'],
  },
  {
    name: 'no neighbour entry for the peer’s tunnel address',
    on: vxlan,
    apply: (at) =>
      at.json<NeighbourEntry[]>(`${node(1)}/ip-neigh.json`, (all) =>
        all.filter((entry) => entry.dst !== '10.244.3.0'),
      ),
    flow: webToApi,
    causes: ['route/neighbour-failed'],
  },
  {
    name: 'the peer’s tunnel address does not resolve',
    on: vxlan,
    apply: (at) =>
      at.json<NeighbourEntry[]>(`${node(1)}/ip-neigh.json`, (all) =>
        all.map((entry) =>
          entry.dst === '10.244.3.0' ? { dst: entry.dst, dev: entry.dev, state: ['FAILED'] } : entry,
        ),
      ),
    flow: webToApi,
    causes: ['route/neighbour-failed'],
  },
  {
    name: 'no forwarding entry for the peer',
    on: vxlan,
    apply: (at) => fdb(at, 1, (entries) => entries.filter((entry) => entry.mac !== macOf(at, 3))),
    flow: webToApi,
    causes: ['overlay/fdb-missing'],
  },
  {
    name: 'no forwarding entry for the answer',
    on: vxlan,
    apply: (at) => fdb(at, 3, (entries) => entries.filter((entry) => entry.mac !== macOf(at, 1))),
    flow: viaService,
    causes: ['overlay/fdb-missing'],
  },
  {
    name: 'the forwarding entry leads to another node',
    on: vxlan,
    apply: (at) =>
      fdb(at, 1, (entries) =>
        entries.map((entry) => (entry.mac === macOf(at, 3) ? { ...entry, dst: '10.99.0.12' } : entry)),
      ),
    flow: webToApi,
    causes: ['overlay/fdb-wrong'],
  },
  {
    name: 'the forwarding entry leads to an address that nobody has',
    on: vxlan,
    apply: (at) =>
      fdb(at, 1, (entries) =>
        entries.map((entry) => (entry.mac === macOf(at, 3) ? { ...entry, dst: '10.99.0.77' } : entry)),
      ),
    flow: webToApi,
    causes: ['overlay/fdb-wrong'],
  },
  {
    name: 'one node uses another VNI',
    on: vxlan,
    apply: (at) =>
      at.links(node(3), (link) => {
        if (link.ifname === device && link.linkinfo?.info_data) link.linkinfo.info_data.id = 2;
      }),
    flow: webToApi,
    causes: ['overlay/parameters-differ'],
  },
  {
    name: 'one node uses another port',
    on: vxlan,
    apply: (at) => {
      at.links(node(3), (link) => {
        if (link.ifname === device && link.linkinfo?.info_data) link.linkinfo.info_data.port = 4789;
      });
      at.text(`${node(3)}/ss.txt`, (text) => text.replaceAll('0.0.0.0:8472', '0.0.0.0:4789'));
    },
    flow: webToApi,
    causes: ['overlay/parameters-differ'],
  },
  ...(
    [
      [3, 'filter', '-A INPUT -p udp -m udp --dport 8472 -j DROP'],
      [3, 'filter', '-A INPUT -s 10.99.0.11/32 -p udp -m udp --dport 8472 -j DROP'],
      [1, 'filter', '-A OUTPUT -p udp -m udp --dport 8472 -j DROP'],
      [3, 'raw', '-A PREROUTING -p udp -m udp --dport 8472 -j DROP'],
      [
        3,
        'filter',
        '-A INPUT -p udp -m multiport --dports 4789,8472 -j REJECT --reject-with icmp-port-unreachable',
      ],
      [3, 'filter', '-A INPUT -i eth0 -p udp -j DROP'],
      [3, 'mangle', '-A PREROUTING -i eth0 -p udp -m udp --dport 8472 -j DROP'],
    ] as const
  ).map(
    ([n, table, rule]): Mutation => ({
      name: `node${n} ${table}: ${rule}`,
      on: vxlan,
      apply: (at) => at.rule(node(n), table, rule),
      flow: webToApi,
      causes: ['overlay/port-blocked'],
      works: (at) => [
        {
          src: at.id('web', 2),
          dst: at.id(n === 1 ? 'web' : 'api', 2),
          port: n === 1 ? 0 : 8080,
          ...(n === 1 ? { protocol: 'icmp' as const } : {}),
        },
      ],
    }),
  ),
  {
    name: 'a native nft table drops the tunnel’s port',
    on: vxlan,
    apply: (at) =>
      at.json<{ nftables: unknown[] }>(`${node(3)}/nft.json`, ({ nftables }) => ({
        nftables: [
          ...nftables,
          { table: { family: 'inet', name: 'guard', handle: 900 } },
          {
            chain: {
              family: 'inet',
              table: 'guard',
              name: 'in',
              handle: 1,
              type: 'filter',
              hook: 'input',
              prio: -10,
              policy: 'accept',
            },
          },
          {
            rule: {
              family: 'inet',
              table: 'guard',
              chain: 'in',
              handle: 2,
              expr: [
                { match: { op: '==', left: { payload: { protocol: 'udp', field: 'dport' } }, right: 8472 } },
                { drop: null },
              ],
            },
          },
        ],
      })),
    flow: webToApi,
    causes: ['overlay/port-blocked'],
  },
  {
    name: 'the node announces an address of another network',
    on: vxlan,
    apply: (at) => {
      at.one('nodes', 'node3', (object) => {
        const annotations = object.metadata.annotations ?? {};
        annotations['flannel.alpha.coreos.com/public-ip'] = '192.168.121.13';
      });
      for (const n of [1, 2])
        fdb(at, n, (entries) =>
          entries.map((entry) => (entry.mac === macOf(at, 3) ? { ...entry, dst: '192.168.121.13' } : entry)),
        );
    },
    flow: webToApi,
    onlyProbed: true,
    causes: ['overlay/wrong-interface'],
    scanToo: ['overlay/fdb-wrong'],
  },
  {
    name: 'the network between the nodes drops the tunnel, and nothing recorded shows it',
    on: vxlan,
    apply: () => {},
    flow: webToApi,
    causes: ['overlay/port-blocked'],
    quiet: true,
    onlyProbed: true,
  },
  {
    name: 'pods send more than the tunnel carries, and ICMP is filtered',
    on: vxlan,
    apply: (at) => {
      for (const n of [1, 2, 3]) {
        at.links(node(n), (link) => {
          if (link.ifname === 'eth0') link.mtu = 1500;
          if (link.ifname === device) link.mtu = 1450;
          if (link.ifname === 'cni0' || link.ifname.startsWith('veth')) link.mtu = 1500;
        });
        for (const path of [...at.files.keys()])
          if (path.startsWith(`${node(n)}/pods/`) && path.endsWith('/ip-link.json'))
            at.links(path.replace('/ip-link.json', ''), (link) => {
              if (link.ifname === 'eth0') link.mtu = 1500;
            });
      }
      for (const n of [1, 2, 3])
        at.rule(node(n), 'filter', '-A OUTPUT -p icmp -m icmp --icmp-type 3/4 -j DROP');
    },
    flow: webToApi,
    meets: 'stalls',
    causes: ['mtu/pmtud-blackhole', 'mtu/too-large-for-overlay'],
    works: (at) => [{ src: at.id('web', 1), dst: at.id('api', 1), port: 8080 }],
  },
  {
    name: 'one node’s tunnel is larger than its NIC allows',
    on: vxlan,
    apply: (at) => {
      for (const n of [1, 2, 3])
        at.links(node(n), (link) => {
          if (link.ifname === 'eth0') link.mtu = 1460;
        });
    },
    flow: webToApi,
    meets: 'stalls',
    onlyProbed: true,
    causes: ['mtu/too-large-for-overlay', 'mtu/pmtud-blackhole'],
    works: (at) => [{ src: at.id('web', 1), dst: at.id('api', 1), port: 8080 }],
  },
  {
    name: 'the far bridge carries less, and the node may not say so',
    on: hostGw,
    apply: (at) => {
      at.links(node(3), (link) => {
        if (link.ifname === 'cni0' || link.ifname.startsWith('veth')) link.mtu = 1300;
      });
      at.rule(node(3), 'filter', '-A OUTPUT -p icmp -m icmp --icmp-type 3 -j DROP');
    },
    flow: webToApi,
    meets: 'stalls',
    quiet: true,
    causes: ['mtu/pmtud-blackhole', 'mtu/differs-between-nodes'],
  },
];
