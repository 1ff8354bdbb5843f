/** The ends of a flow as policies see them: one flat record of facts, whatever the end is. */
import type { Cluster, Labels, Node, Pod } from '../model/cluster.ts';
import { type Known, known, unknown } from '../model/known.ts';
import type { Address } from '../net/address.ts';
import type { LineProtocol } from '../net/port-set.ts';
import type { EndpointKind } from './ir.ts';
import type { PolicyWorld } from './options.ts';

/** What a question names: objects of the cluster, or an address that no object has. */
export type FlowEnd =
  | { readonly kind: 'pod'; readonly pod: Pod }
  | { readonly kind: 'node'; readonly node: Node }
  | { readonly kind: 'external'; readonly address: Address };

/** One question to an engine. The destination is the pod behind a Service, the port its target port. */
export interface PolicyFlow {
  readonly src: FlowEnd;
  readonly dst: FlowEnd;
  readonly protocol: LineProtocol;
  /** For ICMP: type * 256 + code. */
  readonly port: number;
}

export interface PolicyEndpoint {
  readonly end: FlowEnd;
  readonly kind: EndpointKind;
  /** Empty where the end has none. */
  readonly namespace: string;
  readonly labels: Labels;
  readonly addresses: readonly Address[];
  /** The node a pod runs on, or the node itself; empty where it is not known. */
  readonly node: string;
}

export function endpointOf(end: FlowEnd): PolicyEndpoint {
  switch (end.kind) {
    case 'pod':
      return {
        end,
        kind: end.pod.hostNetwork ? 'host-pod' : 'pod',
        namespace: end.pod.namespace,
        labels: end.pod.labels,
        addresses: end.pod.addresses,
        node: end.pod.node,
      };
    case 'node':
      return {
        end,
        kind: 'node',
        namespace: '',
        labels: end.node.labels,
        addresses: end.node.internalAddresses,
        node: end.node.name,
      };
    case 'external':
      return { end, kind: 'external', namespace: '', labels: {}, addresses: [end.address], node: '' };
  }
}

/** Pods that can be an end of a flow: finished ones have released their address. Terminating ones still are. */
export const isEndpointPod = (pod: Pod): boolean => pod.phase !== 'Succeeded' && pod.phase !== 'Failed';

/**
 * Numbers of the container ports that carry the name for the protocol; several containers may share it. A pod on its node's network is
 * no more than an address to policies, and an address has no names.
 */
export function resolveNamedPort(end: FlowEnd, name: string, protocol: LineProtocol): readonly number[] {
  if (end.kind !== 'pod' || end.pod.hostNetwork) return [];
  return namedPorts(end.pod, name, protocol);
}

/** Ports of a pod that carry a name for a protocol; several containers may share it. */
export const namedPorts = (pod: Pod, name: string, protocol: LineProtocol): number[] =>
  pod.containers
    .flatMap((container) => container.ports)
    .filter((port) => port.name === name && port.protocol === protocol)
    .map((port) => port.port);

export const nameLabel = 'kubernetes.io/metadata.name';

/** Labels of a namespace. One that the objects leave out exists all the same and has the label that the API server sets. */
export function namespaceLabelsOf(cluster: Cluster, name: string): Known<Labels> {
  if (cluster.namespaces.state === 'unknown') return unknown(cluster.namespaces.why);
  const found = cluster.namespaces.value.find((namespace) => namespace.name === name);
  return known(found?.labels ?? { [nameLabel]: name });
}

/** Facts of a kind's own about an endpoint, asked once for each: `istio/sidecar`. Rules test them with `trait`. */
export type TraitSource = (world: PolicyWorld) => (endpoint: PolicyEndpoint) => readonly string[];
