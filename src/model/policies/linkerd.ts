/** Linkerd's inbound policy objects in normal form. */
import type { Prefix } from '../../net/prefix.ts';
import type { Labels, ObjectOrigin, PolicyProblem, Selector } from '../cluster.ts';

export interface LinkerdObjects {
  readonly kind: 'linkerd';
  readonly servers: readonly LinkerdServer[];
  readonly serverAuthorizations: readonly LinkerdServerAuthorization[];
  readonly authorizationPolicies: readonly LinkerdAuthorizationPolicy[];
  readonly meshTlsAuthentications: readonly LinkerdMeshTlsAuthentication[];
  readonly networkAuthentications: readonly LinkerdNetworkAuthentication[];
  /** HTTPRoutes and GRPCRoutes that name a Server as parent. */
  readonly routes: readonly LinkerdRoute[];
}

export const noLinkerdObjects: LinkerdObjects = {
  kind: 'linkerd',
  servers: [],
  serverAuthorizations: [],
  authorizationPolicies: [],
  meshTlsAuthentications: [],
  networkAuthentications: [],
  routes: [],
};

interface LinkerdObject {
  readonly namespace: string;
  readonly name: string;
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

/** What passes where no Server selects a port, or beside a Server's own authorizations (accessPolicy). */
export type LinkerdDefaultPolicy =
  | 'all-unauthenticated'
  | 'all-authenticated'
  | 'cluster-unauthenticated'
  | 'cluster-authenticated'
  | 'deny'
  | 'audit';

export const linkerdDefaultPolicies: readonly LinkerdDefaultPolicy[] = [
  'all-unauthenticated',
  'all-authenticated',
  'cluster-unauthenticated',
  'cluster-authenticated',
  'deny',
  'audit',
];

export interface LinkerdServer extends LinkerdObject {
  readonly labels: Labels;
  /** Undefined: it selects external workloads, no pods. */
  readonly podSelector?: Selector;
  /** Number, or a TCP container port's name. Undefined where it is invalid: the Server then governs no port. */
  readonly port?: number | string;
  readonly protocol: 'unknown' | 'HTTP/1' | 'HTTP/2' | 'gRPC' | 'opaque' | 'TLS';
  /** `deny` where it is left out or invalid. */
  readonly accessPolicy: LinkerdDefaultPolicy;
}

export interface LinkerdNetwork {
  readonly cidr: Prefix;
  readonly except: readonly Prefix[];
}

/** Who the client must be. `identities` are DNS-like names, `*` and `*.suffix` included. */
export type LinkerdClients =
  | { readonly kind: 'anyone' }
  /** Any TLS client, whoever it is. */
  | { readonly kind: 'any-tls' }
  | {
      readonly kind: 'identities';
      readonly identities: readonly string[];
      readonly serviceAccounts: readonly { readonly namespace: string; readonly name: string }[];
      readonly namespaces: readonly string[];
    };

export interface LinkerdServerAuthorization extends LinkerdObject {
  readonly server:
    | { readonly kind: 'name'; readonly name: string }
    | { readonly kind: 'selector'; readonly selector: Selector };
  /** Undefined where it names no valid clients: it then authorizes nobody. */
  readonly clients?: LinkerdClients;
  /** Empty: the cluster's networks. */
  readonly networks: readonly LinkerdNetwork[];
}

export interface LinkerdAuthorizationPolicy extends LinkerdObject {
  readonly target:
    | { readonly kind: 'Server'; readonly name: string }
    | { readonly kind: 'Namespace' }
    | { readonly kind: 'route'; readonly group: string; readonly routeKind: string; readonly name: string };
  /** All of them must hold. Undefined where they are invalid: it then authorizes nobody. */
  readonly required?: readonly {
    readonly kind: 'MeshTLSAuthentication' | 'NetworkAuthentication' | 'ServiceAccount';
    readonly namespace: string;
    readonly name: string;
  }[];
}

/** An invalid one authenticates nobody: `clients` is then undefined. */
export interface LinkerdMeshTlsAuthentication extends LinkerdObject {
  readonly clients?: Extract<LinkerdClients, { kind: 'identities' }>;
}

/** Empty `networks`: invalid, as if it did not exist. */
export interface LinkerdNetworkAuthentication extends LinkerdObject {
  readonly networks: readonly LinkerdNetwork[];
}

export interface LinkerdRoute extends LinkerdObject {
  /** `policy.linkerd.io` or `gateway.networking.k8s.io`. */
  readonly group: string;
  readonly routeKind: 'HTTPRoute' | 'GRPCRoute';
  /** Servers of its namespace that it is attached to. */
  readonly servers: readonly string[];
}
