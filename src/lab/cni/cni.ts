/** What a pod network adds to a lab, as commands and annotations: one file a network, pure, all listed in cnis.ts. */
import { createHash } from 'node:crypto';
import type { LabCni, LabNode, LabPod, LabState } from '../state.ts';

export interface Cni {
  readonly name: LabCni;
  /** Whether same-node traffic crosses a bridge: policy and Service rules then need br_netfilter. */
  readonly bridged: boolean;
  /** MTU of pod devices, in bytes. */
  readonly podMtuBytes: (state: LabState) => number;
  /** `ip -batch` lines for a node's namespace, after its eth0 is up: tunnel and bridge devices, routes, neighbours. */
  readonly nodeLines: (state: LabState, node: LabNode) => readonly string[];
  /** `bridge -batch` lines for a node's namespace, after nodeLines. */
  readonly fdbLines: (state: LabState, node: LabNode) => readonly string[];
  /** `ip -batch` lines for the node's namespace that make one pod's pair of devices. */
  readonly podDeviceLines: (state: LabState, pod: LabPod) => readonly string[];
  /** `ip -batch` lines for the pod's namespace. */
  readonly podLines: (state: LabState, pod: LabPod) => readonly string[];
  /** `a/b/c=1` settings of the node's namespace once all devices exist; slashes, because device names hold dots. */
  readonly nodeSysctls: (state: LabState, node: LabNode) => readonly string[];
  readonly nodeAnnotations: (state: LabState, node: LabNode) => Readonly<Record<string, string>>;
  readonly configMap?: (state: LabState) => {
    readonly namespace: string;
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly data: Readonly<Record<string, string>>;
  };
}

/** Bytes that VXLAN adds: outer IP (20 or 40), UDP 8, VXLAN 8, inner Ethernet 14. */
export const vxlanOverheadBytes = (family: 4 | 6): number => (family === 4 ? 50 : 70);

/** A unicast, locally administered MAC that is always the same for the same words: peers know it without asking. */
export function stableMac(...words: readonly string[]): string {
  const hash = createHash('sha256').update(words.join('\0')).digest();
  const first = ((hash[0] ?? 0) & 0xfc) | 0x02;
  return [first, ...hash.subarray(1, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export const otherNodes = (state: LabState, node: LabNode): readonly LabNode[] =>
  state.nodes.filter((other) => other !== node);

/** The address and podCIDR of a node in one family; undefined if the lab does not have the family. */
export function nodeIn(
  node: LabNode,
  family: 4 | 6,
): { readonly address: string; readonly podCidr: string } | undefined {
  const index = family === 4 ? 0 : 1;
  const [address, podCidr] = [node.addresses[index], node.podCidrs[index]];
  return address === undefined || podCidr === undefined ? undefined : { address, podCidr };
}

export const networkOf = (cidr: string): string => cidr.slice(0, cidr.indexOf('/'));
