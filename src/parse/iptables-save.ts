/** `iptables-save` and `iptables -S` of either backend and family -> a rule set. Nothing is dropped: what is not understood stays in its rule as unknown. */
import type { Chain, Rule, Ruleset, Table, TableName } from '../model/netfilter.ts';
import type { SourceRef } from '../model/source.ts';
import type { Family } from '../net/address.ts';
import { commonRules, type ReadRule, type RuleParts } from './iptables/common-rules.ts';
import { lowerRule } from './iptables/rule.ts';
import { tokenize } from './iptables/tokens.ts';
import { looksLikeToolError } from './lines.ts';
import { excerpt, failed, type Parsed, type ParseError, type ParseNote, parsed } from './result.ts';

export { printRuleset } from './iptables/print.ts';

export interface IptablesOptions {
  readonly file: string;
  readonly family: Family;
  readonly backend: Ruleset['backend'];
  /** The table of text without table headers (`iptables -S`, excerpts). Such text has no COMMIT, so its end cannot be checked. */
  readonly table?: TableName;
}

const tableNames: readonly TableName[] = ['raw', 'mangle', 'nat', 'filter', 'security'];

interface ChainDraft {
  readonly chain: Omit<Chain, 'rules'>;
  readonly rules: Rule[];
}

interface PendingRule {
  readonly chain: string;
  readonly source: FileRef;
  readonly counters: Rule['counters'];
  /** Where the rule's own words begin. */
  readonly offset: number;
}

type FileRef = Extract<SourceRef, { kind: 'file' }> & { readonly line: number };

interface TableDraft {
  readonly name: TableName;
  readonly chains: Map<string, ChainDraft>;
  readonly read: ReadRule;
  /** Read at the end: whether `-j NAME` is a chain, or a chain is declared, is known only then. */
  readonly pending: PendingRule[];
  /** A header was read and its COMMIT was not. */
  open: boolean;
}

interface State {
  readonly options: IptablesOptions;
  readonly tables: Map<TableName, TableDraft>;
  readonly notes: ParseNote[];
  current: TableDraft | undefined;
}

/** An empty text is a rule set without tables. */
export function parseIptablesSave(text: string, options: IptablesOptions): Parsed<Ruleset> {
  const state: State = { options, tables: new Map(), notes: [], current: undefined };
  if (options.table !== undefined && text.trim() !== '')
    state.current = openTable(state, options.table, false);
  let line = 0;
  let start = 0;
  while (start < text.length) {
    let end = text.indexOf('\n', start);
    if (end < 0) end = text.length;
    line++;
    const error = readLine(trimmed(text.slice(start, end)), line, state);
    if (error !== undefined) return failed(error);
    start = end + 1;
  }
  for (const table of state.tables.values())
    if (table.open)
      return failed(
        problem(
          state,
          line,
          'truncated',
          `table ${table.name} has no COMMIT: the end of the file is missing`,
        ),
      );
  const { file, family, backend } = options;
  const tables = [...state.tables.values()].map((table) => finishTable(table, state));
  return parsed({ family, backend, file, tables }, state.notes);
}

/** Of a hundred thousand lines nearly none has a blank at its ends. */
const trimmed = (text: string): string =>
  isVisible(text.charCodeAt(0)) && isVisible(text.charCodeAt(text.length - 1)) ? text : text.trim();

const isVisible = (code: number): boolean => code > 32 && code < 127;

const problem = ({ options }: State, line: number, code: string, message: string): ParseError => ({
  code: `iptables/${code}`,
  file: options.file,
  line,
  message,
});

function readLine(text: string, line: number, state: State): ParseError | undefined {
  switch (text[0]) {
    case undefined:
      return undefined;
    case '#':
      noteIncompatible(text, line, state);
      return undefined;
    case '*':
      return readTableHeader(text, line, state);
    case ':':
      return readChainHeader(text, line, state);
    case '[':
    case '-':
      return readCommand(text, line, state);
    default:
      if (text !== 'COMMIT') return notRules(text, line, state);
      if (state.current !== undefined) state.current.open = false;
      state.current = undefined;
      return undefined;
  }
}

