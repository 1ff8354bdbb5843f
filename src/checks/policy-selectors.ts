/** NetworkPolicy rules that admit nobody, or not the port that is meant. A policy that denies on purpose is no finding. */

import type { NetworkPolicy, Pod, PolicyPeer, PolicyPort, PolicyRule, Service } from '../model/cluster.ts';
import type { CauseId, Finding } from '../model/finding.ts';
import { orElse } from '../model/known.ts';
import { objectRef } from '../model/source.ts';
import { namedPorts, nameLabel } from '../policy/endpoint.ts';
import { matchesPeer, matchesPortNumber } from '../policy/peers.ts';
import { formatSelector, matchesSelector, unmetRequirements } from '../policy/selector.ts';
import { type CheckContext, declared, defineCheck, podSubject } from './check.ts';

export const policySelectors = defineCheck({
  id: 'policy-selectors',
  title: 'NetworkPolicy rules name namespaces, pods and ports that exist',
  causes: [
    'namespace/label-missing',
    'policy/selector-matches-nothing',
    'policy/service-port-not-target-port',
    'policy/named-port-unresolved',
  ],
  run: (context) => {
    const policies = context.need(context.snapshot.cluster.networkPolicies) ?? [];
    if (policies.length === 0 || context.need(context.snapshot.cluster.pods) === undefined) return [];
    const pods = context.pods();
    return policies.flatMap((policy) => {
      const selected = pods.filter(
        (pod) => pod.namespace === policy.namespace && matchesSelector(policy.podSelector, pod.labels),
      );
      return (['ingress', 'egress'] as const).flatMap((direction) =>
        (policy[direction] ?? []).flatMap((rule) => [
          ...(rule.peers ?? []).flatMap((peer) => checkPeer(context, policy, peer, pods)),
          ...checkPorts(
            context,
            policy,
            rule,
            direction === 'ingress' ? selected : destinations(context, policy, rule, pods),
          ),
        ]),
      );
    });
  },
});

const idOf = ({ namespace, name }: { readonly namespace: string; readonly name: string }) =>
  `${namespace}/${name}`;

function make(
  cause: CauseId,
  severity: Finding['severity'],
  policy: NetworkPolicy,
  field: string,
  statement: string,
  concerns: Finding['concerns'],
  more: Finding['evidence'] = [],
): Omit<Finding, 'check'> {
  const source = objectRef('NetworkPolicy', policy.namespace, policy.name, field);
  const subject = { kind: 'policy' as const, name: idOf(policy) };
  return { cause, severity, subject, concerns, statement, evidence: [declared(statement, source), ...more] };
}

function checkPeer(
  context: CheckContext,
  policy: NetworkPolicy,
  peer: PolicyPeer,
  pods: readonly Pod[],
): Omit<Finding, 'check'>[] {
  if (peer.kind === 'ip-block') return [];
  const { namespaceSelector, podSelector } = peer;
  const namespaces = context.need(context.snapshot.cluster.namespaces);
  if (namespaces === undefined) return [];
  const candidates =
    namespaceSelector === undefined
      ? namespaces.filter(({ name }) => name === policy.namespace)
      : namespaces.filter(({ labels }) => matchesSelector(namespaceSelector, labels));
  if (namespaceSelector !== undefined && candidates.length === 0) {
    const field = `${peer.field}.namespaceSelector`;
    // The runbook's classic: `name: shop`, where every namespace has its name under another key.
    const meant = namespaces.find(({ name }) => Object.values(namespaceSelector.matchLabels).includes(name));
    const nearest =
      meant ?? namespaces.find(({ labels }) => unmetRequirements(namespaceSelector, labels).length === 1);
    const hint =
      nearest === undefined
        ? ''
        : `; namespace ${nearest.name} ${unmetRequirements(namespaceSelector, nearest.labels)[0]?.has}`;
    const text = `${idOf(policy)} ${field} wants ${formatSelector(namespaceSelector)}, and no namespace has that${hint}`;
    const concerns = nearest === undefined ? [] : [{ kind: 'namespace' as const, name: nearest.name }];
    const hints =
      meant === undefined
        ? []
        : [
            declared(
              `namespace ${meant.name} has ${nameLabel}=${meant.name}`,
              objectRef('Namespace', undefined, meant.name, 'metadata.labels'),
            ),
          ];
    return [
      make(
        'namespace/label-missing',
        meant === undefined ? 'warning' : 'error',
        policy,
        field,
        text,
        concerns,
        hints,
      ),
    ];
  }
  if (podSelector === undefined) return [];
  const names = new Set(candidates.map(({ name }) => name));
  const inside = pods.filter((pod) => names.has(pod.namespace));
  if (inside.some((pod) => matchesSelector(podSelector, pod.labels))) return [];
  const field = `${peer.field}.podSelector`;
  const where =
    namespaceSelector === undefined
      ? `namespace ${policy.namespace}`
      : `namespaces with ${formatSelector(namespaceSelector)}`;
  const text = `${idOf(policy)} ${field} wants ${formatSelector(podSelector)}, and no pod of ${where} has that`;
  return [make('policy/selector-matches-nothing', 'warning', policy, field, text, [])];
}

