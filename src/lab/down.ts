/** Removes labs, whole or half-built, by the exact names that their plan gives. Safe to repeat. */
import { existsSync, readlinkSync, statSync } from 'node:fs';
import { readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PodpathError } from '../model/errors.ts';
import { nearestNames } from '../model/nearest.ts';
import { exec } from '../system/exec.ts';
import { allNetns, etcNetns } from './build.ts';
import { killProcess, stopServers } from './servers/start.ts';
import type { LabState } from './state.ts';
import {
  checkLabName,
  isAlive,
  labDir,
  labNames,
  processId,
  readBuilding,
  readState,
  stateRoot,
} from './store.ts';

/** Throws PodpathError if there is no such lab. */
export async function downLab(name: string): Promise<void> {
  checkLabName(name);
  const state = await planOf(name);
  if (state !== undefined) {
    await removeLab(state);
    return;
  }
  if (existsSync(labDir(name))) {
    // Its files are damaged beyond telling what it held.
    await rm(labDir(name), { recursive: true, force: true });
    return;
  }
  const near = nearestNames(name, await labNames());
  throw new PodpathError({
    code: 'lab/no-lab',
    what: `there is no lab ${name}`,
    why: near.length > 0 ? `the nearest names are ${near.join(', ')}` : 'no lab has a name like it',
    todo: near[0] === undefined ? 'podpath lab list shows the labs' : `did you mean ${near[0]}?`,
  });
}

/** Undefined if neither lab.json nor building.json can be read. */
async function planOf(name: string): Promise<LabState | undefined> {
  const state = await readState(name).catch(() => undefined);
  return state ?? (await readBuilding(name).catch(() => undefined))?.state;
}

/** Removes everything that the lab may have made. Throws PodpathError if a namespace stays. */
export async function removeLab(state: LabState): Promise<void> {
  const dir = labDir(state.name);
  await stopServers(dir);
  const names = allNetns(state);
  let left = names;
  // A tool that a killed `lab up` had started may make a namespace after the first look: look again.
  for (let round = 0; round < 3; round++) {
    await killInside(names);
    await removeNamespaces(names);
    left = names.filter((name) => existsSync(`/run/netns/${name}`));
    if (left.length === 0 && (round > 0 || !(await isHalfBuilt(state.name)))) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await Promise.all(names.map((name) => rm(join(etcNetns, name), { recursive: true, force: true })));
  // Only goes if it is empty, which it is unless somebody else uses it.
  await rmdir(etcNetns).catch(() => {});
  if (left.length > 0) {
    throw new PodpathError({
      code: 'lab/not-removed',
      what: `the lab ${state.name} could not be removed whole`,
      where: left.slice(0, 3).join(', '),
      why: 'these network namespaces could not be deleted',
      todo: 'run the command again as root',
    });
  }
  await rm(dir, { recursive: true, force: true });
}

const isHalfBuilt = (name: string): Promise<boolean> =>
  Promise.resolve(existsSync(join(labDir(name), 'building.json')));

async function removeNamespaces(names: readonly string[]): Promise<void> {
  const there = names.filter((name) => existsSync(`/run/netns/${name}`));
  if (there.length === 0) return;
  // -force: go on with the next name if one is gone already.
  await exec(['ip', '-force', '-batch', '-'], {
    input: there.map((name) => `netns del ${name}\n`).join(''),
    timeoutMs: 120_000,
  });
}

/** Ends processes that still live in the lab's namespaces (a shell from `lab exec`, say): they would keep them alive. */
async function killInside(names: readonly string[]): Promise<void> {
  const inodes = new Set<string>();
  for (const name of names) {
    try {
      inodes.add(`net:[${statSync(`/run/netns/${name}`).ino}]`);
    } catch {
      // Not made, or gone already.
    }
  }
  // A namespace file that was never mounted has the inode of a plain file; this process' own is never the lab's.
  inodes.delete(readlinkSync('/proc/self/ns/net'));
  if (inodes.size === 0) return;
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid || !inodes.has(netnsOf(pid))) continue;
    const id = await processId(pid);
    if (id !== undefined) await killProcess(id);
  }
}

function netnsOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return '';
  }
}

/** Removes labs whose owner or builder is gone. Returns their names. */
export async function sweepLabs(): Promise<string[]> {
  const swept: string[] = [];
  for (const name of await labNames()) {
    if (!(await isOrphan(name))) continue;
    const state = await planOf(name);
    if (state === undefined) await rm(labDir(name), { recursive: true, force: true });
    else await removeLab(state);
    swept.push(name);
  }
  await sweepDrafts();
  return swept;
}

async function isOrphan(name: string): Promise<boolean> {
  try {
    const state = await readState(name);
    if (state !== undefined) return state.owner !== undefined && !(await isAlive(state.owner));
    const building = await readBuilding(name);
    return building !== undefined && !(await isAlive(building.builder));
  } catch {
    // Unreadable state is for a person to remove, by name.
    return false;
  }
}

/** Directories of `lab up` runs that were killed before they had taken their name. */
async function sweepDrafts(): Promise<void> {
  const labs = join(stateRoot(), 'labs');
  const oldMs = 60_000;
  for (const entry of existsSync(labs) ? await readdir(labs) : []) {
    if (!entry.startsWith('.new-')) continue;
    const path = join(labs, entry);
    const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (age > oldMs) await rm(path, { recursive: true, force: true });
  }
}
