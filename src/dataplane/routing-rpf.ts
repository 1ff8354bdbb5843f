/** Whether the kernel believes a packet's addresses where it came in: ip_route_input_slow and fib_validate_source. */
import type { Netns, Route } from '../model/netns.ts';
import type { SourceRef } from '../model/source.ts';
import {
  type Address,
  formatAddress,
  isLimitedBroadcast,
  isLoopback,
  isMulticast,
  isUnspecified,
} from '../net/address.ts';
import type { Packet } from '../net/packet.ts';
import { lookupRoute } from './routing-lookup.ts';
import { isZeroNet } from './routing-output4.ts';
import { queryBack, queryOf, type RouteResult } from './routing-query.ts';
import {
  deviceSetting,
  deviceWith,
  findDevice,
  forwardsBroadcasts,
  hasOnlyDefaultRules,
  isLocal,
  isSetAnywhere,
  routesOf,
  rulesOf,
  sysctl,
  sysctlDevice,
} from './routing-tables.ts';

export type InputCheck =
  | { readonly state: 'pass' }
  /** Addresses that may not arrive there: loopback, multicast, our own (`accept_local` off), a broadcast address as source. */
  | (Refusal<'martian'> & {
      /** The address alone decides, before any route is looked up. */
      readonly anywhere?: true;
    })
  /** The reverse-path filter. */
  | Refusal<'fail'>
  | { readonly state: 'unknown'; readonly why: string };

interface Refusal<State extends string> {
  readonly state: State;
  readonly why: string;
  /** device, mode, expectedDevice?, source, sysctl. */
  readonly facts: Readonly<Record<string, string>>;
  readonly sources: readonly SourceRef[];
}

const pass: InputCheck = { state: 'pass' };

/**
 * Martians first, then rp_filter. Only IPv4 has a reverse-path filter. `leaving` is the device that the packet will leave by;
 * absent: for this machine itself, or the caller did not look (the route is then looked up here).
 */
export function reversePathCheck(
  netns: Netns,
  packet: Packet,
  inDevice: string,
  leaving?: string,
): InputCheck {
  // Packets by the loopback device keep the route that they were sent with.
  if (inDevice === 'lo' || packet.src.family === 6) return pass;
  const addresses = checkAddresses(netns, packet, inDevice);
  if (addresses.state !== 'pass' || isUnspecified(packet.src)) return addresses;
  if (netns.sysctls.state === 'unknown') return { state: 'unknown', why: netns.sysctls.why };
  const mode = effectiveMode(netns, inDevice);
  if (mode === undefined) return { state: 'unknown', why: `${rpFilterKey(inDevice)} was not recorded` };
  const acceptLocal = isSetAnywhere(netns, inDevice, 'accept_local');
  const towards = leaving === undefined ? goesTo(netns, packet, inDevice) : { outDevice: leaving };
  const asked: Asked = { netns, packet, inDevice, ...towards, acceptLocal, mode };
  return mode === 0 ? checkLocalSource(asked) : validateSource(asked);
}

interface Towards {
  readonly outDevice?: string | undefined;
  /** Broadcasts and multicast that are taken in. */
  readonly toMany?: boolean;
}

interface Asked extends Towards {
  readonly netns: Netns;
  readonly packet: Packet;
  readonly inDevice: string;
  readonly acceptLocal: boolean;
  readonly mode: number;
}

function goesTo(netns: Netns, packet: Packet, inDevice: string): Towards {
  const { dst } = packet;
  // What everybody takes in leaves by nothing (brd_input, ip_route_input_mc).
  if (isLimitedBroadcast(dst) || isMulticast(dst)) return { toMany: true };
  const forward = lookupRoute(netns, queryOf(packet, inDevice));
  if (forward.state !== 'found') return {};
  const { type } = forward.route;
  const isTakenIn = type === 'broadcast' && !forwardsBroadcasts(netns, inDevice);
  if (isTakenIn) return { toMany: true };
  return type === 'unicast' || type === 'broadcast' ? { outDevice: forward.nexthop.device } : {};
}

