/** `policy list -o md`: a table for a merge request or a wiki. */
import { partyText } from '../model/connectivity.ts';
import { type ConnectivityReport, printable, problemText, rowsOf } from './connectivity.ts';

export function* connectivityMarkdown({
  connections,
  problems,
  notes,
}: ConnectivityReport): Generator<string> {
  yield '| From | To | Ports | Verdict |\n|---|---|---|---|\n';
  for (const { src, dst, ports, verdict, why } of rowsOf(connections)) {
    const told = why === '' ? verdict : `${verdict}: ${why}`;
    yield `| ${[partyText(src), partyText(dst), ports, told].map(cell).join(' | ')} |\n`;
  }
  if (notes.length > 0) yield `\n${notes.map((note) => `- ${cell(note)}\n`).join('')}`;
  if (problems.length > 0)
    yield `\nThe answer is without:\n\n${problems.map((one) => `- ${cell(problemText(one))}\n`).join('')}`;
}

/** Nothing of a name is markup: every character that could begin some is escaped. */
const cell = (text: string): string =>
  printable(text)
    .replace(/[\\`*_{}[\]()#+!|~$^:]/g, '\\$&')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
