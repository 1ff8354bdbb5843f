/**
 * From the step that loses a packet to the cause's id: what the kernel did is known exactly, so this is a table with the
 * few questions that one step alone does not answer.
 */

import { closesHostFirewall } from '../checks/host-firewall.ts';
import { shadowingRule } from '../checks/shadowing.ts';
import type { World } from '../dataplane/world.ts';
import type { Service } from '../model/cluster.ts';
import type { CauseId, Subject } from '../model/finding.ts';
import { orElse } from '../model/known.ts';
import type { Branch, Hop, Reason, Step } from '../model/verdict.ts';
import { formatAddress, parseAddress, sameAddress } from '../net/address.ts';

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
  const elsewhere =
    detourOf(world, broken) ?? misdirected(broken) ?? shadowed(world, broken) ?? hiddenSource(world, broken);
  if (elsewhere !== undefined) return elsewhere;
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

const routed: ReadonlySet<Reason> = new Set([
  'no-route',
  'route-blackhole',
  'no-host-for-address',
  'neighbour-unresolved',
]);

/** Lost where a rule of policy routing chose another table than the one that leads right. */
function shadowed(world: World, { hop, step }: Break): Classified | undefined {
  const netns = world.netns(hop.netns);
  if (netns === undefined || step.reason === undefined || !routed.has(step.reason)) return undefined;
  const { src, dst, mark } = hop.packet.inner?.packet ?? hop.packet;
  const rule = shadowingRule(netns, { src, dst, mark, iif: hop.inDevice });
  if (rule === undefined) return undefined;
  const text = `routing rule ${rule.priority} takes the packet away from the main table, which has a route for it`;
  return {
    id: 'route/rule-shadows',
    subject: { kind: 'node', name: hop.node },
    title: `${hop.node}: ${text}; ${step.text}`,
    place: hop,
    proof: { kind: 'route', action: 'pass', text, sources: [rule.source], facts: step.facts ?? {} },
  };
}

/** A policy agent refuses the packet under an address that its client never had: masqueraded on the way. */
function hiddenSource(world: World, { hops, hop, step, direction }: Break): Classified | undefined {
  if (direction === 'back' || step.kind !== 'filter' || !policyAgents.has(step.facts?.owner ?? ''))
    return undefined;
  const sent = hops[0]?.packet.src;
  const seen = (hop.packet.inner?.packet ?? hop.packet).src;
  if (sent === undefined || sameAddress(sent, seen)) return undefined;
  const place = hops.find((h) =>
    h.steps.some((s) => s.kind === 'nat' && s.action === 'rewrite' && h !== hops[0]),
  );
  const proof = place?.steps.findLast((s) => s.kind === 'nat' && s.action === 'rewrite');
  if (place === undefined || proof === undefined || world.owners(sent)[0]?.pod === undefined)
    return undefined;
  return {
    id: 'policy/snat-hides-source',
    subject: { kind: 'node', name: place.node },
    title: `${place.node} masquerades the packet: the policy sees ${formatAddress(seen)} instead of ${formatAddress(sent)}`,
    place,
    proof,
  };
}

const plain: Readonly<Partial<Record<Reason, CauseId>>> = {
  'route-blackhole': 'route/blackhole',
  'wrong-next-hop': 'route/wrong-next-hop',
  'ip-forward-off': 'route/ip-forward-off',
  'rp-filter': 'route/rp-filter',
  'routing-loop': 'route/wrong-next-hop',
  'ttl-exceeded': 'route/wrong-next-hop',
  'hairpin-off': 'service/hairpin',
  'fdb-missing': 'overlay/fdb-missing',
  'fdb-wrong': 'overlay/fdb-wrong',
  'vtep-mac-mismatch': 'overlay/vtep-mac-mismatch',
  'tunnel-endpoint-missing': 'overlay/device-missing',
  'tunnel-endpoint-down': 'overlay/device-down',
  'tunnel-parameters-differ': 'overlay/parameters-differ',
  'fragment-lost': 'mtu/too-large-for-overlay',
  'loopback-only': 'app/loopback-only',
  'policy-ingress': 'policy/denied-ingress',
  'policy-egress': 'policy/denied-egress',
};

const special: Readonly<Partial<Record<Reason, (world: World, broken: Break) => CauseId | undefined>>> = {
  'no-route': leaving,
  'martian-source': (world, { hop }) =>
    // A pod's own address comes back to it: its Service chose the pod itself, and nobody masqueraded.
    hop.pod !== undefined && world.owners(hop.packet.src).some((owner) => owner.netnsId === hop.netns)
      ? 'service/hairpin'
      : 'route/asymmetric',
  'not-listening': otherProtocol,
  'neighbour-wrong-mac': wrongMac,
  'device-down': deviceDown,
  'device-missing': deviceDown,
  'neighbour-unresolved': astray,
  'no-host-for-address': astray,
  'wrong-host': (world, broken) =>
    isDuplicate(world, broken) ? 'cidr/duplicate-pod-ip' : 'route/wrong-next-hop',
  'rule-drop': filtered,
  'rule-reject': filtered,
  'chain-policy-drop': filtered,
  'service-rules-missing': untranslated,
  'no-endpoints': (_world, { step }) =>
    step.facts?.policy === 'Local' ? 'service/affinity-or-traffic-policy' : 'service/no-endpoints',
  'mtu-exceeded': tooLarge,
  'reply-untranslated': () => 'netfilter/bridge-nf-off',
};

