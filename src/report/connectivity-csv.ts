/** `policy list -o csv`: one line for each pair, protocol and verdict (RFC 4180). */
import { partyText } from '../model/connectivity.ts';
import { type ConnectivityReport, printable } from './connectivity.ts';

export function* connectivityCsv({ connections }: ConnectivityReport): Generator<string> {
  yield 'source,destination,protocol,ports,verdict,why\r\n';
  for (const { src, dst, protocol, ports, verdict, why } of connections)
    yield `${[partyText(src), partyText(dst), protocol, ports, verdict, why ?? ''].map(cell).join(',')}\r\n`;
}

/** A leading `=`, `+`, `-` or `@` would be a formula to a spreadsheet: such text gets an apostrophe in front. */
function cell(text: string): string {
  const shown = printable(text);
  const safe = /^[=+\-@]/.test(shown) ? `'${shown}` : shown;
  return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
