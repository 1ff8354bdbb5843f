/** `policy list -o json`, written piece by piece: docs/schema/connectivity.json. */
import type { ConnectivityReport } from './connectivity.ts';

const apiVersion = 'podpath.dev/v1alpha1';

export function* connectivityJson({
  connections,
  reading,
  problems,
  notes,
}: ConnectivityReport): Generator<string> {
  const head = JSON.stringify({ apiVersion, kind: 'Connectivity', reading, problems, notes });
  yield `${head.slice(0, -1)},"connections":[`;
  let separator = '\n';
  for (const { src, dst, protocol, ports, verdict, why } of connections) {
    const line = { src, dst, protocol, ports, verdict, ...(why === undefined ? {} : { why }) };
    yield `${separator}${JSON.stringify(line)}`;
    separator = ',\n';
  }
  yield '\n]}\n';
}
