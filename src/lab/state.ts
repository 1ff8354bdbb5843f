/**
 * What a lab is made of, as its state file records it. State lives in `<state root>/labs/<name>/`:
 * lab.json (this), cluster/*.json (the Kubernetes objects, as in a snapshot), servers.json (what the pods listen on).
 */

/** A process that its pid alone would not identify, because pids are used again. */
export interface ProcessId {
  readonly pid: number;
  /** Start time in clock ticks since boot, field 22 of /proc/<pid>/stat. */
  readonly startTicks: string;
}

export type LabCni = 'flannel-vxlan' | 'flannel-host-gw' | 'calico-vxlan' | 'calico-bgp';

export interface LabState {
  readonly schema: 1;
  readonly name: string;
  readonly cni: LabCni;
  readonly families: readonly (4 | 6)[];
  /** RFC 3339. */
  readonly createdAt: string;
  /** Set by `demo` and tests: the lab is removed by the next start if this process is gone. */
  readonly owner?: ProcessId;
  /** Network namespace that holds the underlay bridge. */
  readonly fabricNetns: string;
  readonly underlayMtuBytes: number;
  /** The prefixes that the nodes' podCidrs are cut from (kube-proxy's --cluster-cidr), IPv4 first. */
  readonly podCidrs: readonly string[];
  /** The underlay's prefixes. */
  readonly nodeCidrs: readonly string[];
  readonly serviceCidrs: readonly string[];
  readonly nodes: readonly LabNode[];
  readonly pods: readonly LabPod[];
  /** Names of the faults that are applied now, oldest first. */
  readonly faults: readonly { readonly name: string; readonly args: Readonly<Record<string, string>> }[];
}

export interface LabNode {
  readonly name: string;
  readonly netns: string;
  /** Underlay addresses, IPv4 first. */
  readonly addresses: readonly string[];
  readonly podCidrs: readonly string[];
}

export interface LabPod {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly netns: string;
  readonly addresses: readonly string[];
  /** The node's end of the pod's veth pair. */
  readonly hostDevice: string;
}
