/** The rule that almost admitted a denied flow: what a person has to change, in one sentence. */
import type { Cluster, NetworkPolicy, Pod, PolicyPeer, PolicyPort, PolicyRule } from '../model/cluster.ts';
import { orElse } from '../model/known.ts';
import { formatAddress } from '../net/address.ts';
import { contains, formatPrefix } from '../net/prefix.ts';
import { formatPolicy, type NearestRule, type PolicyQuery } from './decision.ts';
import { namespaceLabelsOf } from './endpoint.ts';
import { apiProtocol, matchesPeer, matchesPort, matchesPortNumber, type Peer } from './peers.ts';
import { formatSelector, unmetRequirements } from './selector.ts';

interface Candidate extends NearestRule {
  /** Larger is nearer. A wrong port is nearer than a wrong label, a wrong label nearer than another kind of peer. */
  readonly score: number;
}

export interface DeniedFlow {
  readonly query: PolicyQuery;
  readonly other: Peer;
  /** Resolves named ports; absent for destinations outside the cluster. */
  readonly dstPod?: Pod;
  readonly ipBlockMatchesPods: boolean;
}

export function nearestRule(
  cluster: Cluster,
  rules: readonly { readonly policy: NetworkPolicy; readonly rule: PolicyRule }[],
  flow: DeniedFlow,
): NearestRule | undefined {
  let best: Candidate | undefined;
  for (const { policy, rule } of rules) {
    for (const candidate of candidates(cluster, policy, rule, flow)) {
      if (best === undefined || candidate.score > best.score) best = candidate;
    }
  }
  if (best === undefined) return undefined;
  const { score: _, policy, ...found } = best;
  return { ...found, policy: { namespace: policy.namespace, name: policy.name } };
}

function candidates(
  cluster: Cluster,
  policy: NetworkPolicy,
  rule: PolicyRule,
  flow: DeniedFlow,
): Candidate[] {
  const { query, other, dstPod, ipBlockMatchesPods } = flow;
  const portFits =
    rule.ports === undefined ||
    rule.ports.some((port) => matchesPort(port, query.protocol, query.dstPort, dstPod));
  const admits = (peer: PolicyPeer) =>
    matchesPeer(cluster, policy.namespace, peer, other, ipBlockMatchesPods) === 'yes';
  if (rule.peers === undefined || rule.peers.some(admits)) {
    return (rule.ports ?? []).map((port) => portCandidate(policy, port, flow));
  }
  return rule.peers.flatMap((peer) => {
    const candidate = peerCandidate(cluster, policy, peer, flow);
    return candidate === undefined ? [] : [{ ...candidate, score: candidate.score + (portFits ? 5 : 0) }];
  });
}

function portCandidate(policy: NetworkPolicy, port: PolicyPort, { query, dstPod }: DeniedFlow): Candidate {
  const flowPort = `the flow uses ${query.dstPort}/${query.protocol.toUpperCase()}`;
  const wants =
    port.port === undefined
      ? `every ${port.protocol} port`
      : `${port.port}${port.endPort === undefined ? '' : `-${port.endPort}`}/${port.protocol}`;
  const numberFits = matchesPortNumber(port, query.dstPort, dstPod);
  const protocolFits = port.protocol === apiProtocol(query.protocol);
  return {
    policy,
    field: port.field,
    missing: numberFits && !protocolFits ? 'protocol' : 'port',
    text: `${formatPolicy(policy)} ${port.field} allows ${wants}, ${flowPort}`,
    score: numberFits ? 95 : protocolFits ? 90 : 85,
  };
}

function peerCandidate(
  cluster: Cluster,
  policy: NetworkPolicy,
  peer: PolicyPeer,
  { other }: DeniedFlow,
): Candidate | undefined {
  const name = formatPolicy(policy);
  if (peer.kind === 'ip-block') {
    const address = formatAddress(other.address);
    const hole = peer.except.find((except) => contains(except, other.address));
    return hole !== undefined && contains(peer.cidr, other.address)
      ? {
          policy,
          field: `${peer.field}.ipBlock.except`,
          missing: 'peer',
          text: `${name} ${peer.field}.ipBlock.except takes ${formatPrefix(hole)} out, which holds ${address}`,
          score: 50,
        }
      : {
          policy,
          field: `${peer.field}.ipBlock`,
          missing: 'peer',
          text: `${name} ${peer.field}.ipBlock wants ${formatPrefix(peer.cidr)}, the other end is ${address}`,
          score: 10,
        };
  }
  const { pod } = other;
  if (pod === undefined) {
    const address = formatAddress(other.address);
    return {
      policy,
      field: peer.field,
      missing: 'peer',
      text: `${name} ${peer.field} admits pods, ${address} is none`,
      score: 5,
    };
  }
  return podPeerCandidate(cluster, policy, peer, pod);
}

function podPeerCandidate(
  cluster: Cluster,
  policy: NetworkPolicy,
  peer: Extract<PolicyPeer, { kind: 'pods' }>,
  pod: Pod,
): Candidate | undefined {
  const name = formatPolicy(policy);
  const podUnmet = peer.podSelector === undefined ? [] : unmetRequirements(peer.podSelector, pod.labels);
  if (peer.namespaceSelector === undefined && pod.namespace !== policy.namespace) {
    return {
      policy,
      field: peer.field,
      missing: 'peer',
      text: `${name} ${peer.field} has no namespaceSelector, so it admits pods of ${policy.namespace} only, and ${pod.name} is in ${pod.namespace}`,
      score: podUnmet.length === 0 ? 55 : 25 - podUnmet.length,
    };
  }
  const labels = orElse(namespaceLabelsOf(cluster, pod.namespace), {});
  const namespaceUnmet =
    peer.namespaceSelector === undefined ? [] : unmetRequirements(peer.namespaceSelector, labels);
  const first = namespaceUnmet[0];
  if (first !== undefined && peer.namespaceSelector !== undefined) {
    const field = `${peer.field}.namespaceSelector`;
    return {
      policy,
      field,
      missing: 'namespace-label',
      text: `${name} ${field} wants ${formatSelector(peer.namespaceSelector)}, namespace ${pod.namespace} ${first.has}`,
      score: (podUnmet.length === 0 ? 65 : 35) - namespaceUnmet.length - podUnmet.length,
      ...(first.key in labels ? {} : { absentLabel: first.key }),
    };
  }
  const label = podUnmet[0];
  if (label === undefined || peer.podSelector === undefined) return undefined;
  const field = `${peer.field}.podSelector`;
  return {
    policy,
    field,
    missing: 'pod-label',
    text: `${name} ${field} wants ${formatSelector(peer.podSelector)}, pod ${pod.namespace}/${pod.name} ${label.has}`,
    score: 60 - podUnmet.length,
  };
}
