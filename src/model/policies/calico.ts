/** Calico's policy objects (projectcalico.org/v3) in normal form: defaults applied, selectors parsed, names without their tier. */
import type { Address } from '../../net/address.ts';
import type { Prefix } from '../../net/prefix.ts';
import type { Labels, NetworkPolicy, ObjectOrigin, PolicyProblem } from '../cluster.ts';

/** A selector expression. Label tests are about one set of labels; which one depends on the field that the expression stands in. */
export type CalicoSelector =
  | { readonly is: 'all' | 'global' }
  | { readonly is: 'has'; readonly key: string }
  | { readonly is: 'equals' | 'differs'; readonly key: string; readonly value: string }
  | { readonly is: 'in' | 'not-in'; readonly key: string; readonly values: readonly string[] }
  | { readonly is: 'contains' | 'starts-with' | 'ends-with'; readonly key: string; readonly text: string }
  | { readonly is: 'not'; readonly of: CalicoSelector }
  | { readonly is: 'and' | 'or'; readonly of: readonly CalicoSelector[] };

/** Both ends inclusive, or the name of a port of the endpoint. */
export type CalicoPort = { readonly from: number; readonly to: number } | { readonly name: string };

/** One end of a rule. What is left out restricts nothing. */
export interface CalicoEntity {
  readonly nets?: readonly Prefix[];
  readonly notNets?: readonly Prefix[];
  readonly selector?: CalicoSelector;
  readonly notSelector?: CalicoSelector;
  readonly namespaceSelector?: CalicoSelector;
  readonly serviceAccounts?: { readonly names: readonly string[]; readonly selector?: CalicoSelector };
  readonly service?: { readonly namespace: string; readonly name: string };
  readonly ports?: readonly CalicoPort[];
  readonly notPorts?: readonly CalicoPort[];
}

export interface CalicoIcmp {
  readonly type: number;
  readonly code?: number;
}

export interface CalicoRule {
  readonly action: 'Allow' | 'Deny' | 'Log' | 'Pass';
  readonly ipVersion?: 4 | 6;
  /** IP protocol numbers. */
  readonly protocol?: number;
  readonly notProtocol?: number;
  readonly icmp?: CalicoIcmp;
  readonly notIcmp?: CalicoIcmp;
  readonly source: CalicoEntity;
  readonly destination: CalicoEntity;
  /** What it asks of an HTTP request, for people. */
  readonly http?: string;
  /** Set: the API would refuse the rule. It allows nothing, and nobody can say what it would have denied or passed. */
  readonly invalid?: string;
  /** `spec.ingress[0]` */
  readonly field: string;
}

export interface CalicoPolicy {
  readonly kind:
    | 'NetworkPolicy'
    | 'GlobalNetworkPolicy'
    | 'StagedNetworkPolicy'
    | 'StagedGlobalNetworkPolicy';
  /** Absent for the global kinds. */
  readonly namespace?: string;
  /** Without the tier in front. */
  readonly name: string;
  readonly tier: string;
  /** Infinity where it has none: such policies come last. */
  readonly order: number;
  readonly selector: CalicoSelector;
  readonly serviceAccountSelector?: CalicoSelector;
  /** Only of the global kinds. */
  readonly namespaceSelector?: CalicoSelector;
  /** Present for the directions in `types`, whose default is applied. */
  readonly ingress?: readonly CalicoRule[];
  readonly egress?: readonly CalicoRule[];
  /** Set where the policy is for host endpoints only: their traffic before connection tracking or DNAT. */
  readonly hostOnly?: 'doNotTrack' | 'preDNAT';
  /** Of the staged kinds: what enforcing it would do. */
  readonly stagedAction?: CalicoStagedAction;
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

export type CalicoStagedAction = 'Set' | 'Delete' | 'Learn' | 'Ignore';

export interface CalicoStagedKubernetesPolicy {
  readonly action: CalicoStagedAction;
  readonly policy: NetworkPolicy;
  readonly origin?: ObjectOrigin;
}

export interface CalicoTier {
  readonly name: string;
  /** Infinity where it has none: such tiers come last. */
  readonly order: number;
  readonly defaultAction: 'Deny' | 'Pass';
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

/** NetworkSet, or GlobalNetworkSet where it has no namespace. */
export interface CalicoNetworkSet {
  readonly namespace?: string;
  readonly name: string;
  readonly labels: Labels;
  readonly nets: readonly Prefix[];
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

export interface CalicoProfile {
  readonly name: string;
  readonly ingress: readonly CalicoRule[];
  readonly egress: readonly CalicoRule[];
  readonly labelsToApply: Labels;
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

export interface CalicoHostEndpoint {
  readonly name: string;
  readonly node: string;
  readonly labels: Labels;
  readonly expectedIps: readonly Address[];
  readonly profiles: readonly string[];
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

export interface CalicoObjects {
  readonly policies: readonly CalicoPolicy[];
  readonly stagedPolicies: readonly CalicoPolicy[];
  readonly stagedKubernetesPolicies: readonly CalicoStagedKubernetesPolicy[];
  readonly tiers: readonly CalicoTier[];
  readonly networkSets: readonly CalicoNetworkSet[];
  readonly profiles: readonly CalicoProfile[];
  readonly hostEndpoints: readonly CalicoHostEndpoint[];
}

export const noCalicoObjects: CalicoObjects = {
  policies: [],
  stagedPolicies: [],
  stagedKubernetesPolicies: [],
  tiers: [],
  networkSets: [],
  profiles: [],
  hostEndpoints: [],
};
