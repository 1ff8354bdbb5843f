/** Which findings make the state at which a packet is lost: the cause behind the step. */
import type { Cause, CauseId, Finding } from '../model/finding.ts';
import type { Branch, Reason } from '../model/verdict.ts';
import { formatAddress } from '../net/address.ts';
import type { Break } from './classify.ts';

type Area = 'route' | 'tunnel' | 'neighbour' | 'filter' | 'size' | 'far-end' | 'service';

const areas: Readonly<Partial<Record<Reason, Area>>> = {
  'no-route': 'route',
  'route-blackhole': 'route',
  'wrong-next-hop': 'route',
  'routing-loop': 'route',
  'ttl-exceeded': 'route',
  'rp-filter': 'route',
  'wrong-host': 'route',
  'device-down': 'tunnel',
  'neighbour-unresolved': 'neighbour',
  'neighbour-wrong-mac': 'neighbour',
  'no-host-for-address': 'neighbour',
  'fdb-missing': 'tunnel',
  'fdb-wrong': 'tunnel',
  'vtep-mac-mismatch': 'tunnel',
  'tunnel-endpoint-missing': 'tunnel',
  'tunnel-endpoint-down': 'tunnel',
  'rule-drop': 'filter',
  'rule-reject': 'filter',
  'chain-policy-drop': 'filter',
  'no-endpoints': 'service',
  'service-rules-missing': 'service',
  'not-listening': 'far-end',
  'mtu-exceeded': 'size',
  'fragment-lost': 'size',
};

/** Causes that make the state at which packets are lost, by the areas where that shows. */
const roots: Readonly<Partial<Record<CauseId, readonly Area[]>>> = {
  'cidr/duplicate-pod-cidr': ['route', 'tunnel', 'neighbour', 'far-end', 'filter'],
  'cidr/duplicate-pod-ip': ['route', 'neighbour', 'far-end', 'filter'],
  'cidr/overlaps-node-network': ['route', 'neighbour'],
  'cidr/overlaps-external': ['route', 'neighbour'],
  'cidr/pod-outside-node-cidr': ['route', 'neighbour'],
  'overlay/device-missing': ['route', 'neighbour', 'tunnel'],
  'overlay/device-down': ['route', 'neighbour', 'tunnel'],
  'overlay/wrong-interface': ['tunnel', 'neighbour'],
  'dns/coredns-down': ['service', 'far-end'],
  'dns/no-endpoints': ['service'],
  'service/selector-mismatch': ['service'],
  'service/not-ready': ['service'],
  'service/target-port-wrong': ['far-end', 'service'],
  'service/rules-stale': ['route', 'neighbour', 'far-end', 'filter'],
  'conntrack/stale-entry': ['route', 'neighbour', 'far-end', 'filter'],
  'mtu/too-large-for-overlay': ['size'],
};

export function isRootOf(
  finding: Finding,
  broken: Break,
  direct: Cause | undefined,
  branch: Branch | undefined,
): boolean {
  const area = areaOf(broken, direct);
  if (area === undefined || finding.cause === direct?.id) return false;
  if (roots[finding.cause]?.includes(area) !== true) return false;
  // A path-MTU black hole is shown by the lost ICMP itself; the large device alone would have been survived.
  if (area === 'size' && direct?.id === 'mtu/pmtud-blackhole') return false;
  // A stale rule explains the loss of what it leads to, and of nothing else.
  if (finding.cause === 'service/rules-stale') {
    const backend = branch?.backend?.split(' ').at(-1);
    return backend !== undefined && finding.statement.includes(backend);
  }
  // So does a stale connection entry: the packet goes where the entry says.
  if (finding.cause === 'conntrack/stale-entry') {
    const { dst } = (broken.hop.packet.inner ?? broken.hop).packet;
    return finding.statement.includes(` to ${formatAddress(dst)},`);
  }
  // Another fault of the far node's Service rules is no reason for a policy's refusal.
  if (!finding.cause.startsWith('overlay/device')) return true;
  const node = finding.subject.name.split('/')[0];
  return node === broken.hop.node || node === broken.step.facts?.node;
}

/** kube-proxy's own rule that refuses a Service without endpoints is a filter rule about a Service. */
const areaOf = ({ step }: Break, direct: Cause | undefined): Area | undefined =>
  direct?.id.startsWith('service/') === true && step.kind === 'filter'
    ? 'service'
    : areas[step.reason ?? 'unknown-state'];
