/** Whether one peer or port of a NetworkPolicy rule matches: three-valued, because namespaces may not have been collected. */
import type { Cluster, Labels, Pod, PolicyPeer, PolicyPort, PolicyRule, Selector } from '../model/cluster.ts';
import type { FlowProtocol } from '../model/flow.ts';
import type { Known } from '../model/known.ts';
import { known, unknown } from '../model/known.ts';
import type { Address } from '../net/address.ts';
import { contains } from '../net/prefix.ts';
import { matchesSelector, selectorKeys } from './selector.ts';

export type Tri = 'yes' | 'no' | 'unknown';

/** The other end of the flow as a rule's peer sees it. */
export interface Peer {
  readonly address: Address;
  /** Only for pods with a network namespace of their own: hostNetwork pods are their node's address, nothing more. */
  readonly pod?: Pod;
}

export const nameLabel = 'kubernetes.io/metadata.name';

/** Labels of a namespace. One that the objects leave out exists all the same and has the label that the API server sets. */
export function namespaceLabels(cluster: Cluster, name: string): Known<Labels> {
  if (cluster.namespaces.state === 'unknown') return unknown(cluster.namespaces.why);
  const found = cluster.namespaces.value.find((namespace) => namespace.name === name);
  return known(found?.labels ?? { [nameLabel]: name });
}

function matchesNamespace(cluster: Cluster, selector: Selector, name: string): Tri {
  const labels = namespaceLabels(cluster, name);
  if (labels.state === 'known') return matchesSelector(selector, labels.value) ? 'yes' : 'no';
  // Without the objects, only the label that every namespace has can be judged.
  const judged = selectorKeys(selector).every((key) => key === nameLabel);
  return judged ? (matchesSelector(selector, { [nameLabel]: name }) ? 'yes' : 'no') : 'unknown';
}

export function matchesPeer(
  cluster: Cluster,
  policyNamespace: string,
  peer: PolicyPeer,
  other: Peer,
  ipBlockMatchesPods: boolean,
): Tri {
  if (peer.kind === 'ip-block') {
    if (other.pod !== undefined && !ipBlockMatchesPods) return 'no';
    const inside = contains(peer.cidr, other.address);
    return inside && !peer.except.some((hole) => contains(hole, other.address)) ? 'yes' : 'no';
  }
  const { pod } = other;
  if (pod === undefined) return 'no';
  if (peer.podSelector !== undefined && !matchesSelector(peer.podSelector, pod.labels)) return 'no';
  if (peer.namespaceSelector === undefined) return pod.namespace === policyNamespace ? 'yes' : 'no';
  return matchesNamespace(cluster, peer.namespaceSelector, pod.namespace);
}

/** Ports of the destination pod that carry a name for a protocol; several containers may share it. */
export const namedPorts = (pod: Pod, name: string, protocol: PolicyPort['protocol']): number[] =>
  pod.containers
    .flatMap((container) => container.ports)
    .filter((port) => port.name === name && port.protocol === protocol)
    .map((port) => port.port);

export const apiProtocol = (protocol: FlowProtocol): PolicyPort['protocol'] | undefined =>
  protocol === 'tcp' ? 'TCP' : protocol === 'udp' ? 'UDP' : protocol === 'sctp' ? 'SCTP' : undefined;

/** True if the number lies in the policy port, its protocol aside. `dst` resolves names. */
export function matchesPortNumber(port: PolicyPort, dstPort: number, dst: Pod | undefined): boolean {
  if (port.port === undefined) return true;
  if (typeof port.port === 'string') {
    // A name belongs to the destination pod; an address outside the cluster has none.
    return dst !== undefined && namedPorts(dst, port.port, port.protocol).includes(dstPort);
  }
  return dstPort >= port.port && dstPort <= (port.endPort ?? port.port);
}

export const matchesPort = (
  port: PolicyPort,
  protocol: FlowProtocol,
  dstPort: number,
  dst: Pod | undefined,
): boolean => port.protocol === apiProtocol(protocol) && matchesPortNumber(port, dstPort, dst);

/** A rule without `from`/`to` has one match-all peer, so both shapes are walked alike. */
export const rulePeers = (rule: PolicyRule): readonly (PolicyPeer | undefined)[] => rule.peers ?? [undefined];
