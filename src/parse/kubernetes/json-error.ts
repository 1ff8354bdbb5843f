/** Where a text stops being JSON: V8 tells the position of some errors only. */

type Expect = 'value' | 'first-item' | 'first-key' | 'key' | 'colon' | 'separator' | 'end';

const scalar = /(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)/y;
const blanks = /\s*/y;

/** Offset of the first token that JSON does not allow there; the text's end where it just stops. Undefined where nothing is wrong. */
export function jsonErrorOffset(text: string): number | undefined {
  const open: string[] = [];
  let expect: Expect = 'value';
  let at = skip(blanks, text, 0);
  while (at < text.length) {
    const mark = text[at] ?? '';
    const isMark = '{}[],:'.includes(mark);
    const end = isMark ? at + 1 : mark === '"' ? stringEnd(text, at) : skip(scalar, text, at);
    if (end === undefined || end === at) return at;
    const next = step(expect, isMark ? mark : mark === '"' ? 'string' : 'scalar', open);
    if (next === undefined) return at;
    expect = next;
    at = skip(blanks, text, end);
  }
  return expect === 'end' ? undefined : text.length;
}

/** Where the pattern's match ends; `at` where it does not match. */
function skip(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}

/** Behind the closing quote. By hand: an expression for it runs out of stack on strings of some megabytes. */
function stringEnd(text: string, start: number): number | undefined {
  for (let at = start + 1; at < text.length; at++) {
    const char = text[at];
    if (char === '"') return at + 1;
    if (char === '\n' || char === '\r') return undefined;
    if (char === '\\') at++;
  }
  return undefined;
}

/** What may follow, or undefined where the token may not stand. `open` holds the brackets that are not closed yet. */
function step(expect: Expect, found: string, open: string[]): Expect | undefined {
  const after = (): Expect => (open.length === 0 ? 'end' : 'separator');
  const close = (bracket: string): Expect | undefined => (open.pop() === bracket ? after() : undefined);
  if (expect === 'value' || expect === 'first-item') {
    if (found === ']' && expect === 'first-item') return close('[');
    if (found === '{' || found === '[') {
      open.push(found);
      return found === '{' ? 'first-key' : 'first-item';
    }
    return found === 'string' || found === 'scalar' ? after() : undefined;
  }
  if (expect === 'first-key' || expect === 'key') {
    if (found === '}' && expect === 'first-key') return close('{');
    return found === 'string' ? 'colon' : undefined;
  }
  if (expect === 'colon') return found === ':' ? 'value' : undefined;
  if (expect === 'end') return undefined;
  if (found === ',') return open.at(-1) === '{' ? 'key' : 'value';
  return found === '}' ? close('{') : found === ']' ? close('[') : undefined;
}
