/** Opens a lab that is up. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PodpathError } from '../model/errors.ts';
import { nearestNames } from '../model/nearest.ts';
import { exec } from '../system/exec.ts';
import type { Lab, Plural, ServerSpec } from './lab.ts';
import { inNetns } from './run.ts';
import { replaceServers } from './servers/start.ts';
import type { LabState } from './state.ts';
import { checkLabName, labDir, labNames, readBuilding, readJson, readState, writeJson } from './store.ts';

/** Throws PodpathError if there is no such lab, or if it is still being built. */
export async function openLab(name: string): Promise<Lab> {
  checkLabName(name);
  const state = await readState(name);
  if (state !== undefined) return labHandle(state, labDir(name));
  if ((await readBuilding(name)) !== undefined) {
    throw new PodpathError({
      code: 'lab/not-ready',
      what: `the lab ${name} is not whole`,
      why: 'it is still being built, or its building was cut short',
      todo: `wait a moment, or remove it: podpath lab down ${name}`,
    });
  }
  throw missing('lab', name, await labNames(), 'podpath lab up NAME makes one');
}

/** All labs that are up, by name. */
export async function listLabs(): Promise<LabState[]> {
  const states = await Promise.all((await labNames()).map(readState));
  return states.filter((state) => state !== undefined);
}

export function labHandle(initial: LabState, dir: string): Lab {
  let state = initial;
  const clusterFile = (plural: Plural) => join(dir, 'cluster', `${plural}.json`);
  const lab: Lab = {
    get state() {
      return state;
    },
    dir,
    exec: (netns, argv, options) => exec(inNetns(netns, argv), options),
    node: (name) =>
      state.nodes.find((node) => node.name === name) ??
      fail(
        missing(
          'node',
          name,
          state.nodes.map((node) => node.name),
          `podpath lab list shows the nodes`,
        ),
      ),
    pod: (name) =>
      state.pods.find((pod) => `${pod.namespace}/${pod.name}` === name) ??
      fail(
        missing(
          'pod',
          name,
          state.pods.map((pod) => `${pod.namespace}/${pod.name}`),
          'podpath lab list -o json shows the pods',
        ),
      ),
    objects: async <T>(plural: Plural) =>
      [...((await readJson<{ items: T[] }>(clusterFile(plural)))?.items ?? [])] as T[],
    writeObjects: async (plural, items) => {
      await mkdir(join(dir, 'cluster'), { recursive: true });
      await writeJson(clusterFile(plural), {
        apiVersion: 'v1',
        kind: 'List',
        metadata: { resourceVersion: '' },
        items,
      });
    },
    syncServices: async (nodes) => (await import('./sync.ts')).syncServices(lab, nodes),
    syncPolicies: async (nodes) => (await import('./sync.ts')).syncPolicies(lab, nodes),
    servers: async () => (await readJson<ServerSpec[]>(join(dir, 'servers.json'))) ?? [],
    setServers: (specs) => replaceServers(state, dir, specs),
    saveState: async (patch) => {
      state = { ...state, ...patch };
      await writeJson(join(dir, 'lab.json'), state);
    },
  };
  return lab;
}

function missing(kind: string, name: string, names: readonly string[], todo: string): PodpathError {
  const near = nearestNames(name, names);
  return new PodpathError({
    code: `lab/no-${kind}`,
    what: `there is no ${kind} ${name}`,
    why:
      names.length === 0
        ? `there is no ${kind} at all`
        : near.length > 0
          ? `the nearest names are ${near.join(', ')}`
          : `no ${kind} has a name like it`,
    todo: near[0] === undefined ? todo : `did you mean ${near[0]}?`,
  });
}

function fail(error: PodpathError): never {
  throw error;
}
