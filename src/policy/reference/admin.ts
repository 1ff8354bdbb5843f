/**
 * AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy in the words of their API types
 * (kubernetes-sigs/network-policy-api, apis/v1alpha1 and apis/v1alpha2), one flow at a time.
 */
import type { Node } from '../../model/cluster.ts';
import type { AdminPeer, AdminPods, AdminPolicy, AdminPort, AdminRule } from '../../model/policies/admin.ts';
import { type FlowEnd, type PolicyFlow, resolveNamedPort } from '../endpoint.ts';
import type { Direction } from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import { matchesSelector } from '../selector.ts';
import { type DirectedFlow, directed, type Outcome } from './contract.ts';
import { hasAddressIn, hasAddressOf, namespaceMatches, ownNetworkPod } from './match.ts';
import { networkPolicyOutcome } from './network-policy.ts';
import { type Tri, triAll, triAny, triIf } from './tri.ts';

/** What can become of a flow in a tier. `pass`: a rule passed it on, or none matched. */
export type TierOutcome = 'allow' | 'deny' | 'pass';

/** What one policy, or the policies of one priority, can say; `none`: no rule of theirs matches. */
type Said = TierOutcome | 'none';

const everything: readonly TierOutcome[] = ['allow', 'deny', 'pass'];

/** Every outcome that is possible; several where the API or the objects do not say which one it is. Never empty. */
export function adminOutcome(
  world: PolicyWorld,
  at: DirectedFlow,
  tier: 'admin' | 'baseline',
): readonly TierOutcome[] {
  if (ownNetworkPod(at.subject) === undefined) return ['pass'];
  if (world.cluster.adminPolicies.state === 'unknown') return everything;
  const policies = world.cluster.adminPolicies.value.filter((p) => p.tier === tier || p.tier === 'unknown');
  const possible = new Set<TierOutcome>();
  // Nobody knows where a policy of unknown priority is asked: what it says may count, or may not.
  for (const policy of policies.filter(({ rank }) => rank === 'unknown'))
    for (const said of saidBy(world, at, policy)) if (said !== 'none') possible.add(said);
  for (const rank of ranks(policies)) {
    const peers = policies.filter((policy) => policy.rank === rank);
    const said = saidByEquals(peers.map((policy) => saidBy(world, at, policy)));
    for (const one of said) if (one !== 'none') possible.add(one);
    if (!said.has('none')) return [...possible];
  }
  return [...possible.add('pass')];
}

/** "Policies with lower priority values have higher precedence"; BaselineAdminNetworkPolicy comes after them all. */
function ranks(policies: readonly AdminPolicy[]): readonly (number | 'last')[] {
  const numbers = policies.map(({ rank }) => rank).filter((rank) => typeof rank === 'number');
  return [...[...new Set(numbers)].sort((a, b) => a - b), 'last'];
}

/**
 * "If two (or more) policies in the same tier with the same priority could match a connection, then the implementation can apply any of
 * the matching policies to the connection."
 */
function saidByEquals(all: readonly ReadonlySet<Said>[]): ReadonlySet<Said> {
  const said = new Set(all.flatMap((one) => [...one]));
  if (all.some((one) => !one.has('none'))) said.delete('none');
  else said.add('none');
  return said;
}

/** The first rule of the direction that matches speaks for the policy. One that the API refuses may not be there. */
function saidBy(world: PolicyWorld, at: DirectedFlow, policy: AdminPolicy): ReadonlySet<Said> {
  const selected = selects(world, policy.subject, at.subject);
  const said = new Set<Said>();
  if (selected !== 'yes' || policy.doubt !== undefined) said.add('none');
  if (selected === 'no') return said;
  for (const rule of policy[at.direction]) {
    const matches = ruleMatches(world, at, rule);
    if (matches === 'no') continue;
    for (const effect of effects(rule)) said.add(effect);
    if (matches === 'yes' && rule.action !== 'unknown') return said;
  }
  // "CNPs with no ingress rules do not affect ingress traffic", and no policy of these kinds isolates.
  return said.add('none');
}

/** "For Deny and Pass rules, fail closed means: treat the rule as a 'Deny all' rule." */
function effects(rule: AdminRule): readonly TierOutcome[] {
  if (rule.action === 'unknown') return everything;
  return [!rule.understood && rule.action === 'pass' ? 'deny' : rule.action];
}

