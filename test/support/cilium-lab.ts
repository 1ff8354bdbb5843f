/**
 * The recorded lab as Cilium would have it: a device lxc* for each pod, cilium_host and a VXLAN device without a VNI of its own,
 * no kube-proxy, and the dumps of the agent's maps as `cilium-dbg` prints them. Written after Cilium's source, not recorded.
 */
import type { SnapshotFiles } from '../../src/collect/files.ts';
import { type Edits, edited, inJson } from './recorded-lab.ts';

export const nodes = ['node1', 'node2', 'node3'] as const;
type NodeName = (typeof nodes)[number];

interface PodAt {
  readonly node: NodeName;
  readonly name: string;
  readonly ip: string;
  readonly mac: string;
  /** Of the node's end of its cable. */
  readonly ifindex: number;
  readonly id: number;
  readonly identity: number;
}

/** One identity for each app, as labels make them. */
const identities: Readonly<Record<string, number>> = {
  web: 1001,
  api: 1002,
  db: 1003,
  ledger: 1004,
  toolbox: 1005,
  coredns: 1006,
};

const policyHeader =
  'POLICY   DIRECTION   IDENTITY   PORT/PROTO   PROXY PORT   AUTH TYPE   BYTES   PACKETS   PREFIX';
const allowAll = ['Ingress', 'Egress'].map(
  (direction) =>
    `Allow    ${direction.padEnd(9)}   0          ANY          NONE         disabled    0       0         0`,
);

const minimalRules = ['mangle', 'nat', 'filter']
  .map((name) =>
    [
      `*${name}`,
      ...['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']
        .filter((chain) =>
          name === 'filter' ? !/ROUTING/.test(chain) : chain !== 'FORWARD' || name !== 'nat',
        )
        .map((chain) => `:${chain} ACCEPT [0:0]`),
      'COMMIT',
      '',
    ].join('\n'),
  )
  .join('');

interface Link {
  readonly ifname: string;
  readonly ifindex: number;
  readonly link_index?: number;
  readonly address: string;
}

function podsOf(recorded: SnapshotFiles): readonly PodAt[] {
  const json = (path: string): unknown => JSON.parse(recorded.files.get(path) ?? 'null');
  const { items } = json('cluster/pods.json') as {
    readonly items: readonly {
      readonly metadata: { readonly namespace: string; readonly name: string };
      readonly spec: { readonly nodeName: NodeName };
      readonly status: { readonly podIP: string };
    }[];
  };
  return items.map(({ metadata, spec, status }, i): PodAt => {
    const links = json(
      `nodes/${spec.nodeName}/pods/${metadata.namespace}_${metadata.name}/ip-link.json`,
    ) as readonly Link[];
    const eth0 = links.find(({ ifname }) => ifname === 'eth0');
    return {
      node: spec.nodeName,
      name: `${metadata.namespace}/${metadata.name}`,
      ip: status.podIP,
      mac: eth0?.address ?? '',
      ifindex: eth0?.link_index ?? 0,
      id: 100 + i,
      identity: identities[metadata.name.replace(/-\d+$/, '')] ?? 0,
    };
  });
}

const nodeAddress = (node: NodeName): string => `10.99.0.1${node.slice(4)}`;
const gateway = (node: NodeName): string => `10.244.${node.slice(4)}.1`;

/** Slots of a Service as Cilium 1.16 and later print them. */
export const lbTable = (
  services: Readonly<Record<string, readonly string[]>>,
  flags = 'ClusterIP, non-routable',
): string =>
  [
    'SERVICE ADDRESS                  BACKEND ADDRESS (REVNAT_ID) (SLOT)',
    ...Object.entries(services).flatMap(([at, backends]) => [
      `${`${at} (0)`.padEnd(30)}   0.0.0.0:0 (5) (0) [${flags}]   `,
      ...backends.map((backend, i) => `${`${at} (${i + 1})`.padEnd(30)}   ${backend} (5) (${i + 1})`),
    ]),
    '',
  ].join('\n');

export const apiBackends = ['10.244.1.3:8080/TCP', '10.244.2.3:8080/TCP', '10.244.3.3:8080/TCP'];

export function ciliumMode(
  recorded: SnapshotFiles,
  config: Readonly<Record<string, string>> = {},
): SnapshotFiles {
  const pods = podsOf(recorded);
  const edits: Record<string, Edits[string]> = {
    'cluster/configmaps.json': (text) => {
      const list = JSON.parse(text ?? '') as { readonly items: readonly unknown[] };
      const data = { 'routing-mode': 'tunnel', 'kube-proxy-replacement': 'true', ...config };
      const map = {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { namespace: 'kube-system', name: 'cilium-config' },
        data,
      };
      return JSON.stringify({ ...list, items: [...list.items, map] });
    },
  };
  for (const node of nodes) {
    Object.assign(edits, nodeEdits(node, pods));
    for (const pod of pods.filter((one) => one.node === node)) {
      const at = `nodes/${node}/pods/${pod.name.replace('/', '_')}`;
      edits[`${at}/ip-neigh.json`] = () => '[]';
      edits[`${at}/ip-route.json`] = inJson((list) => [
        { dst: gateway(node), dev: 'eth0', scope: 'link', flags: [] },
        ...list.filter(({ dst, table }) => table !== undefined || dst === 'default'),
      ]);
    }
  }
  return edited(recorded, edits);
}

