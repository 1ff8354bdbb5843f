/**
 * Route lookup as fib_lookup() does it: rules by priority, then longest prefix and lowest metric inside a table.
 * A query without `iif` is the local machine's own packet; with `iif` one that arrived there.
 */
import { type Known, known, unknown } from '../model/known.ts';
import type { Netns, NextHop, Route, RoutingRule } from '../model/netns.ts';
import { type Address, isLinkLocal, isMulticast, isUnspecified } from '../net/address.ts';
import { contains } from '../net/prefix.ts';
import { selectAddress, selectSource6 } from './routing-source.ts';
import {
  findDevice,
  hasOnlyDefaultRules,
  routesOf,
  rulesOf,
  sysctl,
  sysctlDevice,
  tableName,
} from './routing-tables.ts';

export interface RouteQuery {
  readonly dst: Address;
  /** Absent: not chosen yet. Rules with `from` then do not match, as in the kernel. */
  readonly src?: Address | undefined;
  readonly iif?: string | undefined;
  readonly oif?: string | undefined;
  readonly mark?: number | undefined;
}

/** A route that fits and was passed over. */
export interface SkippedRoute {
  readonly route: Route;
  readonly device: string;
  readonly why: 'device-down' | 'device-missing' | 'no-carrier';
}

export type RouteResult =
  | {
      readonly state: 'found';
      readonly route: Route;
      /** Device and gateway; of a multipath route the first usable one. */
      readonly nexthop: NextHop;
      /** Usable next hops and the share of flows that each gets; one entry for an ordinary route. */
      readonly alternatives: readonly {
        readonly nexthop: NextHop;
        readonly share: number;
        /** Source address if this hop is taken and the query has none. */
        readonly source?: Address;
      }[];
      readonly table: string;
      readonly rule?: RoutingRule;
      /** What the kernel takes as source address if the query has none. */
      readonly source?: Address;
      readonly skipped: readonly SkippedRoute[];
    }
  /** A route or rule that refuses: `blackhole` is silent, `unreachable` answers ICMP 3/1, `prohibit` 3/13. */
  | {
      readonly state: 'refused';
      readonly type: 'blackhole' | 'unreachable' | 'prohibit';
      readonly route?: Route;
      readonly rule?: RoutingRule;
    }
  | { readonly state: 'none'; readonly skipped: readonly SkippedRoute[] }
  | { readonly state: 'unknown'; readonly why: string };

/** The device that stands in for "this machine" in `iif` rules (LOOPBACK_IFINDEX). */
const loopbackDevice = 'lo';

export function lookupRoute(netns: Netns, query: RouteQuery): RouteResult {
  const result = lookupByRules(netns, query);
  if (query.oif !== undefined && query.iif === undefined && query.dst.family === 4)
    return assumeOnLink(netns, query, query.oif, result);
  return result;
}

/** ip_route_output_key_hash_rcu: with a device given and no usable route, IPv4 takes the destination to be on that device. */
function assumeOnLink(netns: Netns, query: RouteQuery, oif: string, result: RouteResult): RouteResult {
  if (result.state !== 'none' && result.state !== 'refused') return result;
  const nexthop: NextHop = { device: oif, onlink: false, dead: false, weight: 1 };
  const route: Route = {
    family: 4,
    type: 'unicast',
    dst: { family: 4, value: query.dst.value, length: 32 },
    table: 'main',
    nexthops: [nexthop],
    scope: 'link',
    metric: 0,
    protocol: 'kernel',
    source: { kind: 'file', file: '', text: `no route: the packet is bound to ${oif}` },
  };
  const source = query.src ?? selectAddress(netns, oif, undefined, 'link');
  return {
    state: 'found',
    route,
    nexthop,
    alternatives: [{ nexthop, share: 1, ...(source === undefined ? {} : { source }) }],
    table: 'main',
    ...(source === undefined ? {} : { source }),
    skipped: result.state === 'none' ? result.skipped : [],
  };
}

