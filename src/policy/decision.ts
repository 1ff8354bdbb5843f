/** What the policy engine answers: one verdict a direction, and why. */
import type { Endpoint, FlowProtocol } from '../model/flow.ts';

export interface PolicyQuery {
  readonly src: Endpoint;
  /** After Service DNAT: the pod, not the Service. */
  readonly dst: Endpoint;
  readonly protocol: FlowProtocol;
  /** The destination pod's port (target port); 0 for icmp. */
  readonly dstPort: number;
}

export interface PolicyOptions {
  /**
   * Whether an ipBlock matches the address of a pod. The documentation means ipBlock for addresses outside the cluster; CNIs that
   * filter by address match pods too (the default here), CNIs that filter by identity (Cilium) do not.
   */
  readonly ipBlockMatchesPods?: boolean;
}

export type PolicyVerdict = 'allow' | 'deny' | 'unknown';

export interface PolicyRef {
  /** Absent: NetworkPolicy. */
  readonly kind?: string;
  /** Empty for cluster-wide kinds. */
  readonly namespace: string;
  readonly name: string;
}

/** The rule that came closest to admitting the flow, and the one requirement it failed on. */
export interface NearestRule {
  readonly policy: PolicyRef;
  /** `spec.ingress[0].from[0].namespaceSelector` */
  readonly field: string;
  readonly missing: 'namespace-label' | 'pod-label' | 'port' | 'protocol' | 'peer';
  /** `shop/api-allow spec.ingress[0].from[0].namespaceSelector wants name=shop, namespace shop has no label name` */
  readonly text: string;
  /** With namespace-label: the wanted key that the namespace does not have at all, under any value. */
  readonly absentLabel?: string;
}

export interface DirectionDecision {
  /** True if some policy selects the pod in this direction. */
  readonly isolated: boolean;
  readonly isolatingPolicies: readonly PolicyRef[];
  readonly verdict: PolicyVerdict;
  /** Set where an isolated pod's flow is admitted by a rule. */
  readonly allowedBy?: { readonly policy: PolicyRef; readonly field: string };
  /** Admitted whatever the policies say: a pod's traffic to itself, and traffic between a pod and its own node. */
  readonly exempt?: 'self' | 'own-node';
  /** Set where the verdict is deny and a rule exists. */
  readonly nearest?: NearestRule;
  /** Set where the verdict is unknown. */
  readonly why?: string;
  /** Set where kinds beside NetworkPolicy take part: what decided, `AdminNetworkPolicy lockdown spec.ingress[0] denies it`. */
  readonly decidedBy?: string;
}

export interface PolicyNote {
  readonly code: 'ip-block-dialect' | 'host-network' | 'icmp' | 'self' | 'own-node' | 'invalid-policy';
  readonly text: string;
}

export interface PolicyDecision {
  readonly verdict: PolicyVerdict;
  readonly egress: DirectionDecision;
  readonly ingress: DirectionDecision;
  readonly notes: readonly PolicyNote[];
}

/** `shop/api-allow`; cluster-wide ones by their name. */
export const formatPolicy = ({ namespace, name }: PolicyRef): string =>
  namespace === '' ? name : `${namespace}/${name}`;

/** `NetworkPolicy shop/api-allow`. */
export const policyTitle = (policy: PolicyRef): string =>
  `${policy.kind ?? 'NetworkPolicy'} ${formatPolicy(policy)}`;
