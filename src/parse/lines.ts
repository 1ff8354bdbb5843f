/** Line-by-line reading for formats that print one entry a line. */
import { excerpt, failed, type Parsed, type ParseNote, parsed } from './result.ts';

/**
 * Text that a failing tool prints where entries should be. Entries of the formats read here never start like this, so
 * finding it means that the list is not complete.
 */
const toolError =
  /permission denied|operation not permitted|command not found|no such file|not supported|must be root|can(?:no|')t (?:open|initialize)|cannot|^\s*(?:error|fatal|sudo|bash|sh|usage)\b/i;

export const looksLikeToolError = (line: string): boolean => toolError.test(line);

/** The lines without their ends (LF or CRLF); a final newline makes no empty line. */
export function splitLines(text: string): string[] {
  const lines = text.split('\n');
  if (lines[lines.length - 1] === '') lines.pop();
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i];
    if (line?.endsWith('\r')) lines[i] = line.slice(0, -1);
  }
  return lines;
}

export interface LineFormat<T> {
  /** First half of the codes, `ss`. */
  readonly format: string;
  /** An entry, `skip` for lines without one (headers, comments), undefined for lines that are not understood. */
  readonly read: (line: string, lineNumber: number) => T | 'skip' | undefined;
}

/**
 * Reads every line. Lines that are not understood become notes; a tool's error message, or a file where no line at all is
 * understood, is an error: an incomplete list must not look like a complete one.
 */
export function readLines<T>(text: string, file: string, { format, read }: LineFormat<T>): Parsed<T[]> {
  const entries: T[] = [];
  const notes: ParseNote[] = [];
  let understood = 0;
  const lines = splitLines(text);
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    if (line.trim() === '') continue;
    const entry = read(line, i + 1);
    if (entry !== undefined) {
      understood++;
      if (entry !== 'skip') entries.push(entry);
      continue;
    }
    if (looksLikeToolError(line))
      return failed({
        code: `${format}/tool-error`,
        file,
        line: i + 1,
        message: `the tool failed: ${excerpt(line)}`,
      });
    notes.push({
      code: `${format}/unknown-line`,
      file,
      line: i + 1,
      message: `not understood: ${excerpt(line)}`,
    });
  }
  const [first] = notes;
  if (understood === 0 && first !== undefined)
    return failed({ ...first, code: `${format}/foreign`, message: `not ${format} output: ${first.message}` });
  return parsed(entries, notes);
}
