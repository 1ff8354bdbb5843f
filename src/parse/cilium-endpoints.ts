/** `cilium-dbg bpf endpoint list`: `10.244.1.5:0   id=1447 sec_id=6848 flags=0x0000 ifindex=12 mac=... nodemac=...`. */
import type { LxcEntry } from '../model/cilium-maps.ts';
import { type Address, parseAddress } from '../net/address.ts';
import { readFields } from './cilium-ipcache.ts';
import { type Row, readRows, readTable, sourceOf } from './cilium-table.ts';
import type { Parsed } from './result.ts';

const format = 'cilium-endpoints';

export function parseCiliumEndpoints(text: string, file: string): Parsed<readonly LxcEntry[]> {
  const table = readTable(text, file, format, 'IP ADDRESS');
  const keys = table.ok ? table.value.map(({ key }) => key) : [];
  // Most versions put `:0`, a cluster id, behind the address. Of IPv6 that shows only in the whole list.
  const withId =
    keys.some((key) => /^[\d.]+:\d+$/.test(key)) ||
    (keys.length > 0 && keys.every((key) => key.endsWith(':0') && !key.endsWith('::0')));
  return readRows(table, file, format, (row) => readEntry(row, withId, file));
}

function readEntry(row: Row, withId: boolean, file: string): LxcEntry | undefined {
  const address = readKey(row.key, withId);
  const source = sourceOf(row, file);
  if (address === undefined) return undefined;
  if (row.value === '(localhost)') return { kind: 'host', address, source };
  const fields = readFields(row.value);
  const id = number(fields.get('id'));
  const ifindex = number(fields.get('ifindex'));
  const mac = fields.get('mac')?.toLowerCase();
  const identity = number(fields.get('sec_id'));
  if (id === undefined || ifindex === undefined || mac === undefined) return undefined;
  return {
    kind: 'endpoint',
    address,
    id,
    ...(identity === undefined ? {} : { identity }),
    ifindex,
    mac,
    source,
  };
}

const readKey = (key: string, withId: boolean): Address | undefined =>
  parseAddress(withId ? key.replace(/:\d+$/, '') : key);

const number = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
