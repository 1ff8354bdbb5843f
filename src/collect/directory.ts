/** Reads a snapshot that is a directory. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { mapLimit } from '../system/exec.ts';
import { FileCollector, type SnapshotFiles } from './files.ts';
import type { Limits } from './limits.ts';
import { manifestFile, noManifest } from './manifest.ts';

const concurrentReads = 32;

/**
 * Every file below `root`. Symbolic links, sockets and devices are refused as in archives: they would read from
 * elsewhere, or block. A file without read permission is listed in `unreadable`.
 */
export async function readDirectory(root: string, limits: Limits): Promise<SnapshotFiles> {
  await assertSnapshot(root);
  const collector = new FileCollector(root, limits);
  const unreadable: { path: string; why: string }[] = [];
  const paths: string[] = [];
  const pending = [''];
  for (let folder = pending.pop(); folder !== undefined; folder = pending.pop()) {
    let entries: Awaited<ReturnType<typeof list>>;
    try {
      entries = await list(join(root, folder));
    } catch (error) {
      if (folder === '') throw error;
      unreadable.push({ path: folder, why: reason(error) });
      continue;
    }
    for (const entry of entries) {
      const path = collector.open(folder === '' ? entry.name : `${folder}/${entry.name}`, 0);
      if (path === undefined) continue;
      if (entry.isDirectory()) pending.push(path);
      else if (entry.isFile()) paths.push(path);
      else
        throw collector.refuse(
          path,
          entry.isSymbolicLink() ? 'it is a symbolic link' : 'it is no plain file',
        );
    }
  }
  paths.sort();
  await mapLimit(paths, concurrentReads, async (path) => {
    try {
      const { size } = await stat(join(root, path));
      collector.count(path, size, size);
      collector.file(path, await readFile(join(root, path)));
    } catch (error) {
      if (!isSystemError(error)) throw error;
      unreadable.push({ path, why: reason(error) });
    }
  });
  return { files: collector.finish(), unreadable };
}

/** Looked at first: somebody's home directory is not read through just to learn that it is no snapshot. */
async function assertSnapshot(root: string): Promise<void> {
  const entries = (await list(root)).filter((entry) => !entry.name.startsWith('.'));
  if (entries.some((entry) => entry.name === manifestFile)) return;
  const [only] = entries;
  if (entries.length === 1 && only?.isDirectory()) {
    const inner = await list(join(root, only.name));
    if (inner.some((entry) => entry.name === manifestFile)) return;
  }
  throw noManifest(root, entries.map((entry) => entry.name).sort());
}

const list = (folder: string) => readdir(folder, { withFileTypes: true });

export const isSystemError = (error: unknown): error is NodeJS.ErrnoException & { code: string } =>
  error instanceof Error && 'syscall' in error && 'code' in error;

/** The system's word for an error, for people. */
export function reason(error: unknown): string {
  if (!isSystemError(error)) return error instanceof Error ? error.message : String(error);
  const words: Readonly<Record<string, string>> = {
    EACCES: 'permission denied',
    EPERM: 'operation not permitted',
    ENOENT: 'no such file or directory',
    ENOTDIR: 'a part of the path is no directory',
    ENOSPC: 'no space left on the device',
    EROFS: 'the file system is read-only',
    ELOOP: 'too many symbolic links',
    EISDIR: 'it is a directory',
  };
  return words[error.code] ?? error.message;
}