function lookupByRules(netns: Netns, query: RouteQuery): RouteResult {
  const routes = routesOf(netns, query.dst.family);
  const rules = rulesOf(netns, query.dst.family);
  if (routes.state === 'unknown') return routes;
  if (rules.state === 'unknown') return rules;
  const skipped: SkippedRoute[] = [];
  if (query.dst.family === 4 && hasOnlyDefaultRules(rules.value))
    return lookupMerged(netns, query, routes.value, rules.value, skipped);
  // Stable: rules of one priority keep the order in which they were listed.
  const ordered = [...rules.value].sort((a, b) => a.priority - b.priority);
  for (let i = 0; i < ordered.length; ) {
    const rule = ordered[i] as RoutingRule;
    i++;
    const matches = ruleMatches(rule, query);
    if (matches === 'no') continue;
    const { action } = rule;
    const step: RouteResult | 'next' =
      action.kind === 'table'
        ? lookupTable(netns, query, routes.value, rule, [tableName(action.table)], skipped)
        : action.kind === 'goto' || action.kind === 'nop'
          ? 'next'
          : { state: 'refused', type: action.kind, rule };
    if (matches === 'unknown') {
      // A rule that changes nothing either way is no reason to give up.
      if (step === 'next' && action.kind !== 'goto') continue;
      return {
        state: 'unknown',
        why: `routing rule ${rule.priority} uses ${rule.notUnderstood.join(', ')}, which is not understood`,
      };
    }
    if (step !== 'next') return step;
    if (action.kind === 'goto') {
      // An unresolved target makes the rule a no-op (fib_rules_lookup).
      const target = ordered.findIndex((other) => other.priority === action.priority);
      if (target >= i) i = target;
    }
  }
  return { state: 'none', skipped };
}

/**
 * Until rules are added, IPv4 keeps local and main in one trie: the longest prefix of both wins, the local table only
 * among equals (fib_lookup's fast path, fib_trie_unmerge).
 */
function lookupMerged(
  netns: Netns,
  query: RouteQuery,
  routes: readonly Route[],
  rules: readonly RoutingRule[],
  skipped: SkippedRoute[],
): RouteResult {
  const used = rules.map(({ action }) => (action.kind === 'table' ? tableName(action.table) : ''));
  const merged = ['local', 'main'].filter((table) => used.includes(table));
  const last = ['default'].filter((table) => used.includes(table));
  for (const tables of [merged, last]) {
    const result = lookupTable(netns, query, routes, undefined, tables, skipped);
    if (result !== 'next') return result;
  }
  return { state: 'none', skipped };
}

function ruleMatches(rule: RoutingRule, query: RouteQuery): 'yes' | 'no' | 'unknown' {
  const src = query.src ?? { family: query.dst.family, value: 0n };
  const understood =
    // IPv6 asks for a source before it compares; IPv4 compares 0.0.0.0: both only match a zero-length prefix.
    (rule.from === undefined ||
      rule.from.length === 0 ||
      (!isUnspecified(src) && contains(rule.from, src))) &&
    (rule.to === undefined || contains(rule.to, query.dst)) &&
    (rule.iif === undefined || rule.iif === (query.iif ?? loopbackDevice)) &&
    (rule.oif === undefined || rule.oif === query.oif) &&
    (rule.fwmark === undefined || (((query.mark ?? 0) ^ rule.fwmark.value) & rule.fwmark.mask) === 0);
  if (rule.notUnderstood.length > 0) {
    if (!understood) return rule.not ? 'yes' : 'no';
    return 'unknown';
  }
  return understood !== rule.not ? 'yes' : 'no';
}

/** A refusing route: it ends the search, or with `throw` the table. */
const isRefusing = (
  route: Route,
): route is Route & { readonly type: 'blackhole' | 'unreachable' | 'prohibit' | 'throw' } =>
  ['blackhole', 'unreachable', 'prohibit', 'throw'].includes(route.type);

/** fib_table_lookup: 'next' is -EAGAIN, the search goes on with the next rule. */
function lookupTable(
  netns: Netns,
  query: RouteQuery,
  routes: readonly Route[],
  rule: RoutingRule | undefined,
  tables: readonly string[],
  skipped: SkippedRoute[],
): RouteResult | 'next' {
  const rank = (route: Route) => tables.indexOf(tableName(route.table));
  const candidates = routes
    .filter((route) => rank(route) >= 0 && contains(route.dst, query.dst))
    .sort((a, b) => b.dst.length - a.dst.length || rank(a) - rank(b) || a.metric - b.metric);
  for (const route of preferDevice(candidates, query)) {
    if (isRefusing(route)) {
      // IPv6 keeps refusing routes on lo: a packet bound to another device does not see them.
      if (route.family === 6 && !route.nexthops.every((hop) => devicePermitted(query, hop))) continue;
      if (route.type === 'throw') return 'next';
      return { state: 'refused', type: route.type, route, ...(rule === undefined ? {} : { rule }) };
    }
    const usable = usableNextHops(netns, query, route, skipped);
    if (usable.state === 'unknown') return usable;
    const first = usable.value[0];
    if (first === undefined) continue;
    if (route.dst.length <= (rule?.suppressPrefixLength ?? -1)) return 'next';
    return found(netns, query, route, usable.value, first, rule, skipped);
  }
  return 'next';
}

