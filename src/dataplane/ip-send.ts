/** Packets that start in a namespace: ip_local_out() and the routing before it. */
import { isUnspecified } from '../net/address.ts';
import type { Cursor, Stage } from './cursor.ts';
import { type Found, findRoute, leave, outDevices, ways } from './ip-ways.ts';
import { localOut } from './ipvs.ts';
import { lookupRoute, queryOf, type RouteResult, sysctl } from './routing.ts';
import type { World } from './world.ts';

/** ip_local_out(): a packet that starts here. */
export const send = (world: World, cursor: Cursor): readonly Stage[] =>
  sendRouted(world, cursor, outputRoute(cursor));

/** The same where the route is chosen already. Without a source the packet takes the one that the route's next hop prefers. */
export const sendRouted = (world: World, cursor: Cursor, result: RouteResult): readonly Stage[] =>
  ways(cursor, result).flatMap((way) =>
    sendBy(world, isUnspecified(way.cursor.packet.src) ? withSource(way) : way.cursor, way.result),
  );

function withSource({ cursor, result }: { readonly cursor: Cursor; readonly result: RouteResult }): Cursor {
  const [hop] = result.state === 'found' ? result.alternatives : [];
  return hop?.source === undefined ? cursor : { ...cursor, packet: { ...cursor.packet, src: hop.source } };
}

function sendBy(world: World, cursor: Cursor, way: RouteResult): readonly Stage[] {
  const routed = findRoute(cursor, way);
  if ('at' in routed) return [routed];
  const { route } = routed;
  return localOut(world, routed.cursor, outDevices(route)).flatMap((result) => {
    if ('at' in result) return [orLostBefore(result)];
    const { routeMark, ...rest } = result;
    if (routeMark === undefined) return leave(world, result, route);
    // ip_route_me_harder().
    return ways(rest, outputRoute(rest, routeMark)).flatMap((other) => {
      const again = findRoute(other.cursor, other.result);
      return 'at' in again ? [again] : leave(world, again.cursor, again.route);
    });
  });
}

/** A rule of OUTPUT refused it; if it had been routed again before, and there was no way, it did not come so far. */
function orLostBefore(end: Stage): Stage {
  const { routeMark, ...rest } = end.cursor;
  if (end.at !== 'end' || end.end.kind !== 'lost' || routeMark === undefined) return end;
  const result = outputRoute(rest, routeMark);
  if (result.state !== 'none' && result.state !== 'refused') return end;
  const lost = findRoute({ ...rest, hops: rest.hops.slice(0, -1) }, result);
  return 'at' in lost ? lost : end;
}

/** handle_response() of IPVS: with snat_reroute, which is on by default, the new source asks for its own route. */
export function leaveAnew(world: World, cursor: Cursor, found: Found): readonly Stage[] {
  if (sysctl(cursor.netns, 'net.ipv4.vs.snat_reroute') === '0') return leave(world, cursor, found);
  return ways(cursor, outputRoute(cursor, cursor.packet.mark)).flatMap((way) => {
    const routed = findRoute(way.cursor, way.result);
    return 'at' in routed ? [routed] : leave(world, routed.cursor, routed.route);
  });
}

/**
 * The way of the namespace's own packet; that to an IPVS real server is looked up by address alone (do_output_route4).
 * What is routed again may have any source (FLOWI_FLAG_ANYSRC in ip_route_me_harder), and so may what eBPF programs send.
 */
function outputRoute({ netns, packet, byIpvs, byCilium }: Cursor, mark?: number): RouteResult {
  const isFirst = mark === undefined;
  if (byIpvs === true && isFirst && packet.quoted === undefined && packet.inner === undefined)
    return lookupRoute(netns, { dst: packet.dst, mark: 0 });
  const needsOwnSource = isFirst && byIpvs !== true && byCilium !== true;
  return lookupRoute(netns, queryOf(packet, undefined, mark, needsOwnSource));
}
