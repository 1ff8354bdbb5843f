/** Ports that a policy names and nobody has: the Service's port instead of the pods', and names that no container declares. */
import type {
  NetworkPolicy,
  Pod,
  PolicyPort,
  PolicyRule,
  Service,
  ServicePort,
} from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import { resolveNamedPort } from '../endpoint.ts';
import type { Direction } from '../ir.ts';
import { defineRule, type Found, found, type LintContext, peerExpr, rulesOf, subjectExpr } from './rule.ts';

export const servicePort = defineRule({
  id: 'service-port',
  title: 'rules name the ports of pods, not those of Services',
  needsPods: true,
  run: (context) =>
    eachPort(context, (policy, rule, port, pods) => {
      const { port: number, endPort, protocol } = port;
      if (typeof number !== 'number' || endPort !== undefined || declares(pods, number, protocol))
        return undefined;
      for (const service of orElse(context.cluster.services, [])) {
        const entry: ServicePort | undefined = service.ports.find(
          (one) => one.port === number && one.protocol === protocol,
        );
        const behind = pods.filter((pod) => isBehind(service, pod));
        if (entry === undefined || behind.length === 0) continue;
        const targets: ReadonlySet<number> = new Set(
          behind.flatMap((pod) =>
            typeof entry.targetPort === 'number'
              ? [entry.targetPort]
              : resolveNamedPort({ kind: 'pod', pod }, entry.targetPort, protocol),
          ),
        );
        // Some pod answers on the number, or the real port is admitted too: then nothing is lost.
        if (
          targets.size === 0 ||
          targets.has(number) ||
          [...targets].some((target) => admits(rule, target, protocol, behind))
        )
          continue;
        const name = `${service.namespace}/${service.name}`;
        return found(
          policy,
          'error',
          port.field,
          `names ${number}, the port of Service ${name}; policies see the port of the pods behind it, ${[...targets].join(', ')}`,
          `write ${[...targets].join(', ')} instead of ${number}`,
        );
      }
      return undefined;
    }),
});

export const namedPort = defineRule({
  id: 'named-port-unresolved',
  title: 'every named port is declared by a destination',
  needsPods: true,
  run: (context) =>
    eachPort(context, (policy, _, port, pods) => {
      const { port: name, protocol } = port;
      if (
        typeof name !== 'string' ||
        pods.some((pod) => resolveNamedPort({ kind: 'pod', pod }, name, protocol).length > 0)
      )
        return undefined;
      const other = (['TCP', 'UDP', 'SCTP'] as const).find((one) =>
        pods.some((pod) => resolveNamedPort({ kind: 'pod', pod }, name, one).length > 0),
      );
      const hint = other === undefined ? '' : `; they declare it for ${other}`;
      return found(
        policy,
        'error',
        port.field,
        `names the port ${name} of ${protocol}, which no container of the ${pods.length === 1 ? 'destination pod declares' : `${pods.length} destination pods declares`}${hint}: it matches nothing`,
        other === undefined
          ? 'declare the name in the containers, or write the number'
          : `write protocol: ${other}`,
      );
    }),
});

type Look = (
  policy: NetworkPolicy,
  rule: PolicyRule,
  port: PolicyPort,
  pods: readonly Pod[],
) => Found | undefined;

/** Every port of every NetworkPolicy rule with the pods that are its destinations; rules without any are left out. */
function eachPort(context: LintContext, look: Look): Found[] {
  return context.networkPolicies.flatMap((policy) => {
    let subjects: readonly Pod[] | undefined;
    return rulesOf(policy).flatMap(([direction, rule]) => {
      if (rule.ports === undefined || rule.ports.length === 0) return [];
      subjects ??= context.select(subjectExpr(policy));
      const pods = direction === 'ingress' ? subjects : destinations(context, policy, rule, direction);
      if (pods.length === 0) return [];
      return rule.ports.flatMap((port) => look(policy, rule, port, pods) ?? []);
    });
  });
}

/** Pods that an egress rule leads to. Of a rule to everybody nobody can say whose ports it means. */
const destinations = (context: LintContext, policy: NetworkPolicy, rule: PolicyRule, _: Direction): Pod[] =>
  (rule.peers ?? []).flatMap((peer) =>
    peer.kind === 'pods' ? context.select(peerExpr(peer, policy.namespace)) : [],
  );

const declares = (pods: readonly Pod[], number: number, protocol: string): boolean =>
  pods.some((pod) =>
    pod.containers.some(({ ports }) => ports.some((one) => one.port === number && one.protocol === protocol)),
  );

const isBehind = ({ namespace, selector }: Service, pod: Pod): boolean => {
  const wanted = Object.entries(selector);
  return (
    namespace === pod.namespace &&
    wanted.length > 0 &&
    wanted.every(([key, value]) => pod.labels[key] === value)
  );
};

const admits = ({ ports }: PolicyRule, target: number, protocol: string, pods: readonly Pod[]): boolean =>
  (ports ?? []).some(
    (one) =>
      one.protocol === protocol &&
      (one.port === undefined ||
        (typeof one.port === 'number'
          ? target >= one.port && target <= (one.endPort ?? one.port)
          : pods.some((pod) =>
              resolveNamedPort({ kind: 'pod', pod }, one.port as string, one.protocol).includes(target),
            ))),
  );
