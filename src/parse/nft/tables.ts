/** Builds tables from the objects of nft's JSON, whoever wrote them: `nft -j`, or the reader of nft's own text. */
import type { NftBaseChain, NftChain, NftElement, NftRule, NftSet, NftTable } from '../../model/nft.ts';
import { asNumber, asString, asStrings, isObject, type JsonObject } from '../json.ts';
import { readElements } from './expression.ts';
import { printRule } from './print.ts';
import { matchesOf, readStatements, readTrailing } from './statement.ts';

/** Where an object stands in its file. */
export interface Place {
  /** 1-based. */
  readonly line?: number;
  /** The rule as it is printed there; without it the text is made from the JSON. */
  readonly text?: string;
}

interface ChainDraft extends NftChain {
  readonly rules: NftRule[];
}

interface Draft {
  readonly family: string;
  readonly name: string;
  handle: number;
  readonly file: string;
  dormant?: 'yes' | 'unknown';
  readonly baseChains: NftBaseChain[];
  readonly chains: Map<string, ChainDraft>;
  readonly sets: Map<string, NftSet & { readonly elements: NftElement[] }>;
  ruleCount: number;
}

export interface Builder {
  readonly tables: () => readonly NftTable[];
  /** What is wrong with the object; undefined if nothing is. */
  readonly add: (item: JsonObject, place?: Place) => string | undefined;
}

interface Context {
  readonly file: string;
  readonly drafts: Map<string, Draft>;
}

export function tableBuilder(file: string): Builder {
  const context: Context = { file, drafts: new Map() };
  return {
    tables: () => [...context.drafts.values()],
    add: (item, place = {}) => readItem(item, context, place),
  };
}

/** Counters, quotas, helpers and flowtables decide nothing by themselves. */
function readItem(item: JsonObject, context: Context, place: Place): string | undefined {
  if (isObject(item.table)) return readTable(item.table, context);
  if (isObject(item.chain)) return readChain(item.chain, context, place);
  if (isObject(item.rule)) return readRule(item.rule, context, place);
  const set = item.set ?? item.map;
  if (isObject(set)) return readSet(set, context);
  // `nft -j` of some versions lists a set's elements apart from it.
  return isObject(item.element) ? readSet(item.element, context) : undefined;
}

function readTable(table: JsonObject, context: Context): string | undefined {
  const draft = draftOf(table.family, table.name, context);
  if (draft === undefined) return 'a table needs family and name';
  // Listed in the order of their making: without handles the order tells which is older.
  draft.handle = asNumber(table.handle) ?? context.drafts.size;
  const flags = typeof table.flags === 'string' ? [table.flags] : asStrings(table.flags);
  // nft 1.0.6 prints any word of its memory here: a flag that does not exist may be this one.
  if (flags.includes('dormant')) draft.dormant = 'yes';
  else if (flags.some((flag) => flag !== 'owner' && flag !== 'persist')) draft.dormant = 'unknown';
  return undefined;
}

function readChain(chain: JsonObject, context: Context, place: Place): string | undefined {
  const draft = draftOf(chain.family, chain.table, context);
  if (draft === undefined) return 'a chain needs family and table';
  const name = asString(chain.name);
  const hook = asString(chain.hook);
  if (name === undefined) return 'a chain needs a name';
  chainOf(draft, name, place);
  if (hook === undefined) return undefined;
  const priority = readPriority(chain.prio, draft.family);
  if (priority === undefined) return 'a base chain needs name and prio';
  const { dev } = chain;
  const devices = typeof dev === 'string' ? [dev] : asStrings(dev);
  draft.baseChains.push({
    name,
    type: asString(chain.type) ?? 'filter',
    hook,
    priority,
    policy: asString(chain.policy) ?? 'accept',
    handle: asNumber(chain.handle) ?? draft.chains.size,
    devices,
    // nft before 1.0.7 leaves them out of its JSON.
    ...(devices.length === 0 && (hook === 'ingress' || hook === 'egress') ? { devicesUnknown: true } : {}),
  });
  return undefined;
}

function readRule(rule: JsonObject, context: Context, { line, text }: Place): string | undefined {
  const draft = draftOf(rule.family, rule.table, context);
  const chain = asString(rule.chain);
  if (draft === undefined || chain === undefined) return 'a rule needs family, table and chain';
  draft.ruleCount++;
  const handle = asNumber(rule.handle) ?? 0;
  const comment = asString(rule.comment);
  const expressions: readonly unknown[] = Array.isArray(rule.expr) ? rule.expr : [];
  const statements = readStatements(expressions, draft.family);
  const trailing = readTrailing(expressions, draft.family);
  chainOf(draft, chain, {}).rules.push({
    handle,
    statements,
    ...(trailing.length === 0 ? {} : { trailing }),
    matches: matchesOf(statements),
    ...(comment === undefined ? {} : { comment }),
    ...countersOf(expressions),
    source: {
      kind: 'file',
      file: context.file,
      ...(line === undefined ? {} : { line }),
      // Most rules are never shown: their text is made when somebody asks for it.
      get text() {
        return text ?? printRule(expressions, comment, handle);
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

function chainOf(draft: Draft, name: string, { line }: Place): ChainDraft {
  const found = draft.chains.get(name);
  if (found !== undefined) return found;
  const text = `chain ${draft.family} ${draft.name} ${name}`;
  const at = line === undefined ? {} : { line };
  const chain: ChainDraft = { name, rules: [], source: { kind: 'file', file: draft.file, ...at, text } };
  draft.chains.set(name, chain);
  return chain;
}

/** Standard priority names (nft(8)); bridges have others. */
const priorities: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
};
const bridgePriorities: Readonly<Record<string, number>> = {
  dstnat: -300,
  filter: -200,
  out: 100,
  srcnat: 300,
};

/** A number, or a name with an offset: `filter`, `{"prio": "dstnat"}`, `filter - 10`. JSON may be negative. */
function readPriority(value: unknown, family: string): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  const words = /^(-?\d+|[a-z]+)(?:\s*([+-])\s*(\d+))?$/.exec(asString(value) ?? '');
  if (words === null) return undefined;
  const base = words[1] ?? '';
  const names = family === 'bridge' ? bridgePriorities : priorities;
  const start = Object.hasOwn(names, base) ? names[base] : Number(base);
  const offset = asNumber(words[3]) ?? 0;
  if (start === undefined || !Number.isFinite(start)) return undefined;
  return words[2] === '-' ? start - offset : start + offset;
}
