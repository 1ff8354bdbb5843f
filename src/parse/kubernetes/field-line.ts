/** The line on which a field of an object stands in the manifest that it was read from. */
import { EVENT_ID, type Event, getScalarValue, parseEvents } from 'js-yaml';
import { looksLikeJson, splitDocuments } from './documents.ts';

/**
 * 1-based. `path` is relative to the document: `items[3].spec.ingress[0].from[1]`, `metadata.labels["app.kubernetes.io/name"]`.
 * Where the text has no such field it is the line of the innermost part that it has; undefined where there is no such document.
 */
export function fieldLine(text: string, document: number, path: string): number | undefined {
  // The first value of a JSON file needs no splitting, whatever follows it.
  const found = document === 0 && looksLikeJson(text) ? { line: 1, text } : splitDocuments(text)[document];
  if (found === undefined) return undefined;
  const steps = stepsOf(path);
  const offset = looksLikeJson(found.text)
    ? (jsonOffset(found.text, steps) ?? yamlOffset(found.text, steps))
    : yamlOffset(found.text, steps);
  if (offset === undefined) return found.line;
  let line = found.line;
  for (let at = found.text.indexOf('\n'); at !== -1 && at < offset; at = found.text.indexOf('\n', at + 1))
    line++;
  return line;
}

type Step = string | number;

/** `a.b[0]["c.d"]` -> a, b, 0, c.d. What is no path ends it. */
function stepsOf(path: string): readonly Step[] {
  const steps: Step[] = [];
  const token = /\.?([^.[\]\s]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/y;
  while (token.lastIndex < path.length) {
    const match = token.exec(path);
    if (match === null) break;
    const [, name, index, quoted] = match;
    steps.push(index !== undefined ? Number(index) : quoted !== undefined ? unquote(quoted) : (name ?? ''));
  }
  return steps;
}

function unquote(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    return text.slice(1, -1);
  }
}

/** Where the path's last part begins that the document has: a key, or an item's first character. */
function yamlOffset(text: string, steps: readonly Step[]): number | undefined {
  let events: readonly Event[];
  try {
    events = parseEvents(text, {});
  } catch {
    return undefined;
  }
  const firstOf = (at: number): number | undefined => {
    const event = events[at];
    if (event === undefined) return undefined;
    if (event.type === EVENT_ID.SCALAR) return event.valueStart;
    if (event.type === EVENT_ID.MAPPING || event.type === EVENT_ID.SEQUENCE) return event.start;
    return event.type === EVENT_ID.ALIAS ? event.anchorStart : undefined;
  };
  /** The event after the node that begins at `at`. */
  const after = (at: number): number => {
    let depth = 0;
    for (let i = at; i < events.length; i++) {
      const type = events[i]?.type;
      if (type === EVENT_ID.MAPPING || type === EVENT_ID.SEQUENCE || type === EVENT_ID.DOCUMENT) depth++;
      else if (type === EVENT_ID.POP) depth--;
      if (depth === 0) return i + 1;
    }
    return events.length;
  };
  let node = 1;
  let best = firstOf(node);
  for (const step of steps) {
    const type = events[node]?.type;
    const wanted = typeof step === 'string' ? EVENT_ID.MAPPING : EVENT_ID.SEQUENCE;
    if (type !== wanted) break;
    let at = node + 1;
    let next: number | undefined;
    for (let i = 0; at < events.length && events[at]?.type !== EVENT_ID.POP; i++) {
      if (typeof step === 'number') {
        if (i === step) next = at;
        at = after(at);
      } else {
        const key = events[at];
        if (key?.type === EVENT_ID.SCALAR && getScalarValue(text, key) === step) {
          best = key.valueStart;
          next = at + 1;
        }
        at = after(after(at));
      }
      if (next !== undefined) break;
    }
    if (next === undefined) break;
    node = next;
    if (typeof step === 'number') best = firstOf(node) ?? best;
  }
  return best;
}

/** As yamlOffset for JSON, by skipping over what is not asked for: a cluster's JSON is too large for a tree with positions. */
function jsonOffset(text: string, steps: readonly Step[]): number | undefined {
  let at = 0;
  const space = () => {
    while (at < text.length && /\s|\uFEFF/.test(text[at] as string)) at++;
  };
  const skipString = () => {
    for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === '\\') at++;
    at++;
  };
  const skipValue = () => {
    let depth = 0;
    do {
      const c = text[at];
      if (c === '"') {
        skipString();
        continue;
      }
      if (c === '{' || c === '[') depth++;
      else if (c === '}' || c === ']') depth--;
      at++;
      // A number or word ends where the next separator begins.
      if (depth === 0 && !/[{}[\],"]/.test(c ?? ','))
        while (at < text.length && !/[,}\]\s]/.test(text[at] as string)) at++;
    } while (depth > 0 && at < text.length);
  };
  space();
  if (text[at] !== '{' && text[at] !== '[') return undefined;
  let best = at;
  for (const step of steps) {
    space();
    if (text[at] !== (typeof step === 'string' ? '{' : '[')) return best;
    at++;
    let found = false;
    for (let i = 0; at < text.length; i++) {
      space();
      if (text[at] === '}' || text[at] === ']') break;
      const begin = at;
      let matches = i === step;
      if (typeof step === 'string') {
        skipString();
        matches = unquote(text.slice(begin, at)) === step;
        space();
        if (text[at] !== ':') return best;
        at++;
        space();
      }
      if (matches) {
        best = begin;
        found = true;
        break;
      }
      skipValue();
      space();
      if (text[at] === ',') at++;
    }
    if (!found) return best;
  }
  return best;
}
