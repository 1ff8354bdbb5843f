/**
 * What every policy kind is lowered to: layers of tiers of policies of rules. A flow passes if every layer lets it pass, at the source
 * (egress) and at the destination (ingress). Inside a layer the first rule that matches decides, tier after tier, unless it says pass.
 */
import type { ObjectOrigin } from '../model/cluster.ts';
import type { LineProtocol, PortSet } from '../net/port-set.ts';
import type { Prefix } from '../net/prefix.ts';

export type Direction = 'egress' | 'ingress';

/** What a flow's end can be. `host-pod` is a pod on its node's network: to most rules no more than its node's address. */
export type EndpointKind = 'pod' | 'host-pod' | 'node' | 'external';

/** Whose labels a label test reads. A pod's service account and node have labels too. */
export type LabelOwner = 'self' | 'namespace' | 'service-account' | 'node';

export type LabelTest =
  | { readonly op: 'in'; readonly values: readonly string[] }
  | { readonly op: 'exists' }
  | { readonly op: 'contains' | 'prefix' | 'suffix'; readonly text: string };

/**
 * A set of endpoints. Every test is false where the endpoint has no such fact (an external address has no labels), so `not` must be
 * joined with a `kind` where the policy's language means "pods that have not".
 */
export type EndpointExpr =
  | { readonly is: 'any' }
  | { readonly is: 'none' }
  | { readonly is: 'kind'; readonly kinds: readonly EndpointKind[] }
  /** Pods and host-pods of these namespaces. */
  | { readonly is: 'namespace'; readonly names: readonly string[] }
  /** `self`: a pod's or node's own labels. `namespace`: of the namespace that a pod is in. */
  | { readonly is: 'label'; readonly of: LabelOwner; readonly key: string; readonly test: LabelTest }
  /** `namespace/name` of the pod's service account. */
  | { readonly is: 'service-account'; readonly names: readonly string[] }
  /**
   * The endpoint's address lies in one of `prefixes` and in none of `except`. True for endpoints of every kind, pods included: join it
   * with `kind` where the language means addresses outside the cluster. False for pods whose address is not known.
   */
  | { readonly is: 'address'; readonly prefixes: readonly Prefix[]; readonly except: readonly Prefix[] }
  /** A fact that some kind's `traits` function gave to the endpoint: `istio/sidecar`. */
  | { readonly is: 'trait'; readonly name: string }
  /** `field`: the part of the object that this was read from, `spec.ingress[0].from[0]`. It names the part to people and decides nothing. */
  | { readonly is: 'and' | 'or'; readonly of: readonly EndpointExpr[]; readonly field?: string }
  | { readonly is: 'not'; readonly of: EndpointExpr };

/** A container port's name, to be looked up on the DESTINATION of the flow, in both directions. */
export interface NamedPort {
  readonly protocol: LineProtocol;
  readonly name: string;
}

/** (set and the named ports' numbers), less (`not.set` and the numbers of `not.named`). */
export interface Ports {
  readonly set: PortSet;
  readonly named: readonly NamedPort[];
  readonly not?: { readonly set: PortSet; readonly named: readonly NamedPort[] };
}

/** Why nobody can say from the objects whether a rule takes effect. */
export interface Condition {
  readonly code:
    | 'fqdn'
    | 'l7'
    | 'identity'
    | 'external-authorizer'
    | 'source-port'
    | 'undefined-by-api'
    | 'not-collected'
    | 'not-understood';
  /** For people: `only for HTTP GET /metrics`, `only for addresses that DNS gave for *.example.com`. */
  readonly text: string;
}

export type RuleAction = 'allow' | 'deny' | 'pass';

