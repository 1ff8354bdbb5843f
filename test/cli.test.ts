/** The command line as a person meets it: bad input gives one clear error and exit code 3, never a stack. Runs dist/podpath.js. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundledEntry } from '../src/system/entry.ts';
import { exec } from '../src/system/exec.ts';

const program = bundledEntry('podpath');

const podpath = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  exec([process.execPath, program, ...args], { env: { NO_COLOR: '1', ...env }, timeoutMs: 20_000 });

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'podpath-cli-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('usage errors', () => {
  it.each<[string[], RegExp]>([
    [['docter'], /unknown command 'docter': did you mean doctor\?/],
    [['nothing-like-it'], /unknown command 'nothing-like-it'/],
    [['--hlp'], /unknown option '--hlp': did you mean --help\?/],
    [['doctor', '--outptu', 'json'], /unknown option '--outptu': did you mean --output\?/],
    [['doctor', '-o', 'xml'], /argument 'xml' is invalid/],
    [['doctor', 'extra'], /too many arguments/],
    [['completion'], /missing required argument 'shell'/],
    [['--color', 'blue', 'version'], /one of auto, always, never/],
  ])('%j: one line and code 3', async (args, message) => {
    const { code, stdout, stderr } = await podpath(args);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
  });

  it('is JSON on stdout with -o json', async () => {
    const { code, stdout, stderr } = await podpath(['nothing-like-it', '-o', 'json']);
    expect(JSON.parse(stdout)).toMatchObject({
      apiVersion: 'podpath.dev/v1alpha1',
      kind: 'Error',
      code: 'usage',
      why: expect.stringContaining('nothing-like-it'),
    });
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' });
  });
});

describe('bad snapshots', () => {
  const write = (name: string, content: string | Buffer) => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };

  it.each<[string, () => string]>([
    ['a path that does not exist', () => join(dir, 'nowhere.tar.gz')],
    ['a text file', () => write('notes.txt', 'hello\n')],
    ['an empty file', () => write('empty.tar.gz', '')],
    ['a truncated archive', () => write('cut.tar.gz', gzipSync(Buffer.alloc(4096, 7)).subarray(0, 20))],
    ['a folder that holds no snapshot', () => dir],
    ['a wrong schema version', () => join(write('podpath.json', '{"schema": 999}'), '..')],
  ])('%s: what, where, why, what to do, and code 3', async (_name, path) => {
    const { code, stdout, stderr } = await podpath(['snapshot', 'show', path()]);
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    const lines = stderr.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^podpath: /);
    expect(lines.slice(1).map((line) => line.split(':')[0]?.trim())).toEqual(['where', 'why', 'do']);
    expect(stderr).not.toMatch(/^\s+at /m);
  });
});

describe('the frame', () => {
  it('prints help on stdout, with the exit codes', async () => {
    for (const args of [[], ['--help'], ['help']]) {
      const { code, stdout, stderr } = await podpath(args);
      expect(stdout).toMatch(/^Usage: podpath [\s\S]*Commands:[\s\S]*Exit codes:/);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    }
  });

  it('knows its version', async () => {
    expect((await podpath(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(JSON.parse((await podpath(['version', '-o', 'json'])).stdout)).toMatchObject({ kind: 'Version' });
  });

  it('writes colours only where they are wanted', async () => {
    const escapeCode = '\u001b[';
    const plain = await podpath(['doctor'], { NO_COLOR: '' });
    expect(plain.stdout).not.toContain(escapeCode);
    const forced = await podpath(['doctor', '--color', 'always']);
    expect(forced.stdout).toContain(escapeCode);
    expect((await podpath(['doctor', '--color', 'never'])).stdout).not.toContain(escapeCode);
  });

  it('ends quietly when the reader of its output goes away', async () => {
    const child = spawn(process.execPath, [program, 'completion', 'fish'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.destroy();
    const errors: Buffer[] = [];
    child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, stderr: Buffer.concat(errors).toString() }).toEqual({ code: 0, stderr: '' });
  });
});

describe('demo --replay', () => {
  it('diagnoses the recording that comes with podpath: the tunnel port is blocked', async () => {
    const { code, stdout, stderr } = await podpath(['demo', '--replay']);
    expect(stdout).toMatch(/No lab is built[\s\S]*cannot reach[\s\S]*overlay\/port-blocked/);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('names the faults where it is asked for one that does not exist', async () => {
    const { code, stderr } = await podpath(['demo', '--fault', 'gremlins']);
    expect(stderr).toMatch(/there is no fault gremlins[\s\S]*node-firewall-drops-tunnel/);
    expect(code).toBe(3);
  });
});

describe('completion', () => {
  it('is a script that bash accepts and that completes commands and options', async () => {
    const { stdout } = await podpath(['completion', 'bash']);
    const script = join(dir, 'podpath.bash');
    writeFileSync(script, stdout);
    const ask = (words: string) =>
      exec([
        'bash',
        '-c',
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _podpath; echo "$COMPREPLY"',
        'bash',
        script,
        ...words.split(' '),
      ]);
    expect((await ask('podpath doct')).stdout).toBe('doctor\n');
    expect((await ask('podpath doctor --ou')).stdout).toBe('--output\n');
  });
});
