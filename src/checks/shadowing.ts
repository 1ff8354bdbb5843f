/** Policy routing: rules that take packets away from the routes that would have led right. */
import { lookupRoute, type RouteQuery } from '../dataplane/routing.ts';
import { mapKnown } from '../model/known.ts';
import type { Netns, RoutingRule } from '../model/netns.ts';

const defaultTables = new Set(['local', 'main', 'default']);

const isDefault = ({ action }: RoutingRule): boolean =>
  action.kind === 'table' && defaultTables.has(String(action.table));

/**
 * The rule that decided this lookup, where it is none of the kernel's own three and the main table holds a route more
 * specific than the default one. Undefined where the main table would have failed just the same.
 */
export function shadowingRule(netns: Netns, query: RouteQuery): RoutingRule | undefined {
  const result = lookupRoute(netns, query);
  const rule = result.state === 'found' || result.state === 'refused' ? result.rule : undefined;
  if (rule === undefined || isDefault(rule)) return undefined;
  const plain = { ...netns, rules: mapKnown(netns.rules, (rules) => rules.filter(isDefault)) };
  const without = lookupRoute(plain, query);
  return without.state === 'found' && without.route.dst.length > 0 && without.route.type === 'unicast'
    ? rule
    : undefined;
}
