/** `nft -j list ruleset`: tables, chains, sets, maps and rules. */
import type { NftBaseChain, NftChain, NftElement, NftRule, NftSet, NftTable } from '../../model/nft.ts';
import { asNumber, asString, asStrings, isObject, type JsonObject, parseJson } from '../json.ts';
import { failed, type Parsed, type ParseNote, parsed } from '../result.ts';
import { readElements } from './expression.ts';
import { printRule } from './print.ts';
import { matchesOf, readStatements } from './statement.ts';

/** Standard priority names (nft(8)), for versions that print them. */
const priorities: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
};

interface ChainDraft extends NftChain {
  readonly rules: NftRule[];
}

interface Draft {
  readonly family: string;
  readonly name: string;
  handle: number;
  readonly file: string;
  readonly baseChains: NftBaseChain[];
  readonly chains: Map<string, ChainDraft>;
  readonly sets: Map<string, NftSet & { readonly elements: NftElement[] }>;
  ruleCount: number;
}

interface Context {
  readonly file: string;
  readonly drafts: Map<string, Draft>;
}

export function parseNftJson(text: string, file: string): Parsed<readonly NftTable[]> {
  const json = parseJson(text, file, 'nft');
  if (!json.ok) return json;
  const items = isObject(json.value) ? json.value.nftables : undefined;
  if (!Array.isArray(items))
    return failed({ code: 'nft/foreign', file, message: 'there is no list "nftables"' });
  const context: Context = { file, drafts: new Map() };
  const notes: ParseNote[] = [];
  for (const [i, item] of (items as unknown[]).entries()) {
    const wrong = isObject(item) ? readItem(item, context) : 'not an object';
    if (wrong !== undefined) notes.push({ code: 'nft/entry', file, message: `nftables[${i}]: ${wrong}` });
  }
  return parsed([...context.drafts.values()], notes);
}

/** Counters, quotas, helpers and flowtables decide nothing by themselves. */
function readItem(item: JsonObject, context: Context): string | undefined {
  if (isObject(item.table)) {
    const draft = draftOf(item.table.family, item.table.name, context);
    if (draft === undefined) return 'a table needs family and name';
    draft.handle = asNumber(item.table.handle) ?? 0;
    return undefined;
  }
  if (isObject(item.chain)) return readChain(item.chain, context);
  if (isObject(item.rule)) return readRule(item.rule, context);
  const set = item.set ?? item.map;
  if (isObject(set)) return readSet(set, context);
  // `nft -j` of some versions lists a set's elements apart from it.
  return isObject(item.element) ? readSet(item.element, context) : undefined;
}

function readChain(chain: JsonObject, context: Context): string | undefined {
  const draft = draftOf(chain.family, chain.table, context);
  if (draft === undefined) return 'a chain needs family and table';
  const name = asString(chain.name);
  const hook = asString(chain.hook);
  if (name === undefined) return 'a chain needs a name';
  chainOf(draft, name);
  if (hook === undefined) return undefined;
  const priority = readPriority(chain.prio);
  if (priority === undefined) return 'a base chain needs name and prio';
  const { dev } = chain;
  draft.baseChains.push({
    name,
    type: asString(chain.type) ?? 'filter',
    hook,
    priority,
    policy: asString(chain.policy) ?? 'accept',
    handle: asNumber(chain.handle) ?? 0,
    devices: typeof dev === 'string' ? [dev] : asStrings(dev),
  });
  return undefined;
}

function readRule(rule: JsonObject, context: Context): string | undefined {
  const draft = draftOf(rule.family, rule.table, context);
  const chain = asString(rule.chain);
  if (draft === undefined || chain === undefined) return 'a rule needs family, table and chain';
  draft.ruleCount++;
  const handle = asNumber(rule.handle) ?? 0;
  const comment = asString(rule.comment);
  const expressions: readonly unknown[] = Array.isArray(rule.expr) ? rule.expr : [];
  const statements = readStatements(expressions);
  chainOf(draft, chain).rules.push({
    handle,
    statements,
    matches: matchesOf(statements),
    ...(comment === undefined ? {} : { comment }),
    ...countersOf(expressions),
    source: {
      kind: 'file',
      file: context.file,
      // Most rules are never shown: their text is made when somebody asks for it.
      get text() {
        return printRule(expressions, comment, handle);
      },
    },
  });
  return undefined;
}

function countersOf(expressions: readonly unknown[]): Pick<NftRule, 'counters'> {
  for (const entry of expressions) {
    const counter = isObject(entry) ? entry.counter : undefined;
    if (!isObject(counter)) continue;
    const [packets, bytes] = [asNumber(counter.packets), asNumber(counter.bytes)];
    if (packets !== undefined && bytes !== undefined) return { counters: { packets, bytes } };
  }
  return {};
}

function readSet(set: JsonObject, context: Context): string | undefined {
  const draft = draftOf(set.family, set.table, context);
  const name = asString(set.name);
  if (draft === undefined || name === undefined) return 'a set needs family, table and name';
  const elements = readElements(set.elem);
  const before = draft.sets.get(name);
  if (before === undefined) draft.sets.set(name, { name, elements });
  else for (const element of elements) before.elements.push(element);
  return undefined;
}

function draftOf(family: unknown, name: unknown, { drafts, file }: Context): Draft | undefined {
  if (typeof family !== 'string' || typeof name !== 'string') return undefined;
  const key = `${family} ${name}`;
  const found = drafts.get(key);
  if (found !== undefined) return found;
  const draft: Draft = {
    family,
    name,
    handle: 0,
    file,
    baseChains: [],
    chains: new Map(),
    sets: new Map(),
    ruleCount: 0,
  };
  drafts.set(key, draft);
  return draft;
}

function chainOf(draft: Draft, name: string): ChainDraft {
  const found = draft.chains.get(name);
  if (found !== undefined) return found;
  const text = `chain ${draft.family} ${draft.name} ${name}`;
  const chain: ChainDraft = { name, rules: [], source: { kind: 'file', file: draft.file, text } };
  draft.chains.set(name, chain);
  return chain;
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
