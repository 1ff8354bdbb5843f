/** Reading nft's language word by word: what each part of the grammar shares. */
import type { Lexer, Token } from './lexer.ts';

/**
 * Thrown where a word is not understood; caught where its rule, element or table ends. No Error: a stack for each rule of a
 * text that is not understood at all would take longer than reading it.
 */
export class NotUnderstood {
  readonly token: Token;
  readonly expected: string;
  constructor(token: Token, expected: string) {
    this.token = token;
    this.expected = expected;
  }
  get message(): string {
    return this.token.kind === 'end'
      ? `the text ends where ${this.expected} is expected`
      : `"${shown(this.token)}" stands where ${this.expected} is expected`;
  }
}

const shown = ({ kind, text }: Token): string =>
  kind === 'newline' ? 'the end of the line' : text.slice(0, 60);

export const isWord = (token: Token, text: string): boolean => token.kind === 'word' && token.text === text;
export const isSign = (token: Token, text: string): boolean => token.kind === 'sign' && token.text === text;

/** Takes the word if it is the next one. */
export function skipWord(lexer: Lexer, text: string): boolean {
  if (!isWord(lexer.peek(), text)) return false;
  lexer.next();
  return true;
}

export function skipSign(lexer: Lexer, text: string): boolean {
  if (!isSign(lexer.peek(), text)) return false;
  lexer.next();
  return true;
}

export function expectSign(lexer: Lexer, text: string): void {
  if (!skipSign(lexer, text)) throw new NotUnderstood(lexer.peek(), `"${text}"`);
}

export function expectWord(lexer: Lexer, text: string): void {
  if (!skipWord(lexer, text)) throw new NotUnderstood(lexer.peek(), `"${text}"`);
}

/** A name: a word, or a string in quotes. */
export function takeName(lexer: Lexer, what = 'a name'): string {
  const token = lexer.peek();
  if (token.kind !== 'word' && token.kind !== 'string') throw new NotUnderstood(token, what);
  lexer.next();
  return token.text;
}

export function takeNumber(lexer: Lexer, what = 'a number'): number {
  const token = lexer.peek();
  const value = Number(token.text);
  if (token.kind !== 'number' || !Number.isSafeInteger(value)) throw new NotUnderstood(token, what);
  lexer.next();
  return value;
}

const unitMs: Readonly<Record<string, number>> = {
  w: 604_800_000,
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
};

/** `1m30s` as whole seconds, as the JSON form has them. */
export function secondsOf(text: string): number {
  let ms = 0;
  for (const [, count = '', unit = ''] of text.matchAll(/(\d+)(ms|[wdhms])/g))
    ms += Number(count) * (unitMs[unit] ?? 0);
  return Math.floor(ms / 1000);
}

export function takeTime(lexer: Lexer): number {
  const token = lexer.peek();
  if (token.kind !== 'time') return takeNumber(lexer, 'a time');
  lexer.next();
  return secondsOf(token.text);
}

export function skipNewlines(lexer: Lexer): void {
  while (lexer.peek().kind === 'newline') lexer.next();
}

/** Newlines and semicolons, which separate what stands in a block. */
export function skipSeparators(lexer: Lexer): void {
  while (lexer.peek().kind === 'newline' || isSign(lexer.peek(), ';')) lexer.next();
}

export const endsRule = (token: Token): boolean =>
  token.kind === 'newline' ||
  token.kind === 'end' ||
  (token.kind === 'sign' && (token.text === ';' || token.text === '}'));

/** Goes to the end of the rule or line whose own words stand at `depth`, over and out of whole blocks. */
export function skipRule(lexer: Lexer, depth = lexer.depth()): void {
  for (;;) {
    const token = lexer.peek();
    if (token.kind === 'end' || (lexer.depth() <= depth && endsRule(token))) return;
    lexer.next();
  }
}

/** `a` or `a,b`: one word alone, as the JSON form has flags. */
export function takeFlags(lexer: Lexer): string | string[] {
  const flags = [takeName(lexer, 'a flag')];
  while (skipSign(lexer, ',')) flags.push(takeName(lexer, 'a flag'));
  return flags.length === 1 ? (flags[0] ?? '') : flags;
}
