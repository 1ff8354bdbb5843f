/** `policy list -o md`: a table for a merge request or a wiki. */
import { partyText } from '../model/connectivity.ts';
import { type ConnectivityReport, problemText, rowsOf } from './connectivity.ts';
import { markdownText } from './escape.ts';

export function* connectivityMarkdown({
  connections,
  problems,
  notes,
}: ConnectivityReport): Generator<string> {
  yield '| From | To | Ports | Verdict |\n|---|---|---|---|\n';
  for (const { src, dst, ports, verdict, why } of rowsOf(connections)) {
    const told = why === '' ? verdict : `${verdict}: ${why}`;
    yield `| ${[partyText(src), partyText(dst), ports, told].map(markdownText).join(' | ')} |\n`;
  }
  if (notes.length > 0) yield `\n${notes.map((note) => `- ${markdownText(note)}\n`).join('')}`;
  if (problems.length > 0)
    yield `\nThe answer is without:\n\n${problems.map((one) => `- ${markdownText(problemText(one))}\n`).join('')}`;
}
