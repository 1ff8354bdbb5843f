// Runs one program to its end for the other scripts.
import { spawn } from 'node:child_process';
import { root } from './setup.mjs';

/**
 * Resolves to {code, output, ms}; never rejects. `inherit` shows the output as it comes, otherwise it is collected.
 * A program that outlives timeoutMs is killed and gives code 124, as timeout(1) does.
 */
export function runProgram(args, { inherit = false, timeoutMs = 0, env = process.env } = {}) {
  const started = performance.now();
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      cwd: root,
      env,
      stdio: inherit ? ['ignore', 'inherit', 'inherit'] : ['ignore', 'pipe', 'pipe'],
    });
    const chunks = [];
    child.stdout?.on('data', (chunk) => chunks.push(chunk));
    child.stderr?.on('data', (chunk) => chunks.push(chunk));
    let late = false;
    const timer =
      timeoutMs > 0 &&
      setTimeout(() => {
        late = true;
        child.kill('SIGTERM');
        setTimeout(() => child.kill('SIGKILL'), 10_000).unref();
      }, timeoutMs);
    child.on('close', (code) => {
      clearTimeout(timer);
      const output = Buffer.concat(chunks).toString('utf8');
      resolve({ code: late ? 124 : (code ?? 1), output, ms: performance.now() - started });
    });
    child.on('error', (error) =>
      resolve({ code: 1, output: error.message, ms: performance.now() - started }),
    );
  });
}

/** The script behind a package's command, so that no shim and no shell is needed. */
export const tool = {
  tsc: 'node_modules/typescript/bin/tsc',
  biome: 'node_modules/@biomejs/biome/bin/biome',
  knip: 'node_modules/knip/bin/knip.js',
  vitest: 'node_modules/vitest/vitest.mjs',
};

export const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

/** An option of parseArgs as a number from 1; an error that names the option if it is none. */
export function wholeNumber(options, name) {
  const value = Number(options[name]);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number from 1`);
  return value;
}
