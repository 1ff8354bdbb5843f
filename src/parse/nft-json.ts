/** `nft -j list ruleset`: the native tables, known by their base chains. Tables that iptables-nft owns are left out. */
import type { NftTable } from '../model/netns.ts';
import { asNumber, asString, isObject, type JsonObject, parseJson } from './json.ts';
import { failed, type Parsed, type ParseNote, parsed } from './result.ts';

type BaseChain = NftTable['baseChains'][number];

/** Tables and base chains that iptables-nft makes (upper-case names; nft users and kube-proxy write lower case). */
const iptablesTables: ReadonlySet<string> = new Set(['raw', 'mangle', 'nat', 'filter', 'security']);
const iptablesChains: ReadonlySet<string> = new Set([
  'PREROUTING',
  'INPUT',
  'FORWARD',
  'OUTPUT',
  'POSTROUTING',
]);

/** Standard priority names (nft(8)), for versions that print them. */
const priorities: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
};

interface Draft {
  readonly family: string;
  readonly name: string;
  readonly baseChains: BaseChain[];
  ruleCount: number;
}

export function parseNftJson(text: string, file: string): Parsed<readonly NftTable[]> {
  const json = parseJson(text, file, 'nft');
  if (!json.ok) return json;
  const items = isObject(json.value) ? json.value.nftables : undefined;
  if (!Array.isArray(items))
    return failed({ code: 'nft/foreign', file, message: 'there is no list "nftables"' });
  const drafts = new Map<string, Draft>();
  const notes: ParseNote[] = [];
  for (const [i, item] of (items as unknown[]).entries()) {
    const wrong = isObject(item) ? readItem(item, drafts) : 'not an object';
    if (wrong !== undefined) notes.push({ code: 'nft/entry', file, message: `nftables[${i}]: ${wrong}` });
  }
  const native = [...drafts.values()].filter((table) => !ownedByIptables(table));
  return parsed(native, notes);
}

function readItem(item: JsonObject, drafts: Map<string, Draft>): string | undefined {
  const table = item.table;
  if (isObject(table)) {
    const draft = draftOf(table.family, table.name, drafts);
    return draft === undefined ? 'a table needs family and name' : undefined;
  }
  const chain = item.chain;
  if (isObject(chain)) {
    const draft = draftOf(chain.family, chain.table, drafts);
    if (draft === undefined) return 'a chain needs family and table';
    const hook = asString(chain.hook);
    if (hook === undefined) return undefined;
    const name = asString(chain.name);
    const priority = readPriority(chain.prio);
    if (name === undefined || priority === undefined) return 'a base chain needs name and prio';
    draft.baseChains.push({ name, hook, priority, policy: asString(chain.policy) ?? 'accept' });
    return undefined;
  }
  const rule = item.rule;
  if (isObject(rule)) {
    const draft = draftOf(rule.family, rule.table, drafts);
    if (draft === undefined) return 'a rule needs family and table';
    draft.ruleCount++;
  }
  // Sets, maps, counters and the like decide nothing by themselves.
  return undefined;
}

function draftOf(family: unknown, name: unknown, drafts: Map<string, Draft>): Draft | undefined {
  if (typeof family !== 'string' || typeof name !== 'string') return undefined;
  const key = `${family} ${name}`;
  const found = drafts.get(key);
  if (found !== undefined) return found;
  const draft: Draft = { family, name, baseChains: [], ruleCount: 0 };
  drafts.set(key, draft);
  return draft;
}

/** A number, or a name with an offset: `filter`, `{"prio": "dstnat"}`, `filter - 10`. JSON may be negative. */
function readPriority(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  const words = /^(-?\d+|[a-z]+)(?:\s*([+-])\s*(\d+))?$/.exec(asString(value) ?? '');
  if (words === null) return undefined;
  const base = words[1] ?? '';
  const start = Object.hasOwn(priorities, base) ? priorities[base] : Number(base);
  const offset = asNumber(words[3]) ?? 0;
  if (start === undefined || !Number.isFinite(start)) return undefined;
  return words[2] === '-' ? start - offset : start + offset;
}

/** Without base chains a table of these names is iptables' too: it makes them when a tool adds its first user chain. */
const ownedByIptables = (table: Draft): boolean =>
  (table.family === 'ip' || table.family === 'ip6') &&
  iptablesTables.has(table.name) &&
  table.baseChains.every((chain) => iptablesChains.has(chain.name));
