// npm run soak:kernel [-- --packets 10000000] [--seed N] [--jobs N]: random namespaces, ours against the kernel's, for as many packets as
// wanted. A round is one run of the oracle with a seed of its own. Stops with exit code 1, and the smallest world in which they differ.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { temporaryFolder } from './policy/bundle.mjs';
import { runProgram, seconds, tool, wholeNumber } from './run.mjs';
import { setupOrExit } from './setup.mjs';

const { values: options } = parseArgs({
  options: {
    packets: { type: 'string', default: '10000000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    round: { type: 'string', default: '200000' },
    jobs: { type: 'string', default: '1' },
  },
});
const say = (text) => process.stdout.write(`${text}\n`);
const wanted = wholeNumber(options, 'packets');
const firstSeed = wholeNumber(options, 'seed');
const perRound = Math.min(wanted, wholeNumber(options, 'round'));

/** Rounds of one job: seeds of all rounds are far apart, those of the worlds of one round follow each other. */
async function work(job, shared) {
  const tally = join(temporaryFolder(), `tally-${job}`);
  while (shared.asked < wanted && !shared.failed) {
    const round = shared.rounds++;
    const seed = (firstSeed + round * 1_000_003) % 2 ** 32;
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
          PODPATH_BOX_MS: String(24 * 3_600_000),
        },
      },
    );
    if (code !== 0) {
      shared.failed = true;
      say(
        `${output.trimEnd()}\n\nthey differ in round ${round + 1}; once more: npm run soak:kernel -- --seed ${seed}`,
      );
      process.exitCode = 1;
      return;
    }
    const counts = readFileSync(tally, 'utf8').trim().split('\n').map(Number);
    shared.asked += counts.reduce((sum, count) => sum + count, 0);
    const spentMs = performance.now() - shared.started;
    const rate = Math.round(shared.asked / (spentMs / 1000)).toLocaleString('en');
    say(
      `${shared.asked.toLocaleString('en')} packets agree, ${seconds(spentMs)}, ${rate} a second, round ${round + 1}`,
    );
  }
}

async function soak() {
  if (process.platform !== 'linux' || process.getuid() !== 0)
    throw new Error('needs Linux and root: it makes network namespaces');
  setupOrExit();
  const shared = { asked: 0, rounds: 0, failed: false, started: performance.now() };
  await Promise.all(Array.from({ length: wholeNumber(options, 'jobs') }, (_, job) => work(job, shared)));
}

await soak();
