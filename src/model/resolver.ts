/** How a pod's resolver turns a name into the names that it asks for. */
import type { Resolver } from './netns.ts';

/** A name with fewer dots than ndots goes through the search list first, any other is tried as it is first (resolv.conf(5)). */
export function expandName(name: string, resolver: Resolver): readonly string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const searched = resolver.search.map((domain) => `${name}.${domain.replace(/\.$/, '')}`);
  const dots = name.split('.').length - 1;
  return dots < resolver.ndots ? [...searched, name] : [name, ...searched];
}

/** Kubernetes gives every pod the search domain `svc.<cluster domain>`; cluster.local is the default. */
export const clusterDomain = (resolver: Resolver): string =>
  resolver.search.find((domain) => domain.startsWith('svc.'))?.slice('svc.'.length) ?? 'cluster.local';
