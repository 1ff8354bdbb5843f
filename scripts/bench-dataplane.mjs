// npm run bench:dataplane [-- --services 1000,10000,100000] [--runs 3] [--only parse,walk,trace,flows,command] [--json] [--profile DIR]
// The data plane on made-up nodes with the rules of thousands of Services. Every figure comes from a process of its own.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundleProgram, temporaryFolder } from './policy/bundle.mjs';
import { root, setupOrExit } from './setup.mjs';

const { values: options } = parseArgs({
  options: {
    services: { type: 'string', default: '1000,10000,100000' },
    runs: { type: 'string', default: '3' },
    only: { type: 'string', default: 'parse,walk,trace,flows,command' },
    json: { type: 'boolean', default: false },
    profile: { type: 'string' },
  },
});
const runs = Number(options.runs);
const sizes = options.services.split(',').map(Number);
const only = new Set(options.only.split(','));
const say = (text) => options.json || process.stdout.write(`${text}\n`);

/** What a node of 10,000 Services must keep, in milliseconds and megabytes. */
const aims = { parseMs: 1000, parseMb: 500, walkMs: 1, traceMs: 5, flowsMs: 60_000 };
/** A trace holds two nodes, and ten times the rules would not fit in the memory that Node takes by itself. */
const mostForTrace = 10_000;

/** Rule sets of one node. `policies`: chains for each of 500 pods on top of 1,000 Services. */
const kinds = [
  ...sizes.map((services) => ({ name: 'iptables', services, mode: 'iptables' })),
  ...sizes.map((services) => ({ name: 'nftables', services, mode: 'nftables' })),
  { name: 'iptables, 50 pods with policy chains', services: 1000, policies: true, pods: 50 },
  { name: 'iptables, 500 pods with policy chains', services: 1000, policies: true, pods: 500 },
];