export interface Rule {
  readonly action: RuleAction;
  /** The other end: the source for ingress, the destination for egress. */
  readonly peer: EndpointExpr;
  /** A further match on the policy's own end, beside its subject (Calico rules name both ends). */
  readonly self?: EndpointExpr;
  readonly ports: Ports;
  /** Set: the rule may or may not match, and the verdict is conditional where that makes a difference. */
  readonly condition?: Condition;
  /** `spec.ingress[0]` */
  readonly field: string;
  /** The object that the rule and `field` stand in, where it is not the policy's own: Linkerd authorizes beside its Servers. */
  readonly by?: { readonly id: PolicyId; readonly origin?: ObjectOrigin };
}

export interface PolicyId {
  readonly kind: string;
  /** Absent for cluster-wide kinds. */
  readonly namespace?: string;
  readonly name: string;
}

export interface LoweredDirection {
  /** True if a flow of the subject that no rule of the tier matched meets the tier's `otherwise`. False: the policy adds rules only. */
  readonly isolates: boolean;
  /** In the order in which they are tried. */
  readonly rules: readonly Rule[];
}

export interface LoweredPolicy {
  readonly id: PolicyId;
  readonly origin?: ObjectOrigin;
  readonly subject: EndpointExpr;
  /** Set: the policy may or may not be there, or select the subject. */
  readonly condition?: Condition;
  /** Policies of a layer with the same text are parts of one object: where one is not there, none of them is. */
  readonly whole?: string;
  readonly ingress?: LoweredDirection;
  readonly egress?: LoweredDirection;
}

/**
 * Policies of one group have the same rank: if several of them match a flow and disagree, the API does not say which wins and the
 * verdict is conditional. Where the order among them is defined, or makes no difference, each is a group of its own.
 */
export type PolicyGroup = readonly LoweredPolicy[];

export interface Tier {
  /** For people: `admin tier`, `NetworkPolicy`, `tier security`. */
  readonly name: string;
  /** In the order in which they are asked. */
  readonly groups: readonly PolicyGroup[];
  /** What becomes of a flow that no rule matched, at an endpoint that some isolating policy of the tier selects. */
  readonly otherwise: 'deny' | 'pass';
  /** On these ports `otherwise` is not certain: NetworkPolicy does not define ICMP. */
  readonly unspecified?: { readonly ports: PortSet; readonly condition: Condition };
}

/** Traffic from `src` to `dst` reaches this layer under another port: in an ambient mesh all TCP arrives at 15008. */
export interface PortRewrite {
  readonly src: EndpointExpr;
  readonly dst: EndpointExpr;
  /** The ports that are rewritten. */
  readonly ports: PortSet;
  readonly to: { readonly protocol: LineProtocol; readonly port: number };
  readonly condition?: Condition;
}

export interface Layer {
  /** `network`, `istio`, `linkerd`. */
  readonly name: string;
  readonly tiers: readonly Tier[];
  /** After the last tier. */
  readonly finally: 'allow' | 'deny';
  readonly rewrites: readonly PortRewrite[];
  /** A pod's traffic to itself, and between a pod and its own node, passes whatever the tiers say. */
  readonly exemptsSelfAndOwnNode: boolean;
}

export interface PolicyProgram {
  readonly layers: readonly Layer[];
  /** Parts that were left out or could not be judged; said beside every answer. */
  readonly notes: readonly PolicyProgramNote[];
}

export interface PolicyProgramNote {
  readonly policy?: PolicyId;
  readonly field?: string;
  readonly origin?: ObjectOrigin;
  readonly text: string;
}

export const anyEndpoint: EndpointExpr = { is: 'any' };
export const noEndpoint: EndpointExpr = { is: 'none' };
export const and = (...of: readonly EndpointExpr[]): EndpointExpr => ({ is: 'and', of });
export const or = (...of: readonly EndpointExpr[]): EndpointExpr => ({ is: 'or', of });
export const not = (of: EndpointExpr): EndpointExpr => ({ is: 'not', of });
export const kinds = (...of: readonly EndpointKind[]): EndpointExpr => ({ is: 'kind', kinds: of });