function nodeEdits(node: NodeName, pods: readonly PodAt[]): Edits {
  const at = (file: string) => `nodes/${node}/${file}`;
  const plain = { mtu: 1500, operstate: 'UP', flags: ['UP', 'LOWER_UP'], link_type: 'ether' };
  const own = [
    {
      ...plain,
      ifindex: 50,
      ifname: 'cilium_host',
      address: '02:00:00:00:50:01',
      linkinfo: { info_kind: 'veth' },
    },
    {
      ...plain,
      ifindex: 51,
      ifname: 'cilium_vxlan',
      address: '02:00:00:00:51:01',
      linkinfo: { info_kind: 'vxlan', info_data: { external: true, id: 0, port: 8472 } },
    },
  ];
  const isOther = ({ ifname }: Record<string, unknown>) => ifname !== 'cni0' && ifname !== 'flannel.1';
  const asLxc = (one: Record<string, unknown>) => {
    if (!String(one.ifname).startsWith('veth')) return one;
    const { master: _, ...rest } = one;
    return { ...rest, ifname: `lxc${String(one.ifname).slice(4)}`, linkinfo: { info_kind: 'veth' } };
  };
  return {
    [at('ip-link.json')]: inJson((list) => [...list.filter(isOther).map(asLxc), ...own]),
    [at('ip-addr.json')]: inJson((list) => [
      ...list.filter(isOther).map(asLxc),
      {
        ...own[0],
        addr_info: [{ family: 'inet', local: gateway(node), prefixlen: 32, scope: 'link' }],
      },
      { ...own[1], addr_info: [] },
    ]),
    [at('ip-route.json')]: inJson((list) => [
      ...list.filter(({ dev }) => dev === 'eth0' || dev === 'lo'),
      { dst: gateway(node), dev: 'cilium_host', scope: 'link', flags: [] },
      ...nodes.map((other) => ({
        dst: `10.244.${other.slice(4)}.0/24`,
        gateway: gateway(node),
        dev: 'cilium_host',
        flags: [],
      })),
      { type: 'local', dst: gateway(node), dev: 'cilium_host', table: 'local', scope: 'host', flags: [] },
    ]),
    [at('bridge-link.json')]: () => '[]',
    [at('bridge-fdb.json')]: () => '[]',
    [at('ip-neigh.json')]: inJson((list) => list.filter(({ dev }) => dev === 'eth0')),
    [at('iptables-save.txt')]: () => minimalRules,
    [at('nft.json')]: () => '{"nftables": []}',
    [at('ipset.txt')]: () => '',
    [at('sysctl.txt')]: (text) =>
      [
        text?.replaceAll('conf.veth', 'conf.lxc').replaceAll('neigh.veth', 'neigh.lxc'),
        ...['cilium_host', 'cilium_vxlan'].flatMap((name) => [
          `net.ipv4.conf.${name}.rp_filter = 0`,
          `net.ipv4.conf.${name}.forwarding = 1`,
        ]),
        '',
      ].join('\n'),
    [at('cilium-bpf-lb.txt')]: () => lbTable({ '10.96.0.101:80/TCP': apiBackends }),
    [at('cilium-bpf-ipcache.txt')]: () => ipcache(node, pods),
    [at('cilium-bpf-endpoint.txt')]: () => endpoints(node, pods),
    [at('cilium-bpf-policy.txt')]: () => policies(node, pods),
  };
}

function ipcache(node: NodeName, pods: readonly PodAt[]): string {
  const line = (prefix: string, identity: number, tunnel: string) =>
    `${prefix.padEnd(20)}   identity=${identity} encryptkey=0 tunnelendpoint=${tunnel} flags=${tunnel === '0.0.0.0' ? '<none>' : 'hastunnel'}   `;
  return [
    'IP PREFIX/ADDRESS      IDENTITY',
    line('0.0.0.0/0', 2, '0.0.0.0'),
    ...nodes.map((other) => line(`${nodeAddress(other)}/32`, other === node ? 1 : 6, '0.0.0.0')),
    ...pods.map((pod) =>
      line(`${pod.ip}/32`, pod.identity, pod.node === node ? '0.0.0.0' : nodeAddress(pod.node)),
    ),
    '',
  ].join('\n');
}

const endpoints = (node: NodeName, pods: readonly PodAt[]): string =>
  [
    'IP ADDRESS       LOCAL ENDPOINT INFO',
    `${nodeAddress(node)}:0     (localhost)`,
    `${gateway(node)}:0     (localhost)`,
    ...pods
      .filter((pod) => pod.node === node)
      .map(
        ({ ip, id, identity, ifindex, mac }) =>
          `${`${ip}:0`.padEnd(16)}   id=${String(id).padEnd(5)} sec_id=${String(identity).padEnd(5)} flags=0x0000 ifindex=${String(ifindex).padEnd(3)} mac=${mac.toUpperCase()} nodemac=02:00:00:00:00:00 parent_ifindex=0`,
      ),
    '',
  ].join('\n');

export const policyMap = (id: number, entries: readonly string[] = allowAll): string =>
  [
    `Endpoint ID: ${id}`,
    `Path: /sys/fs/bpf/tc/globals/cilium_policy_v2_00${id}`,
    '',
    policyHeader,
    ...entries,
    '',
    '',
  ].join('\n');

const policies = (node: NodeName, pods: readonly PodAt[]): string =>
  pods
    .filter((pod) => pod.node === node)
    .map(({ id }) => policyMap(id))
    .join('\n');

/** Endpoint id of a pod: `shop/api-2`. */
export const endpointId = (recorded: SnapshotFiles, pod: string): number =>
  podsOf(recorded).find(({ name }) => name === pod)?.id ?? 0;
