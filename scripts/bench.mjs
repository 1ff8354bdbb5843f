// npm run bench: how long podpath takes, measured from outside as a user feels it. Prints a table; judges nothing.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { missingTools, root, setupOrExit } from './setup.mjs';

const rounds = 5;
const lab = `bench-${process.pid}`;
const program = join(root, 'dist/podpath.js');
const say = (text) => process.stdout.write(`${text}\n`);

setupOrExit();
const model = cpus()[0]?.model ?? 'unknown CPU';
say(
  `${cpus().length} x ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.versions.node}`,
);
say(
  `podpath ${JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version}, median of ${rounds} (least to most)\n`,
);

measure('podpath --help', ['--help'], [0]);
const folder = mkdtempSync(join(tmpdir(), 'podpath-bench-'));
try {
  if (process.platform === 'linux' && process.getuid() === 0 && missingTools().length === 0) withLab();
  else say('the lab benchmarks are left out: they need Linux, root and the tools of npm run setup');
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function withLab() {
  const recording = join(folder, 'recorded.tar.gz');
  once('lab up, 3 nodes and 12 pods', ['lab', 'up', lab]);
  try {
    measure(
      'diagnose on the lab, with probes',
      ['diagnose', 'shop/web-1', 'shop/api-2:8080', '--lab', lab],
      [0],
    );
    // A lost packet costs its time-out: the case that people wait for.
    spawnSync(process.execPath, [program, 'lab', 'break', lab, 'node-firewall-drops-tunnel']);
    measure('diagnose on the broken lab', ['diagnose', 'shop/web-1', 'shop/api-2:8080', '--lab', lab], [1]);
    spawnSync(process.execPath, [program, 'lab', 'heal', lab]);
    once('snapshot collect', ['snapshot', 'collect', '--lab', lab, '--out', recording]);
    measure('diagnose on its recording', ['diagnose', 'shop/web-1', 'shop/api-2:8080', '-s', recording], [0]);
    measure('scan of its recording', ['scan', '-s', recording], [0]);
  } finally {
    once('lab down', ['lab', 'down', lab]);
  }
}

function measure(name, args, codes) {
  const times = Array.from({ length: rounds }, () => run(args, codes)).sort((a, b) => a - b);
  row(name, times[Math.floor(rounds / 2)], `(${Math.round(times[0])} to ${Math.round(times[rounds - 1])})`);
}

function once(name, args) {
  row(name, run(args, [0]), '(once)');
}

function row(name, ms, remark) {
  say(`${name.padEnd(36)} ${String(Math.round(ms)).padStart(6)} ms  ${remark}`);
}

/** Milliseconds of one run. A wrong answer is no measurement: the program ends with the command's output. */
function run(args, codes) {
  const started = performance.now();
  const result = spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ms = performance.now() - started;
  if (codes.includes(result.status)) return ms;
  throw new Error(`podpath ${args.join(' ')} ended with ${result.status}:\n${result.stdout}${result.stderr}`);
}
