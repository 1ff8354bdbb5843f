// npm run soak:kernel [-- --packets 10000000] [--seed N]: random namespaces, ours against the kernel's, for as many packets as wanted.
// A round is one run of the oracle with a seed of its own. Stops with exit code 1 and the packet where they differ.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { temporaryFolder } from './policy/bundle.mjs';
import { runProgram, seconds, tool } from './run.mjs';
import { setupOrExit } from './setup.mjs';

const { values: options } = parseArgs({
  options: {
    packets: { type: 'string', default: '10000000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    round: { type: 'string', default: '200000' },
  },
});
const say = (text) => process.stdout.write(`${text}\n`);
const wanted = wholeNumber('packets');
const firstSeed = wholeNumber('seed');
const perRound = Math.min(wanted, wholeNumber('round'));

function wholeNumber(name) {
  const value = Number(options[name]);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number from 1`);
  return value;
}

async function soak() {
  if (process.platform !== 'linux' || process.getuid() !== 0)
    throw new Error('needs Linux and root: it makes network namespaces');
  setupOrExit();
  const tally = join(temporaryFolder(), 'tally');
  const started = performance.now();
  let asked = 0;
  // Worlds of one round have seeds that follow each other: rounds are far apart.
  for (let round = 0; asked < wanted; round++) {
    const seed = firstSeed + round * 100_000;
    rmSync(tally, { force: true });
    const { code, output } = await runProgram(
      [tool.vitest, 'run', '--project', 'unit', 'test/oracles/simulate.test.ts'],
      {
        env: {
          ...process.env,
          NO_COLOR: '1',
          PODPATH_PACKETS: String(perRound),
          PODPATH_SEED: String(seed),
          PODPATH_TALLY: tally,
        },
      },
    );
    if (code !== 0) {
      say(
        `${output.trimEnd()}\n\nthey differ in round ${round + 1}; once more: npm run soak:kernel -- --seed ${seed}`,
      );
      process.exitCode = 1;
      return;
    }
    asked += readFileSync(tally, 'utf8')
      .trim()
      .split('\n')
      .map(Number)
      .reduce((sum, count) => sum + count, 0);
    say(
      `${asked.toLocaleString('en')} packets agree, ${seconds(performance.now() - started)}, round ${round + 1}`,
    );
  }
}

await soak();
