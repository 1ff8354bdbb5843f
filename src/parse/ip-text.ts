/** `ip route` and `ip rule` as people paste them: text lines turned into the objects that `ip -j` would have printed. */
import type { JsonObject } from './json.ts';
import { readLines } from './lines.ts';
import { failed, type Parsed, type ParseNote, parsed } from './result.ts';

type Wrong = { readonly wrong: string };

export const looksLikeText = (text: string): boolean => /^\s*[^\s[{]/.test(text);

/** Each line by `toObject` (undefined: not understood), then by the reader of the JSON form. */
export function readTextObjects<T extends object>(
  text: string,
  file: string,
  format: string,
  toObject: (line: string) => JsonObject | undefined,
  read: (entry: JsonObject) => T | 'skip' | Wrong,
): Parsed<T[]> {
  const notes: ParseNote[] = [];
  const lines = readLines<T>(joined(text), file, {
    format,
    read: (line, number) => {
      const object = toObject(line.trim());
      if (object === undefined) return undefined;
      const entry = read(object);
      if (entry === 'skip' || !('wrong' in entry)) return entry;
      notes.push({ code: `${format}/entry`, file, line: number, message: entry.wrong });
      return 'skip';
    },
  });
  return lines.ok ? parsed(lines.value, [...lines.notes, ...notes]) : failed(lines.error);
}

/** Next hops of a multipath route stand on lines of their own; empty lines in their place keep the numbers right. */
function joined(text: string): string {
  const lines = text.split('\n');
  let head = 0;
  for (const [i, line] of lines.entries()) {
    if (!/^\s+nexthop\s/.test(line)) {
      if (line.trim() !== '') head = i;
      continue;
    }
    if (i === 0) continue;
    lines[head] = `${(lines[head] ?? '').trimEnd()} ${line.trim()}`;
    lines[i] = '';
  }
  return lines.join('\n');
}

const routeTypes = /^(unicast|local|broadcast|multicast|anycast|blackhole|unreachable|prohibit|throw|nat)$/;
const routeFlags = /^(onlink|linkdown|dead|pervasive|offload|notify|rt_offload|rt_trap)$/;

/** Words with a value, by the key of the JSON form. */
const routeWords = new Map([
  ['via', 'gateway'],
  ['dev', 'dev'],
  ['proto', 'protocol'],
  ['scope', 'scope'],
  ['src', 'prefsrc'],
  ['metric', 'metric'],
  ['table', 'table'],
  ['from', 'from'],
  ['tos', 'tos'],
  ['weight', 'weight'],
  ['nhid', 'nhid'],
  ['pref', 'pref'],
  ['encap', 'encap'],
]);
/** Words with a value that no verdict depends on. */
const ignoredWords =
  /^(expires|hoplimit|window|rtt|rttvar|cwnd|initcwnd|initrwnd|ssthresh|realm|realms|error|users|age|quickack|rto_min|reordering|features|congctl)$/;

export function routeObject(line: string): JsonObject | undefined {
  const [head = '', ...hops] = line.split(/\s+nexthop\s+/);
  const words = head.split(/\s+/);
  const type = routeTypes.test(words[0] ?? '') ? words.shift() : undefined;
  const dst = words.shift();
  if (dst === undefined || !/^(default$|[0-9a-f]*[.:])/i.test(dst)) return undefined;
  const rest = readWords(words);
  const nexthops = hops.map((hop) => readWords(hop.split(/\s+/)));
  if (rest === undefined || nexthops.includes(undefined)) return undefined;
  return {
    ...(type === undefined ? {} : { type }),
    dst,
    ...rest,
    ...(nexthops.length === 0 ? {} : { nexthops }),
  };
}

function readWords(words: readonly string[]): JsonObject | undefined {
  const object: Record<string, unknown> = {};
  const flags: string[] = [];
  const metrics: Record<string, number> = {};
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    if (word === '' || routeFlags.test(word)) {
      if (word !== '') flags.push(word);
      continue;
    }
    let value = words[++i];
    if (word === 'mtu' || word === 'advmss') {
      if (value === 'lock') {
        if (word === 'mtu') metrics.mtulock = 1;
        value = words[++i];
      }
      if (value === undefined || !/^\d+$/.test(value)) return undefined;
      metrics[word] = Number(value);
      continue;
    }
    if (value === undefined) return undefined;
    if (ignoredWords.test(word)) continue;
    const key = routeWords.get(word);
    if (key === undefined) return undefined;
    // A gateway of the other family: `via inet6 fe80::1`.
    if (word === 'via' && /^inet6?$/.test(value)) object.via = { family: value, host: words[++i] };
    else object[key] = value;
  }
  return { ...object, ...(Object.keys(metrics).length === 0 ? {} : { metrics: [metrics] }), flags };
}

const ruleWords = new Map([
  ['from', 'src'],
  ['to', 'dst'],
  ['iif', 'iif'],
  ['oif', 'oif'],
  ['fwmark', 'fwmark'],
  ['lookup', 'table'],
  ['table', 'table'],
  ['goto', 'goto'],
  ['proto', 'protocol'],
  ['suppress_prefixlength', 'suppress_prefixlen'],
  ['suppress_ifgroup', 'suppress_ifgroup'],
  ['tos', 'tos'],
  ['dsfield', 'tos'],
  ['ipproto', 'ipproto'],
  ['realms', 'flow_to'],
]);
/** `uidrange 5-9`, `sport 80`: a number or two. */
const ruleRanges = new Map([
  ['uidrange', 'uid'],
  ['sport', 'sport'],
  ['dport', 'dport'],
]);

/** What the reader has no place for keeps its word as a key: the rule is then not understood, never taken for a simpler one. */
export function ruleObject(line: string): JsonObject | undefined {
  const [, priority, rest] = /^(\d+):\s+(.*)$/.exec(line) ?? [];
  if (priority === undefined || rest === undefined) return undefined;
  const object: Record<string, unknown> = { priority: Number(priority) };
  const words = rest.trim().split(/\s+/);
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    if (/^\[.*\]$/.test(word)) continue;
    if (word === 'not' || word === 'nop') object[word] = null;
    else if (/^(blackhole|unreachable|prohibit)$/.test(word)) object.action = word;
    else if (ruleRanges.has(word)) {
      const [start, end = start] = (words[++i] ?? '').split('-');
      object[`${ruleRanges.get(word)}_start`] = start;
      object[`${ruleRanges.get(word)}_end`] = end;
    } else if (word === 'lookup' && words[i + 1] === '[l3mdev-table]') {
      object.l3mdev = null;
      i++;
    } else object[ruleWords.get(word) ?? word] = words[++i] ?? null;
  }
  return object;
}
