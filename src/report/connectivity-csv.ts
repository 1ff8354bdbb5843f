/** `policy list -o csv`: one line for each pair, protocol and verdict (RFC 4180). */
import { partyText } from '../model/connectivity.ts';
import type { ConnectivityReport } from './connectivity.ts';
import { csvCell } from './escape.ts';

export function* connectivityCsv({ connections }: ConnectivityReport): Generator<string> {
  yield 'source,destination,protocol,ports,verdict,why\r\n';
  for (const { src, dst, protocol, ports, verdict, why } of connections)
    yield `${[partyText(src), partyText(dst), protocol, ports, verdict, why ?? ''].map(csvCell).join(',')}\r\n`;
}
