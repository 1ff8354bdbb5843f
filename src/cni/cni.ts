/** What the checks need to know about a pod network: who made it, which tunnel it uses, who keeps it up. One file a CNI. */
import type { Pod } from '../model/cluster.ts';
import type { Snapshot } from '../model/snapshot.ts';

export interface Tunnel {
  readonly kind: 'vxlan' | 'ipip' | 'geneve' | 'wireguard';
  /** `flannel.1`, `vxlan.calico`. */
  readonly device: string;
  /** UDP port; absent for ipip. */
  readonly port?: number;
  readonly vni?: number;
}

export interface Cni {
  readonly name: string;
  /** What shows that the cluster uses it, as a clause; undefined if nothing does. */
  readonly detect: (snapshot: Snapshot) => string | undefined;
  /** The tunnel between nodes; undefined for plain routing. */
  readonly tunnel: (snapshot: Snapshot) => Tunnel | undefined;
  /** True for a pod of its per-node agent. */
  readonly isAgent: (pod: Pod) => boolean;
  /** True if each node's pods take their addresses from the Node's spec.podCIDRs. */
  readonly usesNodePodCidrs: boolean;
  /** True if pod packets bypass the kernel's routes and rules (eBPF), so that those prove nothing. */
  readonly bypassesKernelRoutes: boolean;
  /** The node address that peers are told to send tunnel packets to, as text. */
  readonly announcedAddress?: (annotations: Readonly<Record<string, string>>) => string | undefined;
  /** MAC address of a node's tunnel device as its Node object announces it. */
  readonly announcedMac?: (annotations: Readonly<Record<string, string>>) => string | undefined;
}

export const defineCni = (cni: Cni): Cni => cni;
