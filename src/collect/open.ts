/** Opens what a snapshot is kept in: a directory, .tar.gz, .tar or .zip, told by content and not by name. */
import { open, stat } from 'node:fs/promises';
import { PodpathError } from '../model/errors.ts';
import { isSystemError, readDirectory, reason } from './directory.ts';
import type { SnapshotFiles } from './files.ts';
import { defaultLimits, type Limits } from './limits.ts';
import { isTarHeader, readTar } from './tar.ts';
import { readZip } from './zip.ts';

/** The files as text. Throws PodpathError naming the file: missing, forbidden, foreign, damaged, too large or unsafe. */
export async function readSnapshotFiles(
  path: string,
  limits: Limits = defaultLimits,
): Promise<SnapshotFiles> {
  try {
    const { isDirectory, isFile, sizeBytes } = await look(path);
    if (isDirectory) return await readDirectory(path, limits);
    if (!isFile) throw foreign(path, 'it is neither a file nor a directory');
    const kind = await detect(path);
    if (typeof kind !== 'string') throw foreign(path, kind.why);
    const files =
      kind === 'zip'
        ? await readZip(path, sizeBytes, limits)
        : await readTar(path, kind === 'tar.gz', sizeBytes, limits);
    return { files, unreadable: [] };
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw inaccessible(path, error);
  }
}

async function look(path: string) {
  const found = await stat(path);
  return { isDirectory: found.isDirectory(), isFile: found.isFile(), sizeBytes: found.size };
}

/** Formats that people pack with and that podpath does not read. */
const otherFormats: readonly { readonly name: string; readonly magic: string }[] = [
  { name: 'an xz archive', magic: 'fd377a585a00' },
  { name: 'a zstd archive', magic: '28b52ffd' },
  { name: 'a bzip2 archive', magic: '425a68' },
  { name: 'a 7z archive', magic: '377abcaf271c' },
];

async function detect(path: string): Promise<'tar.gz' | 'tar' | 'zip' | { readonly why: string }> {
  const file = await open(path);
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(512), 0, 512, 0);
    const head = buffer.subarray(0, bytesRead);
    if (head.length === 0) return { why: 'the file is empty' };
    const hex = head.toString('hex', 0, 6);
    if (hex.startsWith('1f8b')) return 'tar.gz';
    // A zip archive without entries starts with its end record.
    if (hex.startsWith('504b0304') || hex.startsWith('504b0506')) return 'zip';
    if (isTarHeader(head)) return 'tar';
    const other = otherFormats.find(({ magic }) => hex.startsWith(magic));
    return {
      why: `it is ${other?.name ?? 'no'} ${other === undefined ? 'tar, tar.gz or zip archive' : '(repack it as tar.gz or zip)'}`,
    };
  } finally {
    await file.close();
  }
}

const foreign = (path: string, why: string): PodpathError =>
  new PodpathError({
    code: 'snapshot/not-a-snapshot',
    what: 'not a podpath snapshot',
    where: path,
    why,
    todo: 'Give the directory, .tar.gz or .zip that `podpath snapshot collect` wrote.',
  });

function inaccessible(path: string, error: NodeJS.ErrnoException): PodpathError {
  const missing = error.code === 'ENOENT' || error.code === 'ENOTDIR';
  return new PodpathError(
    {
      code: missing ? 'snapshot/missing' : 'snapshot/no-permission',
      what: missing ? 'there is no such snapshot' : 'the snapshot cannot be read',
      where: path,
      why: reason(error),
      todo: missing
        ? 'Check the path; `podpath snapshot collect` prints where it wrote one.'
        : 'Make it readable or run podpath as its owner.',
    },
    { cause: error },
  );
}
