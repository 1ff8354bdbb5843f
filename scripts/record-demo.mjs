// Records what `podpath demo` replays where no lab can be built: the demo's broken lab, collected by podpath itself.
// Run it as root when the snapshot format or the demo's fault changes: node scripts/record-demo.mjs
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { root, setupOrExit } from './setup.mjs';

const lab = 'demo';
const file = join(root, 'demo/recording.tar.gz');

setupOrExit();
mkdirSync(join(root, 'demo'), { recursive: true });
podpath('lab', 'up', lab);
try {
  podpath('lab', 'break', lab, 'node-firewall-drops-tunnel');
  podpath('snapshot', 'collect', '--lab', lab, '--probes', '--out', file, '--force');
} finally {
  podpath('lab', 'down', lab);
}

function podpath(...args) {
  const result = spawnSync(process.execPath, [join(root, 'dist/podpath.js'), ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (result.status !== 0) throw new Error(`podpath ${args.join(' ')} ended with ${result.status}`);
}
