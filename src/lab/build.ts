/** Makes a planned lab's namespaces and devices. Everything happens inside namespaces of the lab. */
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mapLimit } from '../system/exec.ts';
import { cnis } from './cni/cnis.ts';
import { hostOf } from './plan.ts';
import { bridgeBatch, inNetns, ipBatch, must } from './run.ts';
import type { LabNode, LabPod, LabState } from './state.ts';

/** `ip netns exec` mounts the files of /etc/netns/<namespace>/ over those of /etc. */
export const etcNetns = '/etc/netns';

/** Commands under way at once: they mostly wait for kernel locks, so a few more than there are processors. */
export const concurrency = 6;

export const allNetns = (state: LabState): string[] => [
  state.fabricNetns,
  ...state.nodes.map((node) => node.netns),
  ...state.pods.map((pod) => pod.netns),
];

const offloads = ['tso', 'off', 'gso', 'off', 'gro', 'off', 'tx', 'off'];

export async function makeNamespaces(state: LabState, signal?: AbortSignal): Promise<void> {
  const names = allNetns(state);
  const size = Math.ceil(names.length / concurrency);
  const chunks = Array.from({ length: concurrency }, (_, index) =>
    names.slice(index * size, (index + 1) * size),
  );
  await Promise.all(
    chunks.map((chunk) =>
      ipBatch(
        undefined,
        chunk.map((name) => `netns add ${name}`),
        signal,
      ),
    ),
  );
}

/** resolv.conf of pods, as kubelet writes it, and of nodes: their nameserver is the fabric, where nobody answers. */
export async function writeResolvers(state: LabState, clusterDns: readonly string[]): Promise<void> {
  const gateway = hostOf(state.nodeCidrs[0] ?? '', 1);
  const write = async (netns: string, text: string) => {
    await mkdir(join(etcNetns, netns), { recursive: true });
    await writeFile(join(etcNetns, netns, 'resolv.conf'), text);
  };
  await mapLimit(state.nodes, concurrency, (node) => write(node.netns, `nameserver ${gateway}\n`));
  await mapLimit(state.pods, concurrency, (pod) =>
    write(
      pod.netns,
      `search ${pod.namespace}.svc.cluster.local svc.cluster.local cluster.local\n${clusterDns
        .map((address) => `nameserver ${address}\n`)
        .join('')}options ndots:5\n`,
    ),
  );
}

/**
 * The fabric: the machines' network, a bridge with one port a node and the nodes' gateway address.
 * It drops IP fragments, as many cloud networks do, so that a tunnel packet that is too large for the underlay is lost
 * here as it is there: VXLAN's outer header has no DF, and the node would send it in fragments that a plain bridge passes.
 */
export async function buildFabric(state: LabState, signal?: AbortSignal): Promise<void> {
  const netns = state.fabricNetns;
  const mtu = state.underlayMtuBytes;
  const options = signal === undefined ? {} : { signal };
  // Frames on the fabric are on a wire: the fabric's own IP rules have nothing to do with them.
  const bridgeSettings = ['bridge-nf-call-iptables', 'bridge-nf-call-ip6tables', 'bridge-nf-call-arptables'];
  await must(
    inNetns(netns, ['sysctl', '-q', '-e', '-w', ...bridgeSettings.map((key) => `net/bridge/${key}=0`)]),
    options,
  );
  await ipBatch(
    netns,
    [
      'link set lo up',
      `link add underlay mtu ${mtu} type bridge`,
      'link set underlay up',
      ...state.nodeCidrs.map(
        (cidr) =>
          `addr add ${hostOf(cidr, 1)}${cidr.slice(cidr.indexOf('/'))} dev underlay${cidr.includes(':') ? ' nodad' : ''}`,
      ),
      ...state.nodes.flatMap((node) => [
        `link add ${node.name} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${node.netns}`,
        `link set ${node.name} master underlay`,
        `link set ${node.name} up`,
      ]),
    ],
    signal,
  );
  const fragments = `table bridge fabric {
  chain forward {
    type filter hook forward priority 0;
    ip frag-off & 0x3fff != 0 drop
    meta protocol ip6 exthdr frag exists drop
  }
}
`;
  await must(inNetns(netns, ['nft', '-f', '-']), { ...options, input: fragments });
}

/** False where the kernel was started with ipv6.disable=1 or built without it. */
export const hasIpv6 = (): boolean => existsSync('/proc/sys/net/ipv6');

const ipv6Settings = [
  'net/ipv6/conf/all/accept_ra=0',
  'net/ipv6/conf/default/accept_ra=0',
  // Duplicate address detection would keep new addresses unusable for a second.
  'net/ipv6/conf/default/accept_dad=0',
];

/** Settings that devices inherit, so they must stand before the first device: what kubelet, kube-proxy and the CNIs set. */
export async function configureNode(state: LabState, node: LabNode, signal?: AbortSignal): Promise<void> {
  const settings = [
    'net/ipv4/ip_forward=1',
    'net/ipv4/conf/all/rp_filter=0',
    'net/ipv4/conf/default/rp_filter=0',
    // kube-proxy in iptables mode, so that NodePorts answer on 127.0.0.1.
    'net/ipv4/conf/all/route_localnet=1',
    ...(hasIpv6() ? ipv6Settings : []),
    ...(state.families.includes(6) ? ['net/ipv6/conf/all/forwarding=1'] : []),
    ...(cnis[state.cni].bridged
      ? ['net/bridge/bridge-nf-call-iptables=1', 'net/bridge/bridge-nf-call-ip6tables=1']
      : []),
  ];
  await must(
    inNetns(node.netns, ['sysctl', '-q', '-w', ...settings]),
    signal === undefined ? {} : { signal },
  );
}

/** eth0, the pod network's devices and routes, and the node's ends of the pods' devices. */
export async function buildNode(state: LabState, node: LabNode, signal?: AbortSignal): Promise<void> {
  const cni = cnis[state.cni];
  const own = state.pods.filter((pod) => pod.node === node.name);
  const options = signal === undefined ? {} : { signal };
  await must(inNetns(node.netns, ['ethtool', '-K', 'eth0', ...offloads]), options);
  await ipBatch(
    node.netns,
    [
      'link set lo up',
      'link set eth0 up',
      ...node.addresses.flatMap((address, index) => {
        const cidr = state.nodeCidrs[index] ?? '';
        const v6 = address.includes(':');
        return [
          `addr add ${address}${cidr.slice(cidr.indexOf('/'))} dev eth0${v6 ? ' nodad' : ''}`,
          `route add default via ${hostOf(cidr, 1)} dev eth0`,
        ];
      }),
      ...cni.nodeLines(state, node),
      ...own.flatMap((pod) => cni.podDeviceLines(state, pod)),
    ],
    signal,
  );
  await bridgeBatch(node.netns, cni.fdbLines(state, node), signal);
  const settings = cni.nodeSysctls(state, node);
  if (settings.length > 0) await must(inNetns(node.netns, ['sysctl', '-q', '-w', ...settings]), options);
}

/**
 * The pod's addresses and routes. Segmentation offload is off as on the nodes' eth0: a super-packet would slip past the
 * MTU checks of veth devices (is_skb_forwardable lets every GSO packet pass), and MTU faults would not show.
 */
export async function buildPod(state: LabState, pod: LabPod, signal?: AbortSignal): Promise<void> {
  await ipBatch(pod.netns, cnis[state.cni].podLines(state, pod), signal);
  await must(
    inNetns(pod.netns, ['ethtool', '-K', 'eth0', ...offloads]),
    signal === undefined ? {} : { signal },
  );
}
