/** What a lint rule is given and what it gives. One file a rule; registry.ts lists them. */
import type { Cluster, NetworkPolicy, Pod, PolicyPeer, PolicyRule } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import type { LintFinding } from '../../model/policy-lint.ts';
import { eachId } from '../../net/id-set.ts';
import { isEndpointPod } from '../endpoint.ts';
import type { Engine } from '../engine/engine.ts';
import type { EndpointClass } from '../engine/universe.ts';
import { selectorExpr } from '../expr.ts';
import { and, type Direction, type EndpointExpr, kinds, type LoweredPolicy } from '../ir.ts';

export type Found = Omit<LintFinding, 'rule'>;

export interface LintRule {
  readonly id: string;
  /** What holds where the rule finds nothing. */
  readonly title: string;
  /** True if pods and namespaces must be known, for the rule to tell anything. */
  readonly needsPods: boolean;
  /** Why the rule cannot look, if it cannot. */
  readonly cannot?: (context: LintContext) => string | undefined;
  /** What the rule does not look at, if it leaves something out. */
  readonly leavesOut?: (context: LintContext) => string | undefined;
  readonly run: (context: LintContext) => readonly Found[];
}

export interface LintContext {
  readonly engine: Engine;
  readonly cluster: Cluster;
  /** Those that can be an end of a flow. */
  readonly pods: readonly Pod[];
  readonly networkPolicies: readonly NetworkPolicy[];
  readonly lowered: readonly PlacedPolicy[];
  /** Pods, hostNetwork ones aside unless the expression names them. */
  readonly select: (expr: EndpointExpr) => readonly Pod[];
  /** Labels of a namespace; those that the server sets where the objects leave it out. */
  readonly namespaceLabels: (name: string) => Readonly<Record<string, string>>;
  readonly namespaces: readonly string[];
  /** False for manifests of an application, beside which a cluster has other objects: there are no nodes among them. */
  readonly whole: boolean;
}

export interface PlacedPolicy {
  readonly layer: string;
  readonly tier: string;
  readonly policy: LoweredPolicy;
}

export const defineRule = (rule: LintRule): LintRule => rule;

export function lintContext(engine: Engine): LintContext {
  const { cluster } = engine.world;
  const pods = orElse(cluster.pods, []).filter(isEndpointPod);
  const labels = new Map(orElse(cluster.namespaces, []).map((space) => [space.name, space.labels] as const));
  const namespaces = [...new Set([...labels.keys(), ...pods.map(({ namespace }) => namespace)])].sort();
  return {
    engine,
    cluster,
    pods,
    networkPolicies: orElse(cluster.networkPolicies, []),
    lowered: engine.program.layers.flatMap((layer) =>
      layer.tiers.flatMap((tier) =>
        tier.groups.flat().map((policy) => ({ layer: layer.name, tier: tier.name, policy })),
      ),
    ),
    select: (expr) =>
      [...eachId(engine.select(expr))].flatMap((id) =>
        (engine.universe.classes[id] as EndpointClass).members.flatMap((end) =>
          end.kind === 'pod' ? [end.pod] : [],
        ),
      ),
    namespaceLabels: (name) => labels.get(name) ?? { 'kubernetes.io/metadata.name': name },
    namespaces,
    whole: orElse(cluster.nodes, []).length > 0,
  };
}

/** Of a NetworkPolicy. */
export const found = (
  { namespace, name, origin }: NetworkPolicy,
  severity: Found['severity'],
  field: string,
  text: string,
  todo: string,
): Found => ({
  severity,
  policy: { kind: 'NetworkPolicy', namespace, name },
  field,
  text,
  todo,
  ...(origin === undefined ? {} : { origin }),
});

/** Of a policy of any kind. */
export const foundIn = (
  { id, origin }: LoweredPolicy,
  severity: Found['severity'],
  field: string,
  text: string,
  todo: string,
): Found => ({ severity, policy: id, field, text, todo, ...(origin === undefined ? {} : { origin }) });

export const directions: readonly Direction[] = ['ingress', 'egress'];

/** Every rule of a NetworkPolicy. */
export const rulesOf = (policy: NetworkPolicy): readonly (readonly [Direction, PolicyRule])[] =>
  directions.flatMap((direction) => (policy[direction] ?? []).map((rule) => [direction, rule] as const));

export type PodsPeer = Extract<PolicyPeer, { kind: 'pods' }>;

const inNamespace = (name: string): EndpointExpr => ({ is: 'namespace', names: [name] });

/** The pods that a policy is about. */
export const subjectExpr = ({ namespace, podSelector }: NetworkPolicy, host = false): EndpointExpr =>
  and(kinds(host ? 'host-pod' : 'pod'), inNamespace(namespace), selectorExpr(podSelector));

export function peerExpr(peer: PodsPeer, namespace: string, host = false): EndpointExpr {
  const spaces =
    peer.namespaceSelector === undefined
      ? inNamespace(namespace)
      : selectorExpr(peer.namespaceSelector, 'namespace');
  const pods = peer.podSelector === undefined ? [] : [selectorExpr(peer.podSelector)];
  return and(kinds(host ? 'host-pod' : 'pod'), spaces, ...pods);
}

export const podText = ({ namespace, name }: Pod): string => `${namespace}/${name}`;

/** `shop/a, shop/b and 3 more`. */
export function listText(items: readonly string[], most = 3): string {
  if (items.length <= most) return items.join(', ');
  return `${items.slice(0, most).join(', ')} and ${items.length - most} more`;
}

/** Nobody matches: most likely a mistake where the whole cluster was looked at, or where something else nearly matches. */
export const nobody = ({ whole }: LintContext, hint: string): Pick<Found, 'severity'>['severity'] =>
  whole || hint !== '' ? 'warning' : 'info';

/** ` among these objects` where there may be others. */
export const among = ({ whole }: LintContext): string => (whole ? '' : ' among these objects');
