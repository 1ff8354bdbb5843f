/** One IPv6 table: fib6_table_lookup(), rt6_select() and, among the next hops, fib6_select_path(). */
import type { Netns, NextHop, Route } from '../model/netns.ts';
import { isUnspecified } from '../net/address.ts';
import { contains } from '../net/prefix.ts';
import { covering, hasLonger } from './routing-index.ts';
import {
  type Candidate,
  insistedDevice,
  type JudgedHop,
  judgeHops,
  neighbourFails,
  selectGroup,
  shares,
} from './routing-nexthops.ts';
import type { Alternative, RouteQuery, RouteResult } from './routing-query.ts';
import { alternative, found, groupNotKnown, isSuppressed, type TableQuery } from './routing-table4.ts';
import { isRefusing, sysctl } from './routing-tables.ts';

/** One next hop of one route, and how well it fits (rt6_score_route); undefined: it may not be taken. */
interface Scored {
  readonly route: Route;
  readonly hops: readonly JudgedHop[];
  readonly index: number;
  readonly score: number | undefined;
}

/** 'next' is -EAGAIN: the search goes on with the next rule. */
export function lookupTable6(asked: TableQuery): RouteResult | 'next' {
  const { netns } = asked;
  // A host that does not forward passes over routers that do not answer, and comes back to them if nothing else is left.
  const isHost = sysctl(netns, 'net.ipv6.conf.all.forwarding') === '0';
  const first = select(asked, isHost);
  const picked = first === undefined && isHost ? select(asked, false) : first;
  if (picked === undefined) return 'next';
  if ('state' in picked) return picked;
  return outcome(asked, picked.scored, picked.isHost);
}

type Picked = { readonly scored: Scored; readonly isHost: boolean };
type NotKnown = Extract<RouteResult, { state: 'unknown' }>;

function select(asked: TableQuery, isHost: boolean): Picked | NotKnown | undefined {
  for (const node of nodes(asked)) {
    if (node === 'hidden?') return treeNotKnown;
    const scored = scoreNode(asked, node, isHost);
    if ('state' in scored) return scored;
    const best = selectInNode(scored);
    if (best !== undefined) return { scored: best, isHost };
  }
  return undefined;
}

/**
 * The nodes of the tree in the order in which they are asked. Routes for some sources stand in a tree of their own below
 * the destination's node. fib6_node_lookup() passes over a node with such a tree where no source fits, with the routes for
 * every source that it holds; fib6_backtrack(), on its way up from a node whose routes cannot be used, does not.
 */
function* nodes({ table, query }: TableQuery): Generator<readonly Route[] | 'hidden?'> {
  let isFound = false;
  for (const group of covering(table, query.dst)) {
    const plain = group.filter(({ from }) => from === undefined);
    const hasTree = plain.length < group.length;
    const fitting = hasTree ? fittingSources(group, query) : [];
    const isRoot = group[0]?.dst.length === 0;
    if (!isFound && hasTree && fitting.length === 0 && !isRoot) continue;
    if (!isFound && hasTree && plain.length === 0 && !isRoot && hasLonger(table, group)) yield 'hidden?';
    isFound = true;
    yield* fitting;
    if (plain.length > 0) yield plain;
  }
}

/**
 * When the last route for every source is deleted from a node with such a tree, the node is left with a leaf of a node
 * below it (fib6_repair_tree), and fib6_node_lookup_1() then enters the tree only for destinations within that leaf's
 * prefix. No dump tells whether that has happened.
 */
const treeNotKnown: NotKnown = {
  state: 'unknown',
  why: 'a route for some sources alone may be hidden by one that was deleted beside it',
};

/** By the source's prefix, the longest first. */
function fittingSources(group: readonly Route[], { src }: RouteQuery): readonly (readonly Route[])[] {
  const fits = group.filter(
    ({ from }) => from !== undefined && src !== undefined && !isUnspecified(src) && contains(from, src),
  );
  const lengths = [...new Set(fits.map(({ from }) => from?.length))].sort((a, b) => (b ?? 0) - (a ?? 0));
  return lengths.map((length) => fits.filter(({ from }) => from?.length === length));
}

function scoreNode(
  { netns, query, skipped }: TableQuery,
  node: readonly Route[],
  isHost: boolean,
): readonly Scored[] | NotKnown {
  const list: Scored[] = [];
  for (const route of node) {
    const judged = judgeHops(netns, isRefusing(route) ? onLoopback(route) : route);
    if (judged.state === 'unknown') return judged;
    for (const [index, { hop, state }] of judged.value.entries()) {
      if (state !== 'ok') skipped.push({ route, device: hop.device ?? '', why: state });
      const score = state === 'ok' ? scoreOf(netns, query, route, hop, isHost) : undefined;
      list.push({ route, hops: judged.value, index, score });
    }
  }
  return list;
}

