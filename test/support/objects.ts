/** Kubernetes objects in normal form for tests: every field has a healthy default, a test states only what it is about. */
import type {
  Cluster,
  NetworkPolicy,
  Node,
  Pod,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
  Selector,
  Service,
} from '../../src/model/cluster.ts';
import { known } from '../../src/model/known.ts';
import { noCalicoObjects } from '../../src/model/policies/calico.ts';
import { noCiliumObjects } from '../../src/model/policies/cilium.ts';
import { noIstioObjects } from '../../src/model/policies/istio.ts';
import { noLinkerdObjects } from '../../src/model/policies/linkerd.ts';
import { address } from '../../src/net/address.ts';
import { prefix } from '../../src/net/prefix.ts';

/** `pod('shop/web', '10.244.1.2', {node: 'node1'})`; labels default to app=<name>. */
export function pod(id: string, ip: string, more: Partial<Pod> = {}): Pod {
  const [namespace = '', name = ''] = id.split('/');
  return {
    namespace,
    name,
    labels: { app: name },
    annotations: {},
    serviceAccount: 'default',
    node: 'node1',
    hostNetwork: false,
    addresses: [address(ip)],
    phase: 'Running',
    ready: true,
    terminating: false,
    containers: [{ name: 'main', ports: [], ready: true, restarts: 0 }],
    dnsPolicy: 'ClusterFirst',
    ...more,
  };
}

/** Containers with one container that declares the ports. */
export const ports = (
  ...list: readonly [port: number, name?: string, protocol?: 'TCP' | 'UDP' | 'SCTP'][]
) => [
  {
    name: 'main',
    ready: true,
    restarts: 0,
    ports: list.map(([port, name, protocol]) => ({
      port,
      protocol: protocol ?? ('TCP' as const),
      ...(name === undefined ? {} : { name }),
    })),
  },
];

export function node(name: string, ip: string, podCidr: string, more: Partial<Node> = {}): Node {
  return {
    name,
    labels: {},
    annotations: {},
    internalAddresses: [address(ip)],
    podCidrs: [prefix(podCidr)],
    conditions: { Ready: { status: 'True', reason: 'KubeletReady', message: '' } },
    taints: [],
    ...more,
  };
}

export const namespace = (name: string, labels: Record<string, string> = {}) => ({
  name,
  labels: { 'kubernetes.io/metadata.name': name, ...labels },
  annotations: {},
});

export function service(id: string, ip: string, more: Partial<Service> = {}): Service {
  const [ns = '', name = ''] = id.split('/');
  return {
    namespace: ns,
    name,
    type: 'ClusterIP',
    clusterIps: [address(ip)],
    headless: false,
    selector: { app: name },
    ports: [{ name: '', port: 80, protocol: 'TCP', targetPort: 8080 }],
    internalTrafficPolicy: 'Cluster',
    ...more,
  };
}

export const selector = (
  matchLabels: Record<string, string> = {},
  matchExpressions: Selector['matchExpressions'] = [],
): Selector => ({ matchLabels, matchExpressions });

export function policy(id: string, more: Partial<NetworkPolicy> = {}): NetworkPolicy {
  const [ns = '', name = ''] = id.split('/');
  return { namespace: ns, name, podSelector: selector(), problems: [], ...more };
}

export type PartialRule = {
  readonly peers?: readonly PolicyPeer[];
  readonly ports?: readonly Omit<PolicyPort, 'field'>[];
};

/** Rules with their field paths filled in, `spec.<direction>[i]`. */
export const rules = (direction: 'ingress' | 'egress', ...list: readonly PartialRule[]): PolicyRule[] =>
  list.map((rule, i) => ({
    field: `spec.${direction}[${i}]`,
    ...(rule.peers === undefined
      ? {}
      : {
          peers: rule.peers.map((peer, j) => ({
            ...peer,
            field: `spec.${direction}[${i}].${direction === 'ingress' ? 'from' : 'to'}[${j}]`,
          })),
        }),
    ...(rule.ports === undefined
      ? {}
      : { ports: rule.ports.map((port, j) => ({ ...port, field: `spec.${direction}[${i}].ports[${j}]` })) }),
  }));

export const podsPeer = (podSelector?: Selector, namespaceSelector?: Selector): PolicyPeer => ({
  kind: 'pods',
  field: '',
  ...(podSelector === undefined ? {} : { podSelector }),
  ...(namespaceSelector === undefined ? {} : { namespaceSelector }),
});

export const ipBlock = (cidr: string, ...except: readonly string[]): PolicyPeer => ({
  kind: 'ip-block',
  cidr: prefix(cidr),
  except: except.map(prefix),
  field: '',
});

type Lists = {
  readonly [K in Exclude<keyof Cluster, 'problems'>]?: Extract<Cluster[K], { state: 'known' }>['value'];
};

/** A cluster where everything is known and, unless given, empty. */
export const cluster = (lists: Lists): Cluster => ({
  pods: known(lists.pods ?? []),
  nodes: known(lists.nodes ?? []),
  namespaces: known(lists.namespaces ?? []),
  services: known(lists.services ?? []),
  endpointSlices: known(lists.endpointSlices ?? []),
  networkPolicies: known(lists.networkPolicies ?? []),
  workloads: known(lists.workloads ?? []),
  configMaps: known(lists.configMaps ?? []),
  serviceAccounts: known(lists.serviceAccounts ?? []),
  adminPolicies: known(lists.adminPolicies ?? []),
  calico: known(lists.calico ?? noCalicoObjects),
  cilium: known(lists.cilium ?? noCiliumObjects),
  istio: known(lists.istio ?? noIstioObjects),
  linkerd: known(lists.linkerd ?? noLinkerdObjects),
  problems: [],
});
