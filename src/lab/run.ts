/** Commands of the lab that must succeed. */
import { PodpathError } from '../model/errors.ts';
import { type ExecOptions, type ExecResult, exec } from '../system/exec.ts';

export const inNetns = (netns: string, argv: readonly string[]): readonly string[] => [
  'ip',
  'netns',
  'exec',
  netns,
  ...argv,
];

/** Runs a command. Throws PodpathError with the command's own words if it fails. */
export async function must(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const result = await exec(argv, options);
  if (result.code === 0) return result;
  throw new PodpathError({
    code: 'lab/command-failed',
    what: 'a command that builds the lab failed',
    where: argv.join(' '),
    why:
      result.startError ??
      (result.timedOut ? 'it did not end in time' : result.stderr.trim() || `exit code ${result.code}`),
    todo: 'run `podpath doctor` to see what this host lacks',
  });
}

/** `ip -batch` with one command a line, inside a namespace; without one, where the caller is (for `netns add` only). */
export async function ipBatch(
  netns: string | undefined,
  lines: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  if (lines.length === 0) return;
  const argv = ['ip', ...(netns === undefined ? [] : ['-n', netns]), '-batch', '-'];
  await must(argv, { input: `${lines.join('\n')}\n`, timeoutMs: 120_000, ...(signal ? { signal } : {}) });
}

export async function bridgeBatch(
  netns: string,
  lines: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  if (lines.length === 0) return;
  await must(['bridge', '-n', netns, '-batch', '-'], {
    input: `${lines.join('\n')}\n`,
    ...(signal ? { signal } : {}),
  });
}
