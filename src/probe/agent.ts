/**
 * dist/agent.js: started inside a pod's or node's network namespace. Reads a JSON list of ProbeRequest on standard
 * input, writes a JSON list of ProbeResult in the same order on standard output. Exit code 2 on input it cannot read.
 */
import { text } from 'node:stream/consumers';
import type { ProbeRequest } from './request.ts';
import { runProbes } from './run.ts';

try {
  const requests: unknown = JSON.parse(await text(process.stdin));
  if (!Array.isArray(requests)) throw new TypeError('not a list of probe requests');
  process.stdout.write(`${JSON.stringify(await runProbes(requests as ProbeRequest[]))}\n`);
} catch (error) {
  process.stderr.write(`probe agent: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
