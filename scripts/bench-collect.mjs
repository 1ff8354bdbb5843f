// npm run bench:collect: time, peak memory and size of collecting a cluster of 5,000 nodes and 150,000 pods (BENCH_NODES, BENCH_PODS).
// The objects come from a generator that pages as the API server does; the program measured is dist/podpath.js in a process of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, setupOrExit } from './setup.mjs';

setupOrExit();
const nodes = process.env.BENCH_NODES ?? '5000';
const pods = process.env.BENCH_PODS ?? '150000';
const limitMiB = 2048;
const folder = mkdtempSync(join(tmpdir(), 'podpath-bench-'));
const api = spawn(process.execPath, [join(root, 'scripts/bench-collect-api.mjs'), nodes, pods], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
try {
  const [line] = await once(api.stdout, 'data');
  const url = line.toString().trim();
  const path = join(folder, 'large.tar.gz');
  const runs = [
    ['snapshot collect', ['snapshot', 'collect', '--server', url, '--qps', '200', '--out', path]],
    ['snapshot show -s', ['snapshot', 'show', path]],
    [
      'policy explain, live',
      ['policy', 'explain', 'ns-1/pod-100', 'ns-1/pod-101:8080', '--server', url, '--qps', '200'],
    ],
  ];
  process.stdout.write(`${nodes} nodes, ${pods} pods\n`);
  for (const [name, args] of runs) {
    const { code, ms, peakMiB } = await measure(args);
    const verdict =
      code > 2 ? `FAILED with code ${code}` : peakMiB < limitMiB ? 'ok' : `more than ${limitMiB} MiB`;
    process.stdout.write(
      `${name.padEnd(22)} ${(ms / 1000).toFixed(1)} s, peak ${peakMiB.toFixed(0)} MiB: ${verdict}\n`,
    );
    if (verdict !== 'ok') process.exitCode = 1;
  }
  process.stdout.write(`${'the file'.padEnd(22)} ${(statSync(path).size / 1048576).toFixed(1)} MiB\n`);
} finally {
  api.kill();
  rmSync(folder, { recursive: true, force: true });
}

/** Peak resident memory as the kernel counts it (VmHWM), looked at until the process ends. */
async function measure(args) {
  const started = performance.now();
  const child = spawn(process.execPath, [join(root, 'dist/podpath.js'), ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, NO_PROXY: '*' },
  });
  let said = '';
  child.stderr.on('data', (chunk) => {
    said = `${said}${chunk}`.slice(-2_000);
  });
  let peakMiB = 0;
  const look = setInterval(() => {
    try {
      const kib = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
      peakMiB = Math.max(peakMiB, Number(kib ?? 0) / 1024);
    } catch {
      // It has just ended.
    }
  }, 50);
  const [code] = await once(child, 'exit');
  clearInterval(look);
  if (code > 2) process.stderr.write(said);
  return { code: code ?? 3, ms: performance.now() - started, peakMiB };
}