/** rt6_score_route: among IPv6 routes of one prefix and metric, those through the device that is asked for come first. */
function preferDevice(sorted: readonly Route[], query: RouteQuery): readonly Route[] {
  const wanted = query.oif ?? query.iif;
  if (query.dst.family === 4 || wanted === undefined) return sorted;
  const through = (route: Route) => (route.nexthops.some((hop) => hop.device === wanted) ? 0 : 1);
  return [...sorted].sort(
    (a, b) => b.dst.length - a.dst.length || a.metric - b.metric || through(a) - through(b),
  );
}

function usableNextHops(
  netns: Netns,
  query: RouteQuery,
  route: Route,
  skipped: SkippedRoute[],
): Known<readonly NextHop[]> {
  const usable: NextHop[] = [];
  const hops = route.nexthops.length > 0 ? route.nexthops : [noDevice];
  for (const hop of hops) {
    if (!devicePermitted(query, hop)) continue;
    // fib_sync_down_dev spares local routes: an address answers while its device is down.
    const ownAddress = route.type === 'local' || route.type === 'anycast';
    const state = ownAddress ? 'ok' : hopState(netns, hop, query.dst.family);
    if (state === 'ok') usable.push(hop);
    else if (state === 'unknown')
      return unknown(
        `whether ${hop.device ?? 'the next hop'} is up is not known: ${netns.devices.state === 'unknown' ? netns.devices.why : 'not recorded'}`,
      );
    else skipped.push({ route, device: hop.device ?? '', why: state });
  }
  return known(usable);
}

const noDevice: NextHop = { onlink: false, dead: false, weight: 1 };

/**
 * IPv4 takes only next hops of the device that the packet is bound to. IPv6 insists only for link-scope destinations and
 * while no source is chosen (ip6_route_output_flags); otherwise the device is a preference.
 */
function devicePermitted(query: RouteQuery, hop: NextHop): boolean {
  if (query.dst.family === 4) return query.oif === undefined || query.oif === hop.device;
  const strict = needsStrictDevice(query.dst);
  const wanted = strict ? (query.oif ?? query.iif) : query.src === undefined ? query.oif : undefined;
  return wanted === undefined || hop.device === undefined || wanted === hop.device;
}

/** rt6_need_strict. */
const needsStrictDevice = (dst: Address): boolean => isLinkLocal(dst) || isMulticast(dst);

/** fib_lookup_good_nhc: down devices are dead; those without carrier only if ignore_routes_with_linkdown says so. */
function hopState(netns: Netns, hop: NextHop, family: 4 | 6): 'ok' | 'unknown' | SkippedRoute['why'] {
  if (hop.device === undefined) return 'ok';
  if (netns.devices.state === 'unknown') return hop.dead ? 'unknown' : 'ok';
  const device = findDevice(netns.devices.value, hop.device);
  if (device === undefined) return 'device-missing';
  if (!device.up) return 'device-down';
  if (!device.carrier && ignoresLinkdown(netns, hop.device, family)) return 'no-carrier';
  return 'ok';
}

function ignoresLinkdown(netns: Netns, device: string, family: 4 | 6): boolean {
  const scope = `net.ipv${family}.conf`;
  const isSet = (name: string) => sysctl(netns, `${scope}.${name}.ignore_routes_with_linkdown`) === '1';
  return isSet('all') || isSet(sysctlDevice(device));
}

function found(
  netns: Netns,
  query: RouteQuery,
  route: Route,
  usable: readonly NextHop[],
  first: NextHop,
  rule: RoutingRule | undefined,
  skipped: readonly SkippedRoute[],
): RouteResult {
  const total = usable.reduce((sum, hop) => sum + hop.weight, 0);
  const source = query.src ?? routeSource(netns, query, route, first);
  return {
    state: 'found',
    route,
    nexthop: first,
    alternatives: usable.map((nexthop) => {
      const own = query.src ?? routeSource(netns, query, route, nexthop);
      return { nexthop, share: nexthop.weight / total, ...(own === undefined ? {} : { source: own }) };
    }),
    table: tableName(route.table),
    ...(rule === undefined ? {} : { rule }),
    ...(source === undefined ? {} : { source }),
    skipped,
  };
}

/** fib_result_prefsrc, and the destination itself for local routes. */
function routeSource(netns: Netns, query: RouteQuery, route: Route, hop: NextHop): Address | undefined {
  if (route.prefsrc !== undefined) return route.prefsrc;
  if (query.dst.family === 6) return selectSource6(netns, query.dst, hop.device);
  if (route.type === 'local') return query.dst;
  if (hop.device === undefined) return undefined;
  const gateway = hop.gateway?.family === 4 ? hop.gateway : undefined;
  return selectAddress(netns, hop.device, gateway, route.scope);
}

export { sysctl, sysctlDevice };
