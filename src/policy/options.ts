/** How a cluster reads its policies, where the API leaves it to whoever enforces them. */
import type { Cluster } from '../model/cluster.ts';

/**
 * Who enforces the network policies. `kubernetes`: the API's own words (AdminNetworkPolicy, NetworkPolicy, Baseline).
 * `calico`: its tiers, in which the Kubernetes kinds have fixed places. `cilium`: all kinds in one, deny before allow.
 */
export type Dialect = 'kubernetes' | 'calico' | 'cilium';

export interface PolicyReading {
  readonly dialect: Dialect;
  /**
   * Whether a NetworkPolicy ipBlock matches the address of a pod. The documentation means addresses outside the cluster; CNIs that filter
   * by address (Calico, kube-router) match pods too, CNIs that filter by identity (Cilium) do not.
   */
  readonly ipBlockMatchesPods: boolean;
  /** Cilium's policy enforcement mode (`enable-policy` of cilium-config). */
  readonly ciliumEnforcement: 'default' | 'always' | 'never';
  /** Cilium's policy-cidr-match-mode includes `nodes`: CIDR rules match nodes too. */
  readonly ciliumCidrMatchesNodes: boolean;
  /** Istio's root namespace: policies there hold for the whole mesh. */
  readonly istioRootNamespace: string;
  /** Linkerd's proxy.defaultInboundPolicy, where neither namespace nor pod says otherwise. */
  readonly linkerdDefaultInboundPolicy:
    | 'all-unauthenticated'
    | 'all-authenticated'
    | 'cluster-unauthenticated'
    | 'cluster-authenticated'
    | 'deny'
    | 'audit';
}

export const defaultReading: PolicyReading = {
  dialect: 'kubernetes',
  ipBlockMatchesPods: false,
  ciliumEnforcement: 'default',
  ciliumCidrMatchesNodes: false,
  istioRootNamespace: 'istio-system',
  linkerdDefaultInboundPolicy: 'all-unauthenticated',
};

/** What policies are judged on. */
export interface PolicyWorld {
  readonly cluster: Cluster;
  readonly reading: PolicyReading;
}
