/** One IPv4 table: fib_table_lookup() and, among the next hops, fib_select_path(). */
import type { Netns, NextHop, Route, RoutingRule } from '../model/netns.ts';
import { sameAddress } from '../net/address.ts';
import { covering, type PrefixTable } from './routing-index.ts';
import {
  type Candidate,
  insistedDevice,
  type JudgedHop,
  judgeHops,
  neighbourFails,
  neighbourStates,
  selectGroup,
  selectMultipath,
  shares,
} from './routing-nexthops.ts';
import type { Alternative, RouteQuery, RouteResult, SkippedRoute } from './routing-query.ts';
import { tosMatches } from './routing-rules.ts';
import { routeSource, selectAddress } from './routing-source.ts';
import { isRefusing, sysctl, tableName } from './routing-tables.ts';
import { isVrf } from './routing-vrf.ts';

export interface TableQuery {
  readonly netns: Netns;
  readonly query: RouteQuery;
  readonly table: PrefixTable;
  readonly rule?: RoutingRule | undefined;
  readonly skipped: SkippedRoute[];
}

/** 'next' is -EAGAIN: the search goes on with the next rule. */
export function lookupTable4(asked: TableQuery): RouteResult | 'next' {
  const { netns, query, table, rule, skipped } = asked;
  /** First addresses of the leaves that a next hop object without usable member has ended. */
  let missed: bigint | undefined;
  for (const group of covering(table, query.dst)) {
    for (const route of group) {
      if (route.dst.value === missed) break;
      if (!tosMatches(route.tos, query)) continue;
      if (isRefusing(route)) {
        if (route.type === 'throw') return 'next';
        return { state: 'refused', type: route.type, route, ...(rule === undefined ? {} : { rule }) };
      }
      const judged = judgeHops(netns, route);
      if (judged.state === 'unknown') return judged;
      let usable = 0;
      for (const { hop, state } of judged.value)
        if (state !== 'ok') skipped.push({ route, device: hop.device ?? '', why: state });
        else if (isPermitted(netns, query, hop)) usable++;
      if (usable === 0) {
        // fib_table_lookup() gives up the leaf, with the shorter prefixes that begin at the same address.
        if (route.nexthopId !== undefined) missed = route.dst.value;
        continue;
      }
      const suppressed = isSuppressed(netns, route, rule);
      if (suppressed === 'unknown') return groupNotKnown;
      if (suppressed) return 'next';
      const rivals = route.dst.length === 0 ? equalDefaults(asked, group, route) : [];
      if (rivals.length === 0) return found(asked, route, alternativesOf(asked, route, judged.value));
      // fib_result_assign(): the first next hop, whatever its carrier and however many there are.
      const ways = rivals.map((rival) => ({
        ...alternative(netns, query, rival, rival.nexthops[0], 1),
        route: rival,
      }));
      return found(asked, route, ways);
    }
  }
  return 'next';
}

const judgedOf = (netns: Netns, route: Route): readonly JudgedHop[] => {
  const judged = judgeHops(netns, route);
  return judged.state === 'known' ? judged.value : [];
};

const isPermitted = (netns: Netns, query: RouteQuery, hop: NextHop): boolean => {
  const wanted = insistedDevice(query);
  return wanted === undefined || wanted === hop.device || isVrf(netns, wanted);
};

/** fib4_rule_suppress(): by the length of the prefix, or the group of the route's first device. */
export function isSuppressed(
  netns: Netns,
  route: Route,
  rule: RoutingRule | undefined,
  device = route.nexthops[0]?.device,
): boolean | 'unknown' {
  if (rule === undefined) return false;
  if (route.dst.length <= (rule.suppressPrefixLength ?? -1)) return true;
  if (rule.suppressGroup === undefined || device === undefined) return false;
  if (netns.devices.state === 'unknown') return 'unknown';
  const group = netns.devices.value.find((one) => one.name === device)?.group;
  return group === undefined ? 'unknown' : group === rule.suppressGroup;
}

export const groupNotKnown = {
  state: 'unknown',
  why: 'a routing rule asks for the group of a device, which is not known',
} as const;

/** What the flows that take the route get: fib_select_path(). */
function alternativesOf(
  { netns, query }: TableQuery,
  route: Route,
  judged: readonly JudgedHop[],
): readonly Alternative[] {
  const [only] = judged;
  if (only !== undefined && judged.length === 1)
    return only.state === 'ok' && isPermitted(netns, query, only.hop)
      ? [alternative(netns, query, route, only.hop, 1)]
      : [];
  const usable = judged.flatMap(({ hop, state }, index) =>
    state === 'ok' && isPermitted(netns, query, hop) ? [index] : [],
  );
  const isGroup = route.nexthopId !== undefined;
  // A packet bound to a device takes the first next hop there is by it, without a hash.
  if (judged.length < 2 || (query.oif !== undefined && !isVrf(netns, query.oif)))
    return usable.slice(0, 1).map((index) => alternative(netns, query, route, judged[index]?.hop, 1));
  const usesNeighbours = isGroup || sysctl(netns, 'net.ipv4.fib_multipath_use_neigh') === '1';
  const candidates = judged.map(
    ({ hop, state }): Candidate => ({
      weight: hop.weight,
      dead: isGroup ? state === 'device-down' || state === 'device-missing' : state !== 'ok',
      passedOver: usesNeighbours && neighbourFails(netns, hop),
      preferred: !isGroup && hasSource(netns, query, route, hop),
    }),
  );
  const select = isGroup ? selectGroup : selectMultipath;
  const spread = shares(candidates, (natural) => select(candidates, natural));
  const some = judged.flatMap(({ hop }, index) => {
    const share = spread[index] ?? 0;
    return share > 0 ? [alternative(netns, query, route, hop, share)] : [];
  });
  // Every neighbour fails: the hop that the lookup itself found.
  return some.length > 0
    ? some
    : usable.slice(0, 1).map((i) => alternative(netns, query, route, judged[i]?.hop, 1));
}

