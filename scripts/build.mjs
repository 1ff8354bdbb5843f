// Bundles the programs into dist/: small entries, the commands as chunks that load when they are used.
// The new dist/ takes the old one's place only when it is whole, so that a failed build leaves a program that runs.
import { copyFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { rolldown } from 'rolldown';

const root = fileURLToPath(new URL('..', import.meta.url));
const entries = {
  podpath: 'src/cli/main.ts',
  servers: 'src/lab/servers/main.ts',
  agent: 'src/probe/agent.ts',
  policy: 'src/library/policy.ts',
};
/** Files that run or are read as they are; their names in dist/. */
const copies = { 'open.py': 'src/lab/servers/open.py', 'demo.tar.gz': 'demo/recording.tar.gz' };

const fresh = join(root, `dist.${process.pid}.tmp`);
const old = join(root, `dist-old.${process.pid}.tmp`);
try {
  const bundle = await rolldown({ input: entries, platform: 'node', cwd: root });
  await bundle.write({
    dir: fresh,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name]-[hash].js',
    minify: { compress: true, mangle: false, codegen: true },
    sourcemap: false,
  });
  await bundle.close();
  for (const [name, file] of Object.entries(copies)) await copyFile(join(root, file), join(fresh, name));
  await rename(join(root, 'dist'), old).catch((error) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await rename(fresh, join(root, 'dist'));
} catch (error) {
  // The bundler's message shows the place; its stack shows only the bundler.
  process.stderr.write(`${stripVTControlCharacters(error.message)}\n`);
  process.exitCode = 1;
} finally {
  await rm(fresh, { recursive: true, force: true });
  await rm(old, { recursive: true, force: true });
}
