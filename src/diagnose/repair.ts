/** What to do about a cause, as commands that a person can read and check. The fix engine owns doing it. */
import { carriesFrames } from '../dataplane/tunnels/kinds.ts';
import type { World } from '../dataplane/world.ts';
import type { CauseId } from '../model/finding.ts';
import { formatAddress } from '../net/address.ts';
import { protocolNumber } from '../net/packet.ts';
import { formatPrefix } from '../net/prefix.ts';
import type { Break } from './classify.ts';

/** Facts that a repair may use; absent ones leave a placeholder in angle brackets. */
type Advice = (world: World, broken: Break | undefined, subject: string) => readonly string[];

const restartAgent = (node: string): string =>
  `restart the CNI agent pod on ${node}: it writes devices, routes, neighbours and FDB entries anew`;

const nodeOf = (broken: Break | undefined, fallback: string): string => broken?.hop.node ?? fallback;

const advice: Readonly<Partial<Record<CauseId, Advice>>> = {
  'route/missing': (world, broken, subject) => [
    ...routeCommand(world, broken),
    restartAgent(nodeOf(broken, subject)),
  ],
  'route/wrong-next-hop': (world, broken, subject) => [
    ...routeCommand(world, broken),
    restartAgent(nodeOf(broken, subject)),
  ],
  'route/blackhole': (world, broken, subject) => [
    `on ${nodeOf(broken, subject)}: ip route del ${broken?.step.facts?.type ?? 'blackhole'} ${broken?.step.facts?.prefix ?? '<prefix>'}`,
    ...routeCommand(world, broken),
  ],
  'route/ip-forward-off': (_world, broken, subject) => [
    `on ${nodeOf(broken, subject)}: sysctl -w ${broken?.step.facts?.sysctl ?? 'net.ipv4.ip_forward'}=1`,
    'make it last: a file in /etc/sysctl.d; find what switched it off (a network restart, a hardening profile)',
  ],
  'route/rp-filter': (_world, broken, subject) => [
    `on ${nodeOf(broken, subject)}: sysctl -w net.ipv4.conf.${(broken?.step.facts?.device ?? 'all').replaceAll('.', '/')}.rp_filter=2 (loose), and conf.all.rp_filter no higher`,
    'or repair the route, so that packets come back by the device they left by',
  ],
  'route/neighbour-failed': (_world, broken, subject) => [
    `on ${nodeOf(broken, subject)}: ip neigh del ${broken?.step.facts?.nextHop ?? '<next hop>'} dev ${broken?.step.facts?.device ?? '<device>'}`,
    restartAgent(nodeOf(broken, subject)),
  ],
  'overlay/device-missing': (_world, broken, subject) => [restartAgent(broken?.step.facts?.node ?? subject)],
  'overlay/device-down': (_world, broken, subject) => [
    `on ${broken?.step.facts?.node ?? nodeOf(broken, subject)}: ip link set ${broken?.step.facts?.device ?? '<device>'} up`,
    restartAgent(broken?.step.facts?.node ?? nodeOf(broken, subject)),
  ],
  'overlay/vtep-mac-mismatch': (_world, broken) => [
    `on ${broken?.step.facts?.node ?? 'the sending node'}: ip neigh replace <VTEP address> lladdr ${broken?.step.facts?.expectedMac ?? '<MAC>'} dev ${broken?.step.facts?.device ?? 'flannel.1'} nud permanent, and the FDB entry alike`,
    restartAgent(broken?.step.facts?.peer ?? 'the receiving node'),
  ],
  'overlay/fdb-missing': (_world, broken, subject) => [
    broken?.step.facts?.deviceKind === 'wireguard'
      ? `on ${nodeOf(broken, subject)}: wg set ${broken.step.facts.device} peer <key of the right node> allowed-ips <its networks, with ${broken.step.facts.destination}>`
      : `on ${nodeOf(broken, subject)}: bridge fdb add ${broken?.step.facts?.mac ?? '<MAC>'} dev ${broken?.step.facts?.device ?? 'flannel.1'} dst <node address> self permanent`,
    restartAgent(nodeOf(broken, subject)),
  ],
  'overlay/fdb-wrong': (_world, broken, subject) => [
    `on ${broken?.step.facts?.node ?? nodeOf(broken, subject)}: bridge fdb replace ${broken?.step.facts?.mac ?? '<MAC>'} dev ${broken?.step.facts?.device ?? 'flannel.1'} dst ${broken?.step.facts?.expectedRemote ?? '<address of the right node>'} self permanent`,
    restartAgent(broken?.step.facts?.node ?? nodeOf(broken, subject)),
  ],
  'overlay/parameters-differ': (_world, broken, subject) => [
    `give ${nodeOf(broken, subject)} the tunnel parameters (VNI, port, ends, keys) that its peers expect, then restart its CNI agent`,
  ],
  'overlay/port-blocked': (_world, broken, subject) => [
    ...deleteRule(broken, subject),
    `allow ${tunnelTraffic(broken)} between all nodes, in host firewalls and security groups`,
  ],
  'netfilter/foreign-rule': (_world, broken, subject) => [
    ...deleteRule(broken, subject),
    'find who writes it, or it will come back',
  ],
  'netfilter/forward-drop': (_world, broken, subject) => [
    `on ${nodeOf(broken, subject)}: iptables -I FORWARD -s <pod CIDR> -j ACCEPT; iptables -I FORWARD -d <pod CIDR> -j ACCEPT`,
    'do not flush FORWARD: policies and Services live there',
  ],
  'firewall/node-rule': (_world, broken, subject) => [
    `on ${nodeOf(broken, subject)}: trust the pod CIDR and the CNI devices in the host firewall`,
    ...deleteRule(broken, subject),
  ],
  'mtu/too-large-for-overlay': () => [
    "set the CNI's MTU to the underlay's MTU less the tunnel's overhead (VXLAN and Geneve 50, IPIP 20, GRE 24, WireGuard 60 bytes)",
    'restart the CNI agents, then recreate the pods: a running pod keeps its MTU',
  ],
  'mtu/pmtud-blackhole': () => [
    'let ICMP type 3 code 4 (IPv6: type 2) pass on every node and firewall of the path',
    "or set the pods' MTU to what the path carries; or clamp: iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
  ],
  'mtu/differs-between-nodes': () => ["give every node's CNI devices the same MTU, then recreate the pods"],
  'cidr/duplicate-pod-cidr': () => [
    'drain and delete one of the two Node objects and let the node register again, so that it gets a pod CIDR of its own',
  ],
  'app/loopback-only': (_world, broken, subject) => [
    `make the server in ${subject} listen on 0.0.0.0 (or ::) instead of ${broken?.step.facts?.listening ?? 'loopback'}`,
  ],
  'app/not-listening': (_world, broken, subject) => [
    `start a server on ${broken?.step.facts?.port ?? 'that port'} in ${subject}, or call the port that it listens on`,
  ],
  'service/no-endpoints': (_world, _broken, subject) => [
    `kubectl get endpointslices,pods -o wide for Service ${subject}: make its pods ready, or its selector match them`,
  ],
  'service/selector-mismatch': (_world, _broken, subject) => [
    `make the selector of Service ${subject} equal the labels of its pods`,
  ],
  'service/rules-missing': (_world, broken, subject) => [
    `restart kube-proxy on ${nodeOf(broken, subject)}: it writes the rules of every Service anew`,
  ],
  'policy/denied-ingress': () => [
    'add an ingress rule that admits the source, or label the source as the rule asks',
  ],
  'policy/denied-egress': () => ['add an egress rule that admits the destination'],
  'dns/blocked-by-policy': () => [
    'add an egress rule: to namespaceSelector kubernetes.io/metadata.name=kube-system, podSelector k8s-app=kube-dns, ports 53/UDP and 53/TCP',
  ],
  'policy/not-enforced': () => [
    'run an agent that enforces NetworkPolicies on every node, or find out why the one there is does not',
  ],
  'dns/pod-config-wrong': () => ['set dnsPolicy ClusterFirst, correct dnsConfig, and recreate the pod'],
  'route/rule-shadows': (_world, broken, subject) => [
    `on ${nodeOf(broken, subject)}: ip rule show; delete the rule named above, or put the pod network before it`,
  ],
  'app/wrong-protocol': () => ['ask over the transport that the server speaks; set protocol in the Service'],
  'namespace/label-missing': () => [
    'select the namespace by kubernetes.io/metadata.name, which the API server sets on every namespace; or add the label',
  ],
};

