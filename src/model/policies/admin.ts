/** AdminNetworkPolicy, BaselineAdminNetworkPolicy (v1alpha1) and ClusterNetworkPolicy (v1alpha2) in one normal form. */
import type { Prefix } from '../../net/prefix.ts';
import type { ObjectOrigin, PolicyProblem, Selector } from '../cluster.ts';

export type AdminTier = 'admin' | 'baseline';

export interface AdminPolicy {
  readonly kind: 'AdminNetworkPolicy' | 'BaselineAdminNetworkPolicy' | 'ClusterNetworkPolicy';
  readonly name: string;
  /** `unknown`: not understood; it may be in either. */
  readonly tier: AdminTier | 'unknown';
  /**
   * 0 to 1000 inside of the tier, the lowest is asked first. `last`: BaselineAdminNetworkPolicy has no priority and is asked after every
   * ClusterNetworkPolicy of the baseline tier. `unknown`: not understood; it may be anywhere.
   */
  readonly rank: number | 'last' | 'unknown';
  readonly subject: AdminPods;
  /** In the order in which they are asked. Empty: no effect on the direction; these kinds never isolate. */
  readonly ingress: readonly AdminRule[];
  readonly egress: readonly AdminRule[];
  /** Set: why the API refuses the object as a whole, so that nobody knows whether or how it takes part. */
  readonly doubt?: string;
  /** Every part that the API would refuse or that is not understood. */
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

/** Pods with a network of their own: hostNetwork pods are neither subjects nor pod peers. */
export interface AdminPods {
  readonly namespaceSelector: Selector;
  readonly podSelector: Selector;
}

export interface AdminRule {
  readonly name?: string;
  /** The API's Allow and Accept are both `allow`. `unknown`: not understood; it may do any of the others, or nothing. */
  readonly action: 'allow' | 'deny' | 'pass' | 'unknown';
  /**
   * False: a peer, port or field is invalid or not understood, and the rule fails closed as the API demands it: Accept matches nothing,
   * Deny and Pass deny everything. `peers` and `ports` then say nothing.
   */
  readonly understood: boolean;
  /** One of them has to match. */
  readonly peers: readonly AdminPeer[];
  /** Undefined: every port of every protocol, ICMP included. Otherwise one of them has to match. */
  readonly ports?: readonly AdminPort[];
  /** `spec.ingress[0]` */
  readonly field: string;
}

export type AdminPeer =
  | (AdminPods & { readonly kind: 'pods'; readonly field: string })
  /** Addresses of the nodes with these labels: the nodes themselves and the hostNetwork pods on them. */
  | { readonly kind: 'nodes'; readonly nodeSelector: Selector; readonly field: string }
  /** Addresses, those of pods included. */
  | { readonly kind: 'networks'; readonly prefixes: readonly Prefix[]; readonly field: string }
  | {
      readonly kind: 'domains';
      /** `example.com`, or `*.example.com`: one or more labels in front, never none. */
      readonly names: readonly string[];
      /** True where the cluster's DNS may give pod addresses for one of the names: `web.shop.svc.cluster.local` of a headless Service. */
      readonly mayBePods: boolean;
      readonly field: string;
    };

export type AdminPort =
  | {
      readonly kind: 'numbers';
      readonly protocol: 'TCP' | 'UDP' | 'SCTP';
      /** Both inclusive. */
      readonly from: number;
      readonly to: number;
      readonly field: string;
    }
  /** A container port of the destination pod, whatever its protocol. */
  | { readonly kind: 'named'; readonly name: string; readonly field: string };
