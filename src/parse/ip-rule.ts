/** `ip -j rule` and `ip -j -6 rule` -> routing rules; also the text that `ip rule` prints. */

import type { RoutingRule } from '../model/netns.ts';
import type { Family } from '../net/address.ts';
import { type Prefix, parsePrefix } from '../net/prefix.ts';
import { tableName } from './ip-route.ts';
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
  const iif = asString(entry.iif);
  const oif = asString(entry.oif);
  const suppress = asNumber(entry.suppress_prefixlen);
  return {
    priority,
    not: 'not' in entry,
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(iif === undefined ? {} : { iif }),
    ...(oif === undefined ? {} : { oif }),
    ...(mark === undefined ? {} : { fwmark: mark }),
    ...(suppress === undefined ? {} : { suppressPrefixLength: suppress }),
    action,
    notUnderstood: Object.keys(entry).filter((key) => !understoodKeys.has(key)),
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

function readAction(entry: JsonObject): RoutingRule['action'] | undefined {
  const jump = asNumber(entry.goto);
  if (jump !== undefined) return { kind: 'goto', priority: jump };
  if ('nop' in entry) return { kind: 'nop' };
  const table = asText(entry.table);
  if (table !== undefined) return { kind: 'table', table: tableName(table) };
  // The table of an l3mdev rule is that of the packet's VRF; `l3mdev` is in notUnderstood, so no table is ever read.
  if ('l3mdev' in entry) return { kind: 'table', table: 'l3mdev' };
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
