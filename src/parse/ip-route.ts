/** `ip -j route show table all` and its IPv6 form -> routes; also the text that `ip route` prints. */

import type { NextHop, Route, RouteType } from '../model/netns.ts';
import { type Address, type Family, parseAddress } from '../net/address.ts';
import { type Prefix, parsePrefix } from '../net/prefix.ts';
import { looksLikeText, readTextObjects, routeObject } from './ip-text.ts';
import {
  asNumber,
  asString,
  asStrings,
  asText,
  entryText,
  isObject,
  type JsonObject,
  readObjects,
} from './json.ts';
import type { Parsed } from './result.ts';

type Wrong = { readonly wrong: string };

const routeTypes: ReadonlySet<string> = new Set<RouteType>([
  'unicast',
  'local',
  'broadcast',
  'multicast',
  'anycast',
  'blackhole',
  'unreachable',
  'prohibit',
  'throw',
  'nat',
]);

const isRouteType = (text: string): text is RouteType => routeTypes.has(text);

/** Names that iproute2 gives to table numbers (/etc/iproute2/rt_tables); hosts without that file print the numbers. */
const tableNames = new Map([
  ['253', 'default'],
  ['254', 'main'],
  ['255', 'local'],
]);

export const tableName = (text: string): string => tableNames.get(text) ?? text;

/** Numbers of rtnetlink.h for hosts where iproute2 lacks its rt_protos and rt_scopes files. */
const protocolNames = new Map([
  ['0', 'unspec'],
  ['1', 'redirect'],
  ['2', 'kernel'],
  ['3', 'boot'],
  ['4', 'static'],
  ['9', 'ra'],
  ['12', 'bird'],
  ['16', 'dhcp'],
  ['186', 'bgp'],
]);
const scopeNames = new Map([
  ['0', 'global'],
  ['200', 'site'],
  ['253', 'link'],
  ['254', 'host'],
  ['255', 'nowhere'],
]);

/** Routes of one family; entries of the other family (`ip -j route show table all` without -4 lists both) are left out. */
export function parseIpRoute(text: string, file: string, family: Family): Parsed<readonly Route[]> {
  const read = (entry: JsonObject) => readRoute(entry, file, family);
  return looksLikeText(text)
    ? readTextObjects<Route>(text, file, 'ip-route', routeObject, read)
    : readObjects<Route>(text, file, 'ip-route', read);
}

function readRoute(entry: JsonObject, file: string, family: Family): Route | Wrong | 'skip' {
  const raw = entryText(entry);
  const wrong = (why: string): Wrong => ({ wrong: `${why} in ${raw}` });
  const dst = readDestination(entry.dst, family);
  if (dst === undefined) return wrong('dst is no prefix');
  if (dst.family !== family) return 'skip';
  // The route applies to some packets only.
  const from = entry.from === undefined ? undefined : readDestination(entry.from, family);
  const tos = entry.tos === undefined ? undefined : tosOf(entry.tos);
  if (entry.from !== undefined && from === undefined) return wrong('from is no prefix');
  if (entry.tos !== undefined && tos === undefined) return wrong('tos is no number');
  const type = asString(entry.type) ?? 'unicast';
  if (!isRouteType(type)) return wrong(`unknown route type ${type}`);
  const nexthops = readNextHops(entry);
  if ('wrong' in nexthops) return wrong(nexthops.wrong);
  const prefsrc = addressOf(entry.prefsrc);
  const mtuBytes = metricOf(entry.metrics, 'mtu');
  const advmssBytes = metricOf(entry.metrics, 'advmss');
  const nexthopId = asNumber(entry.nhid);
  const preference = asString(entry.pref);
  return {
    family,
    type,
    dst,
    table: tableName(asText(entry.table) ?? 'main'),
    nexthops: nexthops.list,
    ...(prefsrc === undefined ? {} : { prefsrc }),
    scope: named(scopeNames, entry.scope) ?? 'global',
    metric: asNumber(entry.metric) ?? 0,
    // iproute2 leaves out RTPROT_BOOT, the protocol of a plain `ip route add`, unless details are asked for.
    protocol: named(protocolNames, entry.protocol) ?? 'boot',
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
    ...(metricOf(entry.metrics, 'mtulock') === 1 ? { mtuLocked: true } : {}),
    ...(advmssBytes === undefined ? {} : { advmssBytes }),
    ...(tos === undefined || tos === 0 ? {} : { tos }),
    ...(from === undefined || from.length === 0 ? {} : { from }),
    ...(preference === 'low' || preference === 'high' ? { preference } : {}),
    ...(nexthopId === undefined ? {} : { nexthopId }),
    source: { kind: 'file', file, text: raw },
  };
}

