/**
 * `nft list ruleset` as people and support tools record it. Every object becomes the JSON that `nft -j` gives for it, so that
 * both forms mean the same. A statement that is not understood makes its rule unknown; only a text that is broken as a whole
 * (another format, an end in the middle) is an error.
 */
import type { NftTable } from '../../model/nft.ts';
import type { JsonObject } from '../json.ts';
import { failed, type Parsed, type ParseNote, parsed } from '../result.ts';
import { type Lexer, lex, type Token } from './lexer.ts';
import { type Builder, tableBuilder } from './tables.ts';
import { readElements } from './text-expression.ts';
import { notUnderstood, readStatement } from './text-statement.ts';
import {
  endsRule,
  expectSign,
  isSign,
  isWord,
  NotUnderstood,
  skipNewlines,
  skipRule,
  skipSeparators,
  skipSign,
  skipWord,
  takeName,
} from './words.ts';

interface Reading {
  readonly lexer: Lexer;
  readonly builder: Builder;
  readonly notes: ParseNote[];
  readonly file: string;
}

interface TableName {
  readonly family: string;
  readonly table: string;
}

export function parseNftText(text: string, file: string): Parsed<readonly NftTable[]> {
  const reading: Reading = { lexer: lex(text), builder: tableBuilder(file), notes: [], file };
  const { lexer } = reading;
  try {
    for (skipSeparators(lexer); lexer.peek().kind !== 'end'; skipSeparators(lexer)) readTable(reading);
  } catch (error) {
    if (!(error instanceof NotUnderstood)) throw error;
    const { token, message } = error;
    const code = token.kind === 'end' ? 'nft/truncated' : 'nft/foreign';
    return failed({ code, file, line: token.line, column: lexer.columnOf(token), message });
  }
  return parsed(reading.builder.tables(), reading.notes);
}

/** Whether a text looks like it: comments and empty lines, then a table. */
export const isNftText = (text: string): boolean =>
  /^(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]*table [\w.]/.test(text.slice(0, 20_000));

const families: ReadonlySet<string> = new Set(['ip', 'ip6', 'inet', 'arp', 'bridge', 'netdev']);

function readTable(reading: Reading): void {
  const { lexer, builder } = reading;
  const start = lexer.peek();
  if (!skipWord(lexer, 'table')) throw new NotUnderstood(start, 'a table');
  const first = takeName(lexer, 'a family or name');
  const named = !isSign(lexer.peek(), '{');
  if (named && !families.has(first)) throw new NotUnderstood(lexer.peek(), 'a name');
  const name: TableName = named ? { family: first, table: takeName(lexer) } : { family: 'ip', table: first };
  expectSign(lexer, '{');
  // The comment with the handle stands behind the brace.
  lexer.peek();
  const handle = lexer.takeHandle();
  const add = (flags: readonly string[]): void => {
    const table = {
      family: name.family,
      name: name.table,
      flags,
      ...(handle === undefined ? {} : { handle }),
    };
    builder.add({ table });
  };
  add([]);
  for (skipSeparators(lexer); !skipSign(lexer, '}'); skipSeparators(lexer)) {
    if (isWord(lexer.peek(), 'flags')) add(wordsOfLine(lexer));
    else readObject(reading, name);
  }
}

function wordsOfLine(lexer: Lexer): string[] {
  const words: string[] = [];
  for (let token = lexer.peek(); !endsRule(token); token = lexer.peek()) words.push(lexer.next().text);
  return words;
}

/** A chain, set or map; anything else in a table decides nothing by itself. */
function readObject(reading: Reading, name: TableName): void {
  const { lexer } = reading;
  const token = lexer.peek();
  if (token.kind === 'end') throw new NotUnderstood(token, '"}"');
  if (token.kind === 'word' && lexer.peek(1).kind !== 'newline') {
    const read = token.text === 'chain' ? readChain : setKinds.has(token.text) ? readSet : undefined;
    if (read !== undefined) {
      read(reading, name);
      return;
    }
  }
  if (token.kind !== 'word') throw new NotUnderstood(token, 'a chain, set or map');
  skipRule(lexer);
}

const setKinds: ReadonlySet<string> = new Set(['set', 'map', 'meter']);

/** The block's opening: its name, and the handle that may stand behind it. */
function openBlock(lexer: Lexer): { readonly name: string; readonly handle?: number } {
  lexer.next();
  lexer.takeHandle();
  const name = takeName(lexer);
  expectSign(lexer, '{');
  lexer.peek();
  const handle = lexer.takeHandle();
  return { name, ...(handle === undefined ? {} : { handle }) };
}

