/** Route lookup as fib_lookup() and fib6_rule_lookup() do it: the rules by priority, each with its table. */
import type { Netns, Route, RoutingRule } from '../model/netns.ts';
import { tableIndex } from './routing-index.ts';
import { afterTables, beforeTables } from './routing-output4.ts';
import type { RouteQuery, RouteResult, SkippedRoute } from './routing-query.ts';
import { ruleMatches } from './routing-rules.ts';
import { lookupTable4 } from './routing-table4.ts';
import { lookupTable6 } from './routing-table6.ts';
import { hasOnlyDefaultRules, recordsAllTables, routesOf, rulesOf, tableName } from './routing-tables.ts';
import { vrfTableOf } from './routing-vrf.ts';

export function lookupRoute(netns: Netns, query: RouteQuery): RouteResult {
  const isOwn = query.iif === undefined && query.dst.family === 4;
  if (!isOwn) return lookupByRules(netns, query);
  const early = beforeTables(netns, query);
  return early === undefined
    ? afterTables(netns, query, lookupByRules(netns, query))
    : afterTables(netns, { ...query, oif: undefined }, early);
}

/** One lookup on its way through the rules. */
interface Search {
  readonly netns: Netns;
  readonly query: RouteQuery;
  readonly routes: readonly Route[];
  /** By priority. */
  readonly rules: readonly RoutingRule[];
  readonly skipped: SkippedRoute[];
}

function lookupByRules(netns: Netns, query: RouteQuery): RouteResult {
  const routes = routesOf(netns, query.dst.family);
  const rules = rulesOf(netns, query.dst.family);
  if (routes.state === 'unknown') return routes;
  if (rules.state === 'unknown') return rules;
  const search = { netns, query, routes: routes.value, rules: ordered(rules.value), skipped: [] };
  if (query.dst.family === 4 && hasOnlyDefaultRules(rules.value)) return lookupMerged(search);
  return followRules(search, 0);
}

const orders = new WeakMap<readonly RoutingRule[], readonly RoutingRule[]>();

/** Stable: rules of one priority keep the order in which they were listed. */
function ordered(rules: readonly RoutingRule[]): readonly RoutingRule[] {
  const known = orders.get(rules);
  if (known !== undefined) return known;
  const sorted = [...rules].sort((a, b) => a.priority - b.priority);
  orders.set(rules, sorted);
  return sorted;
}

/** fib_rules_lookup(), from the rule at `start` on. */
function followRules(search: Search, start: number): RouteResult {
  const { netns, query, rules, skipped } = search;
  for (let i = start; i < rules.length; i++) {
    const rule = rules[i] as RoutingRule;
    const matches = ruleMatches(netns, rule, query);
    if (matches === 'no') continue;
    const target = rule.action.kind === 'goto' ? targetOf(rules, i, rule.action.priority) : undefined;
    if (matches === 'unknown') return eitherWay(search, i, rule, target);
    if (target !== undefined) i = target - 1;
    else {
      const step = apply(search, rule);
      if (step !== 'next') return step;
    }
  }
  return { state: 'none', skipped };
}

/** Rules jump forward only; a target that does not exist makes the rule do nothing. */
function targetOf(rules: readonly RoutingRule[], from: number, priority: number): number | undefined {
  const target = rules.findIndex((rule) => rule.priority === priority);
  return target > from ? target : undefined;
}

/** A rule that makes no difference is no reason to give up. */
function eitherWay(
  search: Search,
  index: number,
  rule: RoutingRule,
  target: number | undefined,
): RouteResult {
  const without = followRules(search, index + 1);
  const step = target === undefined ? apply(search, rule) : followRules(search, target);
  const taken = step === 'next' ? without : step;
  return sameResult(taken, without) ? without : { state: 'unknown', why: whyUnknown(rule) };
}

function sameResult(a: RouteResult, b: RouteResult): boolean {
  if (a.state === 'found' && b.state === 'found')
    return (
      a.route === b.route &&
      a.alternatives.length === b.alternatives.length &&
      a.alternatives.every(({ nexthop }, i) => nexthop === b.alternatives[i]?.nexthop)
    );
  if (a.state === 'refused' && b.state === 'refused') return a.type === b.type;
  return a.state === 'none' && b.state === 'none';
}

function whyUnknown(rule: RoutingRule): string {
  const { notUnderstood, uids, protocol, srcPorts, dstPorts, action } = rule;
  if (notUnderstood.length > 0)
    return `routing rule ${rule.priority} uses ${notUnderstood.join(', ')}, which is not understood`;
  const asksPorts = protocol !== undefined || srcPorts !== undefined || dstPorts !== undefined;
  const what =
    uids !== undefined
      ? 'the user id of the sender'
      : asksPorts
        ? 'the protocol or ports'
        : action.kind === 'l3mdev'
          ? 'the VRF, and devices were not recorded'
          : 'something unknown';
  return `routing rule ${rule.priority} depends on ${what}`;
}

/** What the rule does with a packet that it matches; 'next' is -EAGAIN. */
function apply(search: Search, rule: RoutingRule): RouteResult | 'next' {
  const { netns, query } = search;
  const { action } = rule;
  switch (action.kind) {
    case 'table':
      return lookupTables(search, [tableName(action.table)], rule);
    case 'l3mdev': {
      const table = vrfTableOf(netns, query);
      if (table === 'unknown') return { state: 'unknown', why: 'the table of a VRF was not recorded' };
      return table === undefined ? 'next' : lookupTables(search, [tableName(table)], rule);
    }
    case 'goto':
    case 'nop':
      return 'next';
    default:
      return { state: 'refused', type: action.kind, rule };
  }
}

function lookupTables(search: Search, tables: readonly string[], rule?: RoutingRule): RouteResult | 'next' {
  const { netns, query, routes, skipped } = search;
  const table = tableIndex(routes, tables);
  if (table.length === 0 && !isReserved(tables) && !recordsAllTables(netns, query.dst.family))
    return {
      state: 'unknown',
      why: `table ${tables.join(', ')} is not among the recorded routes (ip -j route show table all)`,
    };
  const asked = { netns, query, table, rule, skipped };
  return query.dst.family === 4 ? lookupTable4(asked) : lookupTable6(asked);
}

const isReserved = (tables: readonly string[]): boolean =>
  tables.every((table) => ['local', 'main', 'default'].includes(table));

/**
 * Until rules are added, IPv4 keeps local and main in one trie: the longest prefix of both wins, the local table only
 * among equals (fib_lookup's fast path, fib_trie_unmerge).
 */
function lookupMerged(search: Search): RouteResult {
  const used = search.rules.map(({ action }) => (action.kind === 'table' ? tableName(action.table) : ''));
  const merged = ['local', 'main'].filter((table) => used.includes(table));
  const last = ['default'].filter((table) => used.includes(table));
  for (const tables of [merged, last]) {
    const result = lookupTables(search, tables);
    if (result !== 'next') return result;
  }
  return { state: 'none', skipped: search.skipped };
}
