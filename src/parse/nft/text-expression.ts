/** Expressions in nft's own words, as the JSON that nft gives for them. */
import type { JsonObject } from '../json.ts';
import type { Lexer } from './lexer.ts';
import { readField, spread, takeOffset } from './text-fields.ts';
import {
  expectSign,
  isSign,
  isWord,
  NotUnderstood,
  secondsOf,
  skipNewlines,
  skipSign,
  skipWord,
  takeName,
  takeNumber,
  takeTime,
} from './words.ts';

export type Json = string | number | boolean | JsonObject | readonly unknown[];

/** The printed form nests a few levels; only a hostile text goes deeper. */
const maxDepth = 24;

/** A field, constant, set or map with everything that belongs to it. */
export function readExpression(lexer: Lexer, depth = 0): Json {
  if (depth > maxDepth) throw new NotUnderstood(lexer.peek(), 'an end of the nesting');
  const key = concatenation(lexer, depth + 1);
  if (!skipWord(lexer, 'map')) return key;
  return { map: { key, data: readSetUse(lexer, depth + 1) } };
}

/** The right side of a match: also lists of flags. */
export function readRight(lexer: Lexer): Json {
  const first = readExpression(lexer);
  if (!isSign(lexer.peek(), ',')) return first;
  const items = [first];
  while (skipSign(lexer, ',')) items.push(readExpression(lexer));
  return items;
}

function concatenation(lexer: Lexer, depth: number): Json {
  const first = spanned(lexer, depth);
  if (!isSign(lexer.peek(), '.')) return first;
  const parts = [first];
  while (skipSign(lexer, '.')) {
    skipNewlines(lexer);
    parts.push(spanned(lexer, depth));
  }
  return { concat: parts };
}

/** `a-b`, `a/24`, or one value. A port after an address and colon is not part of it. */
function spanned(lexer: Lexer, depth: number): Json {
  const isAddress = lexer.peek().kind === 'address' || lexer.peek().kind === 'number';
  const from = binary(lexer, depth, 0);
  if (skipSign(lexer, '-')) return { range: [from, binary(lexer, depth, 0)] };
  if (isAddress && isSign(lexer.peek(), '/') && lexer.peek(1).kind === 'number') {
    lexer.next();
    return { prefix: { addr: from, len: takeNumber(lexer) } };
  }
  return from;
}

/** By growing strength; the words are those of older versions. */
const operators: readonly (readonly [sign: string, word: string])[][] = [
  [['|', 'or']],
  [['^', 'xor']],
  [['&', 'and']],
  [
    ['<<', 'lshift'],
    ['>>', 'rshift'],
  ],
];

function binary(lexer: Lexer, depth: number, level: number): Json {
  const signs = operators[level];
  if (signs === undefined) return primary(lexer, depth);
  let left = binary(lexer, depth, level + 1);
  for (;;) {
    const token = lexer.peek();
    const found = signs.find(([sign, word]) => isSign(token, sign) || isWord(token, word));
    if (found === undefined) return left;
    lexer.next();
    left = { [found[0]]: [left, binary(lexer, depth, level + 1)] };
  }
}

function primary(lexer: Lexer, depth: number): Json {
  if (depth > maxDepth) throw new NotUnderstood(lexer.peek(), 'an end of the nesting');
  if (isSign(lexer.peek(), '{')) return readSet(lexer, depth + 1);
  if (skipSign(lexer, '(')) {
    const inner = binary(lexer, depth + 1, 0);
    expectSign(lexer, ')');
    return inner;
  }
  if (isWord(lexer.peek(), 'jhash')) return jhash(lexer, depth + 1);
  return readField(lexer) ?? constant(lexer);
}

function jhash(lexer: Lexer, depth: number): JsonObject {
  lexer.next();
  const expr = concatenation(lexer, depth);
  const { mod } = spread(lexer);
  const seed = skipWord(lexer, 'seed') ? takeNumber(lexer) : undefined;
  const offset = takeOffset(lexer);
  return {
    jhash: {
      mod,
      ...(seed === undefined ? {} : { seed }),
      ...(offset === undefined ? {} : { offset }),
      expr,
    },
  };
}