/** Refusing routes are kept on lo, whatever their text says (ip6_route_info_create). */
const onLoopback = (route: Route): Route => ({
  ...route,
  type: 'local',
  nexthops: [{ device: 'lo', onlink: false, dead: false, weight: 1 }],
});

const preferences = { low: 1, medium: 2, high: 3 } as const;

/** The router's preference counts more than the device that is asked for. */
function scoreOf(
  netns: Netns,
  query: RouteQuery,
  route: Route,
  hop: NextHop,
  isHost: boolean,
): number | undefined {
  const wanted = query.oif ?? query.iif;
  const fits = wanted === undefined || wanted === hop.device;
  const insisted = insistedDevice(query);
  if (insisted !== undefined && hop.device !== undefined && insisted !== hop.device) return undefined;
  if (isHost && hop.gateway !== undefined && neighbourFails(netns, hop)) return undefined;
  return (fits ? 2 : 0) + 4 * preferences[route.preference ?? 'medium'];
}

/** find_rr_leaf(): the best of the first metric; if none of it will do, the best of all the others, whatever their metric. */
function selectInNode(list: readonly Scored[]): Scored | undefined {
  const metric = list[0]?.route.metric;
  return (
    best(list.filter(({ route }) => route.metric === metric)) ??
    best(list.filter(({ route }) => route.metric !== metric))
  );
}

function best(list: readonly Scored[]): Scored | undefined {
  let top: Scored | undefined;
  for (const one of list) {
    // A next hop object that is a black hole ends the search, whatever its device or what came before (__find_rr_leaf).
    if (one.route.nexthopId !== undefined && one.route.type === 'blackhole') return one;
    if (one.score !== undefined && (top === undefined || one.score > (top.score ?? -1))) top = one;
  }
  return top;
}

function outcome(asked: TableQuery, picked: Scored, isHost: boolean): RouteResult | 'next' {
  const { netns, rule } = asked;
  const { route } = picked;
  if (isRefusing(route)) {
    if (route.type === 'throw') return 'next';
    return { state: 'refused', type: route.type, route, ...(rule === undefined ? {} : { rule }) };
  }
  if (sharesSuppression(asked, route)) return sharedNotKnown;
  const alternatives = alternativesOf(asked, picked, isHost);
  // fib6_rule_suppress() goes by the device of the next hop that the flow has got.
  const suppressed = alternatives.map(({ nexthop }) => isSuppressed(netns, route, rule, nexthop.device));
  if (suppressed.includes('unknown')) return groupNotKnown;
  if (!suppressed.includes(true)) return found(asked, route, alternatives);
  return suppressed.includes(false) ? suppressionNotKnown : 'next';
}

/**
 * Routes with next hop objects share what was cached for a next hop (rt6_get_pcpu_route), and fib6_rule_suppress() looks at
 * the prefix in there: that of whichever route was asked first.
 */
function sharesSuppression({ netns, rule }: TableQuery, route: Route): boolean {
  const limit = rule?.suppressPrefixLength;
  if (limit === undefined || route.nexthopId === undefined || netns.routes6.state === 'unknown') return false;
  const isShort = route.dst.length <= limit;
  return netns.routes6.value.some(
    ({ nexthopId, dst }) => nexthopId !== undefined && dst.length <= limit !== isShort,
  );
}

const sharedNotKnown: NotKnown = {
  state: 'unknown',
  why: 'a routing rule suppresses short prefixes, and routes of several lengths share a next hop object',
};

const suppressionNotKnown: NotKnown = {
  state: 'unknown',
  why: 'a routing rule suppresses some next hops of a multipath route: which one the flow gets no dump shows',
};

function alternativesOf(
  { netns, query }: TableQuery,
  picked: Scored,
  isHost: boolean,
): readonly Alternative[] {
  const { route, hops, index } = picked;
  if (hops.length < 2) return [alternative(netns, query, route, hops[index]?.hop, 1)];
  const isGroup = route.nexthopId !== undefined;
  const candidates = hops.map(
    ({ hop, state }): Candidate => ({
      weight: hop.weight,
      dead: isGroup ? state === 'device-down' || state === 'device-missing' : state !== 'ok',
      passedOver: isGroup
        ? neighbourFails(netns, hop)
        : scoreOf(netns, query, route, hop, isHost) === undefined,
      preferred: false,
    }),
  );
  const spread = shares(candidates, (natural) =>
    isGroup ? selectGroup(candidates, natural) : candidates[natural]?.passedOver === true ? index : natural,
  );
  const order = [index, ...hops.keys()].filter((one, at, all) => all.indexOf(one) === at);
  return order.flatMap((one) => {
    const share = spread[one] ?? 0;
    return share > 0 ? [alternative(netns, query, route, hops[one]?.hop, share)] : [];
  });
}
