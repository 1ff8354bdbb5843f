/**
 * One direction of a flow in a cluster with Cilium, in the words of its documentation (Documentation/security/policy): deny rules first,
 * then everything that some rule allows, then the default of the endpoint. Kubernetes NetworkPolicies are allow rules among the others.
 */
import type { NetworkPolicy, PolicyPeer, PolicyPort } from '../../model/cluster.ts';
import type { CiliumPorts, CiliumRule, CiliumSection, CiliumSelector } from '../../model/policies/cilium.ts';
import { ciliumSwitch } from '../cilium-facts.ts';
import { endpointOf, type FlowEnd, type PolicyFlow, resolveNamedPort } from '../endpoint.ts';
import type { Direction } from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import { matchesSelector } from '../selector.ts';
import { adminOutcome } from './admin.ts';
import {
  anyMatch,
  everyMatch,
  inCidrs,
  type Match,
  matchesPeer,
  matchesPeerSelector,
  matchesPort,
  selectsEndpoint,
  selectsNode,
} from './cilium-peers.ts';
import { type DirectedFlow, directed, type Outcome } from './contract.ts';
import { namespaceMatches } from './match.ts';

/** What may become of the flow; `next`: no rule concerns it. */
type Result = 'allow' | 'deny' | 'next';

/**
 * Admin and baseline policies are judged in the places that their API gives them, before and after all other policies: Cilium 1.20 does
 * so with ClusterNetworkPolicy, and has never known the kinds before it.
 */
export function ciliumNetwork(world: PolicyWorld, flow: PolicyFlow, direction: Direction): Outcome {
  const question = directed(flow, direction);
  if (isExempt(question)) return 'allow';
  // "In other words, all traffic is allowed from any source (on ingress) or destination (on egress)."
  if (world.reading.ciliumEnforcement === 'never') return 'allow';
  const results = new Set<Result>();
  for (const admin of adminOutcome(world, question, 'admin'))
    if (admin !== 'pass') results.add(admin);
    else for (const result of ciliumResults(world, question)) results.add(result);
  if (results.delete('next'))
    for (const baseline of adminOutcome(world, question, 'baseline'))
      results.add(baseline === 'pass' ? 'allow' : baseline);
  const [only, ...more] = [...results].filter((result) => result !== 'next');
  return only === undefined || more.length > 0 ? 'conditional' : only;
}

/** A pod and itself never leave the pod; between a pod and its own node all is let through. */
function isExempt({ subject, other }: DirectedFlow): boolean {
  const a = endpointOf(subject);
  const b = endpointOf(other);
  if (subject.kind === 'pod' && other.kind === 'pod') {
    if (a.namespace === b.namespace && subject.pod.name === other.pod.name) return true;
    if (a.kind === b.kind) return false;
  }
  return a.node !== '' && a.node === b.node;
}

interface Applied {
  readonly section: CiliumSection;
  /** `maybe`: nobody knows whether the policy selects the subject. */
  readonly selected: Match;
}

function ciliumResults(world: PolicyWorld, question: DirectedFlow): ReadonlySet<Result> {
  const { cluster } = world;
  const isPod = endpointOf(question.subject).kind === 'pod';
  if (isPod && cluster.cilium.state === 'unknown') return new Set<Result>(['allow', 'deny']);
  const results = new Set<Result>();
  for (const applied of scenarios(appliedSections(world, question)))
    for (const result of resultsWhere(world, question, applied)) results.add(result);
  return results;
}

/** A policy of which nobody knows whether it selects the subject counts whole or not at all. */
function scenarios([first, ...rest]: readonly Applied[]): readonly (readonly Applied[])[] {
  if (first === undefined) return [[]];
  const others = scenarios(rest);
  const taken = others.map((one) => [{ ...first, selected: 'yes' as const }, ...one]);
  return first.selected === 'yes' ? taken : [...taken, ...others];
}

