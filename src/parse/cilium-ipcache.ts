/** `cilium-dbg bpf ipcache list`: `10.244.1.5/32   identity=6848 encryptkey=0 tunnelendpoint=172.18.0.3 flags=hastunnel`. */
import type { IpcacheEntry } from '../model/cilium-maps.ts';
import { isUnspecified, parseAddress } from '../net/address.ts';
import { parsePrefix } from '../net/prefix.ts';
import { type Row, readRows, readTable, sourceOf } from './cilium-table.ts';
import type { Parsed } from './result.ts';

const format = 'cilium-ipcache';

export const parseCiliumIpcache = (text: string, file: string): Parsed<readonly IpcacheEntry[]> =>
  readRows(readTable(text, file, format, 'IP PREFIX/ADDRESS'), file, format, (row) => readEntry(row, file));

function readEntry(row: Row, file: string): IpcacheEntry | undefined {
  const fields = readFields(row.value);
  const at = parsePrefix(row.key);
  const identity = Number(fields.get('identity') ?? Number.NaN);
  const encryptKey = Number(fields.get('encryptkey') ?? '0');
  const endpoint = fields.get('tunnelendpoint') ?? '';
  const tunnel = parseAddress(endpoint);
  if (at === undefined || !Number.isSafeInteger(identity) || !Number.isSafeInteger(encryptKey))
    return undefined;
  // Go prints an address that is not there as <nil>.
  if (tunnel === undefined && endpoint !== '' && endpoint !== '<nil>') return undefined;
  const flags = (fields.get('flags') ?? '').split(',').filter((flag) => flag !== '' && flag !== '<none>');
  return {
    prefix: at,
    identity,
    ...(tunnel === undefined || isUnspecified(tunnel) ? {} : { tunnelEndpoint: tunnel }),
    encryptKey,
    flags,
    source: sourceOf(row, file),
  };
}

/** `identity=2 flags=<none>` */
export const readFields = (text: string): ReadonlyMap<string, string> =>
  new Map(
    text.split(/\s+/).flatMap((word): [string, string][] => {
      const equals = word.indexOf('=');
      return equals < 1 ? [] : [[word.slice(0, equals), word.slice(equals + 1)]];
    }),
  );