function ruleMatches(world: PolicyWorld, at: DirectedFlow, rule: AdminRule): Tri {
  // "For Accept rules, fail closed means: treat the rule as matching no traffic."
  if (!rule.understood) return triIf(rule.action !== 'allow');
  return triAll([
    triAny(rule.peers.map((peer) => peerMatches(world, at.other, peer))),
    triIf(rule.ports === undefined || rule.ports.some((port) => portMatches(at.flow, port))),
  ]);
}

function peerMatches(world: PolicyWorld, other: FlowEnd, peer: AdminPeer): Tri {
  switch (peer.kind) {
    case 'pods':
      return selects(world, peer, other);
    case 'nodes':
      return isNode(world, other, peer);
    case 'networks':
      // "Note that cluster-internal traffic will be checked against the rule as well."
      return triIf(hasAddressIn(other, peer.prefixes));
    case 'domains':
      // Which addresses a name has is in DNS, not in the objects.
      return ownNetworkPod(other) === undefined || peer.mayBePods ? 'maybe' : 'no';
  }
}

/** "Note that host-networked pods are not included in this type of peer", nor in subjects. */
function selects(world: PolicyWorld, wanted: AdminPods, end: FlowEnd): Tri {
  const pod = ownNetworkPod(end);
  if (pod === undefined || !matchesSelector(wanted.podSelector, pod.labels)) return 'no';
  return namespaceMatches(world, wanted.namespaceSelector, pod.namespace);
}

/** "It selects the nodeIPs as the peer type by matching on the IPs present in the node.Status.Addresses field of the node." */
function isNode(world: PolicyWorld, other: FlowEnd, peer: AdminPeer & { kind: 'nodes' }): Tri {
  if (ownNetworkPod(other) !== undefined) return 'no';
  const wanted = (node: Node) => matchesSelector(peer.nodeSelector, node.labels);
  if (other.kind === 'node' && wanted(other.node)) return 'yes';
  const { nodes } = world.cluster;
  if (nodes.state === 'unknown') return 'maybe';
  const addresses = nodes.value
    .filter(wanted)
    .flatMap((node) => [...node.internalAddresses, ...(node.externalAddresses ?? [])]);
  return triIf(hasAddressOf(other, addresses));
}

function portMatches({ dst, protocol, port }: PolicyFlow, wanted: AdminPort): boolean {
  if (wanted.kind === 'named') return resolveNamedPort(dst, wanted.name, protocol).includes(port);
  return wanted.protocol === protocol && wanted.from <= port && port <= wanted.to;
}

/**
 * One direction of a flow as plain Kubernetes decides it: "Policy tiers are evaluated in the following order: Admin tier, NetworkPolicy
 * tier, Baseline tier". NetworkPolicy "always makes a final decision for selected pods"; where none decides, pods can communicate.
 */
export function kubernetesNetwork(world: PolicyWorld, flow: PolicyFlow, direction: Direction): Outcome {
  const at = directed(flow, direction);
  if (ownNetworkPod(at.subject) === undefined || exempt(at)) return 'allow';
  const admin = adminOutcome(world, at, 'admin');
  const possible = new Set<Outcome>(admin.filter((one) => one !== 'pass'));
  if (admin.includes('pass')) possible.add(belowAdmin(world, at));
  return joined(possible);
}

function belowAdmin(world: PolicyWorld, at: DirectedFlow): Outcome {
  const decided = networkPolicyOutcome(world, at);
  if (decided !== 'none') return decided;
  const baseline = adminOutcome(world, at, 'baseline');
  return joined(new Set(baseline.map((one) => (one === 'pass' ? 'allow' : one))));
}

/** More than one possible outcome means that the objects do not decide. */
function joined(possible: ReadonlySet<Outcome>): Outcome {
  const [only, ...more] = possible;
  return only === undefined || more.length > 0 ? 'conditional' : only;
}

/**
 * "A Pod connecting to its own Pod IP is not subject to CNP" (network-policy-api, API overview), and to no NetworkPolicy either; "traffic
 * to and from the node where a Pod is running is always allowed, regardless of the IP address of the Pod or the node".
 */
export function exempt({ subject, other }: DirectedFlow): boolean {
  const pod = ownNetworkPod(subject);
  if (pod === undefined) return false;
  if (other.kind === 'node') return other.node.name === pod.node;
  if (other.kind === 'external') return false;
  const same = other.pod.namespace === pod.namespace && other.pod.name === pod.name;
  return same || (other.pod.hostNetwork && other.pod.node !== '' && other.pod.node === pod.node);
}
