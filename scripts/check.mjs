// npm run check: everything that can be said about the code without running it. All at once; the output of what failed, at the end.
import { runProgram, seconds, tool } from './run.mjs';
import { setupOrExit } from './setup.mjs';

setupOrExit();

const checks = {
  types: [tool.tsc, '-p', '.'],
  style: [tool.biome, 'check', '--error-on-warnings'],
  unused: [tool.knip],
  layers: [tool.vitest, 'run', '--project', 'unit', 'test/layers.test.ts'],
};
const results = await Promise.all(
  Object.entries(checks).map(async ([name, args]) => ({ name, ...(await runProgram(args)) })),
);
for (const { name, code, output } of results) {
  if (code !== 0) process.stdout.write(`\n--- ${name} ---\n${output.trimEnd()}\n`);
}
const line = ({ name, code, ms }) => `${name} ${code === 0 ? 'ok' : 'FAILED'} (${seconds(ms)})`;
process.stdout.write(`check: ${results.map(line).join(', ')}\n`);
process.exitCode = results.every(({ code }) => code === 0) ? 0 : 1;