const rpFilterKey = (device: string): string => `net.ipv4.conf.${sysctlDevice(device)}.rp_filter`;

/** max(all, device): IN_DEV_MAXCONF. Undefined if the device's value is missing. */
function effectiveMode(netns: Netns, device: string): number | undefined {
  const all = deviceSetting(netns, 'all', 'rp_filter');
  const own = deviceSetting(netns, device, 'rp_filter');
  if (own === undefined || all === undefined) return undefined;
  return Math.max(Number(all), Number(own));
}

function martian(packet: Packet, inDevice: string, why: string): Extract<InputCheck, { state: 'martian' }> {
  return {
    state: 'martian',
    why,
    facts: { device: inDevice, source: formatAddress(packet.src), destination: formatAddress(packet.dst) },
    sources: [],
  };
}

/** An address that no route can make good. */
const neverGood = (packet: Packet, inDevice: string, why: string): InputCheck => ({
  ...martian(packet, inDevice, why),
  anywhere: true,
});

const localSource = (packet: Packet, inDevice: string): InputCheck =>
  martian(
    packet,
    inDevice,
    `the source ${formatAddress(packet.src)} is an address of this namespace itself, and accept_local is off`,
  );

/**
 * With rp_filter off a source is refused only for being our own. Policy rules, local routes that somebody added, and a way
 * out by the device it came in by (for the sake of redirects) make the kernel look it up all the same (fib_validate_source).
 */
function checkLocalSource(asked: Asked): InputCheck {
  const { netns, packet, inDevice, outDevice, acceptLocal } = asked;
  const returns = inDevice === outDevice && isSetAnywhere(netns, inDevice, 'send_redirects');
  if (returns) return validateSource(asked);
  if (acceptLocal) return pass;
  const rules = rulesOf(netns, 4);
  if (rules.state === 'known' && (!hasOnlyDefaultRules(rules.value) || hasCustomLocalRoutes(netns)))
    return validateSource(asked);
  const own = isOwnAddress(netns, packet.src);
  if (own === 'unknown') return { state: 'unknown', why: 'local addresses are not known' };
  const quick = own ? localSource(packet, inDevice) : pass;
  // A namespace whose rules were ever changed asks the tables (fib_has_custom_rules), and no dump tells that.
  const full = rules.state === 'known' ? validateSource(asked) : quick;
  return full.state === quick.state ? quick : { state: 'unknown', why: onceHadRules };
}

const onceHadRules =
  "a source that is no device's address but not unicast either is refused only if routing rules were ever changed";

/** inet_lookup_ifaddr_rcu() asks the devices; the table has more, 127/8 for one. */
function isOwnAddress(netns: Netns, address: Address): boolean | 'unknown' {
  if (netns.devices.state === 'unknown') return isLocal(netns, address);
  return deviceWith(netns.devices.value, address) !== undefined;
}

const customLocal = new WeakMap<readonly Route[], boolean>();

/** fib_has_custom_local_routes, as far as a dump tells: the kernel also remembers those that are gone. */
function hasCustomLocalRoutes(netns: Netns): boolean {
  const routes = routesOf(netns, 4);
  if (routes.state === 'unknown') return false;
  const known = customLocal.get(routes.value);
  if (known !== undefined) return known;
  const has = routes.value.some(({ type, protocol }) => type === 'local' && protocol !== 'kernel');
  customLocal.set(routes.value, has);
  return has;
}

