/** CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and CiliumCIDRGroup (cilium.io/v2) in normal form. */
import type { Prefix } from '../../net/prefix.ts';
import type { Labels, ObjectOrigin, PolicyProblem, Selector } from '../cluster.ts';

export interface CiliumObjects {
  readonly kind: 'cilium';
  readonly policies: readonly CiliumPolicy[];
  readonly cidrGroups: readonly CiliumCidrGroup[];
}

export interface CiliumPolicy {
  readonly kind: 'CiliumNetworkPolicy' | 'CiliumClusterwideNetworkPolicy';
  /** Absent for clusterwide policies. */
  readonly namespace?: string;
  readonly name: string;
  /** `spec`, then `specs`. */
  readonly specs: readonly CiliumSpec[];
  /** Invalid parts by field path. In an allow list they match nothing; in a deny list the rule may match. */
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

export interface CiliumSpec {
  /** `spec`, `specs[1]` */
  readonly field: string;
  /** `nodes`: a host policy, for nodes and the pods on their network. */
  readonly subject: { readonly kind: 'endpoints' | 'nodes'; readonly selector: CiliumSelector };
  /** Absent where neither an allow nor a deny rule stands: the section then has no effect at all. */
  readonly ingress?: CiliumSection;
  readonly egress?: CiliumSection;
}

export interface CiliumSection {
  /** enableDefaultDeny of the direction; true unless it says otherwise. */
  readonly defaultDeny: boolean;
  readonly allow: readonly CiliumRule[];
  readonly deny: readonly CiliumRule[];
}

export interface CiliumRule {
  /** `spec.ingress[0]` */
  readonly field: string;
  /** Absent: no peers are named, which is every peer beside `ports` and nothing without them. Empty: nobody. */
  readonly peers?: readonly CiliumPeer[];
  /** fromRequires, toRequires: what every endpoints peer of every rule for the same subject must fulfil as well. */
  readonly requires: readonly CiliumSelector[];
  /** Absent: everything, ICMP included. */
  readonly ports?: readonly CiliumPorts[];
  readonly authentication?: 'required' | 'test-always-fail';
  /** Set in a deny rule of which a part is invalid: nobody can say whether it matches what the valid parts match. */
  readonly uncertain?: string;
}

/** One item of toPorts or icmps. */
export interface CiliumPorts {
  readonly field: string;
  readonly ports: readonly CiliumPort[];
  /** For people, where the traffic must pass more than the port: `HTTP GET /metrics`, `TLS server name a.example`. */
  readonly l7?: string;
}

export type CiliumPort =
  | {
      readonly kind: 'range';
      readonly protocols: readonly CiliumProtocol[];
      /** Both inclusive; 0 to 65535 is the whole protocol. */
      readonly from: number;
      readonly to: number;
    }
  | { readonly kind: 'named'; readonly protocols: readonly CiliumProtocol[]; readonly name: string }
  /** Every code of the type. */
  | { readonly kind: 'icmp'; readonly family: 4 | 6; readonly type: number }
  /** A protocol without ports, by its number: VRRP, IGMP. */
  | { readonly kind: 'protocol'; readonly number: number };

export type CiliumProtocol = 'TCP' | 'UDP' | 'SCTP';

export type CiliumPeer =
  /** The namespace that the API fills in is among the requirements already. */
  | { readonly kind: 'endpoints'; readonly selector: CiliumSelector; readonly field: string }
  | { readonly kind: 'nodes'; readonly selector: CiliumSelector; readonly field: string }
  | { readonly kind: 'entity'; readonly entity: CiliumEntity; readonly field: string }
  | {
      readonly kind: 'cidr';
      readonly cidr: Prefix;
      readonly except: readonly Prefix[];
      readonly field: string;
    }
  | {
      readonly kind: 'cidr-groups';
      /** By name, or by the groups' own labels. */
      readonly groups: string | Selector;
      readonly except: readonly Prefix[];
      readonly field: string;
    }
  | {
      readonly kind: 'services';
      /** By name, or by the Services' own labels. */
      readonly services: string | Selector;
      /** Absent: of any namespace. */
      readonly namespace?: string;
      readonly field: string;
    }
  | { readonly kind: 'fqdn'; readonly name: string; readonly field: string }
  /** A cloud's groups: their addresses are known to Cilium's operator only. */
  | { readonly kind: 'groups'; readonly field: string };

export const ciliumEntities = [
  'all',
  'world',
  'world-ipv4',
  'world-ipv6',
  'cluster',
  'cluster-mesh',
  'host',
  'remote-node',
  'kube-apiserver',
  'init',
  'ingress',
  'health',
  'unmanaged',
  'none',
] as const;

export type CiliumEntity = (typeof ciliumEntities)[number];

/** Requirements on labels, joined. Empty: everything, addresses outside the cluster included. */
export type CiliumSelector = readonly CiliumRequirement[];

export interface CiliumRequirement {
  /** `any`, `k8s`, `reserved`, `node` ...: where the label comes from. `any` is fulfilled by a label of whatever source. */
  readonly source: string;
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values: readonly string[];
}

export interface CiliumCidrGroup {
  readonly name: string;
  readonly labels: Labels;
  readonly cidrs: readonly Prefix[];
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

export const noCiliumObjects: CiliumObjects = { kind: 'cilium', policies: [], cidrGroups: [] };
