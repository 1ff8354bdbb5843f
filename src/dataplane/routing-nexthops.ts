/** Which next hops of a route can be used, and how the flows are spread over them. */
import { type Known, known, unknown } from '../model/known.ts';
import type { Netns, NextHop, Route } from '../model/netns.ts';
import { type Address, isLinkLocal, isLoopback, isMulticast, sameAddress } from '../net/address.ts';
import type { RouteQuery, SkippedRoute } from './routing-query.ts';
import { findDevice, sysctl, sysctlDevice } from './routing-tables.ts';

export interface JudgedHop {
  readonly hop: NextHop;
  readonly state: 'ok' | SkippedRoute['why'];
}

const noDevice: NextHop = { onlink: false, dead: false, weight: 1 };

/** Every next hop with its device's state. Unknown only where a device's state decides and was not recorded. */
export function judgeHops(netns: Netns, route: Route): Known<readonly JudgedHop[]> {
  let own = judgedRoutes.get(netns);
  if (own === undefined) {
    own = new WeakMap();
    judgedRoutes.set(netns, own);
  }
  let judged = own.get(route);
  if (judged === undefined) {
    judged = judge(netns, route);
    own.set(route, judged);
  }
  return judged;
}

/** None of it depends on the packet. */
const judgedRoutes = new WeakMap<Netns, WeakMap<Route, Known<readonly JudgedHop[]>>>();

function judge(netns: Netns, route: Route): Known<readonly JudgedHop[]> {
  const hops = route.nexthops.length > 0 ? route.nexthops : [noDevice];
  const judged: JudgedHop[] = [];
  for (const hop of hops) {
    if (hop.encap !== undefined) return unknown(`a route encapsulates packets (${hop.encap})`);
    // fib_sync_down_dev spares local routes: an address answers while its device is down.
    const ownAddress = route.type === 'local' || route.type === 'anycast';
    const state = ownAddress ? 'ok' : hopState(netns, hop, route.family);
    if (state === 'unknown')
      return unknown(
        `whether ${hop.device ?? 'the next hop'} is up is not known: ${netns.devices.state === 'unknown' ? netns.devices.why : 'not recorded'}`,
      );
    judged.push({ hop, state });
  }
  return known(judged);
}

/** fib_lookup_good_nhc: down devices are dead; those without carrier only if ignore_routes_with_linkdown says so. */
function hopState(netns: Netns, hop: NextHop, family: 4 | 6): JudgedHop['state'] | 'unknown' {
  if (hop.device === undefined) return 'ok';
  if (netns.devices.state === 'unknown') return hop.dead ? 'unknown' : 'ok';
  const device = findDevice(netns.devices.value, hop.device);
  if (device === undefined) return 'device-missing';
  if (!device.up) return 'device-down';
  if (!device.carrier && ignoresLinkdown(netns, hop.device, family)) return 'no-carrier';
  return 'ok';
}

/** IN_DEV_ORCONF in IPv4 (ip_ignore_linkdown); IPv6 asks the device alone (ip6_ignore_linkdown). */
function ignoresLinkdown(netns: Netns, device: string, family: 4 | 6): boolean {
  const scope = `net.ipv${family}.conf`;
  const isSet = (name: string) => sysctl(netns, `${scope}.${name}.ignore_routes_with_linkdown`) === '1';
  return (family === 4 && isSet('all')) || isSet(sysctlDevice(device));
}

/**
 * IPv4 takes only next hops of the device that the packet is bound to. IPv6 insists only for link-scope destinations and
 * while no source is chosen (ip6_route_output_flags); otherwise the device is a preference.
 */
export function insistedDevice(query: RouteQuery): string | undefined {
  if (query.dst.family === 4) return query.oif;
  // rt6_need_strict().
  if (isLinkLocal(query.dst) || isMulticast(query.dst) || isLoopback(query.dst))
    return query.oif ?? query.iif;
  return query.src === undefined ? query.oif : undefined;
}

/** What a flow's hash meets on its way along the next hops. */
export interface Candidate {
  readonly weight: number;
  /** Has no range of hashes: dead when the ranges were made (fib_rebalance, rt6_multipath_rebalance). */
  readonly dead: boolean;
  /** Has a range, and is passed over: its neighbour does not answer. */
  readonly passedOver: boolean;
  /** Has the source address that the packet carries: preferred by fib_select_multipath(). */
  readonly preferred: boolean;
}

/**
 * The share of flows that each next hop gets. Hashes are spread evenly and each next hop has a range as wide as its
 * weight; `choose` says which next hop a hash in the range of number `natural` gets.
 */
export function shares(
  candidates: readonly Candidate[],
  choose: (natural: number) => number | undefined,
): readonly number[] {
  const total = candidates.reduce((sum, one) => sum + (one.dead ? 0 : one.weight), 0);
  const result = candidates.map(() => 0);
  for (const [natural, { dead, weight }] of candidates.entries()) {
    if (dead) continue;
    const taken = choose(natural);
    if (taken !== undefined) result[taken] = (result[taken] ?? 0) + weight / total;
  }
  return result;
}

/** fib_select_multipath(): a fitting source counts two points, a hash within the range or before it one; the first best wins. */
export function selectMultipath(candidates: readonly Candidate[], natural: number): number | undefined {
  let best: { readonly index: number; readonly score: number } | undefined;
  for (const [index, one] of candidates.entries()) {
    if (one.dead || one.passedOver) continue;
    const score = (one.preferred ? 2 : 0) + (index >= natural ? 1 : 0);
    if (best === undefined || score > best.score) best = { index, score };
  }
  return best?.index;
}

/** nexthop_select_path_hthr(): the first good one whose range ends at or after the hash, else the first good one, else the first. */
export function selectGroup(candidates: readonly Candidate[], natural: number): number {
  const isGood = (index: number) => candidates[index]?.passedOver === false;
  const indexes = candidates.map((_, index) => index);
  return indexes.find((i) => i >= natural && isGood(i)) ?? indexes.find(isGood) ?? 0;
}

/** NUD_VALID, as far as a dump's entry tells; a neighbour without entry counts as reachable (ipv4_good_nh, ipv6_good_nh). */
export function neighbourFails(netns: Netns, hop: NextHop): boolean {
  const { gateway, device } = hop;
  if (gateway === undefined || netns.neighbours.state === 'unknown') return false;
  const entry = netns.neighbours.value.find(
    (one) => !one.proxy && one.device === device && sameAddress(one.address, gateway),
  );
  return entry?.states.some((state) => state === 'FAILED' || state === 'INCOMPLETE') ?? false;
}

/** Whether the neighbour is certainly there: NUD_REACHABLE or PERMANENT. */
export function neighbourStates(
  netns: Netns,
  device: string | undefined,
  gateway: Address,
): readonly string[] {
  if (netns.neighbours.state === 'unknown') return [];
  const entry = netns.neighbours.value.find(
    (one) => !one.proxy && one.device === device && sameAddress(one.address, gateway),
  );
  return entry?.states ?? [];
}
