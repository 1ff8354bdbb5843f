/** What ip_route_output_key_hash_rcu() decides about an own IPv4 packet besides the tables. */
import type { Device, Netns, NextHop, Route, RouteType } from '../model/netns.ts';
import { type Address, isLoopback, isMulticast, isUnspecified, sameAddress } from '../net/address.ts';
import type { FoundRoute, RouteQuery, RouteResult, SkippedRoute } from './routing-query.ts';
import { selectAddress } from './routing-source.ts';
import { findDevice, isSetAnywhere } from './routing-tables.ts';

const invalid: RouteResult = { state: 'refused', type: 'invalid' };
const nowhere: RouteResult = { state: 'none', skipped: [] };

export const isLimitedBroadcast = (a: Address): boolean => a.family === 4 && a.value === 0xffffffffn;
/** ipv4_is_zeronet(): only 0.0.0.0 itself since Linux 5.3, which made an address of every other in 0.0.0.0/8. */
export const isZeroNet = (a: Address): boolean => a.family === 4 && a.value === 0n;

/** Answers that need no table. Undefined: the tables are asked. */
export function beforeTables(netns: Netns, query: RouteQuery): RouteResult | undefined {
  const { src, dst, oif } = query;
  const source = src === undefined || isUnspecified(src) ? undefined : src;
  if (source !== undefined && (isMulticast(source) || isLimitedBroadcast(source) || isZeroNet(source)))
    return invalid;
  const toMany = isMulticast(dst) || isLimitedBroadcast(dst);
  const owner = source === undefined || oif !== undefined || !toMany ? undefined : ownerOf(netns, source);
  if (owner !== undefined) return onDevice(netns, query, owner.name, manyType(dst));
  if (oif === undefined) return undefined;
  const device = netns.devices.state === 'known' ? findDevice(netns.devices.value, oif) : undefined;
  if (netns.devices.state === 'known' && device?.up !== true) return nowhere;
  // 224.0.0.0/24 and 255.255.255.255 never leave the link: no table is asked.
  if (isLimitedBroadcast(dst) || dst.value >> 8n === 0xe00000n)
    return onDevice(netns, query, oif, manyType(dst));
  return undefined;
}

/** 0.0.0.0 is this machine: by the source's address, else by one of the device that is given, else by 127.0.0.1. */
export function thisMachine(netns: Netns, query: RouteQuery): RouteQuery {
  const { dst, src, oif } = query;
  if (!isUnspecified(dst)) return query;
  if (src !== undefined && !isUnspecified(src)) return { ...query, dst: src };
  const own = oif === undefined ? undefined : selectAddress(netns, oif, undefined, 'host');
  return { ...query, dst: own ?? { family: 4, value: 0x7f000001n } };
}

const manyType = (dst: Address): RouteType => (isMulticast(dst) ? 'multicast' : 'broadcast');

const ownerOf = (netns: Netns, address: Address): Device | undefined =>
  netns.devices.state === 'known'
    ? netns.devices.value.find((device) => device.addresses.some((own) => sameAddress(own.address, address)))
    : undefined;

/** With a device given and no usable route, the destination is taken to be on that device. */
export function afterTables(netns: Netns, query: RouteQuery, result: RouteResult): RouteResult {
  const isStuck = query.oif !== undefined && (result.state === 'none' || result.state === 'refused');
  const skipped = result.state === 'none' ? result.skipped : [];
  const found = isStuck ? onDevice(netns, query, query.oif ?? '', 'unicast', skipped) : result;
  if (found.state !== 'found') return found;
  if (query.src !== undefined && isLoopback(query.src) && !loopbackMayLeave(netns, found)) return invalid;
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

/** __mkroute_output(): 127/8 leaves by lo alone, unless route_localnet is on. */
function loopbackMayLeave(netns: Netns, { route, nexthop }: FoundRoute): boolean {
  if (route.type === 'local' || nexthop.device === undefined || nexthop.device === 'lo') return true;
  return isSetAnywhere(netns, nexthop.device, 'route_localnet');
}

function onDevice(
  netns: Netns,
  query: RouteQuery,
  device: string,
  type: RouteType,
  skipped: readonly SkippedRoute[] = [],
): FoundRoute {
  const nexthop: NextHop = { device, onlink: false, dead: false, weight: 1 };
  const route: Route = {
    family: 4,
    type,
    dst: { family: 4, value: query.dst.value, length: 32 },
    table: 'main',
    nexthops: [nexthop],
    scope: 'link',
    metric: 0,
    protocol: 'kernel',
    source: { kind: 'file', file: '', text: `no route: the packet is bound to ${device}` },
  };
  const source = query.src ?? selectAddress(netns, device, undefined, 'link');
  return {
    state: 'found',
    route,
    nexthop,
    alternatives: [{ nexthop, share: 1, ...(source === undefined ? {} : { source }) }],
    table: 'main',
    ...(source === undefined ? {} : { source }),
    skipped,
  };
}
