/** Parses everything there is, to tell what is there but was not understood. Costs the time that laziness saves. */
import type { Gap } from '../model/gap.ts';
import type { Known } from '../model/known.ts';
import type { Netns } from '../model/netns.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { SnapshotFiles } from './files.ts';
import { netnsPrefix } from './layout.ts';

type Fact = Exclude<keyof Netns, 'id' | 'node' | 'pod'>;

/** The files that each fact of a namespace is read from. */
const filesOfFact: Readonly<Record<Fact, readonly string[]>> = {
  devices: ['ip-link.json', 'ip-addr.json'],
  routes: ['ip-route.json'],
  routes6: ['ip-route6.json'],
  nexthops: ['ip-nexthop.json'],
  rules: ['ip-rule.json'],
  rules6: ['ip-rule6.json'],
  neighbours: ['ip-neigh.json'],
  fdb: ['bridge-fdb.json'],
  bridgePorts: ['bridge-link.json'],
  wireguard: ['wg-allowed-ips.txt'],
  rulesets: [
    'iptables-save.txt',
    'ip6tables-save.txt',
    'iptables-legacy-save.txt',
    'ip6tables-legacy-save.txt',
  ],
  nftTables: ['nft.json'],
  ipsets: ['ipset.txt'],
  ipvs: ['ipvs.txt'],
  ciliumServices: ['cilium-bpf-lb.txt'],
  ciliumIpcache: ['cilium-bpf-ipcache.txt'],
  ciliumEndpoints: ['cilium-bpf-endpoint.txt'],
  ciliumPolicies: ['cilium-bpf-policy.txt'],
  sysctls: ['sysctl.txt'],
  sockets: ['ss.txt'],
  conntrack: ['conntrack.txt'],
  counters: ['proc-net-snmp.txt', 'proc-net-netstat.txt'],
  resolver: ['resolv.conf'],
};

/** One gap for each fact whose files are all there and that is unknown all the same. */
export function notUnderstood(snapshot: Snapshot, { files }: SnapshotFiles): readonly Gap[] {
  const gaps: Gap[] = [];
  for (const netns of snapshot.netns.values()) {
    const prefix = netnsPrefix(netns.node, netns.pod);
    for (const [fact, names] of Object.entries(filesOfFact)) {
      const value: Known<unknown> = netns[fact as Fact];
      if (value.state === 'known' || names.some((name) => !files.has(prefix + name))) continue;
      gaps.push(notUnderstoodGap(`${fact} of ${netns.id}`, `${prefix}${names[0]}`, value.why));
    }
  }
  for (const kind of clusterFacts) {
    const value: Known<unknown> = snapshot.cluster[kind];
    const file = `cluster/${pluralOf[kind]}.json`;
    if (value.state === 'unknown' && files.has(file))
      gaps.push(notUnderstoodGap(`the cluster's ${kind}`, file, value.why));
  }
  return gaps;
}

const notUnderstoodGap = (what: string, where: string, why: string): Gap => ({
  what,
  where,
  why,
  todo: 'collect it again; if it is undamaged, report it with the file',
});

/** Kinds that are one file each; custom resources that could not be read are named by `policy` and `diagnose`, which need them. */
type ClusterFact =
  | 'pods'
  | 'nodes'
  | 'namespaces'
  | 'services'
  | 'endpointSlices'
  | 'networkPolicies'
  | 'configMaps'
  | 'serviceAccounts';

const pluralOf: Readonly<Record<ClusterFact, string>> = {
  pods: 'pods',
  nodes: 'nodes',
  namespaces: 'namespaces',
  services: 'services',
  endpointSlices: 'endpointslices.discovery.k8s.io',
  networkPolicies: 'networkpolicies.networking.k8s.io',
  configMaps: 'configmaps',
  serviceAccounts: 'serviceaccounts',
};
const clusterFacts = Object.keys(pluralOf) as ClusterFact[];
