/** Routes by table, prefix length and prefix, so that a lookup costs the number of lengths and not of routes. */
import type { Route } from '../model/netns.ts';
import type { Address } from '../net/address.ts';

const tableNames: Readonly<Record<string, string>> = { '255': 'local', '254': 'main', '253': 'default' };

/** Reserved tables by name, others as they are: iproute2 prints either. */
export const tableName = (table: string): string => tableNames[table] ?? table;

/** Routes of one prefix length by the bits of their prefix. IPv4 keys are numbers: bigints cost more to hash. */
interface Length {
  readonly length: number;
  readonly routes: ReadonlyMap<number | bigint, readonly Route[]>;
}

/** Longest first. */
export type PrefixTable = readonly Length[];

/** By the list itself: a snapshot's lists never change. */
const indexes = new WeakMap<readonly Route[], Map<string, PrefixTable>>();

/** The index of some tables taken as one; of equal prefixes the earlier table's routes stand first. */
export function tableIndex(routes: readonly Route[], tables: readonly string[]): PrefixTable {
  const known = indexes.get(routes) ?? new Map<string, PrefixTable>();
  indexes.set(routes, known);
  const name = tables.join('+');
  const made = known.get(name);
  if (made !== undefined) return made;
  const index = makeIndex(routes, tables);
  known.set(name, index);
  return index;
}

function makeIndex(routes: readonly Route[], tables: readonly string[]): PrefixTable {
  const rank = (route: Route) => tables.indexOf(tableName(route.table));
  const lengths = new Map<number, Map<number | bigint, Route[]>>();
  for (const route of routes) {
    if (rank(route) < 0) continue;
    const byKey = lengths.get(route.dst.length) ?? new Map<number | bigint, Route[]>();
    lengths.set(route.dst.length, byKey);
    const key = keyOf(route.dst, route.dst.length);
    const same = byKey.get(key);
    if (same === undefined) byKey.set(key, [route]);
    else same.push(route);
  }
  // fib_insert_alias(): of one prefix by table, then type of service (the largest first), then metric. Stable for the rest.
  for (const byKey of lengths.values())
    for (const list of byKey.values())
      if (list.length > 1)
        list.sort((a, b) => rank(a) - rank(b) || (b.tos ?? 0) - (a.tos ?? 0) || a.metric - b.metric);
  return [...lengths].sort(([a], [b]) => b - a).map(([length, byKey]) => ({ length, routes: byKey }));
}

function keyOf(address: { readonly family: 4 | 6; readonly value: bigint }, length: number): number | bigint {
  return address.family === 4
    ? shifted(Number(address.value), length)
    : address.value >> BigInt(128 - length);
}

/** `>>>` takes its count modulo 32. */
const shifted = (value: number, length: number): number => (length === 0 ? 0 : value >>> (32 - length));

/** The routes whose prefix covers the address, one group for each prefix, the longest first. */
export function* covering(table: PrefixTable, address: Address): Generator<readonly Route[]> {
  const four = address.family === 4 ? Number(address.value) : 0;
  for (const { length, routes } of table) {
    const key = address.family === 4 ? shifted(four, length) : address.value >> BigInt(128 - length);
    const group = routes.get(key);
    if (group !== undefined) yield group;
  }
}

/** Whether the table has longer prefixes within that of the group. */
export function hasLonger(table: PrefixTable, [of]: readonly Route[]): boolean {
  if (of === undefined) return false;
  const { dst } = of;
  const key = keyOf(dst, dst.length);
  return table.some(
    ({ length, routes }) =>
      length > dst.length &&
      [...routes.values()].some(([one]) => one !== undefined && keyOf(one.dst, dst.length) === key),
  );
}
