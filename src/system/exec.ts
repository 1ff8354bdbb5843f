/** The only place that starts child processes. Arguments are lists, never shell strings; output is capped. */
import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { constants } from 'node:os';

export interface ExecOptions {
  /** Text for standard input; absent: no input. */
  readonly input?: string;
  /** Killed (SIGKILL) after this long. Default 30 s. */
  readonly timeoutMs?: number;
  /** Output past this many bytes a stream is dropped and `truncated` is set. Default 64 MiB. */
  readonly maxOutputBytes?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** The program may ask questions on our terminal. Not with `input`. */
  readonly inheritInput?: boolean;
  /** Told what the program says on stderr while it runs; it is kept all the same. */
  readonly onStderr?: (text: string) => void;
}

/** The result of a command, successful or not: a command that fails is data, not an exception. */
export interface ExecResult {
  readonly argv: readonly string[];
  /** Exit code; -1 if it was killed, could not start or timed out. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
  readonly truncated: boolean;
  /** Set if the program could not be started (`ENOENT`, `EACCES`). */
  readonly startError?: string;
  readonly ms: number;
}

/** Runs a command to its end. Never rejects. */
export function exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const { timeoutMs = 30_000, maxOutputBytes = 64 * 1024 * 1024 } = options;
  const started = performance.now();
  return new Promise((resolve) => {
    const child = spawn(argv[0] ?? '', argv.slice(1), {
      stdio: [
        options.inheritInput === true ? 'inherit' : options.input === undefined ? 'ignore' : 'pipe',
        'pipe',
        'pipe',
      ],
      // C: messages and number formats that the parsers expect.
      env: { ...process.env, LC_ALL: 'C', ...options.env },
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    const out = new Capture(maxOutputBytes);
    const err = new Capture(maxOutputBytes);
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    let done = false;
    const finish = (code: number, startError?: string) => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      resolve({
        argv,
        code,
        stdout: out.text(),
        stderr: err.text(),
        timedOut,
        truncated: out.truncated || err.truncated,
        ms: performance.now() - started,
        ...(startError === undefined ? {} : { startError }),
      });
    };
    child.stdout?.on('data', (chunk: Buffer) => out.add(chunk));
    child.stderr?.on('data', (chunk: Buffer) => {
      err.add(chunk);
      options.onStderr?.(chunk.toString('utf8'));
    });
    child.on('error', (error: NodeJS.ErrnoException) => finish(-1, error.code ?? error.message));
    child.on('close', (code) => finish(code ?? -1));
    if (options.input !== undefined && child.stdin !== null) {
      // EPIPE: the program ended without reading its input; its exit code tells the rest.
      child.stdin?.on('error', () => {});
      child.stdin.end(options.input);
    }
  });
}

class Capture {
  readonly #max: number;
  readonly #chunks: Buffer[] = [];
  #size = 0;
  truncated = false;
  constructor(max: number) {
    this.#max = max;
  }
  add(chunk: Buffer): void {
    const room = this.#max - this.#size;
    if (chunk.length > room) this.truncated = true;
    if (room <= 0) return;
    this.#chunks.push(chunk.subarray(0, room));
    this.#size += Math.min(chunk.length, room);
  }
  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}

/** Maps with at most `limit` calls under way; results in input order. */
export async function mapLimit<T, U>(
  items: readonly T[],
  limit: number,
  f: (item: T, index: number) => Promise<U>,
): Promise<U[]> {
  const results: U[] = new Array(items.length);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await f(items[index] as T, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return results;
}

export interface DaemonOptions {
  /** Text for standard input. */
  readonly input: string;
  /** Standard output and error are appended to this file. */
  readonly logFile: string;
  /** Killed if it is not ready after this long. */
  readonly readyTimeoutMs: number;
}

/** `ready`: it runs on, in a session of its own. Else it has ended (or was killed) before it was ready. */
export type DaemonStart =
  | { readonly state: 'ready'; readonly pid: number }
  | { readonly state: 'failed'; readonly why: string };

/** Starts a process that outlives this one. It says that it is ready by writing to descriptor 3. Never rejects. */
export async function startDaemon(argv: readonly string[], options: DaemonOptions): Promise<DaemonStart> {
  const log = await open(options.logFile, 'a');
  try {
    return await new Promise<DaemonStart>((resolve) => {
      const child = spawn(argv[0] ?? '', argv.slice(1), {
        stdio: ['pipe', log.fd, log.fd, 'pipe'],
        detached: true,
        // It must not hold the directory that the caller happens to be in.
        cwd: '/',
        env: { ...process.env, LC_ALL: 'C' },
      });
      const failed = (why: string) => {
        clearTimeout(timer);
        resolve({ state: 'failed', why });
      };
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        failed(`not ready after ${options.readyTimeoutMs} ms`);
      }, options.readyTimeoutMs);
      child.on('error', (error: NodeJS.ErrnoException) => failed(error.code ?? error.message));
      child.on('exit', (code, signal) => failed(`ended with ${signal ?? `exit code ${code}`}`));
      child.stdio[3]?.once('data', () => {
        clearTimeout(timer);
        // From here on this process may end without waiting for the other.
        child.unref();
        (child.stdio[3] as Socket).destroy();
        resolve({ state: 'ready', pid: child.pid ?? -1 });
      });
      child.stdin?.on('error', () => {});
      child.stdin?.end(options.input);
    });
  } finally {
    await log.close();
  }
}

/** Runs a command on this process' own terminal. Resolves to its exit code, 128 + signal if one ended it, 127 if it could not start. */
export function execAttached(argv: readonly string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: 'inherit' });
    child.on('error', () => resolve(127));
    child.on('close', (code, signal) => resolve(code ?? 128 + (constants.signals[signal ?? 'SIGKILL'] ?? 9)));
  });
}
