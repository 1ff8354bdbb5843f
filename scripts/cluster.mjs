// node scripts/cluster.mjs up|down|status|exec|kubeconfig|sweep [--name NAME]: a real Kubernetes cluster in namespaces of this machine.
// Needs Linux and root; installs Debian's packages and builds the rest with Go (test/cluster/).
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { bundleProgram, temporaryFolder } from './policy/bundle.mjs';
import { root, setupOrExit } from './setup.mjs';

setupOrExit();
const program = await bundleProgram('test/cluster/main.ts', temporaryFolder());
const { main } = await import(pathToFileURL(program).href);
process.exitCode = await main(process.argv.slice(2), join(root, 'test/cluster'));
