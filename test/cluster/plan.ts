/** What a test cluster consists of: names, addresses, folders. Pure, but for the folder of all clusters. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PodpathError } from '../../src/model/errors.ts';

export type ClusterCni = 'flannel-vxlan' | 'flannel-host-gw';
export type ClusterProxy = 'iptables' | 'nftables';

const clusterCnis: readonly ClusterCni[] = ['flannel-vxlan', 'flannel-host-gw'];
const clusterProxies: readonly ClusterProxy[] = ['iptables', 'nftables'];

export interface ClusterOptions {
  /** 1 to 12 characters; two clusters of different names never meet. */
  readonly name: string;
  /** Default flannel-vxlan. */
  readonly cni?: ClusterCni;
  /** What kube-proxy writes. Default iptables. */
  readonly proxy?: ClusterProxy;
  /** 1 to 9, default 3. */
  readonly nodes?: number;
  /** The cluster goes when this process does (the next sweep removes it). Absent: it stays until `down`. */
  readonly ownerPid?: number;
}

/** A network namespace on the fabric with processes of its own. */
export interface Machine {
  /** `cp`, `node1`. */
  readonly name: string;
  readonly netns: string;
  readonly address: string;
}

export interface Plan {
  readonly name: string;
  readonly cni: ClusterCni;
  readonly proxy: ClusterProxy;
  readonly ownerPid?: number;
  readonly folder: string;
  /** The switch that all others hang on; it is also the nodes' gateway, to nowhere. */
  readonly fabric: { readonly netns: string; readonly address: string };
  /** etcd, API server, controllers, scheduler. */
  readonly controlPlane: Machine;
  readonly nodes: readonly Machine[];
  /** Where kubectl and podpath run: it reaches the API server, and no node answers to it for less. */
  readonly admin: Machine;
}

export const nodePrefixLength = 24;
export const podCidr = '10.244.0.0/16';
export const serviceCidr = '10.96.0.0/16';
export const apiServerClusterIp = '10.96.0.1';
export const dnsClusterIp = '10.96.0.10';
export const kubernetesVersion = 'v1.36.3';
export const tunnelPort = 8472;

/** All that harness writes for its clusters lies below it. */
export const clustersFolder = (): string => join(tmpdir(), 'podpath-clusters');
export const clusterFolder = (name: string): string => join(clustersFolder(), name);
/** Every namespace, control group and folder of a cluster starts with it. */
export const clusterPrefix = (name: string): string => `pc-${name}-`;

/** Throws PodpathError for options that cannot be met. */
export function planCluster(options: ClusterOptions): Plan {
  const { name, cni = 'flannel-vxlan', proxy = 'iptables', nodes = 3 } = options;
  checkName(name);
  check(clusterCnis.includes(cni), `--cni ${cni}`, `it must be one of ${clusterCnis.join(', ')}`);
  check(clusterProxies.includes(proxy), `--proxy ${proxy}`, `it must be one of ${clusterProxies.join(', ')}`);
  check(Number.isInteger(nodes) && nodes >= 1 && nodes <= 9, `--nodes ${nodes}`, 'it must be 1 to 9');
  const machine = (part: string, host: number): Machine => ({
    name: part,
    netns: `${clusterPrefix(name)}${part}`,
    address: `10.99.0.${host}`,
  });
  return {
    name,
    cni,
    proxy,
    ...(options.ownerPid === undefined ? {} : { ownerPid: options.ownerPid }),
    folder: clusterFolder(name),
    fabric: { netns: `${clusterPrefix(name)}fabric`, address: '10.99.0.1' },
    controlPlane: machine('cp', 10),
    nodes: Array.from({ length: nodes }, (_, index) => machine(`node${index + 1}`, 11 + index)),
    admin: machine('admin', 5),
  };
}

export function checkName(name: string): void {
  check(
    /^[a-z0-9]{1,12}$/.test(name),
    `--name ${name}`,
    'a cluster name is 1 to 12 characters of a-z and 0-9, without "-": one cluster\'s names must not begin like another\'s',
  );
}

function check(holds: boolean, option: string, why: string): void {
  if (holds) return;
  throw new PodpathError({
    code: 'cluster/bad-option',
    what: `${option} cannot be used`,
    why,
    todo: 'see: node scripts/cluster.mjs',
  });
}

export const apiServerUrl = (plan: Plan): string => `https://${plan.controlPlane.address}:6443`;
export const adminKubeconfig = (plan: Plan): string => join(plan.folder, 'admin.kubeconfig');
export const pkiFolder = (plan: Plan): string => join(plan.folder, 'pki');
/** What belongs to one machine: its private directories, its logs. */
export const machineFolder = (plan: Plan, machine: Machine): string => join(plan.folder, machine.name);
