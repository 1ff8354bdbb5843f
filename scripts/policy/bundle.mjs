// TypeScript outside of vitest: one program bundled as the released ones are, into a folder that is gone afterwards.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { root } from '../setup.mjs';

const prefix = 'podpath-policy-';

/** A folder outside of the project that lives as long as this process, crashes and signals included. */
export function temporaryFolder() {
  removeLeftovers();
  const folder = mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(signal, () => process.exit(128 + constants.signals[signal]));
  return folder;
}

/** Folders of processes that were killed outright. */
function removeLeftovers() {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid)))
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Returns the path of the program, packages included, in one file. */
export async function bundleProgram(input, folder) {
  const file = join(folder, 'program.mjs');
  const bundle = await rolldown({ input: join(root, input), platform: 'node', cwd: root });
  await bundle.write({
    file,
    format: 'esm',
    codeSplitting: false,
    minify: { compress: true, mangle: false, codegen: true },
    sourcemap: false,
  });
  await bundle.close();
  return file;
}
