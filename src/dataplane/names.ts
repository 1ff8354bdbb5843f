/** Host names on the walk: what a pod's resolver asks for, and what the cluster's DNS would answer. */
import type { Cluster, Service } from '../model/cluster.ts';
import { orElse } from '../model/known.ts';
import type { Resolver } from '../model/netns.ts';
import { clusterDomain, expandName } from '../model/resolver.ts';
import { type Address, parseAddress } from '../net/address.ts';

export type NameAnswer =
  | {
      readonly state: 'found';
      readonly name: string;
      readonly service?: Service;
      readonly addresses: readonly Address[];
    }
  /** Every name that was asked for is one of the cluster's own and does not exist. */
  | { readonly state: 'none'; readonly asked: readonly string[] }
  /** Some name belongs to no zone of the cluster: only the upstream resolver knows. */
  | { readonly state: 'outside'; readonly name: string };

/** Answers as CoreDNS's kubernetes plugin does, from the Services. */
export function resolveName(cluster: Cluster, resolver: Resolver, name: string): NameAnswer {
  const domain = clusterDomain(resolver);
  const asked = expandName(name, resolver);
  for (const candidate of asked) {
    if (candidate !== domain && !candidate.endsWith(`.${domain}`)) {
      // A short name that every cluster zone refused is not looked for on the Internet: the walk would guess.
      const [, second] = candidate.split('.');
      // So is `service.namespace` with a namespace of this cluster: no domain on the Internet is meant.
      if (second === undefined || orElse(cluster.namespaces, []).some((n) => n.name === second)) continue;
      return { state: 'outside', name: candidate };
    }
    const found = clusterName(cluster, candidate.slice(0, -(domain.length + 1)));
    if (found !== undefined) return { state: 'found', name: candidate, ...found };
  }
  return { state: 'none', asked };
}

function clusterName(
  cluster: Cluster,
  relative: string,
): { readonly service?: Service; readonly addresses: readonly Address[] } | undefined {
  const labels = relative.split('.');
  const zone = labels.at(-1);
  const namespace = labels.at(-2);
  const first = labels.at(-3);
  if (namespace === undefined || first === undefined || labels.length !== 3) return undefined;
  if (zone === 'pod') {
    const address = parseAddress(first.replaceAll('-', '.')) ?? parseAddress(first.replaceAll('-', ':'));
    return address === undefined ? undefined : { addresses: [address] };
  }
  if (zone !== 'svc') return undefined;
  const service = orElse(cluster.services, []).find((s) => s.namespace === namespace && s.name === first);
  if (service === undefined) return undefined;
  return { service, addresses: service.headless ? headlessAddresses(cluster, service) : service.clusterIps };
}

const headlessAddresses = (cluster: Cluster, service: Service): readonly Address[] =>
  orElse(cluster.endpointSlices, [])
    .filter((slice) => slice.namespace === service.namespace && slice.service === service.name)
    .flatMap((slice) => slice.endpoints.filter((e) => e.ready).flatMap((e) => e.addresses));
