/** Where labs keep their state, and which of them are alive. */
import { accessSync, constants, lstatSync, mkdirSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { PodpathError } from '../model/errors.ts';
import type { LabState, ProcessId } from './state.ts';

/** building.json: stands in the lab's directory from before the first namespace is made until the lab is whole. */
export interface Building {
  readonly builder: ProcessId;
  /** The plan: everything that may exist, so that a half-built lab can be removed by exact names. */
  readonly state: LabState;
}

/** `$PODPATH_STATE_DIR`, else /run/podpath (gone after a reboot, as namespaces are), else a directory under /tmp. */
export function stateRoot(): string {
  const given = process.env.PODPATH_STATE_DIR;
  if (given !== undefined && given !== '') return resolve(given);
  try {
    mkdirSync('/run/podpath', { recursive: true });
    accessSync('/run/podpath', constants.W_OK);
    return '/run/podpath';
  } catch {
    return ownDirectory(join(tmpdir(), `podpath-${process.getuid?.() ?? 0}`));
  }
}

/** A directory under /tmp may have been put there by anybody, and what its files name is deleted on `lab down`. */
function ownDirectory(path: string): string {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const found = lstatSync(path);
  if (found.isDirectory() && found.uid === (process.getuid?.() ?? found.uid)) return path;
  throw new PodpathError({
    code: 'lab/foreign-state',
    what: 'the labs have no place for their state',
    where: path,
    why: 'it belongs to another user',
    todo: 'set PODPATH_STATE_DIR to a directory of your own',
  });
}

export const labDir = (name: string): string => join(stateRoot(), 'labs', name);

/** Refuses names that could not stand in a namespace or directory name. */
export function checkLabName(name: string): void {
  if (/^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$/.test(name)) return;
  throw new PodpathError({
    code: 'lab/bad-name',
    what: `"${name}" cannot name a lab`,
    why: 'a lab name is 1 to 20 characters of a-z, 0-9 and "-", with a letter or digit at both ends',
    todo: 'choose another name, such as demo',
  });
}

/** Writes a file so that readers see the old or the new content, never half of it. */
export async function writeAtomically(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, text);
  await rename(temporary, path);
}

export const writeJson = (path: string, value: unknown): Promise<void> =>
  writeAtomically(path, `${JSON.stringify(value, null, 1)}\n`);

/** Undefined if the file does not exist. Throws PodpathError on text that is no JSON. */
export async function readJson<T>(path: string): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new PodpathError({
      code: 'lab/bad-state',
      what: 'the lab state cannot be read',
      where: path,
      why: error instanceof Error ? error.message : String(error),
      todo: 'remove the lab: podpath lab down NAME',
    });
  }
}

export const isCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? '');

/** Names of all lab directories, whole or half-built. */
export async function labNames(): Promise<string[]> {
  try {
    const names = await readdir(join(stateRoot(), 'labs'));
    return names.filter((name) => !name.startsWith('.')).sort();
  } catch (error) {
    if (isCode(error, 'ENOENT')) return [];
    throw error;
  }
}

/** The state of a whole lab; undefined if it does not exist or is half-built. */
export const readState = (name: string): Promise<LabState | undefined> =>
  readJson<LabState>(join(labDir(name), 'lab.json'));

export const readBuilding = (name: string): Promise<Building | undefined> =>
  readJson<Building>(join(labDir(name), 'building.json'));

/**
 * Takes the lab's name: makes its directory with building.json in it in one step (rename(2) refuses a directory
 * that is not empty), so no other process ever sees a lab directory without its plan.
 */
export async function claimLab(state: LabState): Promise<string> {
  const dir = labDir(state.name);
  await mkdir(dirname(dir), { recursive: true });
  const draft = await mkdtemp(join(dirname(dir), '.new-'));
  await mkdir(join(draft, 'cluster'));
  const building: Building = { builder: await thisProcess(), state };
  await writeJson(join(draft, 'building.json'), building);
  try {
    await rename(draft, dir);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    if (!isCode(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    throw new PodpathError({
      code: 'lab/exists',
      what: `a lab named ${state.name} exists already`,
      where: dir,
      why: 'every lab needs a name of its own',
      todo: `remove it (podpath lab down ${state.name}) or choose another name`,
    });
  }
  return dir;
}

/** Undefined if there is no such process. */
export async function processId(pid: number): Promise<ProcessId | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The command name in parentheses may hold spaces and parentheses: count fields after the last ")".
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const startTicks = fields[19];
    // A zombie (Z) or dead (X) process does nothing any more.
    return startTicks === undefined || fields[0] === 'Z' || fields[0] === 'X'
      ? undefined
      : { pid, startTicks };
  } catch {
    return undefined;
  }
}

export async function thisProcess(): Promise<ProcessId> {
  return (await processId(process.pid)) ?? { pid: process.pid, startTicks: '' };
}

export async function isAlive(id: ProcessId): Promise<boolean> {
  return (await processId(id.pid))?.startTicks === id.startTicks;
}
