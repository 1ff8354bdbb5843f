/** `conntrack -L`, also with `-o extended,id,timestamp,labels,ktimestamp` and as /proc/net/nf_conntrack prints it. */

import type { ConntrackEntry, Tuple } from '../model/netns.ts';
import { parseAddress } from '../net/address.ts';
import { readLines } from './lines.ts';
import type { Parsed } from './result.ts';

export function parseConntrack(text: string, file: string): Parsed<readonly ConntrackEntry[]> {
  return readLines<ConntrackEntry>(text, file, {
    format: 'conntrack',
    read: (line, lineNumber) => {
      // `conntrack v1.4.7 (conntrack-tools): 12 flow entries have been shown.` goes to stderr, and into merged files.
      if (/^conntrack v\S+ \(conntrack-tools\): \d+ flow entries/.test(line)) return 'skip';
      return readEntry(line, file, lineNumber);
    },
  });
}

/** Names that the kernel and the tool print for protocol numbers, where they print the name at all. */
const protocolNames = new Map([
  [1, 'icmp'],
  [4, 'ipip'],
  [6, 'tcp'],
  [17, 'udp'],
  [33, 'dccp'],
  [47, 'gre'],
  [58, 'icmpv6'],
  [132, 'sctp'],
  [136, 'udplite'],
]);

/** Keys in front of the second tuple belong to the connection's original direction, those behind it to the reply. */
type Fields = Map<string, string>;

interface Words {
  readonly state?: string;
  readonly flags: readonly string[];
  readonly expiresSeconds?: number;
  /** What stands before the first tuple, the two tuples with what follows each. */
  readonly tuples: readonly Fields[];
}

function readEntry(line: string, file: string, lineNumber: number): ConntrackEntry | undefined {
  // Time stamps of -o timestamp (`[1700000000.123456]`) and of events (`    [NEW]`) stand in front.
  const words = line
    .trim()
    .replace(/^\[\d+\.\d+\]\s+/, '')
    .split(/\s+/);
  // The extended forms put the address family in front: `ipv4 2 tcp 6 ...`.
  const start = words[0] === 'ipv4' || words[0] === 'ipv6' ? 2 : 0;
  const number = Number(words[start + 1]);
  if (words[start] === undefined || !/^\d{1,3}$/.test(words[start + 1] ?? '') || number > 255)
    return undefined;
  const found = readWords(words.slice(start + 2));
  const [first, second] = found.tuples;
  const original = readTuple(first, number);
  const reply = readTuple(second, number);
  const mark = Number(first?.get('mark') ?? second?.get('mark') ?? 0);
  if (first === undefined || second === undefined || original === undefined || reply === undefined)
    return undefined;
  const zone = readZone(first, second);
  if (zone === 'wrong' || !Number.isSafeInteger(mark)) return undefined;
  const volume = readVolume(first, second);
  const helper = second.get('helper') ?? first.get('helper');
  const labels = second.get('labels')?.split(',');
  const { state, flags, expiresSeconds } = found;
  return {
    family: original.src.family,
    protocol: protocolNames.get(number) ?? String(number),
    ...(state === undefined ? {} : { state }),
    original,
    reply,
    flags,
    mark,
    ...(zone === undefined ? {} : { zone }),
    ...(volume === undefined ? {} : { volume }),
    ...(helper === undefined ? {} : { helper }),
    ...(expiresSeconds === undefined ? {} : { expiresSeconds }),
    ...(labels === undefined ? {} : { labels }),
    source: { kind: 'file', file, line: lineNumber, text: line.trim() },
  };
}

function readWords(words: readonly string[]): Words {
  let state: string | undefined;
  let expiresSeconds: number | undefined;
  const flags: string[] = [];
  const tuples: Fields[] = [];
  for (const word of words) {
    const equals = word.indexOf('=');
    if (word.startsWith('[')) flags.push(word.replace(/^\[|\]$/g, ''));
    else if (equals < 0) {
      // The first number is the timeout; a word without `=` is the protocol's state.
      if (/^\d+$/.test(word)) expiresSeconds ??= Number(word);
      else if (/^[A-Z][A-Z0-9_]*$/.test(word)) state ??= word;
    } else {
      const key = word.slice(0, equals);
      if (key === 'src') tuples.push(new Map());
      const fields = tuples.at(-1);
      if (fields !== undefined && !fields.has(key)) fields.set(key, word.slice(equals + 1));
    }
  }
  return {
    flags,
    tuples,
    ...(state === undefined ? {} : { state }),
    ...(expiresSeconds === undefined ? {} : { expiresSeconds }),
  };
}

/** Ports, keys of GRE, and of ICMP the id, and type and code as one number, as nf_conntrack_tuple has them. */
function readTuple(fields: Fields | undefined, protocol: number): Tuple | undefined {
  const src = parseAddress(fields?.get('src') ?? '');
  const dst = parseAddress(fields?.get('dst') ?? '');
  if (fields === undefined || src === undefined || dst === undefined) return undefined;
  const number = (key: string) => Number(fields.get(key) ?? 0);
  const [srcPort, dstPort] =
    protocol === 1 || protocol === 58
      ? [number('id'), number('type') * 256 + number('code')]
      : protocol === 47
        ? [number('srckey'), number('dstkey')]
        : [number('sport'), number('dport')];
  if (srcPort === undefined || dstPort === undefined || !isPort(srcPort) || !isPort(dstPort))
    return undefined;
  return { src, dst, srcPort, dstPort };
}

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port <= 65535;

/** `zone=` is of both directions; `zone-orig=` stands behind the first tuple, `zone-reply=` behind the second. */
function readZone(first: Fields, second: Fields): ConntrackEntry['zone'] | 'wrong' {
  const read = (key: string): number | undefined => {
    const text = second.get(key) ?? first.get(key);
    return text === undefined ? undefined : Number(text);
  };
  const both = read('zone');
  const original = both ?? read('zone-orig') ?? 0;
  const reply = both ?? read('zone-reply') ?? 0;
  if (!isPort(original) || !isPort(reply)) return 'wrong';
  return original === 0 && reply === 0 ? undefined : { original, reply };
}

function readVolume(first: Fields, second: Fields): ConntrackEntry['volume'] {
  const of = (fields: Fields) => ({
    packets: Number(fields.get('packets')),
    bytes: Number(fields.get('bytes')),
  });
  const volume = { original: of(first), reply: of(second) };
  const numbers = [volume.original, volume.reply].flatMap(({ packets, bytes }) => [packets, bytes]);
  return numbers.every((number) => Number.isSafeInteger(number)) ? volume : undefined;
}
