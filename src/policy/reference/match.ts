/** What the oracle's kinds ask about Kubernetes selectors, three-valued: namespaces or nodes may not have been collected. */
import type { Selector } from '../../model/cluster.ts';
import { type Address, sameAddress } from '../../net/address.ts';
import { contains, type Prefix } from '../../net/prefix.ts';
import { endpointOf, type FlowEnd, namespaceLabelsOf } from '../endpoint.ts';
import type { PolicyWorld } from '../options.ts';
import { matchesSelector } from '../selector.ts';
import { type Tri, triAll, triIf } from './tri.ts';

const nameLabel = 'kubernetes.io/metadata.name';

/** Of a namespace that was not collected only the label is known that the API server sets on every one. */
export function namespaceMatches(world: PolicyWorld, selector: Selector, namespace: string): Tri {
  const labels = namespaceLabelsOf(world.cluster, namespace);
  if (labels.state === 'known') return triIf(matchesSelector(selector, labels.value));
  const { matchLabels, matchExpressions } = selector;
  const requirements: Selector[] = [
    ...Object.entries(matchLabels).map(([key, value]) => ({
      matchLabels: { [key]: value },
      matchExpressions: [],
    })),
    ...matchExpressions.map((expression) => ({ matchLabels: {}, matchExpressions: [expression] })),
  ];
  return triAll(
    requirements.map((one) => {
      const key = Object.keys(one.matchLabels)[0] ?? one.matchExpressions[0]?.key;
      return key === nameLabel ? triIf(matchesSelector(one, { [nameLabel]: namespace })) : 'maybe';
    }),
  );
}

/** A pod with a network of its own: hostNetwork pods are no more than their node's address. */
export const ownNetworkPod = (end: FlowEnd) =>
  end.kind === 'pod' && !end.pod.hostNetwork ? end.pod : undefined;

export const addressesOf = (end: FlowEnd): readonly Address[] => endpointOf(end).addresses;

export const hasAddressIn = (end: FlowEnd, prefixes: readonly Prefix[]): boolean =>
  addressesOf(end).some((address) => prefixes.some((prefix) => contains(prefix, address)));

export const hasAddressOf = (end: FlowEnd, addresses: readonly Address[]): boolean =>
  addressesOf(end).some((own) => addresses.some((address) => sameAddress(own, address)));
