/** `ipvsadm -Sn`, `ipvsadm -Ln` and /proc/net/ip_vs (numbers in hex): one list of virtual servers. */
import type { RealServer, VirtualServer } from '../model/ipvs.ts';
import type { SourceRef } from '../model/source.ts';
import { type Address, type Family, parseAddress } from '../net/address.ts';
import { looksLikeToolError, splitLines } from './lines.ts';
import { excerpt, failed, type Parsed, type ParseNote, parsed } from './result.ts';

type Key = VirtualServer['key'];

interface Draft {
  readonly name: string;
  readonly server: Omit<VirtualServer, 'servers'>;
  readonly servers: RealServer[];
}

/** A line that adds something, or one without an entry; undefined is not understood. */
type Line =
  | { readonly kind: 'skip' }
  | { readonly kind: 'virtual'; readonly draft: Draft }
  /** `of`: the virtual server that it names; absent where it stands below it. */
  | { readonly kind: 'real'; readonly of?: string; readonly server: RealServer }
  | undefined;

export function parseIpvs(text: string, file: string): Parsed<readonly VirtualServer[]> {
  const drafts: Draft[] = [];
  const notes: ParseNote[] = [];
  // /proc prints the header with single spaces, and its numbers in hex.
  let isHex = false;
  let understood = 0;
  for (const [i, line] of splitLines(text).entries()) {
    if (line.trim() === '') continue;
    if (/^\s+-> RemoteAddress:Port\s/.test(line)) isHex = /RemoteAddress:Port Forward/.test(line);
    const source: SourceRef = { kind: 'file', file, line: i + 1, text: line.trim() };
    const read = readLine(line, isHex, source);
    if (read === undefined || !add(drafts, read)) {
      if (looksLikeToolError(line))
        return failed({
          code: 'ipvs/tool-error',
          file,
          line: i + 1,
          message: `the tool failed: ${excerpt(line)}`,
        });
      notes.push({
        code: 'ipvs/unknown-line',
        file,
        line: i + 1,
        message: `not understood: ${excerpt(line)}`,
      });
    } else understood++;
  }
  const [first] = notes;
  if (understood === 0 && first !== undefined)
    return failed({ ...first, code: 'ipvs/foreign', message: `not ipvsadm output: ${first.message}` });
  return parsed(
    drafts.map(({ server, servers }) => ({ ...server, servers })),
    notes,
  );
}

/** False for a real server of nobody. */
function add(drafts: Draft[], line: NonNullable<Line>): boolean {
  if (line.kind === 'virtual') drafts.push(line.draft);
  if (line.kind !== 'real') return true;
  const { of } = line;
  const draft = of === undefined ? drafts.at(-1) : drafts.find(({ name }) => name === of);
  draft?.servers.push(line.server);
  return draft !== undefined;
}

function readLine(line: string, isHex: boolean, source: SourceRef): Line {
  const words = line.trim().split(/\s+/);
  switch (words[0]) {
    case '-A':
      return savedVirtual(words.slice(1), source);
    case '-a':
      return savedReal(words.slice(1), source);
    case '->':
      return words[1] === 'RemoteAddress:Port' ? { kind: 'skip' } : listedReal(words, isHex, source);
    case 'IP':
    case 'Prot':
      return { kind: 'skip' };
    default:
      return listedVirtual(words, isHex, source);
  }
}

/** Options with a value, by ipvsadm's manual; all others stand alone. */
const valued = new Set(['-s', '-M', '-r', '-w', '-x', '-y', '-b', '--pe', '--tun-type', '--tun-port']);

/** `-t 10.0.0.1:80 -s rr -p 300`: the service first, then options. */
function readOptions(words: readonly string[]): ReadonlyMap<string, string> {
  const options = new Map<string, string>();
  for (let i = 2; i < words.length; i++) {
    const word = words[i] ?? '';
    const next = words[i + 1];
    // -p may stand without a time.
    if (valued.has(word) || (word === '-p' && /^\d+$/.test(next ?? ''))) {
      options.set(word, next ?? '');
      i++;
    } else options.set(word, '');
  }
  return options;
}

function savedVirtual(words: readonly string[], source: SourceRef): Line {
  const options = readOptions(words);
  const key = savedKey(words[0], words[1], options.has('-6') ? 6 : 4);
  const scheduler = options.get('-s');
  if (key === undefined || scheduler === undefined || scheduler === '') return undefined;
  const server = { key, scheduler, persistent: options.has('-p'), source };
  return { kind: 'virtual', draft: { name: `${words[0]} ${words[1]}`, server, servers: [] } };
}

