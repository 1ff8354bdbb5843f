/** What the policy rules ask about the cluster: which pods a selector means, and which policies isolate a pod. */
import type { Labels, Namespace, NetworkPolicy, Pod, PolicyPeer, PolicyPort } from '../model/cluster.ts';
import { type Family, formatAddress } from '../net/address.ts';
import { matchesSelector } from '../policy/selector.ts';

export class PolicyWorld {
  /** Pods that policies apply to: with an address of their own, and not finished. By namespace and name. */
  readonly pods: readonly Pod[];
  readonly policies: readonly NetworkPolicy[];
  readonly #namespaces: ReadonlyMap<string, Labels>;

  constructor(objects: {
    readonly pods: readonly Pod[];
    readonly namespaces: readonly Namespace[];
    readonly networkPolicies: readonly NetworkPolicy[];
  }) {
    // A finished pod's address may already be another pod's; a terminating pod keeps its own until it is gone.
    this.pods = objects.pods
      .filter((pod) => !pod.hostNetwork && pod.phase !== 'Succeeded' && pod.phase !== 'Failed')
      .filter((pod) => pod.addresses.length > 0)
      .toSorted(byName);
    this.policies = objects.networkPolicies.toSorted(byName);
    this.#namespaces = new Map(objects.namespaces.map((namespace) => [namespace.name, namespace.labels]));
  }

  isolating(pod: Pod, direction: 'ingress' | 'egress'): NetworkPolicy[] {
    return this.policies.filter((policy) => policy[direction] !== undefined && this.isSubject(pod, policy));
  }

  isSubject(pod: Pod, policy: NetworkPolicy): boolean {
    return pod.namespace === policy.namespace && matchesSelector(policy.podSelector, pod.labels);
  }

  isPeer(pod: Pod, peer: PolicyPeer & { kind: 'pods' }, policy: NetworkPolicy): boolean {
    // The API server sets this label on every namespace; one without an object has at least it.
    const labels = this.#namespaces.get(pod.namespace) ?? { 'kubernetes.io/metadata.name': pod.namespace };
    const namespaceFits =
      peer.namespaceSelector === undefined
        ? pod.namespace === policy.namespace
        : matchesSelector(peer.namespaceSelector, labels);
    return namespaceFits && (peer.podSelector === undefined || matchesSelector(peer.podSelector, pod.labels));
  }
}

const byName = (a: { namespace: string; name: string }, b: { namespace: string; name: string }): number =>
  `${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1;

export function podAddress(pod: Pod, family: Family): string | undefined {
  const address = pod.addresses.find((candidate) => candidate.family === family);
  return address === undefined ? undefined : formatAddress(address);
}

/** The numbers that a named port stands for on this pod: several containers may use the name. */
export const namedPorts = (pod: Pod, name: string, protocol: PolicyPort['protocol']): number[] =>
  pod.containers
    .flatMap((container) => container.ports)
    .filter((port) => port.name === name && port.protocol === protocol)
    .map((port) => port.port);
