/**
 * From the step that loses a packet to the cause's id: what the kernel did is known exactly, so this is a table with the
 * few questions that one step alone does not answer.
 */

import type { World } from '../dataplane/world.ts';
import type { CauseId, Subject } from '../model/finding.ts';
import type { Branch, Hop, Reason, Step } from '../model/verdict.ts';
import { parseAddress } from '../net/address.ts';

/** The place where a branch breaks. */
export interface Break {
  readonly direction: 'forward' | 'back';
  readonly hop: Hop;
  readonly step: Step;
  /** Hops of the broken direction. */
  readonly hops: readonly Hop[];
}

export interface Classified {
  readonly id: CauseId;
  readonly subject: Subject;
  /** Completes "A cannot reach B: ...". */
  readonly title: string;
  /** Where the wrong state is, which need not be where the packet is lost, and the step that shows it. */
  readonly place: Hop;
  readonly proof: Step;
}

export function breakOf(branch: Branch): Break | undefined {
  if (branch.broken === undefined) return undefined;
  const { direction, hop, step } = branch.broken;
  return { direction, hop, step, hops: direction === 'forward' ? branch.trace.forward : branch.trace.back };
}

/** Undefined where the step was not understood: a gap is no cause. */
export function classify(world: World, broken: Break): Classified | undefined {
  const { step } = broken;
  if (step.reason === undefined || step.reason === 'unknown-state') return undefined;
  const detour = detourOf(world, broken) ?? misdirected(broken);
  if (detour !== undefined) return detour;
  const rule = special[step.reason];
  const id = rule === undefined ? plain[step.reason] : rule(world, broken);
  if (id === undefined) return undefined;
  return { id, subject: subjectOf(broken, id), title: titleOf(broken), place: broken.hop, proof: step };
}

/**
 * Lost on a node that has no part in the flow: whatever lost it there, the route that led there is the cause. Conntrack
 * of a third node sees one direction only, so even a node that forwards everything drops the later packets as INVALID.
 */
function detourOf(world: World, { hops, hop, step }: Break): Classified | undefined {
  const inner = hop.packet.inner?.packet ?? hop.packet;
  const ends = [inner.src, inner.dst].map((a) => world.nodeFor(a));
  if (hop.pod !== undefined || ends.includes(undefined) || ends.includes(hop.node)) return undefined;
  const before = hops.slice(0, hops.indexOf(hop)).findLast((h) => h.node !== hop.node && h.pod === undefined);
  const route = before?.steps.find((s) => s.kind === 'route' && s.facts?.gateway !== undefined);
  if (before === undefined || route === undefined || !leadsAway(world, before)) return undefined;
  return {
    id: 'route/wrong-next-hop',
    subject: { kind: 'node', name: before.node },
    title: `${before.node} sends packets for ${route.facts?.prefix} (${ends[1]}) to ${hop.node} (${route.text}), where they are lost: ${step.text}`,
    place: before,
    proof: route,
  };
}

/** Lost behind a tunnel entry that names another node than the one the frame is for. */
function misdirected({ hops, hop, step }: Break): Classified | undefined {
  const place = [...hops, hop].find((h) => h.steps.some(isMisdirection));
  const proof = place?.steps.find(isMisdirection);
  if (place === undefined || proof?.facts === undefined) return undefined;
  const { device, mac, remote, expectedNode, expectedRemote } = proof.facts;
  return {
    id: 'overlay/fdb-wrong',
    subject: { kind: 'device', name: `${place.node}/${device}` },
    title: `${place.node}'s ${device} sends ${mac} to ${remote}, but it belongs to ${expectedNode} (${expectedRemote}); lost there: ${step.text}`,
    place,
    proof,
  };
}

const isMisdirection = (step: Step): boolean =>
  step.kind === 'encap' && step.facts?.expectedRemote !== undefined;

const plain: Readonly<Partial<Record<Reason, CauseId>>> = {
  'no-route': 'route/missing',
  'route-blackhole': 'route/blackhole',
  'wrong-next-hop': 'route/wrong-next-hop',
  'ip-forward-off': 'route/ip-forward-off',
  'rp-filter': 'route/rp-filter',
  'martian-source': 'route/asymmetric',
  'routing-loop': 'route/wrong-next-hop',
  'ttl-exceeded': 'route/wrong-next-hop',
  'neighbour-wrong-mac': 'route/neighbour-failed',
  'hairpin-off': 'service/hairpin',
  'fdb-missing': 'overlay/fdb-missing',
  'fdb-wrong': 'overlay/fdb-wrong',
  'vtep-mac-mismatch': 'overlay/vtep-mac-mismatch',
  'tunnel-endpoint-missing': 'overlay/device-missing',
  'tunnel-endpoint-down': 'overlay/device-down',
  'tunnel-parameters-differ': 'overlay/parameters-differ',
  'no-endpoints': 'service/no-endpoints',
  'fragment-lost': 'mtu/too-large-for-overlay',
  'not-listening': 'app/not-listening',
  'loopback-only': 'app/loopback-only',
  'policy-ingress': 'policy/denied-ingress',
  'policy-egress': 'policy/denied-egress',
};

const special: Readonly<Partial<Record<Reason, (world: World, broken: Break) => CauseId>>> = {
  'device-down': deviceDown,
  'device-missing': deviceDown,
  'neighbour-unresolved': astray,
  'no-host-for-address': astray,
  'wrong-host': (world, broken) =>
    isDuplicate(world, broken) ? 'cidr/duplicate-pod-ip' : 'route/wrong-next-hop',
  'rule-drop': filtered,
  'rule-reject': filtered,
  'chain-policy-drop': filtered,
  'service-rules-missing': (_world, { step }) =>
    step.facts?.declared === 'no' ? 'service/target-port-wrong' : 'service/rules-missing',
  'mtu-exceeded': tooLarge,
  'reply-untranslated': () => 'netfilter/bridge-nf-off',
};

