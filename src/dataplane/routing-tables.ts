/** The parts of a namespace's routing state that lookups read, and questions that one table answers. */
import type { Known } from '../model/known.ts';
import type { Device, Netns, Route, RoutingRule } from '../model/netns.ts';
import type { Address } from '../net/address.ts';
import { covering, tableIndex, tableName } from './routing-index.ts';

export { tableName };

export function routesOf(netns: Netns, family: 4 | 6): Known<readonly Route[]> {
  return family === 4 ? netns.routes : netns.routes6;
}

export function rulesOf(netns: Netns, family: 4 | 6): Known<readonly RoutingRule[]> {
  return family === 4 ? netns.rules : netns.rules6;
}

/** Whether the list is what the kernel starts with: local, main and default for everything. */
export function hasOnlyDefaultRules(rules: readonly RoutingRule[]): boolean {
  if (rules.length > 3) return false;
  const known = withDefaults.get(rules);
  if (known !== undefined) return known;
  const has = rules.every((rule) => isDefaultPlace(rule) && selectsAll(rule));
  withDefaults.set(rules, has);
  return has;
}

const withDefaults = new WeakMap<readonly RoutingRule[], boolean>();

const isDefaultPlace = ({ priority, action }: RoutingRule): boolean =>
  [0, 32766, 32767].includes(priority) && action.kind === 'table';

function selectsAll(rule: RoutingRule): boolean {
  const { from, to, iif, oif, fwmark, tos, protocol, srcPorts, dstPorts, uids, notUnderstood, not } = rule;
  const selectors = [iif, oif, fwmark, tos, protocol, srcPorts, dstPorts, uids];
  const isAll = (prefix: RoutingRule['from']) => prefix === undefined || prefix.length === 0;
  return (
    isAll(from) &&
    isAll(to) &&
    selectors.every((selector) => selector === undefined) &&
    notUnderstood.length === 0 &&
    !not
  );
}

/** A route that ends the search, or with `throw` the table. */
export const isRefusing = (
  route: Route,
): route is Route & { readonly type: 'blackhole' | 'unreachable' | 'prohibit' | 'throw' } =>
  ['blackhole', 'unreachable', 'prohibit', 'throw'].includes(route.type);

const withLocal = new WeakMap<readonly Route[], boolean>();

/** Whether the routes hold the local table: those of `ip route` without `table all` do not. */
export function recordsLocalTable(netns: Netns, family: 4 | 6): boolean {
  const routes = routesOf(netns, family);
  if (routes.state === 'unknown') return false;
  const known = withLocal.get(routes.value);
  if (known !== undefined) return known;
  const has = routes.value.some((route) => tableName(route.table) === 'local');
  withLocal.set(routes.value, has);
  return has;
}

/** Where no device has an address, an empty local table says nothing. */
export function recordsAllTables(netns: Netns, family: 4 | 6): boolean {
  if (recordsLocalTable(netns, family)) return true;
  if (netns.devices.state === 'unknown') return false;
  return !netns.devices.value.some(
    ({ up, addresses }) => up && addresses.some(({ address }) => address.family === family),
  );
}

interface DeviceIndex {
  readonly byName: ReadonlyMap<string, Device>;
  /** Which device has an address; IPv4's are numbers, which Maps find faster. */
  readonly byAddress: ReadonlyMap<number | bigint, Device>;
}

/** By the list itself: a node has a device for each of its pods, and every packet asks for some. */
const deviceIndexes = new WeakMap<readonly Device[], DeviceIndex>();

function indexOf(devices: readonly Device[]): DeviceIndex {
  const known = deviceIndexes.get(devices);
  if (known !== undefined) return known;
  const byName = new Map<string, Device>();
  const byAddress = new Map<number | bigint, Device>();
  for (const device of devices) {
    if (!byName.has(device.name)) byName.set(device.name, device);
    for (const { address } of device.addresses) {
      const key = addressKey(address);
      if (!byAddress.has(key)) byAddress.set(key, device);
    }
  }
  const index = { byName, byAddress };
  deviceIndexes.set(devices, index);
  return index;
}

/** Of different families they never meet: IPv6's are bigints. */
export const addressKey = ({ family, value }: Address): number | bigint =>
  family === 4 ? Number(value) : value;

/** The first of that name. */
export const findDevice = (devices: readonly Device[], name: string): Device | undefined =>
  indexOf(devices).byName.get(name);

/** The first device that has the address. */
export const deviceWith = (devices: readonly Device[], address: Address): Device | undefined =>
  indexOf(devices).byAddress.get(addressKey(address));

/** The kernel writes device names with `/` for `.`: `flannel.1` is `net.ipv4.conf.flannel/1`. */
export const sysctlDevice = (device: string): string => device.replaceAll('.', '/');

export function sysctl(netns: Netns, key: string): string | undefined {
  return netns.sysctls.state === 'known' ? netns.sysctls.value.get(key) : undefined;
}

type Settings = Map<string, Map<string, string | undefined>>;
const deviceSettings = new WeakMap<Netns, Settings>();

/** `net.ipv4.conf.DEVICE.KEY`, `all` among the devices. Every packet asks for some: the long names are made once. */
export function deviceSetting(netns: Netns, device: string, key: string): string | undefined {
  let own = deviceSettings.get(netns);
  if (own === undefined) {
    own = new Map();
    deviceSettings.set(netns, own);
  }
  let settings = own.get(device);
  if (settings === undefined) {
    settings = new Map();
    own.set(device, settings);
  }
  const known = settings.get(key);
  if (known !== undefined || settings.has(key)) return known;
  const value = sysctl(netns, `net.ipv4.conf.${sysctlDevice(device)}.${key}`);
  settings.set(key, value);
  return value;
}

/** IN_DEV_ORCONF of an IPv4 setting; a missing key counts as its default, 0. */
export const isSetAnywhere = (netns: Netns, device: string, key: string): boolean =>
  deviceSetting(netns, 'all', key) === '1' || deviceSetting(netns, device, key) === '1';

/** IN_DEV_BFORWARD: broadcasts of other networks that come by the device go on to them, whether it forwards or not. */
export const forwardsBroadcasts = (netns: Netns, device: string): boolean =>
  ['all', device].every((one) => deviceSetting(netns, one, 'bc_forwarding') === '1');

/** Whether the namespace itself owns the address: its local table says so, or, where that is missing, its devices do. */
export function isLocal(netns: Netns, address: Address): boolean | 'unknown' {
  const routes = routesOf(netns, address.family);
  if (routes.state === 'known') {
    const best = bestRoute(routes.value, ['local'], address);
    // A subnet-router anycast address is taken like one's own: ip6_route_add() gives RTF_ANYCAST routes ip6_input().
    if (best !== undefined) return best.type === 'local' || best.type === 'anycast';
    // A dump of the main table alone knows nothing of local addresses.
    if (recordsLocalTable(netns, address.family)) return false;
  }
  if (netns.devices.state === 'unknown') return 'unknown';
  return deviceWith(netns.devices.value, address) !== undefined;
}

/** The longest and cheapest route of some tables that covers the address; among equals the earlier table's. */
export function bestRoute(
  routes: readonly Route[],
  tables: readonly string[],
  address: Address,
): Route | undefined {
  for (const group of covering(tableIndex(routes, tables), address)) {
    const best = group.find((route) => route.tos === undefined && route.from === undefined);
    if (best !== undefined) return best;
  }
  return undefined;
}