function readChain(reading: Reading, { family, table }: TableName): void {
  const { lexer, builder, notes, file } = reading;
  const { line } = lexer.peek();
  const { name, handle } = openBlock(lexer);
  const chain = { family, table, name, ...(handle === undefined ? {} : { handle }) };
  builder.add({ chain }, { line });
  for (skipSeparators(lexer); !skipSign(lexer, '}'); skipSeparators(lexer)) {
    const token = lexer.peek();
    if (token.kind === 'end') throw new NotUnderstood(token, '"}"');
    if (isSign(token, '}')) continue;
    if (isWord(token, 'type')) {
      const wrong = builder.add({ chain: { ...chain, ...readHook(lexer) } }, { line });
      if (wrong !== undefined)
        notes.push({
          code: 'nft/entry',
          file,
          line: token.line,
          column: lexer.columnOf(token),
          message: wrong,
        });
    } else if (isWord(token, 'comment') || isWord(token, 'policy') || isWord(token, 'flags')) skipRule(lexer);
    else readRule(reading, { family, table, chain: name });
  }
}

/** `type filter hook ingress devices = { a, b } priority filter - 5; policy drop;`. */
function readHook(lexer: Lexer): JsonObject {
  lexer.next();
  const type = takeName(lexer, 'a type');
  const hook = skipWord(lexer, 'hook') ? takeName(lexer, 'a hook') : undefined;
  const dev = readDevices(lexer);
  let prio = '';
  if (skipWord(lexer, 'priority'))
    for (const word of wordsOfLine(lexer)) prio += prio === '-' ? word : ` ${word}`;
  skipSign(lexer, ';');
  const policy = skipWord(lexer, 'policy') ? takeName(lexer, 'a policy') : undefined;
  return {
    type,
    ...(hook === undefined ? {} : { hook }),
    ...(dev.length === 0 ? {} : { dev }),
    prio: prio.trim().replace(/^-\s+/, '-'),
    ...(policy === undefined ? {} : { policy }),
  };
}

function readDevices(lexer: Lexer): readonly string[] {
  if (skipWord(lexer, 'device')) return [takeName(lexer, 'a device')];
  if (!skipWord(lexer, 'devices')) return [];
  expectSign(lexer, '=');
  expectSign(lexer, '{');
  const devices: string[] = [];
  for (skipNewlines(lexer); !skipSign(lexer, '}'); skipNewlines(lexer)) {
    devices.push(takeName(lexer, 'a device'));
    skipSign(lexer, ',');
  }
  return devices;
}

function readRule(
  { lexer, builder }: Reading,
  rule: { readonly family: string; readonly table: string; readonly chain: string },
): void {
  const start = lexer.peek();
  const depth = lexer.depth();
  lexer.takeHandle();
  const expr: unknown[] = [];
  let comment: string | undefined;
  while (!endsRule(lexer.peek())) {
    if (skipWord(lexer, 'comment')) {
      comment = takeName(lexer, 'a comment');
      continue;
    }
    const from = lexer.peek();
    try {
      expr.push(readStatement(lexer));
    } catch (error) {
      if (!(error instanceof NotUnderstood)) throw error;
      skipRule(lexer, depth);
      expr.push({ [notUnderstood]: lexer.slice(from, lexer.peek()).trim() });
    }
  }
  const text = lexer.slice(start, lexer.peek()).trim();
  const handle = lexer.takeHandle();
  builder.add(
    {
      rule: {
        ...rule,
        expr,
        ...(comment === undefined ? {} : { comment }),
        ...(handle === undefined ? {} : { handle }),
      },
    },
    {
      line: start.line,
      text: handle === undefined ? text : `${text.replace(/\s*#\s*handle \d+$/, '')} # handle ${handle}`,
    },
  );
}

/** Elements; types and flags follow from what is compared with the set. */
function readSet(reading: Reading, { family, table }: TableName): void {
  const { lexer, builder } = reading;
  const { line } = lexer.peek();
  const { name } = openBlock(lexer);
  builder.add({ set: { family, table, name } }, { line });
  for (skipSeparators(lexer); !skipSign(lexer, '}'); skipSeparators(lexer)) {
    const token = lexer.peek();
    if (token.kind === 'end') throw new NotUnderstood(token, '"}"');
    if (isWord(token, 'elements')) readSetElements(reading, { family, table, name });
    else skipLine(lexer, token);
  }
}

/** Elements that are not understood leave the set with one of which nothing is known. */
function readSetElements({ lexer, builder }: Reading, set: JsonObject): void {
  lexer.next();
  const from = lexer.peek();
  const depth = lexer.depth();
  try {
    expectSign(lexer, '=');
    builder.add({ element: { ...set, elem: readElements(lexer) } });
  } catch (error) {
    if (!(error instanceof NotUnderstood) || error.token.kind === 'end') throw error;
    skipRule(lexer, depth);
    const text = lexer.slice(from, lexer.peek());
    builder.add({ element: { ...set, elem: [{ [notUnderstood]: text.slice(0, 200) }] } });
  }
}

function skipLine(lexer: Lexer, token: Token): void {
  if (token.kind !== 'word') throw new NotUnderstood(token, 'a property of the set');
  skipRule(lexer);
}
