/** Kubernetes objects in normal form: defaults filled in, only what the engines read. Made by src/parse/kubernetes. */
import type { Address } from '../net/address.ts';
import type { Prefix } from '../net/prefix.ts';
import type { Known } from './known.ts';
import type { AdminPolicy } from './policies/admin.ts';
import type { CalicoObjects } from './policies/calico.ts';
import type { CiliumObjects } from './policies/cilium.ts';
import type { IstioObjects } from './policies/istio.ts';
import type { LinkerdObjects } from './policies/linkerd.ts';

export interface Cluster {
  readonly pods: Known<readonly Pod[]>;
  readonly nodes: Known<readonly Node[]>;
  readonly namespaces: Known<readonly Namespace[]>;
  readonly services: Known<readonly Service[]>;
  readonly endpointSlices: Known<readonly EndpointSlice[]>;
  readonly networkPolicies: Known<readonly NetworkPolicy[]>;
  /** Deployments, StatefulSets, DaemonSets, ReplicaSets. */
  readonly workloads: Known<readonly Workload[]>;
  readonly configMaps: Known<readonly ConfigMap[]>;
  readonly serviceAccounts: Known<readonly ServiceAccount[]>;
  /**
   * Custom resources. A kind of which there is no list counts as having no objects: a cluster without its CRD has none, and a
   * collection that could not list an existing one says so in its gaps.
   */
  readonly adminPolicies: Known<readonly AdminPolicy[]>;
  readonly calico: Known<CalicoObjects>;
  readonly cilium: Known<CiliumObjects>;
  readonly istio: Known<IstioObjects>;
  readonly linkerd: Known<LinkerdObjects>;
  /** Objects that were skipped because a field has the wrong shape: `Pod shop/web: status.podIP is no address`. */
  readonly problems: readonly ObjectProblem[];
}

export interface ObjectProblem {
  readonly text: string;
  readonly field?: string;
  readonly origin?: ObjectOrigin;
}

export type Labels = Readonly<Record<string, string>>;

/** Where an object was written down, for objects read from manifests: enough to find a field's line when somebody asks. */
export interface ObjectOrigin {
  readonly file: string;
  /** Place among the documents of the file, from 0. */
  readonly document: number;
  /** Place inside of the document: `items[3]`; empty for the document itself. */
  readonly path: string;
}

export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
}

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  /** `default` where the pod names none. */
  readonly serviceAccount: string;
  /** Empty until scheduled. */
  readonly node: string;
  readonly hostNetwork: boolean;
  /** status.podIPs, primary first; empty until assigned. */
  readonly addresses: readonly Address[];
  /** Pending, Running, Succeeded, Failed, Unknown. */
  readonly phase: string;
  readonly ready: boolean;
  readonly terminating: boolean;
  readonly containers: readonly Container[];
  /** The controlling owner, `{kind: 'ReplicaSet', name}`. */
  readonly owner?: { readonly kind: string; readonly name: string };
  readonly dnsPolicy: string;
  /** spec.dnsConfig: what is added to the policy's resolver, or all of it with policy None. */
  readonly dnsConfig?: {
    readonly nameservers: readonly Address[];
    readonly searches: readonly string[];
    readonly ndots?: number;
  };
  readonly origin?: ObjectOrigin;
}

export interface Container {
  readonly name: string;
  readonly ports: readonly ContainerPort[];
  readonly ready: boolean;
  readonly restarts: number;
  /** `CrashLoopBackOff`, `ImagePullBackOff`; absent while it runs. */
  readonly waiting?: string;
}

export interface ContainerPort {
  readonly name?: string;
  readonly port: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
}

export interface Node {
  readonly name: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly internalAddresses: readonly Address[];
  /** The ExternalIPs of status.addresses; absent where there are none. */
  readonly externalAddresses?: readonly Address[];
  readonly podCidrs: readonly Prefix[];
  /** Condition type -> status: `Ready` -> `True`. */
  readonly conditions: Readonly<
    Record<string, { readonly status: string; readonly reason: string; readonly message: string }>
  >;
  readonly taints: readonly string[];
}

export interface Namespace {
  readonly name: string;
  /** Always holds kubernetes.io/metadata.name: the API server sets it, the parser injects it in offline objects. */
  readonly labels: Labels;
  readonly annotations: Labels;
}

