/** Istio's policy objects in normal form: AuthorizationPolicy, PeerAuthentication, and of DestinationRule the client's TLS mode. */
import type { Prefix } from '../../net/prefix.ts';
import type { Labels, ObjectOrigin, PolicyProblem } from '../cluster.ts';

export interface IstioObjects {
  readonly kind: 'istio';
  readonly authorizationPolicies: readonly IstioAuthorizationPolicy[];
  readonly peerAuthentications: readonly IstioPeerAuthentication[];
  readonly destinationRules: readonly IstioDestinationRule[];
}

export const noIstioObjects: IstioObjects = {
  kind: 'istio',
  authorizationPolicies: [],
  peerAuthentications: [],
  destinationRules: [],
};

export interface IstioAuthorizationPolicy {
  readonly namespace: string;
  readonly name: string;
  /** `unknown`: an action that the API does not have. It may deny anything. */
  readonly action: 'ALLOW' | 'DENY' | 'CUSTOM' | 'AUDIT' | 'unknown';
  /** Annotation istio.io/dry-run: evaluated, never enforced. */
  readonly dryRun: boolean;
  /** Labels that a workload must have; empty for every workload. */
  readonly matchLabels: Labels;
  /** Not empty: for waypoints and gateways only. */
  readonly targetRefs: readonly IstioTargetRef[];
  readonly rules: readonly IstioRule[];
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

export interface IstioTargetRef {
  /** Empty for the core group. */
  readonly group: string;
  readonly kind: string;
  readonly name: string;
}

/** Matches if one source, one operation and every condition match. No sources: any; no operations: any. */
export interface IstioRule {
  readonly sources: readonly IstioSource[];
  readonly operations: readonly IstioOperation[];
  readonly when: readonly IstioCondition[];
  /** False where a part could not be read: an ALLOW rule then matches nothing, and a DENY rule may match anything. */
  readonly understood: boolean;
  /** `spec.rules[0]` */
  readonly field: string;
}

/** `values` matches if one of them does (any, if there are none), `notValues` if none of them does. */
export interface IstioValues<T> {
  readonly values: readonly T[];
  readonly notValues: readonly T[];
}

/** Names match exactly, or with `*` as prefix, suffix or presence. */
export interface IstioSource {
  readonly principals: IstioValues<string>;
  readonly namespaces: IstioValues<string>;
  /** `namespace/name`; the policy's own namespace is filled in. */
  readonly serviceAccounts: IstioValues<string>;
  readonly trustDomains: IstioValues<string>;
  readonly ipBlocks: IstioValues<Prefix>;
  /** Of a request's X-Forwarded-For: no packet tells. */
  readonly remoteIpBlocks: boolean;
  /** Of a request's token. */
  readonly requestPrincipals: boolean;
  readonly field: string;
}

export interface IstioOperation {
  readonly ports: IstioValues<number>;
  /** Field names that only HTTP requests have: hosts, notMethods ... */
  readonly http: readonly string[];
  readonly field: string;
}

export type IstioCondition =
  | { readonly key: 'source.ip' | 'destination.ip'; readonly is: IstioValues<Prefix>; readonly field: string }
  | { readonly key: 'destination.port'; readonly is: IstioValues<number>; readonly field: string }
  | {
      readonly key: 'source.principal' | 'source.namespace' | 'source.serviceAccount' | 'source.trustDomain';
      readonly is: IstioValues<string>;
      readonly field: string;
    }
  /** Only an HTTP request has it. */
  | { readonly key: 'request'; readonly name: string; readonly field: string }
  /** Connections of every kind may have it, but no object tells: remote.ip, connection.sni, experimental.envoy.filters. */
  | { readonly key: 'other'; readonly name: string; readonly field: string };

export type IstioMtlsMode = 'UNSET' | 'DISABLE' | 'PERMISSIVE' | 'STRICT';

export interface IstioPeerAuthentication {
  readonly namespace: string;
  readonly name: string;
  /** Empty: for the whole namespace, or in the root namespace for the whole mesh. */
  readonly matchLabels: Labels;
  /** `unknown`: a mode that the API does not have. */
  readonly mode: IstioMtlsMode | 'unknown';
  readonly ports: readonly { readonly port: number; readonly mode: IstioMtlsMode | 'unknown' }[];
  /** metadata.creationTimestamp: of several in one place the oldest counts. Absent in objects that never met a server. */
  readonly created?: string;
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

export interface IstioDestinationRule {
  readonly namespace: string;
  readonly name: string;
  /** As written: `reviews`, `reviews.shop.svc.cluster.local`, `*.shop.svc.cluster.local`. */
  readonly host: string;
  /** True if some traffic policy of it, for a port or a subset too, sets a TLS mode other than ISTIO_MUTUAL. */
  readonly overridesTls: boolean;
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}
