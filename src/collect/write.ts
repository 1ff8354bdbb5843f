/** Writes a snapshot as a directory, .tar.gz or .zip: whole or not at all. */
import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { pack } from 'tar-stream';
import { PodpathError } from '../model/errors.ts';
import { mapLimit } from '../system/exec.ts';
import { isSystemError, reason } from './directory.ts';
import { entryPath } from './files.ts';
import { manifestFile } from './manifest.ts';
import { makeZip } from './zip-writer.ts';

export type SnapshotFormat = 'directory' | 'tar.gz' | 'zip';

/** By the name's ending; a name without one of archives is a directory. */
export function formatOf(path: string): SnapshotFormat {
  if (/\.(tar\.gz|tgz)$/i.test(path)) return 'tar.gz';
  return /\.zip$/i.test(path) ? 'zip' : 'directory';
}

export interface WriteOptions {
  /** Replace what is there: an archive, or a directory that is a snapshot. Nothing else is ever removed. */
  readonly force?: boolean;
  /** Time stamp of archive entries. Default: 1980-01-01, the earliest that zip knows, so equal snapshots pack equally. */
  readonly modified?: Date;
  /** Told the temporary name before it is made: whoever ends the process early removes it. */
  readonly onTemporary?: (path: string) => void;
}

/**
 * Made under a temporary name beside `path` and renamed, so that `path` never holds half a snapshot. Throws PodpathError
 * if `path` exists (without force), or cannot be written.
 */
export async function writeSnapshot(
  path: string,
  files: ReadonlyMap<string, string>,
  options: WriteOptions = {},
): Promise<SnapshotFormat> {
  const format = formatOf(path);
  const target = resolve(path);
  const temporary = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}.tmp`);
  // Names come from the cluster; what the reader would refuse is not written either.
  for (const name of files.keys()) {
    if (entryPath(name, path) !== name) throw new RangeError(`not a snapshot path: ${name}`);
  }
  try {
    const existing = await checkTarget(target, path, format, options.force === true);
    await mkdir(dirname(target), { recursive: true });
    options.onTemporary?.(temporary);
    const modified = options.modified ?? new Date(Date.UTC(1980, 0, 1));
    if (format === 'directory') await writeDirectory(temporary, files);
    else if (format === 'tar.gz') await writeFile(temporary, await makeTarGz(files, modified));
    else await writeFile(temporary, await makeZip(files, modified));
    if (existing && format === 'directory') await replaceDirectory(temporary, target);
    else await rename(temporary, target);
    return format;
  } catch (error) {
    // Its own failure (no such parent) must not hide the reason.
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    if (!isSystemError(error)) throw error;
    throw new PodpathError(
      {
        code: 'snapshot/not-written',
        what: 'the snapshot could not be written',
        where: path,
        why: reason(error),
        todo: 'Nothing was changed. Choose another place with --out, or free space or permission there.',
      },
      { cause: error },
    );
  }
}

/** Whether something is there that may be replaced. */
async function checkTarget(
  target: string,
  path: string,
  format: SnapshotFormat,
  force: boolean,
): Promise<boolean> {
  const found = await lstat(target).catch((error: unknown) => {
    if (isSystemError(error) && error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return false;
  const refuse = (why: string, todo: string) =>
    new PodpathError({
      code: 'snapshot/exists',
      what: 'the snapshot was not written',
      where: path,
      why,
      todo,
    });
  if (!force) throw refuse('it exists already', 'Choose another --out, or replace it with --force.');
  if (format !== 'directory') {
    if (found.isFile()) return true;
    throw refuse('it exists and is no plain file', 'Choose another --out.');
  }
  if (!found.isDirectory()) throw refuse('it exists and is no directory', 'Choose another --out.');
  const names = await readdir(target);
  if (names.length === 0 || names.includes(manifestFile)) return true;
  throw refuse(
    'the directory exists and holds no snapshot: --force does not delete other files',
    'Choose another --out.',
  );
}

async function writeDirectory(root: string, files: ReadonlyMap<string, string>): Promise<void> {
  await mkdir(root);
  const folders = new Set([...files.keys()].map((path) => dirname(path)));
  for (const folder of folders) await mkdir(join(root, folder), { recursive: true });
  await mapLimit([...files], 16, ([path, text]) => writeFile(join(root, path), text));
}

/** rename(2) does not replace a directory that holds files: the old one steps aside, and back if that fails. */
async function replaceDirectory(temporary: string, target: string): Promise<void> {
  const aside = `${temporary}.old`;
  await rename(target, aside);
  try {
    await rename(temporary, target);
  } catch (error) {
    await rename(aside, target);
    throw error;
  }
  await rm(aside, { recursive: true, force: true });
}

const compress = promisify(gzip);

async function makeTarGz(files: ReadonlyMap<string, string>, modified: Date): Promise<Buffer> {
  const archive = pack();
  for (const [name, text] of files) archive.entry({ name, mtime: modified, mode: 0o644 }, text);
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk as Buffer);
  return compress(Buffer.concat(chunks));
}
