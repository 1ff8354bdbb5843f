/** Whether one peer or port of a NetworkPolicy rule matches: three-valued, because namespaces may not have been collected. */
import type { Cluster, Pod, PolicyPeer, PolicyPort, PolicyRule, Selector } from '../model/cluster.ts';
import type { FlowProtocol } from '../model/flow.ts';
import type { Address } from '../net/address.ts';
import { contains } from '../net/prefix.ts';
import { namedPorts, nameLabel, namespaceLabelsOf } from './endpoint.ts';
import { matchesSelector, selectorKeys } from './selector.ts';

export type Tri = 'yes' | 'no' | 'unknown';

/** The other end of the flow as a rule's peer sees it. */
export interface Peer {
  readonly address: Address;
  /** Only for pods with a network namespace of their own: hostNetwork pods are their node's address, nothing more. */
  readonly pod?: Pod;
}

function matchesNamespace(cluster: Cluster, selector: Selector, name: string): Tri {
  const labels = namespaceLabelsOf(cluster, name);
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