export interface Service {
  readonly namespace: string;
  readonly name: string;
  readonly type: string;
  /** Empty for headless Services and ExternalName. */
  readonly clusterIps: readonly Address[];
  readonly headless: boolean;
  readonly selector: Labels;
  /** The Service's own labels. */
  readonly labels?: Labels;
  readonly ports: readonly ServicePort[];
  readonly internalTrafficPolicy: string;
  /** Absent is `Cluster`. */
  readonly externalTrafficPolicy?: string;
  /** spec.externalIPs; absent where there are none. */
  readonly externalIps?: readonly Address[];
  /** status.loadBalancer.ingress[].ip of mode VIP: the nodes translate them too. Absent where there are none. */
  readonly loadBalancerIps?: readonly Address[];
  /** Seconds that a client keeps its endpoint (sessionAffinity ClientIP); absent without affinity. */
  readonly affinitySeconds?: number;
}

export interface ServicePort {
  readonly name: string;
  readonly port: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  /** Number, or a container port's name. */
  readonly targetPort: number | string;
  readonly nodePort?: number;
  /** `http`, `kubernetes.io/h2c`: what the port carries, for those who look into it. */
  readonly appProtocol?: string;
}

export interface EndpointSlice {
  readonly namespace: string;
  readonly name: string;
  /** Name of the Service, from the label kubernetes.io/service-name. */
  readonly service: string;
  readonly endpoints: readonly {
    readonly addresses: readonly Address[];
    readonly ready: boolean;
    readonly serving: boolean;
    readonly terminating: boolean;
    readonly node?: string;
    readonly pod?: { readonly namespace: string; readonly name: string };
  }[];
  readonly ports: readonly {
    readonly name: string;
    readonly port: number;
    readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  }[];
}

export interface Workload {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly desired: number;
  readonly ready: number;
  readonly owner?: { readonly kind: string; readonly name: string };
}

export interface ConfigMap {
  readonly namespace: string;
  readonly name: string;
  readonly data: Readonly<Record<string, string>>;
}

/** A label selector as the API defines it: matchLabels and matchExpressions are ANDed. An empty one matches all. */
export interface Selector {
  readonly matchLabels: Labels;
  readonly matchExpressions: readonly {
    readonly key: string;
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
    readonly values: readonly string[];
  }[];
}

export interface NetworkPolicy {
  readonly namespace: string;
  readonly name: string;
  readonly podSelector: Selector;
  /** policyTypes with its default applied: Ingress always unless given; Egress only if given or egress rules exist. */
  readonly ingress?: readonly PolicyRule[];
  readonly egress?: readonly PolicyRule[];
  /** Directions that have rules and that policyTypes leaves out: the rules have no effect. */
  readonly ignored?: readonly ('ingress' | 'egress')[];
  /** Invalid parts (empty peer, ipBlock beside a selector, except outside cidr ...) by field path; they match nothing. */
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

/** A part of a policy that the API would refuse, or that is not understood. */
export interface PolicyProblem {
  /** `spec.ingress[0].from[0]` */
  readonly field: string;
  readonly why: string;
}

export interface PolicyRule {
  /** Undefined: any peer, external addresses included. Peers that are invalid are left out and named in `problems`. */
  readonly peers?: readonly PolicyPeer[];
  /** Undefined: every port of every protocol. */
  readonly ports?: readonly PolicyPort[];
  /** `spec.ingress[0]` */
  readonly field: string;
}

export type PolicyPeer =
  | {
      readonly kind: 'pods';
      /** Undefined: the policy's own namespace. */
      readonly namespaceSelector?: Selector;
      /** Undefined: every pod. */
      readonly podSelector?: Selector;
      readonly field: string;
    }
  | {
      readonly kind: 'ip-block';
      readonly cidr: Prefix;
      readonly except: readonly Prefix[];
      readonly field: string;
    };

export interface PolicyPort {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  /** Undefined: every port of the protocol. A string names a container port of the destination pod. */
  readonly port?: number | string;
  /** Inclusive; only with a numeric port. */
  readonly endPort?: number;
  readonly field: string;
}
