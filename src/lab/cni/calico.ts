/** Calico, with VXLAN or with routes between the nodes as BGP spreads them: no bridge. Each pod has a /32 route to its own device, and the node answers ARP for 169.254.1.1. */
import type { LabNode, LabPod, LabState } from '../state.ts';
import { type Cni, networkOf, nodeIn, otherNodes } from './cni.ts';
import { type VxlanStyle, vxlanFdbLines, vxlanLines, vxlanMtuBytes } from './vxlan.ts';

const style: VxlanStyle = {
  device: (family) => (family === 4 ? 'vxlan.calico' : 'vxlan-v6.calico'),
  vni: 4096,
  udpPort: 4789,
  // RTPROT 80: how Felix marks the routes that are its own.
  routeSuffix: ' proto 80',
};

/** All cali devices share this MAC, so the IPv6 gateway of every pod is the link-local address made from it. */
const hostMac = 'ee:ee:ee:ee:ee:ee';
const gateway = '169.254.1.1';
const gateway6 = 'fe80::ecee:eeff:feee:eeee';

const tunnelMtuBytes = (state: LabState): number =>
  Math.min(...state.families.map((family) => vxlanMtuBytes(state, family)));

/** What does not depend on how packets get from node to node. */
const routed = (podMtuBytes: Cni['podMtuBytes']) =>
  ({
    bridged: false,
    podMtuBytes,
    podDeviceLines: (state: LabState, pod: LabPod) => [
      `link add ${pod.hostDevice} address ${hostMac} mtu ${podMtuBytes(state)} type veth peer name eth0 mtu ${podMtuBytes(state)} netns ${pod.netns}`,
      `link set ${pod.hostDevice} up`,
      ...pod.addresses.map((address) =>
        address.includes(':')
          ? `route add ${address}/128 dev ${pod.hostDevice}`
          : `route add ${address}/32 dev ${pod.hostDevice} scope link`,
      ),
    ],
    podLines: (_state: LabState, pod: LabPod) => [
      'link set lo up',
      'link set eth0 up',
      ...pod.addresses.flatMap((address) =>
        address.includes(':')
          ? [`addr add ${address}/128 dev eth0 nodad`, `route add default via ${gateway6} dev eth0`]
          : [
              `addr add ${address}/32 dev eth0`,
              `route add ${gateway} dev eth0 scope link`,
              `route add default via ${gateway} dev eth0`,
            ],
      ),
    ],
    nodeSysctls: (state: LabState, node: LabNode) =>
      state.pods
        .filter((pod) => pod.node === node.name)
        .flatMap((pod) => [
          `net/ipv4/conf/${pod.hostDevice}/proxy_arp=1`,
          // The kernel delays proxy ARP answers by up to 0.8 s unless told not to; Felix sets the same.
          `net/ipv4/neigh/${pod.hostDevice}/proxy_delay=0`,
        ]),
  }) satisfies Partial<Cni>;

/** Addresses of the own block that no pod has must not leave by the default route. */
const ownBlocks = (node: LabNode, protocol: string): string[] =>
  node.podCidrs.map((cidr) => `route add blackhole ${cidr} proto ${protocol}`);

export const calicoVxlan: Cni = {
  ...routed(tunnelMtuBytes),
  name: 'calico-vxlan',
  nodeLines: (state, node) => [...vxlanLines(state, node, style), ...ownBlocks(node, '80')],
  fdbLines: (state, node) => vxlanFdbLines(state, node, style),
  nodeAnnotations: (state, node) => annotations(state, node, 'vxlan'),
};

/** Each node's BIRD has told the others its blocks: plain routes by the nodes' addresses. */
export const calicoBgp: Cni = {
  ...routed((state) => state.underlayMtuBytes),
  name: 'calico-bgp',
  nodeLines: (state, node) => [
    ...otherNodes(state, node).flatMap((peer) =>
      state.families.flatMap((family) => {
        const far = nodeIn(peer, family);
        return far === undefined ? [] : [`route add ${far.podCidr} via ${far.address} dev eth0 proto bird`];
      }),
    ),
    ...ownBlocks(node, 'bird'),
  ],
  fdbLines: () => [],
  nodeAnnotations: (state, node) => annotations(state, node, 'bgp'),
};

function annotations(state: LabState, node: LabNode, network: 'vxlan' | 'bgp'): Record<string, string> {
  const hasTunnel = network === 'vxlan';
  const prefix = 'projectcalico.org';
  const [v4, v6] = [nodeIn(node, 4), nodeIn(node, 6)];
  const [nodeCidr, nodeCidr6] = state.nodeCidrs.map((cidr) => cidr.slice(cidr.indexOf('/')));
  return {
    ...(v4 === undefined
      ? {}
      : {
          [`${prefix}/IPv4Address`]: `${v4.address}${nodeCidr}`,
          ...(hasTunnel ? { [`${prefix}/IPv4VXLANTunnelAddr`]: networkOf(v4.podCidr) } : {}),
        }),
    ...(v6 === undefined
      ? {}
      : {
          [`${prefix}/IPv6Address`]: `${v6.address}${nodeCidr6}`,
          ...(hasTunnel ? { [`${prefix}/IPv6VXLANTunnelAddr`]: networkOf(v6.podCidr) } : {}),
        }),
  };
}
