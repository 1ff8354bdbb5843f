// npm run demo: from a fresh clone to a broken and explained pod network.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root, setupOrExit } from './setup.mjs';

setupOrExit();
const args = [join(root, 'dist/podpath.js'), 'demo', ...process.argv.slice(2)];
const child = spawn(process.execPath, args, { stdio: 'inherit' });
// Ctrl-C reaches the child by itself; this process waits until the child has cleaned up.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (signal !== 'SIGINT') child.kill(signal);
  });
}
child.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1);
});
