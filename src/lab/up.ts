/** Builds a lab: all of it, or nothing. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PodpathError } from '../model/errors.ts';
import { mapLimit } from '../system/exec.ts';
import {
  allNetns,
  buildFabric,
  buildNode,
  buildPod,
  concurrency,
  configureNode,
  makeNamespaces,
  writeResolvers,
} from './build.ts';
import { removeLab, sweepLabs } from './down.ts';
import { labHandle } from './handle.ts';
import type { Lab, Plural } from './lab.ts';
import { defaultObjects, defaultServers } from './objects.ts';
import { hostOf, type Plan, type PlanOptions, planLab } from './plan.ts';
import { requireLabHost } from './requirements.ts';
import type { LabState } from './state.ts';
import { checkLabName, claimLab, labDir, processId, writeJson } from './store.ts';
import { syncPolicies, syncServices } from './sync.ts';

export interface UpOptions extends PlanOptions {
  /** The lab is removed by the next start of a lab if this process is gone. */
  readonly ownerPid?: number;
  /** Told what is being done: one short clause each. */
  readonly onProgress?: (text: string) => void;
  /** Aborting it stops the building; what was made is removed. */
  readonly signal?: AbortSignal;
}

/** Throws PodpathError if the lab cannot be built; nothing of it is left then. */
export async function upLab(options: UpOptions): Promise<Lab> {
  checkLabName(options.name);
  const planned = planLab(options, new Date().toISOString());
  requireLabHost(planned.state);
  await sweepLabs();
  const plan: Plan = { ...planned, state: await withOwner(planned.state, options.ownerPid) };
  checkNamesFree(plan.state);
  const dir = await claimLab(plan.state);
  try {
    const lab = labHandle(plan.state, dir);
    await build(lab, plan, options);
    // lab.json first: a lab that has it is whole, whether or not building.json is still there.
    await writeJson(join(dir, 'lab.json'), plan.state);
    await rm(join(dir, 'building.json'));
    return lab;
  } catch (error) {
    await removeLab(plan.state);
    if (options.signal?.aborted) throw interrupted(options.name);
    throw error;
  }
}

/** Namespaces are the whole machine's, the state directory is not: a lab of another state directory must stay untouched. */
function checkNamesFree(state: LabState): void {
  if (existsSync(labDir(state.name))) return;
  const taken = allNetns(state).filter((netns) => existsSync(`/run/netns/${netns}`));
  if (taken[0] === undefined) return;
  throw new PodpathError({
    code: 'lab/names-taken',
    what: `the lab ${state.name} cannot be built`,
    where: taken[0],
    why: `${taken.length} of its network namespaces exist already, but no lab of that name does`,
    todo: 'choose another name, or delete them with `ip netns del` if nobody needs them',
  });
}

async function withOwner(state: LabState, pid: number | undefined): Promise<LabState> {
  if (pid === undefined) return state;
  const owner = await processId(pid);
  if (owner !== undefined) return { ...state, owner };
  throw new PodpathError({
    code: 'lab/bad-option',
    what: `--owner-pid ${pid} cannot be used`,
    why: 'there is no such process',
    todo: 'give the id of a running process, or leave the option out',
  });
}

const interrupted = (name: string): PodpathError =>
  new PodpathError({
    code: 'lab/interrupted',
    what: `the lab ${name} was not built`,
    why: 'it was interrupted; what had been made is removed again',
    todo: `podpath lab up ${name} starts anew`,
  });

async function build(lab: Lab, plan: Plan, options: UpOptions): Promise<void> {
  const { state } = plan;
  const { signal } = options;
  const step = (text: string) => {
    signal?.throwIfAborted();
    options.onProgress?.(text);
  };
  step(`making ${state.nodes.length} nodes and ${state.pods.length} pods`);
  await Promise.all([makeNamespaces(state, signal), writeObjects(lab, plan)]);
  await writeResolvers(
    state,
    state.serviceCidrs.map((cidr) => hostOf(cidr, 10)),
  );
  await mapLimit(state.nodes, concurrency, (node) => configureNode(state, node, signal));
  step('connecting nodes');
  await buildFabric(state, signal);
  await mapLimit(state.nodes, concurrency, (node) => buildNode(state, node, signal));
  step('connecting pods');
  await mapLimit(state.pods, concurrency, (pod) => buildPod(state, pod, signal));
  step('writing Service and policy rules');
  await syncServices(lab, undefined, { fresh: true });
  await syncPolicies(lab, undefined, { fresh: true });
  step('starting servers');
  await lab.setServers(defaultServers(plan));
  signal?.throwIfAborted();
}

async function writeObjects(lab: Lab, plan: Plan): Promise<void> {
  for (const [plural, items] of Object.entries(defaultObjects(plan)))
    await lab.writeObjects(plural as Plural, items);
}
