// node scripts/soak-routes.mjs [--routes 1000000] [--seed N]: answers of `ip route get` in random namespaces, ours against the
// kernel's, for as many as wanted. Stops with exit code 1 and the question where they differ. Linux and root.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { temporaryFolder } from './policy/bundle.mjs';
import { runProgram, seconds, tool, wholeNumber } from './run.mjs';
import { setupOrExit } from './setup.mjs';

const { values: options } = parseArgs({
  options: {
    routes: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    round: { type: 'string', default: '100000' },
  },
});
const say = (text) => process.stdout.write(`${text}\n`);
const wanted = wholeNumber(options, 'routes');
const firstSeed = wholeNumber(options, 'seed');
const perRound = Math.min(wanted, wholeNumber(options, 'round'));

if (process.platform !== 'linux' || process.getuid() !== 0)
  throw new Error('needs Linux and root: it makes network namespaces');
setupOrExit();
const tally = join(temporaryFolder(), 'tally-routes');
const started = performance.now();
let asked = 0;
let again = 0;
// Worlds of one round have seeds that follow each other: rounds are far apart.
for (let round = 0; asked < wanted; round++) {
  const seed = firstSeed + round * 100_000;
  rmSync(tally, { force: true });
  const { code, output } = await runProgram(
    [tool.vitest, 'run', '--project', 'unit', 'test/oracles/routing.test.ts'],
    {
      env: {
        ...process.env,
        NO_COLOR: '1',
        PODPATH_ROUTES: String(perRound),
        PODPATH_SEED: String(seed),
        PODPATH_TALLY: tally,
      },
    },
  );
  if (code !== 0) {
    say(`${output.trimEnd()}\n\nthey differ in round ${round + 1}, seed ${seed}`);
    process.exitCode = 1;
    break;
  }
  const [, answers, repeated] = readFileSync(tally, 'utf8').trim().split(' ').map(Number);
  asked += answers;
  again += repeated;
  say(
    `${asked.toLocaleString('en')} answers agree, ${again} of them asked twice, ${seconds(performance.now() - started)}, seed ${seed}`,
  );
}
