/** A directory of manifests, one file or standard input -> a Cluster. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cluster, ObjectProblem } from '../../model/cluster.ts';
import { PodpathError } from '../../model/errors.ts';
import type { Gap } from '../../model/gap.ts';
import type { EntryPoint } from '../../model/ingress.ts';
import { Collection } from '../../parse/kubernetes/collection.ts';
import { parseManifest } from '../../parse/kubernetes/documents.ts';
import { readEntryPoints } from '../../parse/kubernetes/ingress.ts';
import { isSystemError, reason } from '../directory.ts';
import type { Locate } from './locate.ts';
import { locator } from './locate.ts';

export interface Manifests {
  readonly cluster: Cluster;
  /** Ingresses and Routes: what is let in from outside, and to where. */
  readonly entryPoints: readonly EntryPoint[];
  /** What the cluster lacks because it was broken, unknown or not readable. */
  readonly problems: readonly ManifestProblem[];
  /** What is in the cluster although a server would not have taken it as it stands. */
  readonly remarks: readonly ObjectProblem[];
  /** The files that were read, in the order of reading. */
  readonly sources: readonly string[];
  readonly gaps: readonly Gap[];
  readonly locate: Locate;
}

/** With `file` where the text itself is broken and no object is there to point into. */
export interface ManifestProblem extends ObjectProblem {
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
}

/** The name that the origins of objects from standard input carry. */
const standardInput = '(stdin)';

/**
 * `path`: a directory (read recursively: .yaml, .yml, .json), one file of any name, or `-` for standard input. Throws PodpathError where
 * the path is missing or holds no Kubernetes object at all; a broken or unreadable file among others is a problem or a gap.
 */
export async function readManifests(path: string): Promise<Manifests> {
  const { files, gaps, stdin } = path === '-' ? await readStandardInput() : await listFiles(path);
  const collection = new Collection();
  const broken: ManifestProblem[] = [];
  const sources: string[] = [];
  for (const file of files) {
    const text = stdin ?? (await readText(file, gaps, files.length > 1));
    if (text === undefined) continue;
    sources.push(file);
    const manifest = parseManifest(text, file);
    for (const { message, line, column } of manifest.errors)
      broken.push({
        text: message,
        file,
        ...(line === undefined ? {} : { line }),
        ...(column === undefined ? {} : { column }),
      });
    collection.add(file, manifest);
  }
  if (collection.count === 0) throw nothingIn(path, sources.length, broken, gaps);
  const { cluster, problems, remarks } = collection.build();
  const entries = readEntryPoints(collection);
  return {
    cluster,
    entryPoints: entries.entryPoints,
    problems: [...broken, ...problems, ...entries.problems],
    remarks,
    sources,
    gaps,
    locate: locator(async (file) =>
      file === standardInput && stdin !== undefined ? stdin : readFile(file, 'utf8'),
    ),
  };
}

interface Listed {
  readonly files: readonly string[];
  readonly gaps: Gap[];
  /** Set: the text of the only file. */
  readonly stdin?: string;
}

async function readStandardInput(): Promise<Listed> {
  const parts: Buffer[] = [];
  for await (const part of process.stdin) parts.push(part as Buffer);
  return { files: [standardInput], gaps: [], stdin: Buffer.concat(parts).toString('utf8') };
}

/** Sorted, so that the same directory gives the same answer everywhere. Links are followed; a directory is entered once. */
async function listFiles(root: string): Promise<Listed> {
  const gaps: Gap[] = [];
  const files: string[] = [];
  const entered = new Set<string>();
  const visit = async (path: string, top: boolean): Promise<void> => {
    try {
      const found = await stat(path);
      if (!found.isDirectory()) {
        if (top || (found.isFile() && /\.(ya?ml|json)$/i.test(path))) files.push(path);
        return;
      }
      const id = `${found.dev}:${found.ino}`;
      if (entered.has(id)) return;
      entered.add(id);
      const names = (await readdir(path)).sort();
      for (const name of names)
        if (!name.startsWith('.') && name !== 'node_modules') await visit(join(path, name), false);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      if (top) throw inaccessible(path, error);
      gaps.push(unreadable(path, error));
    }
  };
  await visit(root, true);
  return { files, gaps };
}

async function readText(file: string, gaps: Gap[], others: boolean): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const known = isSystemError(error) || (error instanceof Error && 'code' in error);
    if (!known) throw error;
    if (!others) throw inaccessible(file, error);
    gaps.push(unreadable(file, error));
    return undefined;
  }
}

const unreadable = (path: string, error: unknown): Gap => ({
  what: 'the objects of one file',
  where: path,
  why: reason(error),
  todo: 'Make it readable and run the command again; the answer is without it.',
});

function inaccessible(path: string, error: unknown): PodpathError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const missing = code === 'ENOENT' || code === 'ENOTDIR';
  return new PodpathError(
    {
      code: missing ? 'manifests/missing' : 'manifests/unreadable',
      what: missing ? 'there are no such manifests' : 'the manifests cannot be read',
      where: path,
      why: reason(error),
      todo: 'Give a directory of manifests, one file, or - for standard input.',
    },
    { cause: error },
  );
}

function nothingIn(
  path: string,
  read: number,
  broken: readonly ManifestProblem[],
  gaps: readonly Gap[],
): PodpathError {
  const [first] = broken;
  const [gap] = gaps;
  const at = first === undefined ? '' : `${first.file}${first.line === undefined ? '' : `:${first.line}`}`;
  return new PodpathError({
    code: 'manifests/empty',
    what: 'no Kubernetes object to look at',
    where: path === '-' ? 'standard input' : path,
    why:
      first !== undefined
        ? `${at}: ${first.text}`
        : gap !== undefined
          ? `${gap.where}: ${gap.why}`
          : read === 0
            ? 'it holds no .yaml, .yml or .json file'
            : 'what was read holds no document with apiVersion and kind',
    todo: 'An empty answer would look like a safe one: give manifests, or the output of kubectl get -A -o json.',
  });
}
