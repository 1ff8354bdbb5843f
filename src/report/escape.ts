/** Names come from manifests of strangers: what each format takes for more than text is taken out of them. */
import { printable } from './connectivity.ts';

/** RFC 4180. A leading `=`, `+`, `-` or `@` would be a formula to a spreadsheet: such text gets an apostrophe in front. */
export function csvCell(text: string): string {
  const shown = printable(text);
  const safe = /^[=+\-@]/.test(shown) ? `'${shown}` : shown;
  return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Every character that could begin markup is escaped. */
export const markdownText = (text: string): string =>
  printable(text)
    .replace(/[\\`*_{}[\]()#+!|~$^:]/g, '\\$&')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');

/** In a quoted id of DOT only quote and backslash are special; `\\n` is a line break in labels. */
export const dotText = (text: string): string =>
  `"${text
    .split('\n')
    .map((line) => printable(line).replaceAll('\\', '\\\\').replaceAll('"', '\\"'))
    .join('\\n')}"`;

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export const htmlText = (text: string): string =>
  printable(text).replace(/[&<>"']/g, (c) => entities[c] ?? '');
