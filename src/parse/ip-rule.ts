/** `ip -j rule` and `ip -j -6 rule` -> routing rules; also the text that `ip rule` prints. */

import type { Range, RoutingRule } from '../model/netns.ts';
import type { Family } from '../net/address.ts';
import { type Prefix, parsePrefix } from '../net/prefix.ts';
import { tableName, tosOf } from './ip-route.ts';
import { looksLikeText, readTextObjects, ruleObject } from './ip-text.ts';
import { asNumber, asString, asText, entryText, type JsonObject, readObjects } from './json.ts';
import type { Parsed } from './result.ts';

type Wrong = { readonly wrong: string };

/** Keys that are read below, or that do not change which packets match. */
const understoodKeys: ReadonlySet<string> = new Set([
  'priority',
  'not',
  'src',
  'srclen',
  'dst',
  'dstlen',
  'iif',
  'oif',
  'fwmark',
  'fwmask',
  'table',
  'goto',
  'nop',
  'action',
  'suppress_prefixlen',
  'suppress_ifgroup',
  'tos',
  'ipproto',
  'sport',
  'sport_start',
  'sport_end',
  'dport',
  'dport_start',
  'dport_end',
  'uid_start',
  'uid_end',
  'l3mdev',
  // Realms: a tag for accounting.
  'flow_from',
  'flow_to',
  // Who installed the rule, and whether its target or device exists now.
  'protocol',
  'unresolved',
  'iif_detached',
  'oif_detached',
]);

export function parseIpRule(text: string, file: string, family: Family): Parsed<readonly RoutingRule[]> {
  const read = (entry: JsonObject) => readRule(entry, file, family);
  return looksLikeText(text)
    ? readTextObjects<RoutingRule>(text, file, 'ip-rule', ruleObject, read)
    : readObjects<RoutingRule>(text, file, 'ip-rule', read);
}

function readRule(entry: JsonObject, file: string, family: Family): RoutingRule | Wrong | 'skip' {
  const raw = entryText(entry);
  const wrong = (why: string): Wrong => ({ wrong: `${why} in ${raw}` });
  const priority = asNumber(entry.priority) ?? (entry.priority === undefined ? 0 : undefined);
  if (priority === undefined) return wrong('priority is no number');
  const from = selector(entry.src, entry.srclen, family);
  const to = selector(entry.dst, entry.dstlen, family);
  if (from === 'wrong' || to === 'wrong') return wrong('src or dst is no prefix');
  const action = readAction(entry);
  if (action === undefined) return wrong('unknown action');
  const mark = readMark(entry);
  if (mark === 'wrong') return wrong('fwmark is no number');
  const tos = entry.tos === undefined ? undefined : tosOf(entry.tos);
  if (entry.tos !== undefined && tos === undefined) return wrong('tos is no number');
  const protocol = entry.ipproto === undefined ? undefined : protocolOf(entry.ipproto);
  const srcPorts = readRange(entry, 'sport');
  const dstPorts = readRange(entry, 'dport');
  const uids = readRange(entry, 'uid');
  if (srcPorts === 'wrong' || dstPorts === 'wrong' || uids === 'wrong') return wrong('a range is no range');
  const iif = asString(entry.iif);
  const oif = asString(entry.oif);
  const suppress = asNumber(entry.suppress_prefixlen);
  const suppressGroup = entry.suppress_ifgroup === 'default' ? 0 : asNumber(entry.suppress_ifgroup);
  return {
    priority,
    not: 'not' in entry,
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(iif === undefined ? {} : { iif }),
    ...(oif === undefined ? {} : { oif }),
    ...(mark === undefined ? {} : { fwmark: mark }),
    ...(tos === undefined || tos === 0 ? {} : { tos }),
    ...(protocol === undefined ? {} : { protocol }),
    ...(srcPorts === undefined ? {} : { srcPorts }),
    ...(dstPorts === undefined ? {} : { dstPorts }),
    ...(uids === undefined ? {} : { uids }),
    ...(suppress === undefined ? {} : { suppressPrefixLength: suppress }),
    ...(suppressGroup === undefined ? {} : { suppressGroup }),
    action,
    notUnderstood: Object.keys(entry).filter(
      (key) =>
        !understoodKeys.has(key) ||
        (key === 'ipproto' && protocol === undefined) ||
        // A name that only the host's iproute2 knows.
        (key === 'suppress_ifgroup' && suppressGroup === undefined),
    ),
    source: { kind: 'file', file, text: raw },
  };
}

/** Undefined where the rule does not select by this side. */
function selector(value: unknown, length: unknown, family: Family): Prefix | undefined | 'wrong' {
  if (value === undefined || value === 'all') return undefined;
  const text = asString(value);
  if (text === undefined) return 'wrong';
  const bits = asNumber(length);
  const parsedPrefix = parsePrefix(bits === undefined ? text : `${text}/${bits}`);
  return parsedPrefix === undefined || parsedPrefix.family !== family ? 'wrong' : parsedPrefix;
}

/** Without a mask the whole mark is compared. Some versions print both in one text: `0x80/0xf0`. */
function readMark(entry: JsonObject): RoutingRule['fwmark'] | 'wrong' {
  if (entry.fwmark === undefined) return undefined;
  const [valueText, maskText] = (asText(entry.fwmark) ?? '').split('/');
  const value = asNumber(valueText);
  const maskSource = entry.fwmask ?? maskText;
  const mask = maskSource === undefined ? 0xffffffff : asNumber(maskSource);
  return value === undefined || mask === undefined ? 'wrong' : { value, mask };
}

/** Names that /etc/protocols gives to the numbers that matter here; others stay not understood. */
const protocolNumbers = new Map([
  ['icmp', 1],
  ['ipencap', 4],
  ['tcp', 6],
  ['udp', 17],
  ['gre', 47],
  ['esp', 50],
  ['ipv6-icmp', 58],
  ['icmpv6', 58],
  ['sctp', 132],
]);

const protocolOf = (value: unknown): number | undefined =>
  asNumber(value) ?? protocolNumbers.get((asText(value) ?? '').toLowerCase());

/** `"sport":80`, or `"sport_start":80,"sport_end":90`; a missing end is the start. */
function readRange(entry: JsonObject, name: string): Range | undefined | 'wrong' {
  const start = entry[`${name}_start`] ?? entry[name];
  if (start === undefined) return entry[`${name}_end`] === undefined ? undefined : 'wrong';
  const from = asNumber(start);
  const to = asNumber(entry[`${name}_end`] ?? start);
  return from === undefined || to === undefined ? 'wrong' : { from, to };
}

function readAction(entry: JsonObject): RoutingRule['action'] | undefined {
  const jump = asNumber(entry.goto);
  if (jump !== undefined) return { kind: 'goto', priority: jump };
  if ('nop' in entry) return { kind: 'nop' };
  const table = asText(entry.table);
  if (table !== undefined) return { kind: 'table', table: tableName(table) };
  if ('l3mdev' in entry) return { kind: 'l3mdev' };
  const action = asString(entry.action);
  switch (action) {
    case 'blackhole':
    case 'unreachable':
    case 'prohibit':
    case 'nop':
      return { kind: action };
    default:
      return undefined;
  }
}
