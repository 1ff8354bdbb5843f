/** The parts of a namespace's routing state that lookups read, and questions that one table answers. */
import type { Known } from '../model/known.ts';
import type { Device, Netns, Route, RoutingRule } from '../model/netns.ts';
import { type Address, sameAddress } from '../net/address.ts';
import { contains } from '../net/prefix.ts';

const tableNames: Readonly<Record<string, string>> = { '255': 'local', '254': 'main', '253': 'default' };

/** Reserved tables by name, others as they are: iproute2 prints either. */
export const tableName = (table: string): string => tableNames[table] ?? table;

export function routesOf(netns: Netns, family: 4 | 6): Known<readonly Route[]> {
  return family === 4 ? netns.routes : netns.routes6;
}

export function rulesOf(netns: Netns, family: 4 | 6): Known<readonly RoutingRule[]> {
  return family === 4 ? netns.rules : netns.rules6;
}

/** Whether the list is what the kernel starts with: local, main and default for everything. */
export function hasOnlyDefaultRules(rules: readonly RoutingRule[]): boolean {
  return (
    rules.length <= 3 &&
    rules.every(
      ({ priority, action, from, to, iif, oif, fwmark, not }) =>
        [0, 32766, 32767].includes(priority) &&
        action.kind === 'table' &&
        [from, to, iif, oif, fwmark].every((selector) => selector === undefined || isZeroLength(selector)) &&
        !not,
    )
  );
}

const isZeroLength = (selector: unknown): boolean =>
  typeof selector === 'object' && selector !== null && 'length' in selector && selector.length === 0;

export function findDevice(devices: readonly Device[], name: string): Device | undefined {
  return devices.find((device) => device.name === name);
}

/** The kernel writes device names with `/` for `.`: `flannel.1` is `net.ipv4.conf.flannel/1`. */
export const sysctlDevice = (device: string): string => device.replaceAll('.', '/');

export function sysctl(netns: Netns, key: string): string | undefined {
  return netns.sysctls.state === 'known' ? netns.sysctls.value.get(key) : undefined;
}

/** Whether the namespace itself owns the address: its local table says so, or, where that is missing, its devices do. */
export function isLocal(netns: Netns, address: Address): boolean | 'unknown' {
  const routes = routesOf(netns, address.family);
  if (routes.state === 'known') {
    const best = bestRoute(routes.value, ['local'], address);
    // A subnet-router anycast address is taken like one's own: ip6_route_add() gives RTF_ANYCAST routes ip6_input().
    if (best !== undefined) return best.type === 'local' || best.type === 'anycast';
    // A dump of the main table alone knows nothing of local addresses.
    if (routes.value.some((route) => tableName(route.table) === 'local')) return false;
  }
  if (netns.devices.state === 'unknown') return 'unknown';
  return netns.devices.value.some((device) =>
    device.addresses.some((own) => sameAddress(own.address, address)),
  );
}

/** The longest and cheapest route of some tables that covers the address; among equals the earlier table's. */
export function bestRoute(
  routes: readonly Route[],
  tables: readonly string[],
  address: Address,
): Route | undefined {
  const rank = (route: Route) => tables.indexOf(tableName(route.table));
  let best: Route | undefined;
  for (const route of routes) {
    if (rank(route) < 0 || !contains(route.dst, address)) continue;
    if (best === undefined || order(route, best) < 0) best = route;
  }
  function order(a: Route, b: Route): number {
    return b.dst.length - a.dst.length || rank(a) - rank(b) || a.metric - b.metric;
  }
  return best;
}
