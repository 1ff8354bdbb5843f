/**
 * `cilium-dbg bpf policy get --all -n`: a table for each endpoint. Without -n it prints labels for identities, of which only
 * the reserved ones have a number that is known.
 */
import type { PolicyEntry } from '../model/cilium-maps.ts';
import type { SourceRef } from '../model/source.ts';
import { splitLines } from './lines.ts';
import { excerpt, failed, type Parsed, type ParseNote, parsed } from './result.ts';

const format = 'cilium-policy';

/** Labels of one entry stand in lines of their own below it. */
type Draft = Omit<PolicyEntry, 'identity'> & { readonly who: string[] };

export function parseCiliumPolicy(
  text: string,
  file: string,
): Parsed<ReadonlyMap<number, readonly PolicyEntry[]>> {
  const maps = new Map<number, Draft[]>();
  const notes: ParseNote[] = [];
  let current: Draft[] | undefined;
  let columns: readonly string[] | undefined;
  for (const [i, line] of splitLines(text).entries()) {
    const endpoint = endpointOf(line);
    if (endpoint !== undefined) {
      current = maps.get(endpoint) ?? [];
      maps.set(endpoint, current);
      columns = undefined;
    } else if (/^(POLICY\s+)?DIRECTION\s/.test(line)) columns = line.trim().split(/\s{2,}/);
    else if (line.trim() !== '' && !isEmptyMap(line) && !line.startsWith('Path:')) {
      const source: SourceRef = { kind: 'file', file, line: i + 1, text: line.trim() };
      if (current === undefined || columns === undefined || !readRow(current, columns, line, source))
        notes.push({
          code: `${format}/unknown-line`,
          file,
          line: i + 1,
          message: `not understood: ${excerpt(line)}`,
        });
    }
  }
  const [first] = notes;
  if (maps.size === 0 && text.trim() !== 'no maps found')
    return failed({
      code: `${format}/foreign`,
      file,
      ...(first?.line === undefined ? {} : { line: first.line }),
      message: `not the text of \`cilium-dbg bpf policy get --all -n\`: ${first?.message ?? 'the file is empty'}`,
    });
  return parsed(
    new Map(
      [...maps].map(([id, drafts]) => [
        id,
        drafts.map(({ who, ...entry }) => ({ ...entry, identity: identityOf(who) })),
      ]),
    ),
    notes,
  );
}

/** `Endpoint ID: 35`, or of older versions the map's path with a colon. */
function endpointOf(line: string): number | undefined {
  const [, id, inPath] =
    /^(?:Endpoint ID: (\d{1,6})|\S*cilium_policy_(?:v2_)?0*(\d{1,6}):)\s*$/.exec(line) ?? [];
  const text = id ?? inPath;
  return text === undefined ? undefined : Number(text);
}

const isEmptyMap = (line: string): boolean => /^(Policy stats empty|no maps found)/.test(line);

function readRow(drafts: Draft[], columns: readonly string[], line: string, source: SourceRef): boolean {
  const last = drafts.at(-1);
  if (/^\s/.test(line)) {
    last?.who.push(line.trim());
    return last !== undefined;
  }
  const words = line.trim().split(/\s{2,}/);
  const cell = (name: RegExp): string => words[columns.findIndex((column) => name.test(column))] ?? '';
  const direction = cell(/^DIRECTION/).toLowerCase();
  const action = cell(/^POLICY/).toLowerCase() || 'allow';
  const ports = readPorts(cell(/^PORT\/PROTO/));
  const who = cell(/^(IDENTITY|LABELS)/);
  const proxy = cell(/^PROXY PORT/);
  if (direction !== 'ingress' && direction !== 'egress') return false;
  if ((action !== 'allow' && action !== 'deny') || ports === undefined || who === '') return false;
  if (proxy !== 'NONE' && !/^\d{1,5}$/.test(proxy)) return false;
  drafts.push({
    action,
    direction,
    who: [who],
    ...ports,
    ...(proxy === 'NONE' ? {} : { proxyPort: Number(proxy) }),
    auth: cell(/^AUTH/) || 'disabled',
    source,
  });
  return true;
}

const protocolNumbers: Readonly<Record<string, number>> = {
  ICMP: 1,
  TCP: 6,
  UDP: 17,
  ICMPv6: 58,
  SCTP: 132,
};

/** `ANY`, `TCP`, `8080/TCP`, `8080-8095/TCP`, and of 1.16 `0x1f90/12/TCP` (port, bits that count). */
function readPorts(text: string): Pick<PolicyEntry, 'protocol' | 'ports'> | undefined {
  if (text === 'ANY') return {};
  const [, port, to, bits, name = ''] =
    /^(?:(0x[0-9a-f]+|\d{1,5})(?:-(\d{1,5})|\/(\d{1,2}))?\/)?([A-Za-z0-9]+)$/.exec(text) ?? [];
  if (name === 'ANY' && port !== undefined) return { ports: range(port, to, bits) };
  const protocol = Object.hasOwn(protocolNumbers, name) ? protocolNumbers[name] : undefined;
  if (protocol === undefined) return undefined;
  return port === undefined ? { protocol } : { protocol, ports: range(port, to, bits) };
}

function range(port: string, to: string | undefined, bits: string | undefined) {
  const from = Number(port);
  if (bits !== undefined) return { from, to: from + 2 ** Math.max(0, 16 - Number(bits)) - 1 };
  return { from, to: to === undefined ? from : Number(to) };
}

/** pkg/identity/numericidentity.go */
const reserved: Readonly<Record<string, number>> = {
  ANY: 0,
  'reserved:unknown': 0,
  'reserved:host': 1,
  'reserved:world': 2,
  'reserved:unmanaged': 3,
  'reserved:health': 4,
  'reserved:init': 5,
  'reserved:remote-node': 6,
  'reserved:ingress': 8,
  'reserved:world-ipv4': 9,
  'reserved:world-ipv6': 10,
};

function identityOf(who: readonly string[]): PolicyEntry['identity'] {
  const [only = ''] = who;
  if (who.length === 1 && /^\d{1,10}$/.test(only)) return { id: Number(only) };
  const id = who.length === 1 && Object.hasOwn(reserved, only) ? reserved[only] : undefined;
  return id === undefined ? { labels: who } : { id };
}
