/** NetworkPolicy (networking.k8s.io/v1) in the words of its API types, one flow at a time. */
import type { NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from '../../model/cluster.ts';
import { contains } from '../../net/prefix.ts';
import { type FlowEnd, type PolicyFlow, resolveNamedPort } from '../endpoint.ts';
import type { PolicyWorld } from '../options.ts';
import { matchesSelector } from '../selector.ts';
import type { DirectedFlow, Outcome } from './contract.ts';
import { addressesOf, namespaceMatches, ownNetworkPod } from './match.ts';
import { type Tri, triAll, triAny, triIf } from './tri.ts';

/** `none`: no policy selects the pod for the direction, and others may decide. Exempt traffic is the caller's to know. */
export function networkPolicyOutcome(world: PolicyWorld, at: DirectedFlow): 'none' | Outcome {
  const admitted = networkPolicyAdmits(world, at);
  if (admitted === 'none') return 'none';
  if (admitted === 'yes') return 'allow';
  // Rules are defined "for layer 4 connections (TCP, UDP, and optionally SCTP)"; for the rest "the behavior may vary".
  if (admitted === 'maybe' || !hasPorts(at.flow)) return 'conditional';
  return 'deny';
}

/** Whether a rule of the policies that isolate the pod for the direction admits the flow; `none`: nothing isolates it. */
export function networkPolicyAdmits(world: PolicyWorld, at: DirectedFlow): 'none' | Tri {
  const pod = ownNetworkPod(at.subject);
  if (pod === undefined) return 'none';
  const policies = world.cluster.networkPolicies;
  if (policies.state === 'unknown') return 'maybe';
  // A policy's selector never crosses its namespace.
  const isolating = policies.value.filter(
    (policy) =>
      policy.namespace === pod.namespace &&
      policy[at.direction] !== undefined &&
      matchesSelector(policy.podSelector, pod.labels),
  );
  if (isolating.length === 0) return 'none';
  // "Network policies do not conflict; they are additive": one rule that admits the flow is enough.
  return triAny(
    isolating.flatMap((policy) =>
      (policy[at.direction] ?? []).map((rule) => admits(world, at, policy, rule)),
    ),
  );
}

const hasPorts = ({ protocol }: PolicyFlow): boolean =>
  protocol === 'TCP' || protocol === 'UDP' || protocol === 'SCTP';

/** "This rule matches traffic if and only if the traffic matches at least one item in the from list" and in the ports list. */
function admits(world: PolicyWorld, at: DirectedFlow, policy: NetworkPolicy, rule: PolicyRule): Tri {
  if (rule.peers === undefined) return triIf(portsMatch(at.flow, rule.ports, at.flow.dst));
  return triAny(
    rule.peers.map((peer) => {
      // A named port beside an egress ipBlock is legal and matches nothing: names belong to pods, an ipBlock to addresses.
      const nameless = at.direction === 'egress' && peer.kind === 'ip-block';
      const ports = portsMatch(at.flow, rule.ports, nameless ? undefined : at.flow.dst);
      return triAll([triIf(ports), peerMatches(world, at.other, policy.namespace, peer)]);
    }),
  );
}

/** Undefined ports match every protocol. Names are looked up on `named`, where it has some. */
function portsMatch(
  { protocol, port }: PolicyFlow,
  ports: readonly PolicyPort[] | undefined,
  named: FlowEnd | undefined,
): boolean {
  if (ports === undefined) return true;
  return ports.some((wanted) => {
    if (wanted.protocol !== protocol) return false;
    if (wanted.port === undefined) return true;
    if (typeof wanted.port === 'string')
      return named !== undefined && resolveNamedPort(named, wanted.port, protocol).includes(port);
    return wanted.port <= port && port <= (wanted.endPort ?? wanted.port);
  });
}

function peerMatches(world: PolicyWorld, other: FlowEnd, home: string, peer: PolicyPeer): Tri {
  const pod = ownNetworkPod(other);
  if (peer.kind === 'ip-block') {
    if (pod !== undefined && !world.reading.ipBlockMatchesPods) return 'no';
    return triIf(
      addressesOf(other).some(
        (address) => contains(peer.cidr, address) && !peer.except.some((hole) => contains(hole, address)),
      ),
    );
  }
  if (pod === undefined) return 'no';
  const labelled = triIf(peer.podSelector === undefined || matchesSelector(peer.podSelector, pod.labels));
  const placed =
    peer.namespaceSelector === undefined
      ? triIf(pod.namespace === home)
      : namespaceMatches(world, peer.namespaceSelector, pod.namespace);
  return triAll([labelled, placed]);
}
