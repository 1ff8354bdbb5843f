/** The files of a snapshot in memory, wherever they come from: path with `/` inside the snapshot -> text. */
import { PodpathError } from '../model/errors.ts';
import { Budget, type Limits } from './limits.ts';

export interface SnapshotFiles {
  readonly files: ReadonlyMap<string, string>;
  /** Files that exist and could not be read, with the system's reason. */
  readonly unreadable: readonly { readonly path: string; readonly why: string }[];
}

/** Takes in entries one at a time; every rule on names and sizes is kept here, for all containers alike. */
export class FileCollector {
  readonly #archive: string;
  readonly #budget: Budget;
  readonly #files = new Map<string, string>();
  readonly #folders = new Set<string>();

  constructor(archive: string, limits: Limits, packedBytes?: number) {
    this.#archive = archive;
    this.#budget = new Budget(archive, limits, packedBytes);
  }

  /** The entry's normal path, after all checks; undefined for what packers of some desktops add and nobody asked for. */
  open(name: string, sizeBytes: number): string | undefined {
    this.#budget.entry(name, sizeBytes);
    const path = entryPath(name, this.#archive);
    return path === '' || isDesktopLitter(path) ? undefined : path;
  }

  /** Counts unpacked bytes before they are kept. */
  count(path: string, bytes: number, ofEntry: number): void {
    this.#budget.bytes(path, bytes, ofEntry);
  }

  folder(path: string): void {
    if (this.#files.has(path)) throw this.refuse(path, 'it is there both as a file and as a folder');
    this.#folders.add(path);
  }

  file(path: string, content: Buffer): void {
    if (this.#files.has(path)) throw this.refuse(path, 'it is there twice, and the copies may differ');
    if (this.#folders.has(path)) throw this.refuse(path, 'it is there both as a file and as a folder');
    let slash = path.lastIndexOf('/');
    while (slash > 0) {
      const parent = path.slice(0, slash);
      if (this.#folders.has(parent)) break;
      this.folder(parent);
      slash = parent.lastIndexOf('/');
    }
    this.#files.set(path, content.toString('utf8'));
  }

  refuse(path: string, why: string): PodpathError {
    return refuseEntry(this.#archive, path, why);
  }

  /** All files, without the one folder that many packers put around them. */
  finish(): Map<string, string> {
    if (this.#files.has('podpath.json')) return this.#files;
    const first = this.#files.keys().next().value;
    const folder = first === undefined ? '' : first.slice(0, first.indexOf('/') + 1);
    if (folder === '' || !this.#files.has(`${folder}podpath.json`)) return this.#files;
    const inner = new Map<string, string>();
    for (const [path, text] of this.#files) {
      if (!path.startsWith(folder)) return this.#files;
      inner.set(path.slice(folder.length), text);
    }
    return inner;
  }
}

/** Finder and Explorer put these beside the real files; dot files are never part of a snapshot. */
const isDesktopLitter = (path: string): boolean =>
  path.startsWith('__MACOSX/') ||
  path.split('/').some((part) => part.startsWith('.') || part === 'desktop.ini');

/** The path without `.` parts and doubled slashes. Throws PodpathError for a path that would lead out of the snapshot. */
export function entryPath(name: string, archive: string): string {
  // Windows unpackers read a backslash as a separator: the same name would mean two paths.
  if (name.includes('\\')) throw refuseEntry(archive, name, 'its name has a backslash');
  if (hasControlCharacter(name)) throw refuseEntry(archive, name, 'its name has a control character');
  if (name.startsWith('/') || /^[A-Za-z]:/.test(name))
    throw refuseEntry(archive, name, 'its name is an absolute path');
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw refuseEntry(archive, name, 'its name leads out of the snapshot by ".."');
  return parts.join('/');
}

function hasControlCharacter(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code < 32 || (code >= 127 && code < 160)) return true;
  }
  return false;
}

function refuseEntry(archive: string, name: string, why: string): PodpathError {
  return new PodpathError({
    code: 'snapshot/unsafe-entry',
    what: `the snapshot holds an entry that no snapshot needs: ${JSON.stringify(name)}`,
    where: archive,
    why,
    todo: 'Nothing was read from it. Collect the snapshot again, or unpack and check it yourself if you trust its source.',
  });
}
