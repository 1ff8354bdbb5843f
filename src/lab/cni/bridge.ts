/** The bridge CNI plugin's part, which both flannel back-ends use: cni0 with the podCIDR's .1, a veth pair a pod. */
import { hostOf } from '../plan.ts';
import type { LabNode, LabPod, LabState } from '../state.ts';
import { stableMac } from './cni.ts';

const prefixLength = (cidr: string): string => cidr.slice(cidr.indexOf('/') + 1);
const isV6 = (text: string): boolean => text.includes(':');

export function cniBridgeLines(state: LabState, node: LabNode, mtuBytes: number): string[] {
  return [
    `link add cni0 address ${stableMac('cni0', state.name, node.name)} mtu ${mtuBytes} type bridge`,
    'link set cni0 up',
    ...node.podCidrs.map(
      (cidr) => `addr add ${hostOf(cidr, 1)}/${prefixLength(cidr)} dev cni0${isV6(cidr) ? ' nodad' : ''}`,
    ),
  ];
}

/** Hairpin: a pod that calls a Service and is its own backend gets its packet back by the port it came from. */
export const bridgePodDeviceLines = (pod: LabPod, mtuBytes: number): string[] => [
  `link add ${pod.hostDevice} mtu ${mtuBytes} type veth peer name eth0 mtu ${mtuBytes} netns ${pod.netns}`,
  `link set ${pod.hostDevice} master cni0`,
  `link set ${pod.hostDevice} type bridge_slave hairpin on`,
  `link set ${pod.hostDevice} up`,
];

export function bridgePodLines(state: LabState, pod: LabPod): string[] {
  const node = state.nodes.find((candidate) => candidate.name === pod.node);
  return [
    'link set lo up',
    'link set eth0 up',
    ...pod.addresses.flatMap((address, index) => {
      const cidr = node?.podCidrs[index];
      if (cidr === undefined) return [];
      return [
        `addr add ${address}/${prefixLength(cidr)} dev eth0${isV6(cidr) ? ' nodad' : ''}`,
        `route add default via ${hostOf(cidr, 1)} dev eth0`,
      ];
    }),
  ];
}