const named = (names: ReadonlyMap<string, string>, value: unknown): string | undefined => {
  const text = asText(value);
  return text === undefined ? undefined : (names.get(text) ?? text);
};

const addressOf = (value: unknown): Address | undefined =>
  typeof value === 'string' ? parseAddress(value) : undefined;

function readDestination(value: unknown, family: Family): Prefix | undefined {
  if (value === 'default' || value === 'all') return { family, value: 0n, length: 0 };
  return typeof value === 'string' ? parsePrefix(value) : undefined;
}

function readNextHops(entry: JsonObject): { list: readonly NextHop[] } | Wrong {
  const several = entry.nexthops;
  if (several === undefined) {
    const hop = readNextHop(entry);
    if ('wrong' in hop) return hop;
    // blackhole and its kin have neither gateway nor device (IPv6 ones have the device lo).
    return { list: hop.gateway === undefined && hop.device === undefined ? [] : [hop] };
  }
  if (!Array.isArray(several)) return { wrong: 'nexthops is no list' };
  const list: NextHop[] = [];
  for (const item of several as unknown[]) {
    if (!isObject(item)) return { wrong: 'a next hop is no object' };
    const hop = readNextHop(item);
    if ('wrong' in hop) return hop;
    list.push(hop);
  }
  return { list };
}

export function readNextHop(entry: JsonObject): NextHop | Wrong {
  // `via` holds a next hop of the other family (RTA_VIA): IPv4 routes through an IPv6 gateway.
  const via = entry.via;
  const text = isObject(via) ? via.host : (entry.gateway ?? via);
  const gateway = addressOf(text);
  if (text !== undefined && gateway === undefined) return { wrong: 'the gateway is no address' };
  const device = asString(entry.dev);
  const flags = asStrings(entry.flags);
  const encap = asString(entry.encap);
  return {
    ...(gateway === undefined ? {} : { gateway }),
    ...(device === undefined ? {} : { device }),
    onlink: flags.includes('onlink'),
    dead: flags.includes('dead') || flags.includes('linkdown'),
    weight: asNumber(entry.weight) ?? 1,
    ...(encap === undefined ? {} : { encap }),
  };
}

/** `"metrics":[{"mtu":1400}]`; older versions print one object. */
function metricOf(metrics: unknown, name: string): number | undefined {
  const list: readonly unknown[] = Array.isArray(metrics) ? metrics : [metrics];
  for (const item of list) {
    const value = isObject(item) ? asNumber(item[name]) : undefined;
    if (value !== undefined) return value;
  }
  return undefined;
}

/** iproute2's names for types of service (/etc/iproute2/rt_dsfield) that routes and rules can have. */
const tosNames = new Map([
  ['default', 0],
  ['mincost', 0x02],
  ['reliability', 0x04],
  ['throughput', 0x08],
  ['lowdelay', 0x10],
]);

/** `0x10`, `16` or a name. */
export function tosOf(value: unknown): number | undefined {
  const text = asText(value);
  if (text === undefined) return undefined;
  const number = tosNames.get(text) ?? asNumber(/^[0-9a-f]{2}$/i.test(text) ? `0x${text}` : text);
  return number === undefined || number > 255 ? undefined : number;
}
