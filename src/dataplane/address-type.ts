/** What an IPv4 address is to a namespace, as addrtype and nft's fib ask for it (__inet_dev_addr_type). */
import { type Known, known } from '../model/known.ts';
import type { Netns, RouteType } from '../model/netns.ts';
import { type Address, isLimitedBroadcast, isMulticast, isUnspecified } from '../net/address.ts';
import { bestRoute, hasOnlyDefaultRules, routesOf, rulesOf } from './routing-tables.ts';

/** A type that a look-up ends well with; for those of `refusing` fib_table_lookup() gives an error, and the answer is unicast. */
const refusing: ReadonlySet<RouteType> = new Set(['blackhole', 'unreachable', 'prohibit', 'throw']);

/** `device` where its own addresses alone count: an address of another device is one like any other. */
export function addressType4(netns: Netns, address: Address, device: string | undefined): Known<RouteType> {
  if (isUnspecified(address) || isLimitedBroadcast(address)) return known('broadcast');
  if (isMulticast(address)) return known('multicast');
  const routes = routesOf(netns, 4);
  if (routes.state === 'unknown') return routes;
  // The local table is asked; until rules are added it is one trie with main (fib_trie_unmerge).
  const rules = rulesOf(netns, 4);
  const merged = rules.state === 'known' && hasOnlyDefaultRules(rules.value);
  const best = bestRoute(routes.value, merged ? ['local', 'main'] : ['local'], address);
  if (best === undefined || refusing.has(best.type)) return known('unicast');
  return known(device !== undefined && best.nexthops[0]?.device !== device ? 'unicast' : best.type);
}
