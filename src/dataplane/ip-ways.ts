/** Ways that a packet can leave a namespace by, and the last steps before it does. */
import { formatAddress } from '../net/address.ts';
import { formatPrefix } from '../net/prefix.ts';
import { type Cursor, cannotTell, lose, pass, type Stage } from './cursor.ts';
import { runHooks } from './hooks.ts';
import type { RouteResult, SkippedRoute } from './routing.ts';
import type { World } from './world.ts';

export type Found = Extract<RouteResult, { state: 'found' }>;

/** A multipath route: each next hop with its share of the flows. Which one a flow's hash takes no dump shows. */
export function ways(
  cursor: Cursor,
  result: RouteResult,
): readonly { readonly cursor: Cursor; readonly result: RouteResult }[] {
  if (result.state !== 'found' || result.alternatives.length < 2) return [{ cursor, result }];
  return result.alternatives.map((alternative) => ({
    cursor: { ...cursor, share: cursor.share * alternative.share },
    result: {
      ...result,
      route: alternative.route ?? result.route,
      nexthop: alternative.nexthop,
      alternatives: [alternative],
    },
  }));
}

/** What rules see as the outgoing device: for own addresses lo, whatever device their route names (__ip_route_output_key). */
export function outDevices(found: Found): { outDevice?: string } {
  const device = ['local', 'anycast'].includes(found.route.type) ? 'lo' : found.nexthop.device;
  return device === undefined ? {} : { outDevice: device };
}

/** Routing with its failures turned into ends. */
export function findRoute(
  cursor: Cursor,
  result: RouteResult,
): { readonly cursor: Cursor; readonly route: Found } | Stage {
  const { packet, netns } = cursor;
  const dst = formatAddress(packet.dst);
  if (result.state === 'unknown') {
    return cannotTell(cursor, 'route', `the route to ${dst} cannot be told: ${result.why}`, {
      facts: { what: `routes of ${netns.id}` },
    });
  }
  if (result.state === 'none') {
    return lose(
      cursor,
      'route',
      'no-route',
      result.why === undefined
        ? `${netns.id} has no route to ${dst}${skippedText(result.skipped)}`
        : `${netns.id} cannot send to ${dst}: ${result.why}`,
      {
        facts: { destination: dst },
        sources: result.skipped.map((skipped) => skipped.route.source),
      },
    );
  }
  if (result.state === 'refused') return refusedRoute(cursor, result, dst);
  const { route, nexthop } = result;
  const via = nexthop.gateway === undefined ? '' : ` via ${formatAddress(nexthop.gateway)}`;
  const text =
    route.type === 'local'
      ? `${dst} is local`
      : `route ${route.dst.length === 0 ? 'default' : formatPrefix(route.dst)}${via} dev ${nexthop.device ?? '?'}`;
  const facts = {
    prefix: formatPrefix(route.dst),
    device: nexthop.device ?? '',
    ...(nexthop.gateway === undefined ? {} : { gateway: formatAddress(nexthop.gateway) }),
  };
  return {
    cursor: route.type === 'local' ? cursor : pass(cursor, 'route', text, { sources: [route.source], facts }),
    route: result,
  };
}

const skippedText = (skipped: readonly SkippedRoute[]): string =>
  skipped.length === 0
    ? ''
    : ` (${skipped.map((s) => `the one by ${s.device} is unusable: ${s.why}`).join('; ')})`;

function refusedRoute(
  cursor: Cursor,
  result: Extract<RouteResult, { state: 'refused' }>,
  dst: string,
): Stage {
  const { route, rule, type } = result;
  const prefix = route === undefined ? `rule ${rule?.priority ?? '?'}` : formatPrefix(route.dst);
  const source = route?.source ?? rule?.source;
  return lose(cursor, 'route', 'route-blackhole', `${cursor.netns.id} has a ${type} route ${prefix}`, {
    facts: { type, destination: dst, prefix },
    ...(source === undefined ? {} : { sources: [source] }),
  });
}

/** POSTROUTING, then out of the device; or around by the loopback device. */
export function leave(world: World, cursor: Cursor, found: Found): readonly Stage[] {
  const local = ['local', 'anycast'].includes(found.route.type);
  const deviceName = local ? 'lo' : found.nexthop.device;
  if (deviceName === undefined) {
    return [
      cannotTell(cursor, 'route', 'the route names no device', {
        facts: { what: 'a route without device' },
        sources: [found.route.source],
      }),
    ];
  }
  const inDevice = cursor.inDevice === undefined ? {} : { inDevice: cursor.inDevice };
  const nextHop = found.nexthop.gateway === undefined ? {} : { nextHop: found.nexthop.gateway };
  return runHooks(cursor, ['postrouting'], { outDevice: deviceName, ...nextHop, ...inDevice }).map(
    (result) => {
      if ('at' in result) return result;
      if (local) {
        const lo = world.device(result.netns, 'lo');
        return lo === undefined
          ? cannotTell(result, 'route', 'the loopback device was not recorded', {
              facts: { what: `devices of ${result.netns.id}` },
            })
          : { at: 'ip-in', cursor: { ...result, inDevice: 'lo' }, device: lo };
      }
      return {
        at: 'transmit',
        cursor: result,
        device: deviceName,
        nextHop: found.nexthop.gateway ?? result.packet.dst,
        ...(found.route.mtuBytes === undefined ? {} : { mtuBytes: found.route.mtuBytes }),
      };
    },
  );
}
