/** Host names as the resolver of a pod expands them. Pure. */

import type { Flow } from '../model/flow.ts';
import type { Resolver } from '../model/netns.ts';
import { clusterDomain, expandName } from '../model/resolver.ts';

/**
 * Fully qualified names to ask for, in the resolver's order (resolv.conf(5): a name with fewer dots than ndots goes
 * through the search list first, any other is tried as it stands first). A Service without a given name is asked by
 * its own; a flow without any name has none.
 */
export function candidateNames(flow: Flow, resolver: Resolver): readonly string[] {
  if (flow.hostName !== undefined) return expandName(flow.hostName, resolver);
  if (flow.dst.kind !== 'service') return [];
  return [`${flow.dst.name}.${flow.dst.namespace}.svc.${clusterDomain(resolver)}`];
}