const savedProtocols: Readonly<Record<string, 'tcp' | 'udp' | 'sctp'>> = {
  '-t': 'tcp',
  '-u': 'udp',
  '--sctp-service': 'sctp',
};

function savedKey(option = '', value = '', family: Family): Key | undefined {
  if (option === '-f')
    return /^\d{1,10}$/.test(value) ? { kind: 'fwmark', mark: Number(value), family } : undefined;
  const protocol = Object.hasOwn(savedProtocols, option) ? savedProtocols[option] : undefined;
  const socket = readSocket(value, false);
  return protocol === undefined || socket === undefined
    ? undefined
    : { kind: 'address', protocol, ...socket };
}

function savedReal(words: readonly string[], source: SourceRef): Line {
  const options = readOptions(words);
  const socket = readSocket(options.get('-r') ?? '', false);
  const method = options.has('-m')
    ? 'masq'
    : options.has('-i')
      ? 'tunnel'
      : options.has('-g')
        ? 'route'
        : undefined;
  const weight = options.get('-w') ?? '1';
  if (socket === undefined || method === undefined || !/^\d{1,10}$/.test(weight)) return undefined;
  const server = { ...socket, method, weight: Number(weight), source } as const;
  return { kind: 'real', of: `${words[0]} ${words[1]}`, server };
}

const listedProtocols: Readonly<Record<string, 'tcp' | 'udp' | 'sctp'>> = {
  TCP: 'tcp',
  UDP: 'udp',
  SCTP: 'sctp',
};

/** `TCP  10.96.0.1:443 rr persistent 10800`, `FWM  1 wlc` (ip_vs_info_seq_show). */
function listedVirtual(words: readonly string[], isHex: boolean, source: SourceRef): Line {
  const [label = '', what = '', third, ...rest] = words;
  // `FWM  1 IPv6 rr`
  const isIpv6Mark = third === 'IPv6';
  const [scheduler, ...flags] = isIpv6Mark ? rest : [third, ...rest];
  if (scheduler === undefined || !/^[a-z]+$/.test(scheduler)) return undefined;
  const protocol = Object.hasOwn(listedProtocols, label) ? listedProtocols[label] : undefined;
  const socket = protocol === undefined ? undefined : readSocket(what, isHex);
  const mark = Number.parseInt(what, isHex ? 16 : 10);
  const key: Key | undefined =
    protocol !== undefined && socket !== undefined
      ? { kind: 'address', protocol, ...socket }
      : label === 'FWM' && Number.isSafeInteger(mark)
        ? { kind: 'fwmark', mark, family: isIpv6Mark ? 6 : 4 }
        : undefined;
  if (key === undefined) return undefined;
  const server = { key, scheduler, persistent: flags.includes('persistent'), source };
  return { kind: 'virtual', draft: { name: `${label} ${what}`, server, servers: [] } };
}

const methods: Readonly<Record<string, RealServer['method']>> = {
  Masq: 'masq',
  Tunnel: 'tunnel',
  Route: 'route',
  Local: 'local',
};

/** `-> 10.244.1.5:8080  Masq  1  0  0`: weights and counts are decimal everywhere. */
function listedReal(
  [, what = '', by = '', weight = '']: readonly string[],
  isHex: boolean,
  source: SourceRef,
): Line {
  const socket = readSocket(what, isHex);
  const method = Object.hasOwn(methods, by) ? methods[by] : undefined;
  if (socket === undefined || method === undefined || !/^\d{1,10}$/.test(weight)) return undefined;
  return { kind: 'real', server: { ...socket, method, weight: Number(weight), source } };
}

/** `10.0.0.1:80`, `[fd00::1]:80`; in hex `0A000001:0050`, `[fd00:0000:...:0001]:0050`. */
function readSocket(
  text: string,
  isHex: boolean,
): { readonly address: Address; readonly port: number } | undefined {
  const [, host = '', portText = ''] = /^(.+):([0-9A-Fa-f]{1,5})$/.exec(text) ?? [];
  if (!isHex && !/^\d+$/.test(portText)) return undefined;
  const port = Number.parseInt(portText, isHex ? 16 : 10);
  const address =
    isHex && /^[0-9A-F]{8}$/i.test(host)
      ? { family: 4 as const, value: BigInt(`0x${host}`) }
      : parseAddress(host.replace(/^\[(.*)\]$/, '$1'));
  return address === undefined || !(port <= 65_535) ? undefined : { address, port };
}
