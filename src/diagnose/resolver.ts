/** The resolver that a flow's source uses: its own file, or what the kubelet would have written. */
import type { Pod } from '../model/cluster.ts';
import type { Endpoint } from '../model/flow.ts';
import { type Known, known, orElse, unknown } from '../model/known.ts';
import type { Resolver } from '../model/netns.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { formatEndpoint, netnsIdOf } from './endpoint.ts';

/** resolv.conf's default; the kubelet writes 5 for cluster policies. */
const plainNdots = 1;
const clusterNdots = 5;

export function resolverOf(snapshot: Snapshot, src: Endpoint): Known<Resolver> {
  const netns = snapshot.netns.get(netnsIdOf(snapshot, src) ?? '');
  if (netns === undefined) return unknown(`the network namespace of ${formatEndpoint(src)} was not recorded`);
  if (netns.resolver.state === 'known') return netns.resolver;
  return declaredResolver(snapshot, src) ?? netns.resolver;
}

/** Undefined where the pod's spec does not tell. */
function declaredResolver(snapshot: Snapshot, src: Endpoint): Known<Resolver> | undefined {
  if (src.kind !== 'pod') return undefined;
  const pod = orElse(snapshot.cluster.pods, []).find(
    (p) => p.namespace === src.namespace && p.name === src.name,
  );
  if (pod === undefined) return undefined;
  const base = byPolicy(snapshot, pod);
  if (base === undefined) return undefined;
  const more = pod.dnsConfig;
  // The kubelet puts dnsConfig's entries behind those of the policy.
  return known({
    nameservers: [...base.nameservers, ...(more?.nameservers ?? [])],
    search: [...base.search, ...(more?.searches ?? [])],
    ndots: more?.ndots ?? base.ndots,
  });
}

function byPolicy(snapshot: Snapshot, pod: Pod): Resolver | undefined {
  switch (pod.dnsPolicy) {
    case 'ClusterFirst':
    case 'ClusterFirstWithHostNet': {
      const dns = orElse(snapshot.cluster.services, []).find(
        (s) => s.namespace === 'kube-system' && s.name === 'kube-dns',
      );
      const search = [`${pod.namespace}.svc.cluster.local`, 'svc.cluster.local', 'cluster.local'];
      return dns === undefined ? undefined : { nameservers: dns.clusterIps, search, ndots: clusterNdots };
    }
    case 'Default': {
      const node = snapshot.netns.get(pod.node)?.resolver;
      return node?.state === 'known' ? node.value : undefined;
    }
    case 'None':
      return { nameservers: [], search: [], ndots: plainNdots };
    default:
      return undefined;
  }
}
