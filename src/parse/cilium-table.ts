/** Maps as `cilium-dbg bpf ... list` prints them: two columns, the key only once, or with -o json an object of lists. */
import { asStrings, entryText, isObject, parseJson } from './json.ts';
import { looksLikeToolError, splitLines } from './lines.ts';
import { excerpt, failed, type Parsed, type ParseNote, parsed } from './result.ts';

export interface Row {
  readonly key: string;
  readonly value: string;
  /** Absent in JSON. */
  readonly line?: number;
}

/** `title` is how the header line begins. */
export function readTable(text: string, file: string, format: string, title: string): Parsed<readonly Row[]> {
  return text.trimStart().startsWith('{')
    ? readJsonTable(text, file, format)
    : readTextTable(text, file, format, title);
}

function readJsonTable(text: string, file: string, format: string): Parsed<readonly Row[]> {
  const json = parseJson(text, file, format);
  if (!json.ok) return json;
  const rows: Row[] = [];
  const notes: ParseNote[] = [];
  for (const [key, values] of Object.entries(isObject(json.value) ? json.value : {})) {
    const texts = asStrings(values);
    if (!Array.isArray(values) || texts.length < values.length)
      notes.push({
        code: `${format}/entry`,
        file,
        message: `${excerpt(key)}: ${excerpt(entryText(values))}`,
      });
    for (const value of texts) rows.push({ key, value });
  }
  return parsed(rows, notes);
}

/** Columns stand three spaces apart (tabwriter); a line that begins with a space belongs to the key above. */
function readTextTable(text: string, file: string, format: string, title: string): Parsed<readonly Row[]> {
  const rows: Row[] = [];
  const notes: ParseNote[] = [];
  let key: string | undefined;
  let hasHeader = false;
  for (const [i, line] of splitLines(text).entries()) {
    if (line.trim() === '') continue;
    if (line.startsWith(title)) {
      hasHeader = true;
      continue;
    }
    const [, first = '', value = ''] = /^(\S.*?)?\s{2,}(\S.*)$/.exec(line) ?? [];
    if (first !== '') key = first;
    if (hasHeader && key !== undefined && value !== '') {
      rows.push({ key, value: value.trim(), line: i + 1 });
      continue;
    }
    const failure = looksLikeToolError(line) || !hasHeader;
    const message = `${failure ? 'not a list of this kind' : 'not understood'}: ${excerpt(line)}`;
    const note = { code: `${format}/unknown-line`, file, line: i + 1, message };
    if (failure) return failed(note);
    notes.push(note);
  }
  // Without entries it still prints the header; nothing at all is a command that failed.
  if (!hasHeader) return failed({ code: `${format}/empty`, file, message: 'the file is empty' });
  return parsed(rows, notes);
}

/** Every row read by itself; a row that is not understood is a note. */
export function readRows<T>(
  table: Parsed<readonly Row[]>,
  file: string,
  format: string,
  read: (row: Row) => T | undefined,
): Parsed<readonly T[]> {
  if (!table.ok) return table;
  const entries: T[] = [];
  const notes: ParseNote[] = [...table.notes];
  for (const row of table.value) {
    const entry = read(row);
    if (entry !== undefined) entries.push(entry);
    else notes.push(noteOf(row, file, format));
  }
  return parsed(entries, notes);
}

export const noteOf = ({ key, value, line }: Row, file: string, format: string): ParseNote => ({
  code: `${format}/entry`,
  file,
  ...(line === undefined ? {} : { line }),
  message: `not understood: ${excerpt(`${key} ${value}`)}`,
});

export const sourceOf = ({ key, value, line }: Row, file: string) => ({
  kind: 'file' as const,
  file,
  ...(line === undefined ? {} : { line }),
  text: `${key} ${value}`,
});
