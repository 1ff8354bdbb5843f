/**
 * `cilium-dbg bpf lb list`. Versions differ: `10.96.0.1:443`, `10.96.0.1:443/TCP`, and since 1.16 one key a slot,
 * `10.96.0.1:443/TCP/i (1)`; slot 0 is the Service itself, with its flags in brackets.
 */
import type { LbBackend, LbService } from '../model/cilium-maps.ts';
import type { SourceRef } from '../model/source.ts';
import { type Address, parseAddress } from '../net/address.ts';
import { noteOf, type Row, readTable, sourceOf } from './cilium-table.ts';
import { type Parsed, type ParseNote, parsed } from './result.ts';

const format = 'cilium-lb';

interface Draft {
  readonly frontend: Pick<LbService, 'address' | 'port' | 'protocol' | 'internal'>;
  readonly flags: string[];
  readonly backends: LbBackend[];
  readonly missing: SourceRef[];
  source: SourceRef;
}

export function parseCiliumLb(text: string, file: string): Parsed<readonly LbService[]> {
  const table = readTable(text, file, format, 'SERVICE ADDRESS');
  if (!table.ok) return table;
  const drafts = new Map<string, Draft>();
  const notes: ParseNote[] = [...table.notes];
  for (const row of table.value) {
    const name = row.key.replace(/ \(\d+\)$/, '');
    const frontend = readFrontend(name);
    if (frontend === undefined) {
      notes.push(noteOf(row, file, format));
      continue;
    }
    const source = sourceOf(row, file);
    const draft = drafts.get(name) ?? { frontend, flags: [], backends: [], missing: [], source };
    drafts.set(name, draft);
    if (!addTo(draft, row, source)) notes.push(noteOf(row, file, format));
  }
  return parsed(
    [...drafts.values()].map(({ frontend, ...rest }) => ({ ...frontend, ...rest })),
    notes,
  );
}

const protocols: Readonly<Record<string, 'tcp' | 'udp' | 'sctp'>> = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' };

function readFrontend(text: string): Draft['frontend'] | undefined {
  const [, socket = '', name, internal] = /^(.+?:\d+)(?:\/([A-Z]+))?(\/i)?$/.exec(text) ?? [];
  const at = readSocket(socket);
  if (at === undefined) return undefined;
  const protocol = name === undefined || !Object.hasOwn(protocols, name) ? undefined : protocols[name];
  // ANY and NONE: the map has no protocols.
  if (protocol === undefined && name !== undefined && name !== 'ANY' && name !== 'NONE') return undefined;
  return { ...at, ...(protocol === undefined ? {} : { protocol }), internal: internal !== undefined };
}

/** False for a value that is not understood. */
function addTo(draft: Draft, { value }: Row, source: SourceRef): boolean {
  if (/^backend \d+ not found$/.test(value)) {
    draft.missing.push(source);
    return true;
  }
  const [, socket = '', , slots = ''] = /^(\S+?:\d+)(\/[A-Z]+)?((?: \(\d+\)){1,2})/.exec(value) ?? [];
  const at = readSocket(socket);
  if (at === undefined) return false;
  const slot = slots.trim().split(' ')[1];
  // The oldest form has no slots: the Service itself is the entry without an address.
  if (slot === '(0)' || (slot === undefined && at.port === 0 && at.address.value === 0n)) {
    const flags = /\[([^\]]*)\]\s*(?:\(.*\))?$/.exec(value)?.[1] ?? '';
    draft.flags.push(...flags.split(', ').filter((flag) => flag !== ''));
    draft.source = source;
  } else draft.backends.push({ ...at, source });
  return true;
}

/** `10.0.0.1:80`, `[fd00::1]:80` */
function readSocket(text: string): { readonly address: Address; readonly port: number } | undefined {
  const [, host = '', port = ''] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  const address = parseAddress(host.replace(/^\[(.*)\]$/, '$1'));
  return address === undefined || Number(port) > 65_535 ? undefined : { address, port: Number(port) };
}