/** Pods that an egress rule leads to. */
const destinations = (
  context: CheckContext,
  policy: NetworkPolicy,
  rule: PolicyRule,
  pods: readonly Pod[],
): Pod[] =>
  pods.filter((pod) => {
    const [address] = pod.addresses;
    if (address === undefined || rule.peers === undefined) return false;
    return rule.peers.some(
      (peer) =>
        peer.kind === 'pods' &&
        matchesPeer(context.snapshot.cluster, policy.namespace, peer, { address, pod }, false) === 'yes',
    );
  });

function checkPorts(
  context: CheckContext,
  policy: NetworkPolicy,
  rule: PolicyRule,
  dst: readonly Pod[],
): Omit<Finding, 'check'>[] {
  if (dst.length === 0) return [];
  return (rule.ports ?? []).flatMap((port) => {
    if (typeof port.port === 'string') return checkName(policy, port, port.port, dst);
    return port.port === undefined ? [] : checkNumber(context, policy, rule, port, port.port, dst);
  });
}

function checkName(
  policy: NetworkPolicy,
  port: PolicyPort,
  name: string,
  dst: readonly Pod[],
): Omit<Finding, 'check'>[] {
  if (dst.some((pod) => namedPorts(pod, name, port.protocol).length > 0)) return [];
  const text = `${idOf(policy)} ${port.field} names the port ${name}/${port.protocol}, which no container of ${dst.length} destination pods declares`;
  return [make('policy/named-port-unresolved', 'error', policy, port.field, text, dst.map(podSubject))];
}

function checkNumber(
  { snapshot }: CheckContext,
  policy: NetworkPolicy,
  rule: PolicyRule,
  port: PolicyPort,
  number: number,
  dst: readonly Pod[],
): Omit<Finding, 'check'>[] {
  // Somebody listens or declares the number: then it is a pod's port, whatever Services say.
  if (port.endPort !== undefined || dst.some((pod) => servesPort(snapshot.netns, pod, number, port.protocol)))
    return [];
  for (const service of orElse(snapshot.cluster.services, [])) {
    const behind = dst.filter((pod) => isBehind(service, pod));
    const entry = service.ports.find((p) => p.port === number && p.protocol === port.protocol);
    const [pod] = behind;
    if (entry === undefined || pod === undefined) continue;
    const target =
      typeof entry.targetPort === 'number'
        ? entry.targetPort
        : namedPorts(pod, entry.targetPort, entry.protocol)[0];
    if (target === undefined || target === number) continue;
    const admitted = (rule.ports ?? []).some(
      (p) => p.protocol === port.protocol && matchesPortNumber(p, target, pod),
    );
    if (admitted) continue;
    const text = `${idOf(policy)} ${port.field} names ${number}, the port of Service ${idOf(service)}; policies see the pod's port ${target}`;
    const source = objectRef('Service', service.namespace, service.name, 'spec.ports');
    return [
      make(
        'policy/service-port-not-target-port',
        'error',
        policy,
        port.field,
        text,
        [...behind.map(podSubject), { kind: 'service', name: idOf(service) }],
        [declared(`Service ${idOf(service)} maps ${number} to ${entry.targetPort}`, source)],
      ),
    ];
  }
  return [];
}

const isBehind = (service: Service, pod: Pod): boolean =>
  service.namespace === pod.namespace &&
  Object.keys(service.selector).length > 0 &&
  matchesSelector({ matchLabels: service.selector, matchExpressions: [] }, pod.labels);

function servesPort(
  netnses: CheckContext['snapshot']['netns'],
  pod: Pod,
  number: number,
  protocol: PolicyPort['protocol'],
): boolean {
  const isDeclared = pod.containers.some((c) =>
    c.ports.some((p) => p.port === number && p.protocol === protocol),
  );
  const sockets = netnses.get(`${pod.node}/${pod.namespace}_${pod.name}`)?.sockets;
  return (
    isDeclared ||
    orElse(sockets ?? { state: 'known', value: [] }, []).some(
      (socket) => socket.port === number && socket.protocol === protocol.toLowerCase(),
    )
  );
}
