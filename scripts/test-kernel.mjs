// npm run test:kernel [-- --packets 100000] [--seed N] [--world BACKEND:SEED --flows N]: our rules, routes and whole namespaces against
// the kernel that this runs on, in namespaces of its own. Needs Linux and root. The last line is `N packets agree`.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { temporaryFolder } from './policy/bundle.mjs';
import { runProgram, seconds, tool } from './run.mjs';
import { setupOrExit } from './setup.mjs';

const { values: options } = parseArgs({
  options: {
    packets: { type: 'string', default: '100000' },
    // Absent: the same worlds each time, and a fifth of new ones.
    seed: { type: 'string' },
    // One world alone, as a run that failed names it.
    world: { type: 'string' },
    flows: { type: 'string' },
  },
});
if (options.world !== undefined && !/^(nft|native|legacy):\d+$/.test(options.world)) {
  process.stderr.write(`--world is a backend and a seed, such as native:908, not ${options.world}\n`);
  process.exit(2);
}
const say = (text) => process.stdout.write(`${text}\n`);
const started = performance.now();

if (process.platform !== 'linux' || process.getuid() !== 0) {
  say('the kernel tests need Linux and root: they make network namespaces');
  process.exit(1);
}
setupOrExit();
const tally = join(temporaryFolder(), 'tally');
const { code } = await runProgram(
  [
    tool.vitest,
    'run',
    '--project',
    'unit',
    ...(options.world === undefined ? ['simulate', 'routing'] : ['simulate']).map(
      (name) => `test/oracles/${name}.test.ts`,
    ),
  ],
  {
    inherit: true,
    env: {
      ...process.env,
      PODPATH_PACKETS: options.packets,
      PODPATH_BOX_MS: String(24 * 3_600_000),
      ...(options.seed === undefined ? {} : { PODPATH_SEED: options.seed }),
      ...(options.world === undefined ? {} : { PODPATH_WORLD: options.world }),
      ...(options.flows === undefined ? {} : { PODPATH_FLOWS: options.flows }),
      PODPATH_TALLY: tally,
    },
  },
);
const { packets, routes } = readTally(tally);
if (routes > 0) say(`${routes.toLocaleString('en')} answers of ip route get were compared`);
say(`${seconds(performance.now() - started)}${options.seed === undefined ? '' : `, seed ${options.seed}`}`);
say(
  code === 0
    ? `${packets.toLocaleString('en')} packets agree`
    : 'the kernel disagrees, or a test failed: see above',
);
process.exitCode = code === 0 && packets > 0 ? 0 : 1;

/** Packets stand as bare numbers, answers of `ip route get` behind a word. */
function readTally(file) {
  let packets = 0;
  let routes = 0;
  try {
    for (const line of readFileSync(file, 'utf8').split('\n')) {
      const [first, count] = line.split(' ');
      if (first === 'routes') routes += Number(count);
      else packets += Number(first);
    }
  } catch {
    // No test came so far.
  } finally {
    rmSync(file, { force: true });
  }
  return { packets, routes };
}
