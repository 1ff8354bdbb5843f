/** What is written down of a cluster, and what clusters have left anywhere on this host. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isAlive, processId, thisProcess } from '../../src/lab/store.ts';
import { clustersWithCgroups } from './cgroups.ts';
import { clusterFolder, clustersFolder, type Plan } from './plan.ts';

interface ProcessRecord {
  readonly pid: number;
  readonly startTicks: string;
}

export interface ClusterRecord {
  readonly plan: Plan;
  /** Folder of the programs. */
  readonly binaries: string;
  /** Whoever makes it; it counts until `ready`. */
  readonly builder: ProcessRecord;
  /** The cluster is not wanted any more when this process has ended. */
  readonly owner?: ProcessRecord;
  readonly ready: boolean;
}

const recordFile = (name: string): string => join(clusterFolder(name), 'cluster.json');

/** Takes the name, folder and record in one step, so that nobody ever takes it for a dead run's. Undefined if it is taken. */
export async function claim(plan: Plan, binaries: string): Promise<ClusterRecord | undefined> {
  const owner = plan.ownerPid === undefined ? undefined : await processId(plan.ownerPid);
  const record: ClusterRecord = {
    plan,
    binaries,
    builder: await thisProcess(),
    ...(owner === undefined ? {} : { owner }),
    ready: false,
  };
  await mkdir(clustersFolder(), { recursive: true, mode: 0o700 });
  const draft = await mkdtemp(join(clustersFolder(), '.new-'));
  try {
    await writeFile(join(draft, 'cluster.json'), JSON.stringify(record, null, 2));
    await rename(draft, plan.folder);
    return record;
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOTEMPTY' || code === 'EEXIST') return undefined;
    throw error;
  }
}

export const writeRecord = (record: ClusterRecord): Promise<void> =>
  writeFile(recordFile(record.plan.name), JSON.stringify(record, null, 2));

export async function readRecord(name: string): Promise<ClusterRecord | undefined> {
  try {
    return JSON.parse(await readFile(recordFile(name), 'utf8')) as ClusterRecord;
  } catch {
    return undefined;
  }
}

/** Nobody wants it any more: its builder died half-way, or its owner has ended. */
export async function isAbandoned(name: string): Promise<boolean> {
  const record = await readRecord(name);
  if (record === undefined) return true;
  if (!record.ready) return !(await isAlive(record.builder));
  return record.owner !== undefined && !(await isAlive(record.owner));
}

const namesIn = (folder: string, pattern: RegExp): string[] => {
  try {
    return readdirSync(folder).flatMap((entry) => pattern.exec(entry)?.[1] ?? []);
  } catch {
    return [];
  }
};

/** Every cluster that has left something: a folder, a namespace or a control group. */
export const traces = (): string[] =>
  [
    ...new Set([
      ...namesIn(clustersFolder(), /^([a-z0-9]+)$/),
      ...namesIn('/run/netns', /^pc-([a-z0-9]+)-/),
      ...clustersWithCgroups(),
    ]),
  ].sort();

/** Namespaces of a cluster that are there. */
export const namespacesOf = (name: string): string[] =>
  namesIn('/run/netns', new RegExp(`^(pc-${name}-.+)$`));

/** Mounts below a cluster's folder in this process' view. There should never be one: machines mount in namespaces of their own. */
export const mountsOf = (name: string): string[] =>
  readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${clusterFolder(name)}/`));