setupOrExit();
const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.versions.node}`;
say(machine);
say(`3 endpoints each; ${runs} runs, a fresh process each: median (least to most)`);
const folder = temporaryFolder();
const program = await bundleProgram('scripts/bench-dataplane-run.mjs', folder);
const results = { machine, nodes: [], traces: [], flows: [], command: [] };
if (only.has('parse') || only.has('walk')) for (const kind of kinds) results.nodes.push(benchNode(kind));
if (only.has('trace'))
  for (const services of sizes.filter((n) => n <= mostForTrace)) results.traces.push(benchTrace(services));
if (only.has('flows')) results.flows.push(benchFlows());
if (only.has('command'))
  for (const services of sizes.filter((n) => n <= mostForTrace)) results.command.push(benchCommand(services));
if (options.json) process.stdout.write(`${JSON.stringify(results, null, 1)}\n`);

function benchNode({ name, services, mode = 'iptables', policies = false, pods = 50 }) {
  const files = join(folder, 'node');
  const made = { nodes: 1, podsPerNode: pods, services, mode, policies };
  measure('write', files, made);
  const result = { name, services };
  if (only.has('parse')) {
    const parses = repeat((i) => measure('parse', files, made, profileOf(`parse-${mode}-${services}`, i)));
    result.rules = parses[0].rules;
    result.parse = {
      ms: ofAll(parses, 'ms'),
      cpuMs: ofAll(parses, 'cpuMs'),
      maxRssMb: ofAll(parses, 'maxRssMb'),
    };
    const aim =
      services === 10_000 && mode === 'iptables' ? `aim ${aims.parseMs} ms, ${aims.parseMb} MB` : '';
    say(`\n${name}, ${services.toLocaleString('en')} Services, ${result.rules.toLocaleString('en')} rules`);
    row('text to rule set', result.parse.ms, 'ms', aim);
    row('peak memory of the process', result.parse.maxRssMb, 'MB');
  }
  if (only.has('walk')) {
    const walks = repeat((i) => measure('walk', files, made, profileOf(`walk-${mode}-${services}`, i)));
    result.walk = {
      first: ofAll(walks, 'first'),
      median: ofAll(walks, 'median'),
      p99: ofAll(walks, 'p99'),
      verdicts: walks[0].verdicts,
    };
    if (!only.has('parse')) say(`\n${name}, ${services.toLocaleString('en')} Services`);
    row('first walk: the index is made', result.walk.first, 'ms');
    row('walk, all hooks of the node', result.walk.median, 'ms', `aim ${aims.walkMs} ms`);
    row('walk, slowest hundredth', result.walk.p99, 'ms');
  }
  rmSync(files, { recursive: true });
  return result;
}

function benchTrace(services) {
  const made = { nodes: 2, podsPerNode: 50, services };
  const traces = repeat((i) => measure('trace', folder, made, profileOf(`trace-${services}`, i)));
  const part = (key) => ({
    median: ofAll(
      traces.map((run) => run[key]),
      'median',
    ),
    p99: ofAll(
      traces.map((run) => run[key]),
      'p99',
    ),
  });
  const result = {
    services,
    first: ofAll(traces, 'first'),
    small: part('small'),
    bothSizes: part('bothSizes'),
    answers: traces[0].answers,
  };
  say(
    `\ntwo nodes, ${services.toLocaleString('en')} Services: a flow to a Service, all 3 backends, there and back (${describe(result.answers)})`,
  );
  row('first trace, with reading the rules', result.first, 'ms');
  row('trace, small packets', result.small.median, 'ms', `aim ${aims.traceMs} ms`);
  row('trace, small and full size', result.bothSizes.median, 'ms', `aim ${aims.traceMs} ms`);
  row('the same, slowest hundredth', result.bothSizes.p99, 'ms');
  return result;
}

function benchFlows() {
  const made = { nodes: 10, podsPerNode: 100, services: 100 };
  const run = measure('flows', folder, made, profileOf('flows', 0));
  say(
    `\nall flows of 1,000 pods on 10 nodes to 100 Services, 3 backends each, there and back (${describe(run.answers)})`,
  );
  row('wall clock', [run.ms], 'ms', `aim ${aims.flowsMs} ms`);
  row('processor time', [run.cpuMs], 'ms');
  row('peak memory', [run.maxRssMb], 'MB');
  return { ...made, ...run };
}

/** `podpath trace` as a person runs it, on a snapshot in a directory. */
function benchCommand(services) {
  const files = join(folder, 'snapshot');
  measure('write', files, { nodes: 2, podsPerNode: 50, services });
  const cli = join(root, 'dist/podpath.js');
  const times = repeat(() => {
    const started = performance.now();
    const child = spawnSync(
      process.execPath,
      [cli, 'trace', 'shop/app-1', 'shop/svc/svc-7:80', '-s', files],
      { encoding: 'utf8' },
    );
    if (child.status !== 0)
      throw new Error(`podpath trace ended with ${child.status}:\n${child.stdout}${child.stderr}`);
    return performance.now() - started;
  });
  rmSync(files, { recursive: true });
  say(`\npodpath trace on a snapshot of two nodes and 100 pods, ${services.toLocaleString('en')} Services`);
  row('whole command', times, 'ms');
  return { services, ms: times };
}

function repeat(run) {
  return Array.from({ length: runs }, (_, i) => run(i));
}

function ofAll(list, key) {
  return list.map((run) => run[key]);
}

function describe(answers) {
  return Object.entries(answers)
    .map(([answer, count]) => `${count.toLocaleString('en')} ${answer}`)
    .join('; ');
}

function profileOf(name, run) {
  if (options.profile === undefined || run > 0) return [];
  mkdirSync(options.profile, { recursive: true });
  return ['--cpu-prof', '--cpu-prof-dir', options.profile, '--cpu-prof-name', `${name}.cpuprofile`];
}

/** A wrong answer is no measurement: the program ends with the child's output. */
function measure(what, files, made, flags = []) {
  const child = spawnSync(process.execPath, [...flags, program, what, files, JSON.stringify(made)], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (child.status === 0) return JSON.parse(child.stdout);
  // The source line that Node prints in front is the whole minified program.
  throw new Error(`${what} ended with ${child.status ?? child.signal}:\n${child.stderr.slice(-2000)}`);
}

function row(what, values, unit, remark = '') {
  const sorted = [...values].sort((a, b) => a - b);
  const shown = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(0));
  const middle = shown(sorted[Math.floor(sorted.length / 2)]).padStart(9);
  const spread = sorted.length > 1 ? ` (${shown(sorted[0])} to ${shown(sorted.at(-1))})` : '';
  say(`  ${what.padEnd(36)} ${middle} ${unit}${spread}  ${remark}`.trimEnd());
}
