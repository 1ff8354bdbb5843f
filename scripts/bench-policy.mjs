// npm run bench:policy [-- --size S,M,L,XL,unique,cidrs,rules] [--runs 3] [--seed 1]: the policy engine on made-up clusters, from files.
//   --write DIR [--yaml]: only write the manifests of one size, for another tool to read.
//   --profile DIR: a CPU profile of each size's first run.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundleProgram, temporaryFolder } from './policy/bundle.mjs';
import { clusterNames, makeCluster, writeCluster } from './policy/clusters.mjs';
import { setupOrExit } from './setup.mjs';

const { values: options } = parseArgs({
  options: {
    size: { type: 'string', default: clusterNames.join(',') },
    runs: { type: 'string', default: '3' },
    seed: { type: 'string', default: '1' },
    write: { type: 'string' },
    yaml: { type: 'boolean', default: false },
    profile: { type: 'string' },
  },
});
const say = (text) => process.stdout.write(`${text}\n`);
const names = options.size.split(',');
const runs = wholeNumber('runs');
const seed = wholeNumber('seed');

/** Of the whole, and of the peak memory. */
const aims = { S: '0.3 s', M: '2 s, 600 MB', L: '10 s, 2 GB', XL: '30 s, 4 GB' };

function wholeNumber(name) {
  const value = Number(options[name]);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number from 1`);
  return value;
}

function write(folder) {
  for (const name of names) {
    const objects = makeCluster(name, seed);
    const { files, bytes } = writeCluster(names.length === 1 ? folder : join(folder, name), objects, {
      yaml: options.yaml,
    });
    say(`${name}: ${countsOf(objects)}; ${files} files, ${(bytes / 1e6).toFixed(1)} MB`);
  }
}

async function bench() {
  setupOrExit();
  say(
    `${cpus().length} x ${cpus()[0]?.model ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.versions.node}`,
  );
  say(`seed ${seed}, ${runs} runs of each size, a fresh process each: median (least to most)`);
  const folder = temporaryFolder();
  const program = await bundleProgram('scripts/bench-policy-run.mjs', folder);
  for (const name of names) {
    const files = join(folder, 'manifests');
    const objects = makeCluster(name, seed);
    const { bytes } = writeCluster(files, objects);
    say(`\n${name}: ${countsOf(objects)}; ${(bytes / 1e6).toFixed(1)} MB of JSON`);
    benchSize(name, program, files);
    rmSync(files, { recursive: true });
  }
}

function benchSize(name, program, files) {
  const floors = repeat(() => measure(program, 'floor', files));
  const wholes = repeat((i) => measure(program, 'whole', files, profileOf(name, i)));
  const hashes = new Set(wholes.map(({ hash }) => hash));
  if (hashes.size !== 1) throw new Error(`the runs differ: ${[...hashes].join(', ')}`);
  const floor = median(floors.map(({ ms }) => ms));
  row(
    'read + JSON.parse, the floor',
    floors.map(({ ms }) => ms),
  );
  const [{ phases, counts, hash }] = wholes;
  for (const phase of Object.keys(phases))
    row(
      phase,
      wholes.map((run) => run.phases[phase]),
    );
  const engine = wholes.map(({ phases: { 'read + JSON.parse': _, ...rest } }) => sum(rest));
  row('engine: all after JSON.parse', engine, `= ${(median(engine) / floor).toFixed(2)} x the floor`);
  row(
    'whole, from files',
    wholes.map((run) => sum(run.phases)),
    aims[name] && `aim ${aims[name]}`,
  );
  row(
    'CPU time of the process',
    wholes.map(({ cpuMs }) => cpuMs),
    'start-up and garbage collection on other cores too',
  );
  figure('peak memory', `${Math.round(Math.max(...wholes.map(({ maxRssMb }) => maxRssMb)))} MB`);
  for (const [what, count] of Object.entries(counts)) figure(what, count.toLocaleString('en'));
  figure('hash of the result', hash);
  const answers = measure(program, 'after', files);
  for (const [what, value] of Object.entries(answers)) figure(what, value);
}

const repeat = (run) => Array.from({ length: runs }, (_, i) => run(i));
const sum = (phases) => Object.values(phases).reduce((total, ms) => total + ms, 0);
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

function profileOf(name, run) {
  if (options.profile === undefined || run > 0) return [];
  mkdirSync(options.profile, { recursive: true });
  return ['--cpu-prof', '--cpu-prof-dir', options.profile, '--cpu-prof-name', `${name}.cpuprofile`];
}

/** A wrong answer is no measurement: the program ends with the child's output. */
function measure(program, what, files, flags = []) {
  const child = spawnSync(process.execPath, [...flags, program, what, files, String(seed)], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (child.status === 0) return JSON.parse(child.stdout);
  // The source line that Node prints in front is the whole minified program.
  throw new Error(`${what} ended with ${child.status ?? child.signal}:\n${child.stderr.slice(-2000)}`);
}

const countsOf = (objects) =>
  Object.entries(objects)
    .map(([plural, items]) => `${items.length.toLocaleString('en')} ${plural}`)
    .join(', ');

function row(what, times, remark = '') {
  const text = `${median(times).toFixed(0).padStart(7)} ms  (${Math.min(...times).toFixed(0)} to ${Math.max(...times).toFixed(0)})`;
  say(`  ${what.padEnd(32)} ${text}  ${remark}`.trimEnd());
}

function figure(what, value) {
  say(`  ${what.padEnd(32)} ${value}`);
}

if (options.write === undefined) await bench();
else write(options.write);
