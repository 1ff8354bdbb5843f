/** Calico's selector language (libcalico-go/lib/selector): the text -> an expression. */
import type { CalicoSelector } from '../../model/policies/calico.ts';
import { Mismatch } from './shape.ts';

type Token =
  | { readonly is: 'label' | 'text' | 'has'; readonly value: string }
  | { readonly is: 'operator'; readonly operator: Operator }
  | { readonly is: 'all' | 'global' | Mark };

const marks = ['(', ')', '{', '}', ',', '!', '&&', '||'] as const;
type Mark = (typeof marks)[number];
type Operator = 'equals' | 'differs' | 'in' | 'not-in' | 'contains' | 'starts-with' | 'ends-with';

/** Operators that are words. They are looked for only behind a label, so that a label may be called `in`. */
const words: readonly (readonly [RegExp, Operator])[] = [
  [/contains(?![\w./-])/y, 'contains'],
  [/starts[ \t]*with(?![\w./-])/y, 'starts-with'],
  [/ends[ \t]*with(?![\w./-])/y, 'ends-with'],
  [/not[ \t]*in(?![\w./-])/y, 'not-in'],
  [/in(?![\w./-])/y, 'in'],
];

const calls: readonly (readonly [RegExp, (match: RegExpExecArray) => Token])[] = [
  [/has\([ \t]*([A-Za-z0-9_./-]+)[ \t]*\)/y, (match) => ({ is: 'has', value: match[1] as string })],
  [/all\([ \t]*\)/y, () => ({ is: 'all' })],
  [/global\([ \t]*\)/y, () => ({ is: 'global' })],
  [/[A-Za-z0-9_./-]{1,512}(?![\w./-])/y, (match) => ({ is: 'label', value: match[0] })],
];

class SelectorError extends Error {}

/** The empty text selects everything. Throws Mismatch for anything that Calico's parser refuses. */
export function parseCalicoSelector(text: string, field: string): CalicoSelector {
  try {
    const tokens = tokenize(text);
    if (tokens.length === 0) return { is: 'all' };
    const [selector, end] = readOr(tokens, 0, 0);
    if (end < tokens.length) throw new SelectorError('has something behind its end');
    return selector;
  } catch (error) {
    if (!(error instanceof SelectorError)) throw error;
    throw new Mismatch(field, `is no selector: ${error.message}: ${JSON.stringify(text)}`);
  }
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) return undefined;
    at += match[0].length;
    return match;
  };
  for (;;) {
    take(/[ \t]*/y);
    if (at >= text.length) return tokens;
    if (take(/==/y)) tokens.push({ is: 'operator', operator: 'equals' });
    else if (take(/!=/y)) tokens.push({ is: 'operator', operator: 'differs' });
    else {
      const mark = marks.find((one) => text.startsWith(one, at));
      const quote = text[at];
      if (mark !== undefined) {
        tokens.push({ is: mark });
        at += mark.length;
      } else if (quote === '"' || quote === "'") {
        // No escapes: a text ends at the next quote of its kind.
        const end = text.indexOf(quote, at + 1);
        if (end < 0) throw new SelectorError('a text does not end');
        tokens.push({ is: 'text', value: text.slice(at + 1, end) });
        at = end + 1;
      } else tokens.push(readWord(tokens.at(-1), take));
    }
  }
}

function readWord(before: Token | undefined, take: (pattern: RegExp) => RegExpExecArray | undefined): Token {
  if (before?.is === 'label') {
    for (const [pattern, operator] of words) if (take(pattern)) return { is: 'operator', operator };
    throw new SelectorError(`needs an operator behind ${before.value}`);
  }
  for (const [pattern, make] of calls) {
    const match = take(pattern);
    if (match !== undefined) return make(match);
  }
  throw new SelectorError('a character or word is not understood');
}

/** Selectors are at most 1024 characters long; this bounds the recursion for longer ones. */
const maxDepth = 600;

type ReadPart = (tokens: readonly Token[], at: number, depth: number) => [CalicoSelector, number];

/** `a && b || c` is `(a && b) || c`. */
const readOr: ReadPart = (tokens, at, depth) => readJoined(tokens, at, depth, '||', 'or', readAnd);
const readAnd: ReadPart = (tokens, at, depth) => readJoined(tokens, at, depth, '&&', 'and', readOne);

function readJoined(
  tokens: readonly Token[],
  at: number,
  depth: number,
  mark: '||' | '&&',
  is: 'or' | 'and',
  read: ReadPart,
): [CalicoSelector, number] {
  const [first, behind] = read(tokens, at, depth);
  const parts = [first];
  let end = behind;
  while (tokens[end]?.is === mark) {
    const [part, next] = read(tokens, end + 1, depth);
    parts.push(part);
    end = next;
  }
  return [parts.length === 1 ? first : { is, of: parts }, end];
}

function readOne(tokens: readonly Token[], start: number, depth: number): [CalicoSelector, number] {
  let at = start;
  while (tokens[at]?.is === '!') at++;
  const [selector, end] = readPlain(tokens, at, depth);
  return [(at - start) % 2 === 1 ? { is: 'not', of: selector } : selector, end];
}

function readPlain(tokens: readonly Token[], at: number, depth: number): [CalicoSelector, number] {
  const token = tokens[at];
  if (token === undefined) throw new SelectorError('ends too early');
  if (depth > maxDepth) throw new SelectorError('has too many parentheses');
  switch (token.is) {
    case 'has':
      return [{ is: 'has', key: token.value }, at + 1];
    case 'all':
    case 'global':
      return [{ is: token.is }, at + 1];
    case '(': {
      const [inner, end] = readOr(tokens, at + 1, depth + 1);
      if (tokens[end]?.is !== ')') throw new SelectorError('needs a closing parenthesis');
      return [inner, end + 1];
    }
    case 'label':
      return readComparison(tokens, at + 1, token.value);
    default:
      throw new SelectorError('needs a label, has(), all(), global() or a parenthesis');
  }
}

function readComparison(tokens: readonly Token[], at: number, key: string): [CalicoSelector, number] {
  const token = tokens[at];
  if (token?.is !== 'operator') throw new SelectorError(`needs an operator behind ${key}`);
  const { operator } = token;
  if (operator === 'in' || operator === 'not-in') {
    const [values, end] = readSet(tokens, at + 1);
    return [{ is: operator, key, values }, end];
  }
  const text = tokens[at + 1];
  if (text?.is !== 'text') throw new SelectorError('needs a text in quotes');
  return operator === 'equals' || operator === 'differs'
    ? [{ is: operator, key, value: text.value }, at + 2]
    : [{ is: operator, key, text: text.value }, at + 2];
}

/** `{"a", "b"}`; it may be empty, and a comma may stand behind the last text. */
function readSet(tokens: readonly Token[], start: number): [string[], number] {
  if (tokens[start]?.is !== '{') throw new SelectorError('needs a set in braces');
  const values: string[] = [];
  let at = start + 1;
  for (;;) {
    const token = tokens[at];
    if (token?.is !== 'text') break;
    values.push(token.value);
    at++;
    if (tokens[at]?.is !== ',') break;
    at++;
  }
  if (tokens[at]?.is !== '}') throw new SelectorError('needs a closing brace');
  return [values, at + 1];
}

/** True if `global()` stands anywhere in the selector. */
export function usesGlobal(selector: CalicoSelector): boolean {
  switch (selector.is) {
    case 'global':
      return true;
    case 'not':
      return usesGlobal(selector.of);
    case 'and':
    case 'or':
      return selector.of.some(usesGlobal);
    default:
      return false;
  }
}
