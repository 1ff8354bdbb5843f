/** What ip_route_output_key_hash_rcu() decides about an own IPv4 packet besides the tables. */
import type { Netns, NextHop, Route, RouteType } from '../model/netns.ts';
import {
  type Address,
  formatAddress,
  isLimitedBroadcast,
  isLoopback,
  isMulticast,
  isUnspecified,
} from '../net/address.ts';
import { tableIndex } from './routing-index.ts';
import type { FoundRoute, RouteQuery, RouteResult } from './routing-query.ts';
import { selectAddress } from './routing-source.ts';
import { lookupTable4 } from './routing-table4.ts';
import {
  deviceWith,
  findDevice,
  hasOnlyDefaultRules,
  isSetAnywhere,
  recordsLocalTable,
  rulesOf,
} from './routing-tables.ts';

const invalid: RouteResult = { state: 'refused', type: 'invalid' };
const nowhere = { state: 'none', skipped: [] } as const;

/** ipv4_is_zeronet(): only 0.0.0.0 itself since Linux 5.3, which made an address of every other in 0.0.0.0/8. */
export const isZeroNet = (a: Address): boolean => a.family === 4 && a.value === 0n;

/** Answers that need no table. Undefined: the tables are asked. */
export function beforeTables(netns: Netns, query: RouteQuery): RouteResult | undefined {
  const { src, dst, oif } = query;
  const source = src === undefined || isUnspecified(src) ? undefined : src;
  if (source !== undefined) {
    if (isMulticast(source) || isLimitedBroadcast(source) || isZeroNet(source)) return invalid;
    const ruled = bySource(netns, query, source);
    if (ruled !== undefined) return ruled;
  }
  if (oif === undefined) return isUnspecified(dst) ? thisMachine(netns, query) : undefined;
  const device = netns.devices.state === 'known' ? findDevice(netns.devices.value, oif) : undefined;
  if (netns.devices.state === 'known' && device?.up !== true) return nowhere;
  // 224.0.0.0/24 and 255.255.255.255 never leave the link: no table is asked.
  if (isLimitedBroadcast(dst) || dst.value >> 8n === 0xe00000n)
    return onDevice(netns, query, oif, manyType(dst));
  return isUnspecified(dst) ? thisMachine(netns, query) : undefined;
}

/** What is said to many leaves by the source's device; a source that is not ours sends nothing. */
function bySource(netns: Netns, query: RouteQuery, source: Address): RouteResult | undefined {
  const { dst, oif, needsOwnSource } = query;
  const toMany = oif === undefined && (isMulticast(dst) || isLimitedBroadcast(dst));
  if (!toMany && needsOwnSource !== true) return undefined;
  const owner = ownerOf(netns, source);
  if (owner === 'unknown') return undefined;
  if (owner === undefined)
    return { ...nowhere, why: `the source ${formatAddress(source)} is none of its addresses` };
  return toMany ? onDevice(netns, query, owner, manyType(dst)) : undefined;
}

/**
 * 0.0.0.0 is this machine: by the source's address, else by one of the device that is given, else by 127.0.0.1. No table is
 * asked, so it is so without local table, too.
 */
function thisMachine(netns: Netns, { src, oif }: RouteQuery): FoundRoute {
  const own =
    src !== undefined && !isUnspecified(src)
      ? src
      : ((oif === undefined ? undefined : selectAddress(netns, oif, undefined, 'host')) ?? loopback);
  return onDevice(netns, { dst: own, src: own }, 'lo', 'local', 'the destination 0.0.0.0 is this machine');
}

const loopback: Address = { family: 4, value: 0x7f000001n };

const manyType = (dst: Address): RouteType => (isMulticast(dst) ? 'multicast' : 'broadcast');

/** __ip_dev_find(): the device that has the address, else that of the local route which covers it. */
function ownerOf(netns: Netns, address: Address): string | undefined | 'unknown' {
  if (netns.devices.state === 'unknown') return 'unknown';
  const owner = deviceWith(netns.devices.value, address);
  if (owner !== undefined) return owner.name;
  const rules = rulesOf(netns, 4);
  if (netns.routes.state === 'unknown' || rules.state === 'unknown' || !recordsLocalTable(netns, 4))
    return 'unknown';
  // Until rules are added the local table is the main one, too (fib_trie_unmerge).
  const tables = hasOnlyDefaultRules(rules.value) ? ['local', 'main'] : ['local'];
  const table = tableIndex(netns.routes.value, tables);
  const result = lookupTable4({ netns, query: { dst: address }, table, skipped: [] });
  if (result === 'next' || result.state !== 'found') return undefined;
  return result.route.type === 'local' ? result.nexthop.device : undefined;
}

/** With a device given and no usable route, the destination is taken to be on that device. */
export function afterTables(netns: Netns, query: RouteQuery, result: RouteResult): RouteResult {
  const isStuck = query.oif !== undefined && (result.state === 'none' || result.state === 'refused');
  const skipped = result.state === 'none' ? result.skipped : [];
  const found = isStuck ? { ...onDevice(netns, query, query.oif ?? '', 'unicast'), skipped } : result;
  if (found.state !== 'found') return found;
  if (query.src !== undefined && isLoopback(query.src)) {
    const leaving = found.alternatives.filter(({ nexthop, route = found.route }) =>
      loopbackMayLeave(netns, route, nexthop),
    );
    if (leaving.length === 0) return invalid;
    if (leaving.length < found.alternatives.length) return loopbackNotKnown;
  }
  // __mkroute_output() goes by the address, whatever the route is.
  const toMany = isMulticast(query.dst) || isLimitedBroadcast(query.dst);
  return toMany ? retyped(found, manyType(query.dst)) : found;
}

const retyped = (found: FoundRoute, type: RouteType): FoundRoute => ({
  ...found,
  route: { ...found.route, type },
  alternatives: found.alternatives.map((one) =>
    one.route === undefined ? one : { ...one, route: { ...one.route, type } },
  ),
});

const loopbackNotKnown: RouteResult = {
  state: 'unknown',
  why: 'whether a loopback source may leave depends on the next hop that the flow gets',
};

/** __mkroute_output(): 127/8 leaves by lo alone, unless route_localnet is on. */
function loopbackMayLeave(netns: Netns, route: Route, nexthop: NextHop): boolean {
  if (route.type === 'local' || nexthop.device === undefined || nexthop.device === 'lo') return true;
  return isSetAnywhere(netns, nexthop.device, 'route_localnet');
}

function onDevice(
  netns: Netns,
  query: RouteQuery,
  device: string,
  type: RouteType,
  why = `no route: the packet is bound to ${device}`,
): FoundRoute {
  const nexthop: NextHop = { device, onlink: false, dead: false, weight: 1 };
  const route: Route = {
    family: 4,
    type,
    dst: { family: 4, value: query.dst.value, length: 32 },
    table: type === 'local' ? 'local' : 'main',
    nexthops: [nexthop],
    scope: type === 'local' ? 'host' : 'link',
    metric: 0,
    protocol: 'kernel',
    source: { kind: 'file', file: '', text: why },
  };
  const source = query.src ?? selectAddress(netns, device, undefined, 'link');
  return {
    state: 'found',
    route,
    nexthop,
    alternatives: [{ nexthop, share: 1, ...(source === undefined ? {} : { source }) }],
    table: route.table,
    ...(source === undefined ? {} : { source }),
    skipped: [],
  };
}
