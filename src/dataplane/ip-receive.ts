/** Packets that come by a device: PREROUTING and the routing decision. */
import type { Device, Netns } from '../model/netns.ts';
import {
  type Address,
  formatAddress,
  isLimitedBroadcast,
  isMulticast,
  isUnspecified,
} from '../net/address.ts';
import { type Cursor, cannotTell, copyOf, doubt, lose, type Stage } from './cursor.ts';
import { runHooks } from './hooks.ts';
import { forward, forwards } from './ip-forward.ts';
import { checkSource, judged } from './ip-source.ts';
import { ways } from './ip-ways.ts';
import { localIn } from './ipvs.ts';
import {
  checkAddresses,
  forwardsBroadcasts,
  isLocal,
  lookupRoute,
  queryOf,
  type RouteResult,
  sysctl,
  sysctlDevice,
} from './routing.ts';
import type { World } from './world.ts';

/** ip_rcv(): PREROUTING, the routing decision, then INPUT or forwarding. */
export function ipIn(world: World, cursor: Cursor, device: Device, physIn?: string): readonly Stage[] {
  const arrived = copyOf(cursor);
  arrived.inDevice ??= device.name;
  const off = cursor.packet.src.family === 6 ? whyNoIpv6(cursor.netns, device) : undefined;
  if (off !== undefined) {
    const facts = { device: device.name, deviceKind: device.kind };
    return [lose(arrived, 'receive', 'device-down', off, { facts, sources: [device.source] })];
  }
  // ip6_rcv_core() looks at the addresses before any rule does, ip_route_input_slow() after PREROUTING.
  const sound =
    cursor.packet.src.family === 6 && device.kind !== 'loopback'
      ? judged(arrived, device, checkAddresses(cursor.netns, cursor.packet, device.name))
      : arrived;
  if ('at' in sound) return [sound];
  const devices = { inDevice: device.name, ...(physIn === undefined ? {} : { physIn }) };
  return runHooks(sound, ['prerouting'], devices).flatMap((result) => {
    if ('at' in result) return [result];
    const isRedirected = result.packet.dst.value !== cursor.packet.dst.value;
    const bridged = physIn !== undefined && isRedirected ? staysOnBridge(result, device, physIn) : undefined;
    return bridged === undefined ? decide(world, result, device) : [bridged];
  });
}

/** ip6_rcv_core() drops where a device has no IPv6: switched off, or with an MTU below IPv6's least (addrconf_notify). */
function whyNoIpv6(netns: Netns, device: Device): string | undefined {
  if (device.kind === 'loopback') return undefined;
  if (device.mtuBytes < 1280) return `${device.name} takes no IPv6: its MTU ${device.mtuBytes} is below 1280`;
  const key = `net.ipv6.conf.${sysctlDevice(device.name)}.disable_ipv6`;
  return sysctl(netns, key) === '1' ? `${device.name} takes no IPv6: ${key} = 1` : undefined;
}

/**
 * br_nf_pre_routing_finish(): with bridge-nf-call-iptables a frame whose destination DNAT changed to an address on the
 * same bridge is bridged, not forwarded: no ICMP errors, but port isolation and hairpin count. IPv4 needs ip_forward all
 * the same: without it ip_route_input() gives an error route, which is not the bridge's.
 */
function staysOnBridge(cursor: Cursor, device: Device, inPort: string): Stage | undefined {
  const { netns, packet } = cursor;
  const key = `net.bridge.bridge-nf-call-${packet.src.family === 4 ? 'iptables' : 'ip6tables'}`;
  if (sysctl(netns, key) !== '1' || isLocal(netns, packet.dst) !== false) return undefined;
  if (packet.src.family === 4 && forwards(netns, device.name, 4).state === 'no') return undefined;
  const routed = lookupRoute(netns, queryOf(packet, device.name));
  if (routed.state !== 'found' || routed.route.type !== 'unicast' || routed.nexthop.device !== device.name)
    return undefined;
  const checked = checkSource(cursor, device);
  if ('at' in checked) return checked;
  const nextHop = routed.nexthop.gateway ?? packet.dst;
  return { at: 'bridge-on', cursor: checked, device, nextHop, inPort };
}

/** ip_route_input_slow(): the order of its checks decides whether a sender is told, or hears nothing. */
function decide(world: World, cursor: Cursor, device: Device): readonly Stage[] {
  const { netns, packet } = cursor;
  // Packets that come by the loopback device were checked when they were sent.
  const isLooped = device.kind === 'loopback';
  const isJudged = isLooped || packet.src.family === 6;
  const addressed = isJudged ? cursor : judged(cursor, device, checkAddresses(netns, packet, device.name));
  if ('at' in addressed) return [addressed];
  const { dst, src } = packet;
  const result = lookupRoute(netns, queryOf(packet, device.name));
  if (isMulticast(dst)) return toGroup(world, addressed, device);
  const local = isForAll(src, dst) || (!isSentOn(netns, device, result) && takes(netns, dst, result));
  if (local === 'unknown') {
    return [
      cannotTell(addressed, 'route', `local addresses of ${netns.id} are not known`, {
        facts: { what: `routes of ${netns.id}` },
      }),
    ];
  }
  if (!local) return ways(addressed, result).flatMap((way) => forward(world, way.cursor, device, way.result));
  const checked = isLooped ? addressed : checkSource(addressed, device);
  if ('at' in checked) return [checked];
  return localIn(world, checked, device.name);
}

/** 255.255.255.255, and what a host without address says to everybody: taken in, whatever the tables say (brd_input). */
const isForAll = (src: Address, dst: Address): boolean =>
  dst.family === 4 && (isLimitedBroadcast(dst) || (isUnspecified(src) && isUnspecified(dst)));

/** A directed broadcast that goes on to its network (bc_forwarding), and is then not taken in here. */
const isSentOn = (netns: Netns, device: Device, result: RouteResult): boolean =>
  result.state === 'found' && result.route.type === 'broadcast' && forwardsBroadcasts(netns, device.name);

/**
 * ip_route_input_rcu(), ip6_mc_input(): taken in where the group was joined, else dropped; no dump shows the groups, but
 * every host is in those of all hosts and all nodes. Routing between groups (MFORWARD) is not followed.
 */
function toGroup(world: World, cursor: Cursor, device: Device): readonly Stage[] {
  const { dst } = cursor.packet;
  const everyone = dst.family === 4 ? 0xe0000001n : (0xff02n << 112n) | 1n;
  const joined =
    dst.value === everyone || device.kind === 'loopback'
      ? cursor
      : doubt(cursor, 'route', `whether ${cursor.netns.id} has joined ${formatAddress(dst)} is not known`, {
          facts: { what: `multicast groups of ${cursor.netns.id} (ip maddr)` },
        });
  const checked = device.kind === 'loopback' ? joined : checkSource(joined, device);
  return 'at' in checked ? [checked] : localIn(world, checked, device.name);
}

/** Whether the namespace itself takes packets for the address; broadcasts among them. */
function takes(netns: Netns, dst: Address, result: RouteResult): boolean | 'unknown' {
  if (result.state === 'found' && ['local', 'anycast', 'broadcast'].includes(result.route.type)) return true;
  return isLocal(netns, dst);
}