/** nh_saddr: what the kernel would take as source by this next hop. What arrives from outside has no preference. */
function hasSource(netns: Netns, query: RouteQuery, route: Route, hop: NextHop): boolean {
  if (query.iif !== undefined || query.src === undefined || hop.device === undefined) return false;
  const gateway = hop.gateway?.family === 4 ? hop.gateway : undefined;
  const own = selectAddress(netns, hop.device, gateway, route.scope);
  return own !== undefined && sameAddress(own, query.src);
}

export function alternative(
  netns: Netns,
  query: RouteQuery,
  route: Route,
  hop: NextHop | undefined,
  share: number,
): Alternative {
  const nexthop = hop ?? { onlink: false, dead: false, weight: 1 };
  const source = query.src ?? routeSource(netns, query.dst, route, nexthop);
  return source === undefined ? { nexthop, share } : { nexthop, share, source };
}

/**
 * fib_select_default(): default routes by gateways take turns, and neighbour entries tell which may. Whose turn it is
 * (fa_default) no dump shows: the routes that some turn leads to. Only for own packets that are not bound to a device.
 */
function equalDefaults(
  { netns, query }: TableQuery,
  group: readonly Route[],
  first: Route,
): readonly Route[] {
  if (query.iif !== undefined || query.oif !== undefined) return [];
  if (first.type !== 'unicast' || first.nexthops.length > 1) return [];
  const rivals = rivalsOf(netns, query, group, first);
  if (rivals.length < 2 || netns.neighbours.state === 'unknown') return rivals.length < 2 ? [] : rivals;
  const states = rivals.map(({ nexthops: [hop] }) =>
    hop?.gateway === undefined ? [] : neighbourStates(netns, hop.device, hop.gateway),
  );
  const picked = new Set([-1, ...rivals.keys()].map((turn) => detectDeath(states, turn)));
  return rivals.filter((_, index) => picked.has(index));
}

function rivalsOf(netns: Netns, query: RouteQuery, group: readonly Route[], first: Route): readonly Route[] {
  const rivals: Route[] = [];
  let last = { metric: first.metric, tos: 0 };
  for (const route of group) {
    const tos = route.tos ?? 0;
    if (!tosMatches(tos, query) || route.table !== first.table) continue;
    if (route.metric > last.metric && tos === last.tos) {
      if (tos !== 0) continue;
      break;
    }
    if (judgedOf(netns, route).every(({ state }) => state === 'device-down')) continue;
    last = { metric: route.metric, tos };
    const isRival = route.type === 'unicast' && route.scope === first.scope;
    if (!isRival || route.nexthops[0]?.gateway === undefined) continue;
    if (rivals.length === 0 && route !== first) break;
    rivals.push(route);
  }
  return rivals;
}

const validStates = ['PERMANENT', 'NOARP', 'REACHABLE', 'PROBE', 'STALE', 'DELAY'];

/**
 * fib_detect_death(), for each route in order: the index that is taken if the turn before was `turn`. A gateway without
 * entry counts as alive; kernels before 6.13 passed it over.
 */
function detectDeath(states: readonly (readonly string[])[], turn: number): number {
  let lastResort: number | undefined;
  for (const [index, state] of states.entries()) {
    const isValid = state.some((one) => validStates.includes(one));
    if (state.length === 0 || state.includes('REACHABLE') || (isValid && index !== turn)) return index;
    if (isValid || (lastResort === undefined && index > turn && !state.includes('INCOMPLETE')))
      lastResort = index;
  }
  return lastResort ?? 0;
}

export function found(
  { query, rule, skipped }: TableQuery,
  route: Route,
  alternatives: readonly Alternative[],
): RouteResult {
  const [first] = alternatives;
  if (first === undefined) return { state: 'none', skipped };
  const chosen = first.route ?? route;
  const total = alternatives.reduce((sum, { share }) => sum + share, 0);
  const source = query.src ?? first.source;
  return {
    state: 'found',
    route: chosen,
    nexthop: first.nexthop,
    alternatives:
      total === 1 ? alternatives : alternatives.map((one) => ({ ...one, share: one.share / total })),
    table: tableName(route.table),
    ...(rule === undefined ? {} : { rule }),
    ...(source === undefined ? {} : { source }),
    skipped,
  };
}