/** __fib_validate_source. */
function validateSource(asked: Asked): InputCheck {
  const { netns, packet, inDevice, outDevice, toMany, acceptLocal, mode } = asked;
  // ip_mc_validate_source() and brd_input ask for the way back from 0.0.0.0: rules see no address there.
  const from = toMany === true ? { family: 4 as const, value: 0n } : packet.dst;
  const mark = isSetAnywhere(netns, inDevice, 'src_valid_mark') ? packet.mark : 0;
  // The way back would come in by the device that the packet leaves by.
  const back = lookupRoute(netns, queryBack(packet, from, outDevice ?? 'lo', mark));
  if (back.state === 'unknown') return { state: 'unknown', why: back.why };
  if (back.state !== 'found') return mode === 0 ? pass : rpfFailed(netns, packet, inDevice, mode, back);
  if (back.route.type !== 'unicast') {
    if (back.route.type !== 'local')
      return martian(packet, inDevice, `${formatAddress(packet.src)} is a ${back.route.type} address here`);
    if (!acceptLocal) return localSource(packet, inDevice);
  }
  if (back.route.nexthops.some((hop) => hop.device === inDevice)) return pass;
  if (mode === 0) return pass;
  if (netns.devices.state === 'unknown') return { state: 'unknown', why: netns.devices.why };
  const device = findDevice(netns.devices.value, inDevice);
  const hasAddress = device?.addresses.some((own) => own.address.family === 4) ?? false;
  // A device without addresses fails even the loose check unless the route points back to it.
  if (mode === 1 || !hasAddress) return rpfFailed(netns, packet, inDevice, mode, back);
  return pass;
}

function rpfFailed(
  netns: Netns,
  packet: Packet,
  inDevice: string,
  mode: number,
  back: RouteResult,
): InputCheck {
  const expected = back.state === 'found' ? back.nexthop.device : undefined;
  const source = formatAddress(packet.src);
  const where = expected === undefined ? 'does not exist' : `leaves by ${expected}`;
  const own = rpFilterKey(inDevice);
  // The larger of the two values counts; name the one that decided.
  const key = Number(sysctl(netns, own)) === mode ? own : 'net.ipv4.conf.all.rp_filter';
  return {
    state: 'fail',
    why: `rp_filter=${mode} on ${inDevice}: the route back to ${source} ${where}`,
    facts: {
      device: inDevice,
      mode: String(mode),
      source,
      sysctl: key,
      ...(expected === undefined ? {} : { expectedDevice: expected }),
    },
    sources: [
      { kind: 'file', file: `${netnsFolder(netns)}/sysctl.txt`, text: `${key} = ${mode}` },
      ...(back.state === 'found' ? [back.route.source] : []),
    ],
  };
}

const netnsFolder = (netns: Netns): string =>
  netns.pod === undefined
    ? `nodes/${netns.node}`
    : `nodes/${netns.node}/pods/${netns.pod.namespace}_${netns.pod.name}`;

/** Addresses that no packet from the wire may carry (ip_route_input_slow); after PREROUTING, so a DNAT to 127/8 is caught. */
export function checkAddresses(netns: Netns, packet: Packet, inDevice: string): InputCheck {
  const { src, dst } = packet;
  if (isMulticast(src) || isLimitedBroadcast(src))
    return neverGood(packet, inDevice, `${formatAddress(src)} is no address that can send`);
  // DHCP speaks from 0.0.0.0, but only to the limited broadcast address.
  if (isLimitedBroadcast(dst) || (isUnspecified(src) && isUnspecified(dst))) return pass;
  if (isZeroNet(src)) return neverGood(packet, inDevice, `${formatAddress(src)} is no address that can send`);
  if (isZeroNet(dst)) return neverGood(packet, inDevice, `${formatAddress(dst)} is no destination`);
  if (!isLoopback(src) && !isLoopback(dst)) return pass;
  if (src.family === 4) {
    if (netns.sysctls.state === 'unknown') return { state: 'unknown', why: netns.sysctls.why };
    if (isSetAnywhere(netns, inDevice, 'route_localnet')) return pass;
  }
  const which = isLoopback(dst)
    ? `the destination ${formatAddress(dst)}`
    : `the source ${formatAddress(src)}`;
  return neverGood(
    packet,
    inDevice,
    `${which} is a loopback address and came by ${inDevice}; route_localnet is off`,
  );
}
