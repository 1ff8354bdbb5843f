/**
 * The recorded lab as kube-proxy's ipvs mode would have left it: kube-ipvs0 with the Services' addresses, its rules with their
 * sets, and an IPVS table. Written after pkg/proxy/ipvs, not recorded.
 */
import { type Edits, inJson } from './recorded-lab.ts';

const nodes = ['node1', 'node2', 'node3'] as const;
const nodeAddress = { node1: '10.99.0.11', node2: '10.99.0.12', node3: '10.99.0.13' } as const;

const apiBackends = ['10.244.1.3', '10.244.2.3', '10.244.3.3'] as const;
const clusterIps = ['10.96.0.10', '10.96.0.101', '10.96.0.102', '10.96.0.103'];

const rules = [
  '*mangle',
  ':PREROUTING ACCEPT [0:0]',
  ':INPUT ACCEPT [0:0]',
  ':FORWARD ACCEPT [0:0]',
  ':OUTPUT ACCEPT [0:0]',
  ':POSTROUTING ACCEPT [0:0]',
  'COMMIT',
  '*nat',
  ':PREROUTING ACCEPT [0:0]',
  ':INPUT ACCEPT [0:0]',
  ':OUTPUT ACCEPT [0:0]',
  ':POSTROUTING ACCEPT [0:0]',
  ':KUBE-LOAD-BALANCER - [0:0]',
  ':KUBE-MARK-MASQ - [0:0]',
  ':KUBE-NODE-PORT - [0:0]',
  ':KUBE-POSTROUTING - [0:0]',
  ':KUBE-SERVICES - [0:0]',
  '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
  '-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ',
  '-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000',
  '-A KUBE-NODE-PORT -p tcp -m comment --comment "Kubernetes nodeport TCP port for masquerade purpose" -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ',
  '-A KUBE-POSTROUTING -m comment --comment "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose" -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE',
  '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
  '-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0',
  '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
  '-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN',
  '-A KUBE-SERVICES ! -s 10.244.0.0/16 -m comment --comment "Kubernetes service cluster ip + port for masquerade purpose" -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ',
  '-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT',
  '-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT',
  'COMMIT',
  '*filter',
  ':INPUT ACCEPT [0:0]',
  ':FORWARD ACCEPT [0:0]',
  ':OUTPUT ACCEPT [0:0]',
  ':KUBE-FORWARD - [0:0]',
  ':KUBE-IPVS-FILTER - [0:0]',
  '-A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER',
  '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
  '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
  '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
  '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  '-A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN',
  '-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT --reject-with icmp-port-unreachable',
  'COMMIT',
  '',
].join('\n');

const create = (name: string, type: string) =>
  `create ${name} ${type} family inet hashsize 1024 maxelem 65536`;

const sets = [
  create('KUBE-CLUSTER-IP', 'hash:ip,port'),
  'add KUBE-CLUSTER-IP 10.96.0.10,udp:53',
  'add KUBE-CLUSTER-IP 10.96.0.101,tcp:80',
  'add KUBE-CLUSTER-IP 10.96.0.102,tcp:5432',
  create('KUBE-LOOP-BACK', 'hash:ip,port,ip'),
  ...apiBackends.map((ip) => `add KUBE-LOOP-BACK ${ip},tcp:8080,${ip}`),
  create('KUBE-IPVS-IPS', 'hash:ip'),
  ...clusterIps.map((ip) => `add KUBE-IPVS-IPS ${ip}`),
  'create KUBE-NODE-PORT-TCP bitmap:port range 0-65535',
  'add KUBE-NODE-PORT-TCP 30080',
  '',
].join('\n');

/** `ipvsadm -Sn` of a node: the Service shop/api by its ClusterIP and its node port, and the DNS. */
export const table = (node: keyof typeof nodeAddress, options = '-s rr'): string =>
  [
    ...[`10.96.0.101:80`, `${nodeAddress[node]}:30080`].flatMap((at) => [
      `-A -t ${at} ${options}`,
      ...apiBackends.map((ip) => `-a -t ${at} -r ${ip}:8080 -m -w 1`),
    ]),
    '-A -u 10.96.0.10:53 -s rr',
    '-a -u 10.96.0.10:53 -r 10.244.1.5:53 -m -w 1',
    '',
  ].join('\n');

const ipvsDevice = {
  ifindex: 90,
  ifname: 'kube-ipvs0',
  flags: ['BROADCAST', 'NOARP'],
  mtu: 1500,
  operstate: 'DOWN',
  link_type: 'ether',
  address: '02:00:00:00:90:01',
  linkinfo: { info_kind: 'dummy' },
};

export function ipvsMode(): Edits {
  const edits: Record<string, Edits[string]> = {};
  for (const node of nodes) {
    const at = (file: string) => `nodes/${node}/${file}`;
    edits[at('ip-link.json')] = inJson((list) => [...list, ipvsDevice]);
    edits[at('ip-addr.json')] = inJson((list) => [
      ...list,
      {
        ...ipvsDevice,
        addr_info: clusterIps.map((local) => ({ family: 'inet', local, prefixlen: 32, scope: 'global' })),
      },
    ]);
    edits[at('ip-route.json')] = inJson((list) => [
      ...list,
      ...clusterIps.map((dst) => ({
        type: 'local',
        dst,
        dev: 'kube-ipvs0',
        table: 'local',
        protocol: 'kernel',
        scope: 'host',
        prefsrc: dst,
        flags: [],
      })),
    ]);
    edits[at('iptables-save.txt')] = () => rules;
    edits[at('nft.json')] = () => '{"nftables": []}';
    edits[at('ipset.txt')] = () => sets;
    edits[at('ipvs.txt')] = () => table(node);
    edits[at('sysctl.txt')] = (text) => `${text}net.ipv4.vs.conntrack = 1\n`;
  }
  return edits;
}

/** An edit of one file on every node. */
export const onAll = (file: string, edit: (node: (typeof nodes)[number]) => Edits[string]): Edits =>
  Object.fromEntries(nodes.map((node) => [`nodes/${node}/${file}`, edit(node)]));
