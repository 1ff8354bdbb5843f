/** Where a text stops being JSON: V8 tells the position of some errors only. */

type Expect = 'value' | 'first-item' | 'first-key' | 'key' | 'colon' | 'separator' | 'end';

const token = /\s*(?:([{}[\],:])|("(?:[^"\\\n\r]|\\.)*")|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null))/y;

/** Offset of the first token that JSON does not allow there; the text's end where it just stops. Undefined where nothing is wrong. */
export function jsonErrorOffset(text: string): number | undefined {
  const open: string[] = [];
  let expect: Expect = 'value';
  token.lastIndex = 0;
  for (;;) {
    const at = token.lastIndex;
    const match = token.exec(text);
    if (match === null) {
      const rest = /\S/.exec(text.slice(at));
      if (rest !== null) return at + rest.index;
      return expect === 'end' ? undefined : text.length;
    }
    const [whole, mark, string] = match;
    const here = at + whole.length - whole.trimStart().length;
    const next = step(expect, mark ?? (string === undefined ? 'scalar' : 'string'), open);
    if (next === undefined) return here;
    expect = next;
  }
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