function resultsWhere(
  world: PolicyWorld,
  question: DirectedFlow,
  applied: readonly Applied[],
): ReadonlySet<Result> {
  const { reading } = world;
  const isPod = endpointOf(question.subject).kind === 'pod';
  const denials = matches(world, question, applied, 'deny');
  if (denials.some(({ match }) => match === 'yes')) return new Set<Result>(['deny']);

  const allowed = matches(world, question, applied, 'allow');
  const kubernetes = isPod ? kubernetesPolicies(world, question) : noPolicies;
  const plain = anyMatch([kubernetes.allows, ...allowed.map(({ plainMatch }) => plainMatch)]);
  const l7 = anyMatch(allowed.map(({ l7Match }) => l7Match));
  const isolated = anyMatch([
    kubernetes.isolates,
    isPod && reading.ciliumEnforcement === 'always' ? 'yes' : 'no',
    ...applied.map(({ section, selected }): Match => (section.defaultDeny ? selected : 'no')),
  ]);

  const results = new Set<Result>();
  if (plain !== 'no') results.add('allow');
  if (plain !== 'yes') {
    // A layer 7 rule lets some requests pass and drops the others, default deny or not.
    if (l7 !== 'no') results.add('allow').add('deny');
    if (l7 !== 'yes') {
      if (isolated !== 'no') results.add('deny');
      if (isolated !== 'yes') results.add('next');
    }
  }
  const authenticates = allowed.some(
    ({ rule, match }) => rule.authentication !== undefined && match !== 'no',
  );
  if (authenticates || denials.some(({ match }) => match === 'maybe')) results.add('deny');
  return results;
}

interface KubernetesAnswer {
  readonly allows: Match;
  readonly isolates: Match;
}

const noPolicies: KubernetesAnswer = { allows: 'no', isolates: 'no' };

function kubernetesPolicies(world: PolicyWorld, question: DirectedFlow): KubernetesAnswer {
  const { networkPolicies } = world.cluster;
  if (networkPolicies.state === 'unknown') return { allows: 'maybe', isolates: 'maybe' };
  const selecting = networkPolicies.value.filter(
    (policy) => isSubject(policy, question) && policy[question.direction] !== undefined,
  );
  return {
    allows: anyMatch(selecting.map((policy) => kubernetesAllows(world, question, policy))),
    isolates: selecting.length > 0 ? 'yes' : 'no',
  };
}

function appliedSections(world: PolicyWorld, { subject, direction }: DirectedFlow): readonly Applied[] {
  const { cilium } = world.cluster;
  if (cilium.state === 'unknown') return [];
  return cilium.value.policies.flatMap(({ specs }) =>
    specs.flatMap((spec) => {
      const section = spec[direction];
      // "Host policies take effect only if the host firewall is enabled"; where nobody knows, a policy is taken for a sign of it.
      if (spec.subject.kind === 'nodes' && ciliumSwitch(world, 'enable-host-firewall') === 'off') return [];
      const { selector } = spec.subject;
      const select = spec.subject.kind === 'nodes' ? selectsNode : selectsEndpoint;
      const selected = select(world, selector, subject);
      return section === undefined || selected === 'no' ? [] : [{ section, selected }];
    }),
  );
}

interface RuleMatch {
  readonly rule: CiliumRule;
  readonly match: Match;
  /** By ports that ask for nothing more. */
  readonly plainMatch: Match;
  /** By ports that ask for layer 7. */
  readonly l7Match: Match;
}

function matches(
  world: PolicyWorld,
  question: DirectedFlow,
  applied: readonly Applied[],
  list: 'allow' | 'deny',
): readonly RuleMatch[] {
  // "The effects of any Requires field in any rule will apply to all other rules as well."
  const requires = applied.flatMap(({ section, selected }) =>
    section[list].flatMap((rule) => rule.requires.map((selector) => ({ selector, selected }))),
  );
  return applied.flatMap(({ section, selected }) =>
    section[list].map((rule) => {
      const peers = everyMatch([selected, matchesPeers(world, question, rule, requires), certainty(rule)]);
      const plainMatch = everyMatch([peers, portsMatch(question, rule, false)]);
      const l7Match = everyMatch([peers, portsMatch(question, rule, true)]);
      return { rule, match: anyMatch([plainMatch, l7Match]), plainMatch, l7Match };
    }),
  );
}

