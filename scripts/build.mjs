// Bundles the command line into dist/: one small entry, the commands as chunks that load when they are used.
import { rm } from 'node:fs/promises';
import { rolldown } from 'rolldown';

await rm(new URL('../dist', import.meta.url), { recursive: true, force: true });
const bundle = await rolldown({
  input: { podpath: 'src/cli/main.ts', servers: 'src/lab/servers/main.ts', agent: 'src/probe/agent.ts' },
  platform: 'node',
  cwd: new URL('..', import.meta.url).pathname,
});
await bundle.write({
  dir: 'dist',
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'chunks/[name]-[hash].js',
  minify: { compress: true, mangle: false, codegen: true },
  sourcemap: false,
});
await bundle.close();
