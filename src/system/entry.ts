/** Finds the bundled programs that podpath starts as processes of their own (dist/servers.js, dist/agent.js). */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PodpathError } from '../model/errors.ts';

export type Entry = 'podpath' | 'servers' | 'agent';

/** Absolute path of `dist/<name>.js`. Throws PodpathError if the build has not been made. */
export const bundledEntry = (name: Entry): string => bundledFile(`${name}.js`);

/** Absolute path of a file in dist/. Works from the bundle (dist/, dist/chunks/) and from the sources (src/system/). */
export function bundledFile(file: string): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  for (let level = 0; level < 4; level++) {
    const found = [join(dir, file), join(dir, 'dist', file)].find((path) => existsSync(path));
    if (found !== undefined) return found;
    dir = dirname(dir);
  }
  throw new PodpathError({
    code: 'install/not-built',
    what: `dist/${file} is missing`,
    why: 'podpath has not been built',
    todo: 'run: npm run build',
  });
}