const certainty = (rule: CiliumRule): Match => (rule.uncertain === undefined ? 'yes' : 'maybe');

/** Without any peers a rule is about every peer if it names ports, and about nothing if it does not: `ingress: [{}]`. */
function matchesPeers(
  world: PolicyWorld,
  { other }: DirectedFlow,
  rule: CiliumRule,
  requires: readonly Demand[],
): Match {
  if (rule.peers === undefined) return rule.ports === undefined ? 'no' : 'yes';
  return anyMatch(
    rule.peers.map((peer) => {
      const match = matchesPeer(world, peer, other);
      if (peer.kind !== 'endpoints') return match;
      return everyMatch([match, ...requires.map((demand) => meets(world, demand, other))]);
    }),
  );
}

interface Demand {
  readonly selector: CiliumSelector;
  /** `maybe`: nobody knows whether the subject is the requirement's. */
  readonly selected: Match;
}

function meets(world: PolicyWorld, { selector, selected }: Demand, other: FlowEnd): Match {
  const match = matchesPeerSelector(world, selector, other);
  return selected === 'yes' || match === 'yes' ? match : 'maybe';
}

function portsMatch({ flow }: DirectedFlow, rule: CiliumRule, l7: boolean): Match {
  if (rule.ports === undefined) return l7 ? 'no' : 'yes';
  const fits = ({ ports }: CiliumPorts): boolean => ports.some((port) => matchesPort(port, flow));
  return rule.ports.some((item) => (item.l7 !== undefined) === l7 && fits(item)) ? 'yes' : 'no';
}

function isSubject(policy: NetworkPolicy, { subject }: DirectedFlow): boolean {
  const { namespace, labels } = endpointOf(subject);
  return policy.namespace === namespace && matchesSelector(policy.podSelector, labels);
}

/** A Kubernetes NetworkPolicy as Cilium reads it: ipBlock is a CIDR rule like any other. */
function kubernetesAllows(world: PolicyWorld, question: DirectedFlow, policy: NetworkPolicy): Match {
  const rules = (policy[question.direction] ?? []).filter(
    ({ ports }) => ports === undefined || ports.some((port) => kubernetesPort(port, question.flow)),
  );
  return anyMatch(
    rules.flatMap(
      ({ peers }): readonly Match[] =>
        peers?.map((peer) => kubernetesPeer(world, question, policy, peer)) ?? ['yes'],
    ),
  );
}

function kubernetesPeer(
  world: PolicyWorld,
  { other }: DirectedFlow,
  policy: NetworkPolicy,
  peer: PolicyPeer,
): Match {
  if (peer.kind === 'ip-block') return inCidrs(world, other, [peer.cidr], peer.except) ? 'yes' : 'no';
  const { kind, namespace, labels } = endpointOf(other);
  if (kind !== 'pod') return 'no';
  if (peer.podSelector !== undefined && !matchesSelector(peer.podSelector, labels)) return 'no';
  if (peer.namespaceSelector === undefined) return namespace === policy.namespace ? 'yes' : 'no';
  return namespaceMatches(world, peer.namespaceSelector, namespace);
}

function kubernetesPort({ protocol, port, endPort }: PolicyPort, flow: PolicyFlow): boolean {
  if (protocol !== flow.protocol) return false;
  if (port === undefined) return true;
  if (typeof port === 'string') return resolveNamedPort(flow.dst, port, protocol).includes(flow.port);
  return flow.port >= port && flow.port <= (endPort ?? port);
}
