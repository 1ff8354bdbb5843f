/** The control groups that a cluster's containers live in: one tree a cluster, one group a node. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { clusterPrefix, type Machine, type Plan } from './plan.ts';
import { pause } from './wait.ts';

const clusterCgroup = (name: string): string => `${clusterPrefix(name)}cluster`;
export const nodeCgroup = (plan: Plan, node: Machine): string => `${clusterCgroup(plan.name)}/${node.name}`;

interface Hierarchy {
  readonly path: string;
  readonly version: 1 | 2;
}

/** A host of version 1 may mount version 2 beside it, without controllers; runc makes its groups there too. */
function everyMount(): Hierarchy[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .flatMap(([, path = '', type]): Hierarchy[] =>
      path.startsWith('/sys/fs/cgroup') && (type === 'cgroup' || type === 'cgroup2')
        ? [{ path, version: type === 'cgroup' ? 1 : 2 }]
        : [],
    );
}

/** Where the controllers are: one mount a controller in version 1, one for all in version 2. */
function hierarchies(): Hierarchy[] {
  const first = everyMount().filter(({ version }) => version === 1);
  return first.length > 0 ? first : everyMount();
}

export async function makeCgroups(plan: Plan): Promise<void> {
  for (const hierarchy of hierarchies()) {
    const parts = [clusterCgroup(plan.name), ...plan.nodes.map((node) => nodeCgroup(plan, node))];
    if (hierarchy.version === 2) await delegate(hierarchy.path);
    for (const part of parts) {
      const group = join(hierarchy.path, part);
      await mkdir(group, { recursive: true });
      if (hierarchy.version === 2) await delegate(group);
      await inheritCpuset(group);
    }
  }
}

/** Version 2: a controller that its parent does not hand on is not there. */
async function delegate(group: string): Promise<void> {
  const controllers = (await readFile(join(group, 'cgroup.controllers'), 'utf8')).trim().split(' ');
  for (const controller of controllers.filter((name) => name !== ''))
    await writeFile(join(group, 'cgroup.subtree_control'), `+${controller}`).catch(() => {});
}

/** Version 1: a group without processors and memory nodes takes no process, and a new one has none (kernel/cgroup/cpuset.c). */
async function inheritCpuset(group: string): Promise<void> {
  for (const name of ['cpuset.cpus', 'cpuset.mems']) {
    const file = join(group, name);
    if (!existsSync(file) || (await readFile(file, 'utf8')).trim() !== '') continue;
    await writeFile(file, await readFile(join(group, '..', name), 'utf8'));
  }
}

/** Names of clusters that have control groups, from the groups themselves. */
export const clustersWithCgroups = (): string[] => [
  ...new Set(
    everyMount().flatMap(({ path }) =>
      readdirSync(path).flatMap((entry) => /^pc-([a-z0-9]+)-cluster$/.exec(entry)?.[1] ?? []),
    ),
  ),
];

const clusterGroups = (name: string): string[] =>
  everyMount()
    .map(({ path }) => join(path, clusterCgroup(name)))
    .filter((group) => existsSync(group));

/** Removes the tree, leaves first. Its processes must be dead; one that is not yet reaped makes a group busy for a moment. */
export async function removeCgroups(name: string): Promise<void> {
  for (const group of clusterGroups(name)) {
    for (let tries = 0; existsSync(group) && tries < 50; tries++) {
      if (tries > 0) await pause(100);
      await removeTree(group);
    }
  }
}

async function removeTree(group: string): Promise<void> {
  for (const entry of readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory()) await removeTree(join(group, entry.name));
  await rmdir(group).catch(() => {});
}
