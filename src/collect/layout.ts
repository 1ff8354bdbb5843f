/** Where things stand inside a snapshot, and what is missed when a file is not there. */

/** `cluster/pods.json` -> `pods`; undefined for anything else. */
export function clusterKind(path: string): string | undefined {
  return /^cluster\/([^/]+)\.json$/.exec(path)?.[1];
}

export interface NetnsPath {
  /** `node1`, or `node1/shop_web-1`. */
  readonly id: string;
  readonly node: string;
  readonly pod?: { readonly namespace: string; readonly name: string };
  /** `nodes/node1/`, or `nodes/node1/pods/shop_web-1/`. */
  readonly prefix: string;
  /** `ip-link.json` */
  readonly file: string;
}

/** Takes the path of a namespace's file apart; undefined for other paths. Kubernetes names hold no `_`, so the first one splits. */
export function netnsPath(path: string): NetnsPath | undefined {
  const parts = path.split('/');
  const [root, node, third, folder, file] = parts;
  if (root !== 'nodes' || node === undefined || third === undefined) return undefined;
  if (parts.length === 3) return { id: node, node, prefix: `nodes/${node}/`, file: third };
  if (parts.length !== 5 || third !== 'pods' || folder === undefined || file === undefined) return undefined;
  const cut = folder.indexOf('_');
  if (cut < 1) return undefined;
  return {
    id: `${node}/${folder}`,
    node,
    pod: { namespace: folder.slice(0, cut), name: folder.slice(cut + 1) },
    prefix: `nodes/${node}/pods/${folder}/`,
    file,
  };
}

export const podFolder = (namespace: string, name: string): string => `${namespace}_${name}`;
export const netnsPrefix = (node: string, pod?: { namespace: string; name: string }): string =>
  pod === undefined ? `nodes/${node}/` : `nodes/${node}/pods/${podFolder(pod.namespace, pod.name)}/`;

/** A file that facts of a namespace are read from: without it, those facts are unknown. */
export interface NetnsFile {
  readonly file: string;
  /** What it holds, for people. */
  readonly holds: string;
  /** What prints it. */
  readonly command: string;
  /** A file of the same content in another form, which does as well: `nft list ruleset`. */
  readonly otherForm?: string;
  /** True for a pod's files that its network namespace does not have: they need an exec into the container. */
  readonly inContainer?: boolean;
}

export const netnsFiles: readonly NetnsFile[] = [
  { file: 'ip-link.json', holds: 'devices', command: 'ip -j -d link' },
  { file: 'ip-addr.json', holds: 'addresses', command: 'ip -j -d addr' },
  { file: 'ip-route.json', holds: 'IPv4 routes', command: 'ip -j route show table all' },
  { file: 'ip-route6.json', holds: 'IPv6 routes', command: 'ip -j -6 route show table all' },
  { file: 'ip-rule.json', holds: 'IPv4 routing rules', command: 'ip -j rule' },
  { file: 'ip-rule6.json', holds: 'IPv6 routing rules', command: 'ip -j -6 rule' },
  { file: 'ip-neigh.json', holds: 'neighbours', command: 'ip -j neigh' },
  { file: 'bridge-fdb.json', holds: 'forwarding database', command: 'bridge -j fdb' },
  { file: 'bridge-link.json', holds: 'bridge ports', command: 'bridge -j -d link' },
  { file: 'iptables-save.txt', holds: 'iptables rules', command: 'iptables-save -c' },
  { file: 'ip6tables-save.txt', holds: 'ip6tables rules', command: 'ip6tables-save -c' },
  { file: 'iptables-legacy-save.txt', holds: 'legacy iptables rules', command: 'iptables-legacy-save -c' },
  { file: 'ip6tables-legacy-save.txt', holds: 'legacy ip6tables rules', command: 'ip6tables-legacy-save -c' },
  { file: 'nft.json', holds: 'nftables tables', command: 'nft -j list ruleset', otherForm: 'nft.txt' },
  { file: 'ipset.txt', holds: 'IP sets', command: 'ipset save' },
  { file: 'sysctl.txt', holds: 'sysctls', command: 'sysctl net' },
  { file: 'ss.txt', holds: 'listening sockets', command: 'ss -H -lntup' },
  { file: 'conntrack.txt', holds: 'conntrack entries', command: 'conntrack -L' },
  { file: 'proc-net-snmp.txt', holds: 'protocol counters', command: 'cat /proc/net/snmp' },
  { file: 'proc-net-netstat.txt', holds: 'extended protocol counters', command: 'cat /proc/net/netstat' },
  {
    file: 'resolv.conf',
    holds: 'resolver configuration',
    command: 'cat /etc/resolv.conf',
    inContainer: true,
  },
];

/** Kubernetes kinds that answers are built on; `owner` is the kind of a workload, as pods name it. */
export const clusterKinds: readonly { readonly plural: string; readonly owner?: string }[] = [
  { plural: 'pods' },
  { plural: 'nodes' },
  { plural: 'namespaces' },
  { plural: 'services' },
  { plural: 'endpointslices.discovery.k8s.io' },
  { plural: 'networkpolicies.networking.k8s.io' },
  { plural: 'configmaps' },
  { plural: 'deployments.apps', owner: 'ReplicaSet' },
  { plural: 'replicasets.apps', owner: 'ReplicaSet' },
  { plural: 'daemonsets.apps', owner: 'DaemonSet' },
  { plural: 'statefulsets.apps', owner: 'StatefulSet' },
];
