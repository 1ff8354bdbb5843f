/** Packets for somebody else: ip_forward() and its checks. */
import type { Device, Netns } from '../model/netns.ts';
import { type Cursor, copyOf, doubt, lose, type Stage, wireBytes } from './cursor.ts';
import { runHooks } from './hooks.ts';
import { leaveAnew } from './ip-send.ts';
import { checkSource } from './ip-source.ts';
import { type Found, findRoute, leave, outDevices } from './ip-ways.ts';
import type { RouteResult } from './routing.ts';
import { loseUntranslated, untranslatedService } from './services.ts';
import type { World } from './world.ts';

/** ip_forward() and, where there is no way, ip_error(): who does not forward says nothing. IPv6 refuses before it looks at that. */
export function forward(world: World, cursor: Cursor, device: Device, result: RouteResult): readonly Stage[] {
  const { netns, packet } = cursor;
  const isWay = result.state === 'found' || result.state === 'unknown';
  if (!isWay && packet.dst.family === 6) {
    const refused = findRoute(cursor, result);
    if ('at' in refused) return [refused];
  }
  // ip_route_input_slow() sends directed broadcasts on before it asks whether the device forwards.
  const isBroadcast = result.state === 'found' && result.route.type === 'broadcast';
  const allowed = isBroadcast ? ({ state: 'yes' } as const) : forwards(netns, device.name, packet.dst.family);
  if (allowed.state === 'no') {
    return [
      lose(cursor, 'route', 'ip-forward-off', `${netns.id} does not forward: ${allowed.sysctl} = 0`, {
        facts: { sysctl: allowed.sysctl, device: device.name },
        sources: [{ kind: 'file', file: `nodes/${netns.id}/sysctl.txt`, text: `${allowed.sysctl} = 0` }],
      }),
    ];
  }
  const known =
    allowed.state === 'yes'
      ? cursor
      : doubt(cursor, 'route', `whether ${netns.id} forwards is not known: ${allowed.why}`, {
          facts: { what: `sysctls of ${netns.id}` },
        });
  const leaving = result.state === 'found' ? result.nexthop.device : undefined;
  const checked = isWay ? checkSource(known, device, leaving) : known;
  if ('at' in checked) return [checked];
  const routed = findRoute(checked, result);
  if ('at' in routed) return [routed];
  if (packet.ttl <= 1) {
    return [lose(routed.cursor, 'route', 'ttl-exceeded', 'the time to live is used up', { facts: {} })];
  }
  const aged = copyOf(routed.cursor);
  aged.packet = { ...packet, ttl: packet.ttl - 1 };
  const tooBig = exceedsMtu(world, aged, routed.route);
  if (tooBig !== undefined) return [tooBig];
  const untranslated = untranslatedService(world, aged);
  const devices = { inDevice: device.name, ...outDevices(routed.route) };
  return runHooks(aged, ['forward'], devices).flatMap((passed) => {
    if ('at' in passed) return [passed];
    // Only a packet that no rule refuses tells that the Service's rules are missing.
    if (untranslated !== undefined) return [loseUntranslated(passed, untranslated)];
    return passed.byIpvs === true
      ? leaveAnew(world, passed, routed.route)
      : leave(world, passed, routed.route);
  });
}

type Forwards =
  | { readonly state: 'yes' }
  | { readonly state: 'no'; readonly sysctl: string }
  | { readonly state: 'unknown'; readonly why: string };

/**
 * IPv4 asks the device that a packet came by (IN_DEV_FORWARD); writing ip_forward sets all of them, so it stands in where that
 * was not recorded. IPv6 asks conf/all, or force_forwarding of the device (ip6_forward).
 */
export function forwards(netns: Netns, device: string, family: 4 | 6): Forwards {
  let own = forwarding.get(netns);
  if (own === undefined) {
    own = new Map();
    forwarding.set(netns, own);
  }
  const name = `${family} ${device}`;
  let found = own.get(name);
  if (found === undefined) {
    found = readForwards(netns, device, family);
    own.set(name, found);
  }
  return found;
}

/** Every packet asks, and the names of settings are long. */
const forwarding = new WeakMap<Netns, Map<string, Forwards>>();

function readForwards(netns: Netns, device: string, family: 4 | 6): Forwards {
  if (netns.sysctls.state === 'unknown') return { state: 'unknown', why: netns.sysctls.why };
  const { value } = netns.sysctls;
  const general = family === 4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding';
  const own = `net.ipv${family}.conf.${device.replaceAll('.', '/')}.${family === 4 ? 'forwarding' : 'force_forwarding'}`;
  const isOn = (key: string) => (value.has(key) ? value.get(key) !== '0' : undefined);
  const decided = family === 4 ? (isOn(own) ?? isOn(general)) : isOn(own) === true || isOn(general);
  if (decided === undefined) return { state: 'unknown', why: `${general} is not in the list` };
  if (decided) return { state: 'yes' };
  return { state: 'no', sysctl: family === 4 && isOn(general) !== false ? own : general };
}

/** ip_exceeds_mtu() in ip_forward(): before the FORWARD hook; a DF packet is answered with ICMP 3/4. */
function exceedsMtu(world: World, cursor: Cursor, found: Found): Stage | undefined {
  const { packet } = cursor;
  const device = world.device(cursor.netns, found.nexthop.device ?? '');
  if (device === undefined) return undefined;
  // ip6_dst_mtu_maybe_forward() asks the device only; ip6_fragment() then minds the route's MTU, after the hooks.
  // IPv4 takes the route's MTU instead of the device's, also where it is larger (ip_dst_mtu_maybe_forward).
  const mtu = (packet.src.family === 4 ? found.route.mtuBytes : undefined) ?? device.mtuBytes;
  if (wireBytes(cursor) <= mtu || (!packet.df && packet.src.family === 4)) return undefined;
  return lose(
    cursor,
    'mtu',
    'mtu-exceeded',
    `${packet.lengthBytes} bytes do not fit ${device.name} (MTU ${mtu})`,
    {
      facts: {
        device: device.name,
        mtu: String(mtu),
        size: String(packet.lengthBytes),
        answers: 'icmp',
        node: cursor.netns.node,
      },
      sources: [device.source],
    },
  );
}