function constant(lexer: Lexer): Json {
  const token = lexer.peek();
  switch (token.kind) {
    case 'number': {
      lexer.next();
      const value = Number(token.text);
      return Number.isSafeInteger(value) ? value : token.text;
    }
    case 'time':
      lexer.next();
      return secondsOf(token.text);
    case 'string':
    case 'address':
      lexer.next();
      return token.text;
    case 'set':
      lexer.next();
      return `@${token.text}`;
    case 'word':
      lexer.next();
      if (token.text === 'exists') return true;
      return token.text === 'missing' ? false : token.text;
    case 'sign':
      if (token.text === '*') {
        lexer.next();
        return '*';
      }
  }
  throw new NotUnderstood(token, 'a value');
}

/** `@name` or `{ ... }`. */
export function readSetUse(lexer: Lexer, depth = 0): Json {
  const token = lexer.peek();
  if (token.kind === 'set') {
    lexer.next();
    return `@${token.text}`;
  }
  if (isSign(token, '{')) return readSet(lexer, depth);
  throw new NotUnderstood(token, 'a set');
}

function readSet(lexer: Lexer, depth: number): JsonObject {
  return { set: readElements(lexer, depth) };
}

/** `{ key [timeout ...] [: value], ... }`. */
export function readElements(lexer: Lexer, depth = 0): readonly Json[] {
  expectSign(lexer, '{');
  const elements: Json[] = [];
  for (;;) {
    skipNewlines(lexer);
    if (skipSign(lexer, '}')) return elements;
    elements.push(readElement(lexer, depth));
    skipNewlines(lexer);
    if (!isSign(lexer.peek(), '}')) expectSign(lexer, ',');
  }
}

function readElement(lexer: Lexer, depth: number): Json {
  const key = withOptions(lexer, readExpression(lexer, depth + 1));
  if (!skipSign(lexer, ':')) return key;
  return [key, readVerdict(lexer) ?? readExpression(lexer, depth + 1)];
}

/** What stands behind a key: its timeout, counter, limit, comment. */
export function withOptions(lexer: Lexer, val: Json): Json {
  const options: Record<string, unknown> = {};
  for (;;) {
    const token = lexer.peek();
    const name = token.kind === 'word' ? token.text : '';
    switch (name) {
      case 'timeout':
      case 'expires':
        lexer.next();
        options[name] = takeTime(lexer);
        continue;
      case 'comment':
        lexer.next();
        options.comment = takeName(lexer, 'a comment');
        continue;
      case 'counter':
      case 'limit':
      case 'quota':
      case 'last':
      case 'ct': {
        const read = elementState(lexer);
        Object.assign(options, read);
        continue;
      }
    }
    return Object.keys(options).length === 0 ? val : { elem: { val, ...options } };
  }
}

/** A counter, limit or quota of one element: its numbers are not asked for. */
function elementState(lexer: Lexer): JsonObject {
  const from = lexer.peek();
  const name = lexer.next().text;
  for (;;) {
    const token = lexer.peek();
    const more =
      token.kind === 'number' ||
      token.kind === 'time' ||
      isSign(token, '/') ||
      (token.kind === 'word' && stateWords.has(token.text));
    if (!more) break;
    lexer.next();
  }
  return { [name]: { text: lexer.slice(from, lexer.peek()).trim() } };
}

const stateWords: ReadonlySet<string> = new Set(
  'packets bytes kbytes mbytes gbytes rate over until used burst second minute hour day week count never ago'.split(
    ' ',
  ),
);

/** Undefined where no verdict begins. */
export function readVerdict(lexer: Lexer): JsonObject | undefined {
  const token = lexer.peek();
  if (token.kind !== 'word') return undefined;
  switch (token.text) {
    case 'accept':
    case 'drop':
    case 'return':
    case 'continue':
      lexer.next();
      return { [token.text]: null };
    case 'jump':
    case 'goto':
      lexer.next();
      return { [token.text]: { target: takeName(lexer, 'a chain') } };
    default:
      return undefined;
  }
}
