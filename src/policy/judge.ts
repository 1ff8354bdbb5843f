/**
 * What the network policies of every kind say about one flow, for the diagnosis: NetworkPolicy alone is judged by the reference, which
 * also weighs what the API leaves open; where other kinds take part, the engine and its explanation speak. Meshes are not asked: their
 * proxies judge connections, not packets.
 */
import type { Cluster } from '../model/cluster.ts';
import type { Endpoint, FlowProtocol } from '../model/flow.ts';
import type { Known } from '../model/known.ts';
import { orElse } from '../model/known.ts';
import type { DirectionExplanation, NearestMiss, PolicyPlace } from '../model/policy-explanation.ts';
import { sameAddress } from '../net/address.ts';
import type { LineProtocol } from '../net/port-set.ts';
import type { DirectionDecision, NearestRule, PolicyDecision, PolicyQuery, PolicyRef } from './decision.ts';
import { type FlowEnd, isEndpointPod } from './endpoint.ts';
import { explain } from './explain/explain.ts';
import { type PolicyEngine, policyEngine } from './index.ts';
import { decide } from './reference.ts';

export function judgePolicies(cluster: Cluster, query: PolicyQuery): PolicyDecision {
  if (!hasOtherKinds(cluster)) return decide(cluster, query);
  const src = flowEnd(cluster, query.src);
  const dst = flowEnd(cluster, query.dst);
  // An end that is no object of the cluster, or a Service: the reference says what cannot be told about it.
  if (src === undefined || dst === undefined) return decide(cluster, query);
  const { protocol, port } = linePort(query.protocol, query.dstPort, query.dst);
  const { layers } = explain(engineOf(cluster), { src, dst, protocol, port });
  const network = layers.find(({ name }) => name === 'network');
  const directions = network?.ways.flatMap((way) => way.directions) ?? [];
  const of = (direction: 'egress' | 'ingress'): DirectionDecision => {
    const worst = directions
      .filter((one) => one.direction === direction)
      .sort((a, b) => rank(a) - rank(b))[0];
    if (worst !== undefined) return decisionOf(worst);
    const exempt = network?.exempt;
    return {
      isolated: false,
      isolatingPolicies: [],
      verdict: 'allow',
      ...(exempt === undefined ? {} : { exempt }),
    };
  };
  const egress = of('egress');
  const ingress = of('ingress');
  const verdicts = [egress.verdict, ingress.verdict];
  const verdict = verdicts.includes('deny') ? 'deny' : verdicts.includes('unknown') ? 'unknown' : 'allow';
  return { verdict, egress, ingress, notes: [] };
}

const rank = ({ verdict }: DirectionExplanation): number => ['deny', 'conditional', 'allow'].indexOf(verdict);

/** True if kinds beside NetworkPolicy have a say in what packets pass. A kind that could not be read has one too. */
function hasOtherKinds({ adminPolicies, calico, cilium }: Cluster): boolean {
  const some = (group: Known<object>): boolean =>
    group.state === 'unknown' ||
    Object.values(group.value).some((list) => Array.isArray(list) && list.length > 0);
  return adminPolicies.state === 'unknown' || adminPolicies.value.length > 0 || some(calico) || some(cilium);
}

const engines = new WeakMap<Cluster, PolicyEngine>();

function engineOf(cluster: Cluster): PolicyEngine {
  const known = engines.get(cluster) ?? policyEngine(cluster);
  engines.set(cluster, known);
  return known;
}

function flowEnd(cluster: Cluster, end: Endpoint): FlowEnd | undefined {
  const pods = orElse(cluster.pods, []).filter(isEndpointPod);
  switch (end.kind) {
    case 'pod': {
      const pod = pods.find((one) => one.namespace === end.namespace && one.name === end.name);
      return pod && { kind: 'pod', pod };
    }
    case 'node': {
      const node = orElse(cluster.nodes, []).find(({ name }) => name === end.name);
      return node && { kind: 'node', node };
    }
    case 'external': {
      const pod = pods.find((one) => one.addresses.some((own) => sameAddress(own, end.address)));
      return pod === undefined ? { kind: 'external', address: end.address } : { kind: 'pod', pod };
    }
    case 'service':
      return undefined;
  }
}

/** ICMP is asked as an echo request. */
function linePort(
  protocol: FlowProtocol,
  port: number,
  dst: Endpoint,
): { protocol: LineProtocol; port: number } {
  switch (protocol) {
    case 'tcp':
      return { protocol: 'TCP', port };
    case 'udp':
      return { protocol: 'UDP', port };
    case 'sctp':
      return { protocol: 'SCTP', port };
    case 'icmp':
      return dst.address.family === 4
        ? { protocol: 'ICMP', port: 8 * 256 }
        : { protocol: 'ICMPv6', port: 128 * 256 };
  }
}

function decisionOf(explained: DirectionExplanation): DirectionDecision {
  const { verdict, reason, nearest, conditions, tiers } = explained;
  const isolating = tiers
    .flatMap(({ policies }) => policies)
    .filter(({ isolates }) => isolates)
    .map(({ place }) => refOf(place));
  const decider = reason.place === undefined ? [] : [refOf(reason.place)];
  return {
    isolated: isolating.length > 0,
    isolatingPolicies: verdict === 'deny' && decider.length > 0 ? decider : isolating,
    verdict: verdict === 'conditional' ? 'unknown' : verdict,
    decidedBy: reason.text,
    ...(verdict === 'conditional' ? { why: conditions.join('; ') } : {}),
    ...(verdict === 'allow' && reason.place?.field !== undefined
      ? { allowedBy: { policy: refOf(reason.place), field: reason.place.field } }
      : {}),
    ...(verdict === 'deny' && nearest !== undefined ? { nearest: nearestOf(nearest) } : {}),
  };
}

const refOf = ({ kind, namespace, name }: PolicyPlace): PolicyRef => ({
  kind,
  namespace: namespace ?? '',
  name,
});

const nearestOf = ({ place, missing, text }: NearestMiss): NearestRule => ({
  policy: refOf(place),
  field: place.field ?? 'spec',
  missing:
    missing === 'namespace-label' || missing === 'pod-label' || missing === 'port' || missing === 'protocol'
      ? missing
      : 'peer',
  text,
});
