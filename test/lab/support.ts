/** Labs for tests: names of their own, removed at the end, and real packets between pods. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import type { Lab } from '../../src/lab/lab.ts';

export interface Try {
  readonly kind: 'ping' | 'tcp' | 'udp' | 'http' | 'name';
  readonly host: string;
  readonly port?: number;
  readonly bytes?: number;
}

/** Why this host cannot run labs; undefined if it can. */
export const whyNoLab: string | undefined =
  process.platform !== 'linux' ? 'labs need Linux' : process.getuid?.() !== 0 ? 'labs need root' : undefined;
if (whyNoLab !== undefined) console.warn(`lab tests are skipped: ${whyNoLab}`);

/** A state directory of this test file's own, gone after its last test. Call it once, at the top of the file. */
export function ownStateDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'podpath-labtest-'));
  process.env.PODPATH_STATE_DIR = dir;
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A lab name that no other test run uses. */
export const labName = (part: string): string => `t${process.pid % 100_000}-${part}`;

/** Sends from a pod, all at once; outcomes by what was tried, `http 10.0.0.1:80`: "ok" or what went wrong. */
export async function send(lab: Lab, pod: string, tries: readonly Try[]): Promise<Record<string, string>> {
  const script = fileURLToPath(new URL('traffic.py', import.meta.url));
  const result = await lab.exec(lab.pod(pod).netns, ['python3', script], {
    input: JSON.stringify(tries),
    timeoutMs: 15_000,
  });
  if (result.code !== 0) throw new Error(`traffic.py: ${result.stderr}`);
  const outcomes = JSON.parse(result.stdout) as string[];
  return Object.fromEntries(tries.map((one, index) => [label(one), outcomes[index] ?? 'no outcome']));
}

const label = ({ kind, host, port, bytes }: Try): string =>
  `${kind} ${host}${port === undefined ? '' : ` ${port}`}${bytes === undefined ? '' : ` ${bytes} bytes`}`;

/** What must come out where every try works. */
export const allOk = (tries: readonly Try[]): Record<string, string> =>
  Object.fromEntries(tries.map((one) => [label(one), 'ok']));