function deviceDown(_world: World, { step }: Break): CauseId {
  switch (step.facts?.deviceKind) {
    case 'vxlan':
    case 'geneve':
    case 'ipip':
    case 'sit':
    case 'ip6tnl':
    case 'gre':
    case 'gretap':
    case 'wireguard':
      return 'overlay/device-down';
    case 'veth':
    case 'bridge':
      return 'cni/pod-not-wired';
    default:
      return 'node/network-unavailable';
  }
}

/** No route at all, only the default one, or one whose next hop is no node's. */
function leaving(world: World, { hop }: Break): CauseId | undefined {
  const route = hop.steps.findLast((s) => s.kind === 'route' && s.facts?.gateway !== undefined);
  const gateway = parseAddress(route?.facts?.gateway ?? '');
  const home = world.nodeFor((hop.packet.inner?.packet ?? hop.packet).dst);
  if (gateway === undefined || route?.facts?.prefix?.endsWith('/0') !== false) return 'route/missing';
  // A node whose state is not known may well have that MAC.
  if (home !== undefined && world.netns(home) === undefined) return undefined;
  return world.nodeFor(gateway) === home ? 'route/neighbour-failed' : 'route/wrong-next-hop';
}

/** The frame has the pod's own MAC and no bridge port leads there: the wire is gone, not the entry wrong. */
function wrongMac(world: World, { hop, step }: Break): CauseId {
  const { dst } = hop.packet.inner?.packet ?? hop.packet;
  const owner = world.owners(dst)[0];
  const netns = owner?.pod === undefined || owner.node !== hop.node ? undefined : world.netns(owner.netnsId);
  const own = netns === undefined ? [] : [...world.devices(netns).values()];
  return own.some(({ mac }) => mac !== undefined && mac === step.facts?.mac)
    ? 'cni/pod-not-wired'
    : 'route/neighbour-failed';
}

/** A server that speaks the other transport on this port: the client asks in the wrong one. */
function otherProtocol(world: World, { hop }: Break): CauseId {
  const { protocol, dstPort } = hop.packet;
  const sockets = world.netns(hop.netns)?.sockets;
  const others = sockets?.state === 'known' ? sockets.value : [];
  return others.some((socket) => socket.port === dstPort && socket.protocol !== protocol) &&
    !others.some((socket) => socket.port === dstPort && socket.protocol === protocol)
    ? 'app/wrong-protocol'
    : 'app/not-listening';
}

/** Not translated: the Service has no such port, is meant to stay on its node, or its rules are gone. */
function untranslated(world: World, { step, hop }: Break): CauseId {
  if (step.facts?.declared === 'no') return 'service/target-port-wrong';
  const service = world.service(hop.packet.dst);
  return service?.internalTrafficPolicy === 'Local' && !hasLocalEndpoint(world, service, hop.node)
    ? 'service/affinity-or-traffic-policy'
    : 'service/rules-missing';
}

const hasLocalEndpoint = (world: World, { namespace, name }: Service, node: string): boolean =>
  orElse(world.snapshot.cluster.endpointSlices, []).some(
    (slice) =>
      slice.namespace === namespace &&
      slice.service === name &&
      slice.endpoints.some((endpoint) => endpoint.ready && endpoint.node === node),
  );

/** Nobody answers for the next hop: the route leads to the wrong place, the pod is not wired, or the neighbour is off. */
function astray(world: World, { hop, step }: Break): CauseId {
  if (leadsAway(world, hop)) return 'route/wrong-next-hop';
  const { dst } = hop.packet.inner?.packet ?? hop.packet;
  const owner = world.owners(dst)[0];
  if (owner?.pod === undefined || hop.pod !== undefined) return 'route/neighbour-failed';
  const route = hop.steps.findLast((s) => s.kind === 'route');
  // On-link for another node's pods: a network of this node's own covers theirs.
  if (owner.node !== hop.node)
    return route?.facts?.gateway === undefined ? 'route/wrong-next-hop' : 'route/neighbour-failed';
  // A dead or wrong entry is the neighbour's; a pod's own frames that find no port are the wiring's.
  return step.facts?.state === undefined ? 'cni/pod-not-wired' : 'route/neighbour-failed';
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
function filtered(world: World, { step, hop, direction }: Break): CauseId {
  const { hook, owner, chain } = step.facts ?? {};
  if (hop.packet.inner !== undefined) return 'overlay/port-blocked';
  if (owner === 'kube-proxy' && step.facts?.comment?.includes('has no endpoints') === true)
    return 'service/no-endpoints';
  if (owner === 'kube-proxy' && step.facts?.comment?.includes('has no local endpoints') === true)
    return 'service/affinity-or-traffic-policy';
  // A policy agent's rule: which policy, and whether it means it, the policy engine says.
  if (policyAgents.has(owner ?? ''))
    return direction === 'forward' ? 'policy/denied-ingress' : 'policy/denied-egress';
  if (hostFirewalls.has(owner ?? '')) return 'firewall/node-rule';
  if (
    hook === 'forward' &&
    chain === 'FORWARD' &&
    closesHostFirewall(world.netns(hop.netns)?.rulesets, step.facts?.rule)
  )
    return 'firewall/node-rule';
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