/** iptables-nft cannot print tables that hold native nft expressions: their rules are then not in the file. */
function noteIncompatible(text: string, line: number, state: State): void {
  const name = /table [`'"]?(\w+)'? is incompatible/i.exec(text)?.[1];
  if (name === undefined) return;
  const message = `the rules of table ${name} are missing from the file: ${excerpt(text.slice(1).trim())}`;
  state.notes.push(problem(state, line, `incompatible-${name}`, message));
}

function notRules(text: string, line: number, state: State): ParseError {
  return looksLikeToolError(text)
    ? problem(state, line, 'tool-error', `the tool failed: ${excerpt(text)}`)
    : problem(state, line, 'foreign', `not a line of iptables-save: ${excerpt(text)}`);
}

function readTableHeader(text: string, line: number, state: State): ParseError | undefined {
  const name = tableNames.find((table) => table === text.slice(1).trim());
  if (name === undefined) return problem(state, line, 'unknown-table', `unknown table ${excerpt(text)}`);
  if (state.current?.open === true)
    return problem(state, line, 'truncated', `table ${state.current.name} has no COMMIT before ${text}`);
  state.current = openTable(state, name, state.options.table === undefined);
  return undefined;
}

function openTable(state: State, name: TableName, open: boolean): TableDraft {
  const known = state.tables.get(name);
  const table = known ?? {
    name,
    chains: new Map(),
    read: commonRules(state.options.family),
    pending: [],
    open,
  };
  table.open = open;
  state.tables.set(name, table);
  return table;
}

/** `:INPUT ACCEPT [0:0]`, `:KUBE-FORWARD - [0:0]`. */
function readChainHeader(text: string, line: number, state: State): ParseError | undefined {
  const [name = '', policy] = text.slice(1).split(/\s+/);
  if (name === '' || policy === undefined)
    return problem(state, line, 'chain', `a chain needs a name and a policy: ${excerpt(text)}`);
  return declare(name, policy, text, line, state);
}

function declare(
  name: string,
  policy: string,
  text: string,
  line: number,
  state: State,
): ParseError | undefined {
  if (state.current === undefined) return noTable(text, line, state);
  if (policy !== '-' && policy !== 'ACCEPT' && policy !== 'DROP')
    return problem(state, line, 'policy', `unknown policy ${excerpt(policy)}`);
  const source: SourceRef = { kind: 'file', file: state.options.file, line, text };
  const rules = state.current.chains.get(name)?.rules ?? [];
  state.current.chains.set(name, { chain: { name, ...(policy === '-' ? {} : { policy }), source }, rules });
  return undefined;
}

const noTable = (text: string, line: number, state: State): ParseError =>
  problem(state, line, 'no-table', `no table header before: ${excerpt(text)}`);

/** `[packets:bytes]` in front is optional, as is everything but the command and its chain. */
const command = /^(?:\[(\d+):(\d+)\]\s+)?(-A|--append|-P|--policy|-N|--new-chain)\s+(\S+)\s*/;

/** How nearly every line of a large save begins. */
const appends = '-A ';

function readCommand(text: string, line: number, state: State): ParseError | undefined {
  const { current } = state;
  const blank = text.startsWith(appends) ? text.indexOf(' ', appends.length) : -1;
  if (current !== undefined && blank > appends.length && !text.includes('\t')) {
    const chain = text.slice(appends.length, blank);
    let offset = blank + 1;
    while (text[offset] === ' ') offset++;
    keepRule(current, chain, text, line, undefined, offset, state);
    return undefined;
  }
  const words = command.exec(text);
  if (words === null) return notRules(text, line, state);
  const [whole, packets, bytes, verb, chain = ''] = words;
  if (current === undefined) return noTable(text, line, state);
  if (verb === '-P' || verb === '--policy')
    return declare(chain, text.slice(whole.length).split(/\s+/)[0] ?? '', text, line, state);
  if (verb === '-N' || verb === '--new-chain') return declare(chain, '-', text, line, state);
  const counters = packets === undefined ? undefined : { packets: Number(packets), bytes: Number(bytes) };
  keepRule(current, chain, text, line, counters, whole.length, state);
  return undefined;
}

function keepRule(
  table: TableDraft,
  chain: string,
  text: string,
  line: number,
  counters: Rule['counters'],
  offset: number,
  { options: { file } }: State,
): void {
  const source: FileRef = { kind: 'file', file, line, text };
  const draft = table.chains.get(chain);
  // Behind a rule that waits for the end all wait: their order counts.
  const parts = draft === undefined || table.pending.length > 0 ? undefined : table.read(text, offset);
  if (draft === undefined || parts === undefined) table.pending.push({ chain, source, counters, offset });
  else draft.rules.push(ruleOf(parts, counters, source));
}

function finishTable(table: TableDraft, state: State): Table {
  for (const pending of table.pending) {
    const { source, counters, offset } = pending;
    const { rules } = draftOf(pending, table, state);
    const parts = table.read(source.text, offset);
    rules.push(parts === undefined ? lowered(pending, table, state) : ruleOf(parts, counters, source));
  }
  const chains = new Map<string, Chain>();
  for (const [name, { chain, rules }] of table.chains) chains.set(name, { ...chain, rules });
  return { name: table.name, chains };
}

/** Spelled out: spreading is slow, and large saves have a hundred thousand rules. */
function ruleOf(
  { matches, target, comment }: RuleParts,
  counters: Rule['counters'],
  source: SourceRef,
): Rule {
  if (comment === undefined)
    return counters === undefined ? { matches, target, source } : { matches, target, counters, source };
  return counters === undefined
    ? { matches, target, comment, source }
    : { matches, target, comment, counters, source };
}

function draftOf({ chain, source }: PendingRule, table: TableDraft, state: State): ChainDraft {
  const known = table.chains.get(chain);
  if (known !== undefined) return known;
  // The policy of an undeclared built-in chain is not known: `policy` stays away.
  note(state, 'undeclared-chain', source.line, `chain ${chain} is not declared in table ${table.name}`);
  const draft: ChainDraft = { chain: { name: chain, source }, rules: [] };
  table.chains.set(chain, draft);
  return draft;
}

function lowered({ source, counters, offset }: PendingRule, table: TableDraft, state: State): Rule {
  const { text, line } = source;
  const tokens = tokenize(text.slice(offset));
  if (tokens === undefined) {
    const why = 'a quote is not closed';
    note(state, 'quote', line, `${why}: ${excerpt(text)}`);
    const match = { kind: 'unknown' as const, text: text.slice(offset), why };
    return { matches: [match], target: { kind: 'unknown', text: '', why }, source };
  }
  const isChain = (name: string) => table.chains.has(name);
  const { rule, notes } = lowerRule(tokens, state.options.family, source, counters, isChain);
  for (const message of notes) note(state, 'not-understood', line, message);
  return rule;
}

const note = ({ options: { file }, notes }: State, code: string, line: number, message: string): void => {
  notes.push({ code: `iptables/${code}`, file, line, message });
};