export const repairOf = (
  id: CauseId,
  world: World,
  broken: Break | undefined,
  subject: string,
): readonly string[] => advice[id]?.(world, broken, subject) ?? [];

/** The outer packets as a firewall names them. */
function tunnelTraffic(broken: Break | undefined): string {
  const packet = broken?.hop.packet;
  if (packet === undefined || packet.protocol === 'udp') return `UDP ${packet?.dstPort ?? 8472}`;
  return `IP protocol ${protocolNumber[packet.protocol]} (${packet.protocol})`;
}

/** The route that the node should have to the destination's node. */
function routeCommand(world: World, broken: Break | undefined): readonly string[] {
  if (broken === undefined) return [];
  const { hop } = broken;
  const { dst } = hop.packet.inner?.packet ?? hop.packet;
  const home = world.nodeFor(dst);
  const node = home === undefined ? undefined : world.node(home);
  const cidr = node?.podCidrs.find((c) => c.family === dst.family);
  if (node === undefined || cidr === undefined || home === hop.node) return [];
  const via = node.internalAddresses.find((a) => a.family === cidr.family);
  const tunnel = [...(world.netns(hop.node) === undefined ? [] : tunnels(world, hop.node))][0];
  const how =
    tunnel === undefined
      ? `via ${via === undefined ? '<node address>' : formatAddress(via)}`
      : `via ${formatAddress({ family: cidr.family, value: cidr.value })} dev ${tunnel} onlink`;
  return [`on ${hop.node}: ip route replace ${formatPrefix(cidr)} ${how}`];
}

function tunnels(world: World, node: string): string[] {
  const netns = world.netns(node);
  if (netns === undefined) return [];
  return [...world.devices(netns).values()].filter(carriesFrames).map((d) => d.name);
}

function deleteRule(broken: Break | undefined, subject: string): readonly string[] {
  const rule = broken?.step.facts?.rule;
  const table = broken?.step.facts?.table;
  if (rule === undefined || table === undefined) return [];
  const command = broken?.hop.packet.src.family === 6 ? 'ip6tables' : 'iptables';
  // Counters stand in front of the rule in a save with -c.
  const spec = rule.replace(/^\[\d+:\d+\]\s*/, '').replace(/^-A /, '-D ');
  return [`on ${nodeOf(broken, subject)}: ${command} -t ${table} ${spec}`];
}
