// npm run soak:policy [-- --cases 10000000] [--seed N] [--kind calico,cilium] [--clusters 500]: engine and reference on random clusters,
// for as many (cluster, flow) cases as wanted. A round is one run of the oracles' tests with a seed of its own. Exit code 1 with the
// shrunk counterexample where they differ.
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { temporaryFolder } from './policy/bundle.mjs';
import { runProgram, seconds, tool, wholeNumber } from './run.mjs';
import { root, setupOrExit } from './setup.mjs';

const { values: options } = parseArgs({
  options: {
    cases: { type: 'string', default: '10000000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    kind: { type: 'string' },
    clusters: { type: 'string', default: '500' },
  },
});
const say = (text) => process.stdout.write(`${text}\n`);
const oracles = 'test/oracles/policy';
const wanted = wholeNumber(options, 'cases');
const firstSeed = wholeNumber(options, 'seed');

/** The tests that set the two against each other: those that call agree() or agreeOn(). */
function contests() {
  const all = readdirSync(join(root, oracles)).filter(
    (name) =>
      name.endsWith('.test.ts') && /\bagree(On)?\(/.test(readFileSync(join(root, oracles, name), 'utf8')),
  );
  if (options.kind === undefined) return all;
  const kinds = options.kind.split(',');
  const missing = kinds.filter((kind) => !all.includes(`${kind}.test.ts`));
  if (missing.length > 0)
    throw new Error(
      `no such kind: ${missing.join(', ')}; there are ${all.map((name) => basename(name, '.test.ts')).join(', ')}`,
    );
  return all.filter((name) => kinds.includes(basename(name, '.test.ts')));
}

async function soak() {
  setupOrExit();
  const files = contests();
  const tally = join(temporaryFolder(), 'tally');
  const started = performance.now();
  say(`${files.map((name) => basename(name, '.test.ts')).join(', ')}; seed ${firstSeed}`);
  let asked = 0;
  for (let round = 0; asked < wanted; round++) {
    const seed = firstSeed + round;
    rmSync(tally, { force: true });
    const { code, output } = await runProgram(
      [
        tool.vitest,
        'run',
        '--project',
        'unit',
        '--testTimeout=0',
        // By their names: other tests of these files say nothing about the two.
        '--testNamePattern=agree',
        ...files.map((name) => `${oracles}/${name}`),
      ],
      {
        env: {
          ...process.env,
          NO_COLOR: '1',
          PODPATH_POLICY_CASES: options.clusters,
          PODPATH_POLICY_SEED: String(seed),
          PODPATH_POLICY_TALLY: tally,
        },
      },
    );
    if (code !== 0) {
      say(
        `${output.trimEnd()}\n\nthey differ in round ${round + 1}; once more: npm run soak:policy -- --seed ${seed}`,
      );
      process.exitCode = 1;
      return;
    }
    const counts = readFileSync(tally, 'utf8').trim().split('\n').map(Number);
    if (counts.length < files.length)
      throw new Error(
        `${files.length} oracles, and only ${counts.length} asked something: ${files.join(', ')}`,
      );
    asked += counts.reduce((sum, count) => sum + count, 0);
    say(
      `${asked.toLocaleString('en')} cases agree, ${seconds(performance.now() - started)}, round ${round + 1}`,
    );
  }
}

await soak();
