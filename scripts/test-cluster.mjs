// npm run test:cluster [-- FILTER ...]: the tests on a real Kubernetes, made on this machine or named by PODPATH_TEST_KUBECONFIG. Prints
// why it skips where neither can be had.
import { runProgram, tool } from './run.mjs';
import { setupOrExit } from './setup.mjs';

setupOrExit();
const args = [tool.vitest, 'run', '--project', 'cluster', ...process.argv.slice(2)];
process.exitCode = (await runProgram(args, { inherit: true })).code;