function deviceDown(_world: World, { step }: Break): CauseId {
  switch (step.facts?.deviceKind) {
    case 'vxlan':
      return 'overlay/device-down';
    case 'veth':
    case 'bridge':
      return 'cni/pod-not-wired';
    default:
      return 'node/network-unavailable';
  }
}

/** Nobody answers for the next hop: the route leads to the wrong place, or the neighbour is off. */
function astray(world: World, broken: Break): CauseId {
  return leadsAway(world, broken.hop) ? 'route/wrong-next-hop' : 'route/neighbour-failed';
}

/** The last routed gateway belongs to another node than the one that has the destination. */
function leadsAway(world: World, hop: Hop): boolean {
  const route = hop.steps.findLast((s) => s.kind === 'route' && s.facts?.gateway !== undefined);
  const gateway = parseAddress(route?.facts?.gateway ?? '');
  const home = world.nodeFor((hop.packet.inner?.packet ?? hop.packet).dst);
  if (gateway === undefined || home === undefined || home === hop.node) return false;
  // A tunnel's gateway is an address of the peer's own block; a plain one is the peer's node address.
  const holder = world.nodeFor(gateway) ?? world.nodeByPodCidr(gateway);
  return holder !== home;
}

function isDuplicate(world: World, { hop }: Break): boolean {
  return world.owners(hop.packet.dst).length > 1;
}

function tooLarge(_world: World, { step, hop }: Break): CauseId {
  if (step.facts?.answers === 'icmp') return 'mtu/pmtud-blackhole';
  return hop.packet.inner === undefined ? 'mtu/differs-between-nodes' : 'mtu/too-large-for-overlay';
}

/** A rule or policy that drops: what it drops and who wrote it tell the causes apart. */
function filtered(_world: World, { step, hop, direction }: Break): CauseId {
  const { hook, owner, chain } = step.facts ?? {};
  if (hop.packet.inner !== undefined) return 'overlay/port-blocked';
  if (owner === 'kube-proxy' && step.facts?.comment?.includes('has no endpoints') === true)
    return 'service/no-endpoints';
  // A policy agent's rule: which policy, and whether it means it, the policy engine says.
  if (policyAgents.has(owner ?? ''))
    return direction === 'forward' ? 'policy/denied-ingress' : 'policy/denied-egress';
  if (hostFirewalls.has(owner ?? '')) return 'firewall/node-rule';
  if (hook === 'forward' && (step.reason === 'chain-policy-drop' || dropsEverything(step)))
    return 'netfilter/forward-drop';
  if (step.reason === 'chain-policy-drop') return 'firewall/node-rule';
  return chain === 'INPUT' && hop.pod === undefined && hop.packet.protocol === 'icmp'
    ? 'firewall/node-rule'
    : 'netfilter/foreign-rule';
}

export const policyAgents: ReadonlySet<string> = new Set([
  'kube-router',
  'calico',
  'cilium',
  'antrea',
  'weave',
  'azure-npm',
  'aws-vpc-cni',
  'lab-policy',
]);
const hostFirewalls: ReadonlySet<string> = new Set(['ufw', 'firewalld', 'docker']);

/** A rule without any match on port, protocol or a single address takes all pod traffic. */
const dropsEverything = (step: Step): boolean => {
  const rule = step.facts?.rule ?? '';
  return (
    !/(--dports?|--sports?|-p |-m set|--match-set|--ports)/.test(rule) &&
    !/-[sd] \S+\/(3[0-2]|2[5-9])\b/.test(rule)
  );
};

function subjectOf({ hop, step }: Break, id: CauseId): Subject {
  const service = step.facts?.service;
  if (service !== undefined && id.startsWith('service/')) return { kind: 'service', name: service };
  if (id.startsWith('overlay/') && step.facts?.node !== undefined)
    return { kind: 'node', name: step.facts.node };
  if (hop.pod !== undefined) return { kind: 'pod', name: hop.pod };
  return { kind: 'node', name: hop.node };
}

function titleOf({ step, hop, direction }: Break): string {
  const place = hop.pod ?? hop.node;
  const rule = step.kind === 'filter' ? filterTitle(place, step, hop) : undefined;
  const text =
    rule !== undefined
      ? rule
      : step.text.includes(place) || step.text.includes(hop.node)
        ? step.text
        : `${place}: ${step.text}`;
  return `${direction === 'back' ? 'the reply is lost: ' : ''}${text}${step.facts?.icmp === undefined ? '' : `, and ${step.facts.icmp}`}`;
}

/** `node2 drops UDP 8472 in filter INPUT: -A INPUT -p udp --dport 8472 -j DROP`. */
function filterTitle(place: string, { facts }: Step, { packet }: Hop): string | undefined {
  if (facts?.table === undefined) return undefined;
  const port = packet.dstPort === 0 ? '' : ` ${packet.dstPort}`;
  const what = `${packet.protocol.toUpperCase()}${port}`;
  const verb = facts.verdict === 'reject' ? 'rejects' : 'drops';
  const by =
    facts.rule === undefined
      ? `by the policy of ${facts.table} ${facts.chain}`
      : `in ${facts.table} ${facts.chain}: ${facts.rule}`;
  return `${place} ${verb} ${what} ${by}`;
}
