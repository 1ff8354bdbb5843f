/** `ip -j nexthop` -> next hop objects, and routes that name one of them -> routes that say where they lead. */
import { type Known, known, unknown } from '../model/known.ts';
import type { NextHop, NextHopObject, Route } from '../model/netns.ts';
import { readNextHop } from './ip-route.ts';
import { asNumber, entryText, isObject, type JsonObject, readObjects } from './json.ts';
import { type Parsed, parsed } from './result.ts';

type Wrong = { readonly wrong: string };

/** Where there are none, iproute2 prints nothing at all or an empty list. */
export function parseIpNexthop(text: string, file: string): Parsed<readonly NextHopObject[]> {
  if (text.trim() === '') return parsed([]);
  return readObjects<NextHopObject>(text, file, 'ip-nexthop', (entry) => readObject(entry, file));
}

function readObject(entry: JsonObject, file: string): NextHopObject | Wrong {
  const raw = entryText(entry);
  const id = asNumber(entry.id);
  if (id === undefined) return { wrong: `a next hop needs an id in ${raw}` };
  const base = { id, source: { kind: 'file', file, text: raw } } as const;
  if ('blackhole' in entry) return { ...base, blackhole: true };
  if (entry.group !== undefined) {
    const group = readGroup(entry.group);
    return group === undefined
      ? { wrong: `the group is not understood in ${raw}` }
      : { ...base, blackhole: false, group };
  }
  const hop = readNextHop(entry);
  return 'wrong' in hop ? { wrong: `${hop.wrong} in ${raw}` } : { ...base, blackhole: false, hop };
}

function readGroup(value: unknown): NextHopObject['group'] {
  if (!Array.isArray(value)) return undefined;
  const members: { id: number; weight: number }[] = [];
  for (const item of value as unknown[]) {
    const id = isObject(item) ? asNumber(item.id) : undefined;
    const weight = isObject(item) ? asNumber(item.weight ?? 1) : undefined;
    if (id === undefined || weight === undefined) return undefined;
    members.push({ id, weight });
  }
  return members;
}

/** With nexthop_compat_mode=0 a route names its next hop object and nothing more: what it says is looked up. */
export function resolveNextHops(
  routes: Known<readonly Route[]>,
  objects: () => Known<readonly NextHopObject[]>,
): Known<readonly Route[]> {
  if (routes.state === 'unknown' || !routes.value.some(isBare)) return routes;
  const list = objects();
  if (list.state === 'unknown')
    return unknown(`routes name next hop objects, and ${list.why} (ip -j nexthop show)`);
  const byId = new Map(list.value.map((object) => [object.id, object]));
  const resolved: Route[] = [];
  for (const route of routes.value) {
    const hops = isBare(route) ? hopsOf(byId, route.nexthopId) : route.nexthops;
    if (hops === undefined)
      return unknown(`next hop object ${route.nexthopId} of a route is not among those recorded`);
    resolved.push(hops === 'blackhole' ? { ...route, type: 'blackhole' } : { ...route, nexthops: hops });
  }
  return known(resolved);
}

const isBare = (route: Route): boolean =>
  route.nexthopId !== undefined && route.nexthops.length === 0 && route.type === 'unicast';

function hopsOf(
  byId: ReadonlyMap<number, NextHopObject>,
  id: number | undefined,
): readonly NextHop[] | 'blackhole' | undefined {
  const object = id === undefined ? undefined : byId.get(id);
  if (object === undefined) return undefined;
  if (object.blackhole) return 'blackhole';
  if (object.hop !== undefined) return [object.hop];
  const members: NextHop[] = [];
  for (const { id: member, weight } of object.group ?? []) {
    const one = byId.get(member);
    // A group of one black hole is a black hole; the kernel allows no other mixture (nh_check_attr_group).
    if (one?.blackhole === true) return 'blackhole';
    if (one?.hop === undefined) return undefined;
    members.push({ ...one.hop, weight });
  }
  return members;
}
