/** Reading JSON whose shape nobody promised: every access says what it found. */
import { jsonErrorOffset } from './kubernetes/json-error.ts';
import { excerpt, failed, type Parsed, type ParseNote, parsed } from './result.ts';

export type JsonObject = { readonly [key: string]: unknown };

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const asString = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined;

/** A finite number, or text that is one: iproute2 versions differ (`"0x80"`, `128`). */
export function asNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value !== 'string' || !/^(0x[0-9a-f]+|[0-9]+)$/i.test(value)) return undefined;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** Text, or a number as text: names and numbers of tables, protocols and scopes. */
export const asText = (value: unknown): string | undefined =>
  typeof value === 'number' ? String(value) : asString(value);

export const asStrings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];

/** What a wrong value is, for messages: `a string`, `null`, `a list`. */
export function describe(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** An entry as it stands in the file, for sources and messages. JSON.stringify recurses, and the nesting comes from the input. */
export function entryText(entry: unknown): string {
  try {
    return JSON.stringify(entry) ?? describe(entry);
  } catch {
    return '(nested too deep to print)';
  }
}

/** `format` is the first half of the error's code. */
export function parseJson(text: string, file: string, format: string): Parsed<unknown> {
  if (text.trim() === '') return failed({ code: `${format}/empty`, file, message: 'the file is empty' });
  try {
    return parsed(JSON.parse(text) as unknown);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return failed({
      code: `${format}/not-json`,
      file,
      ...positionOf(message, text),
      message: excerpt(`not JSON: ${message}`, 200),
    });
  }
}

/** V8 says `at position N`, or that the input ended, or neither: then the text is read again up to the first wrong token. */
function positionOf(message: string, text: string): { line?: number; column?: number } {
  const at = /at position (\d+)/.exec(message)?.[1];
  const told = at === undefined ? undefined : Number(at);
  const offset = told ?? (/end of JSON/.test(message) ? text.length : jsonErrorOffset(text));
  if (offset === undefined) return {};
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  return { line, column: offset - before.lastIndexOf('\n') };
}

/**
 * A JSON list of objects, as `ip -j` prints it. Empty objects are left out: iproute2 prints `{}` for entries that its own
 * filter removed. `read` returns undefined, or a text that says what is wrong, for entries that are not understood.
 */
export function readObjects<T>(
  text: string,
  file: string,
  format: string,
  read: (entry: JsonObject) => T | 'skip' | { readonly wrong: string },
): Parsed<T[]> {
  const json = parseJson(text, file, format);
  if (!json.ok) return json;
  if (!Array.isArray(json.value))
    return failed({
      code: `${format}/not-a-list`,
      file,
      message: `expected a list of objects, found ${describe(json.value)}`,
    });
  const entries: T[] = [];
  const notes: ParseNote[] = [];
  for (const [i, item] of json.value.entries()) {
    if (isObject(item) && Object.keys(item).length === 0) continue;
    const entry = isObject(item) ? read(item) : { wrong: `expected an object, found ${describe(item)}` };
    if (entry === 'skip') continue;
    if (isWrong(entry)) notes.push({ code: `${format}/entry`, file, message: `[${i}]: ${entry.wrong}` });
    else entries.push(entry);
  }
  return parsed(entries, notes);
}

const isWrong = (entry: unknown): entry is { readonly wrong: string } => isObject(entry) && 'wrong' in entry;
