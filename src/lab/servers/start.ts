/** Starts and ends the lab's server process. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PodpathError } from '../../model/errors.ts';
import { bundledEntry, bundledFile } from '../../system/entry.ts';
import { startDaemon } from '../../system/exec.ts';
import type { ServerSpec } from '../lab.ts';
import type { LabState, ProcessId } from '../state.ts';
import { isAlive, processId, readJson, writeJson } from '../store.ts';

const readyTimeoutMs = 30_000;

/**
 * Writes servers.json and puts a process that serves it in the place of the one that may run; resolves once every
 * socket listens. Throws PodpathError: for a pod that does not exist, with everything as it was.
 */
export async function replaceServers(
  state: LabState,
  dir: string,
  specs: readonly ServerSpec[],
): Promise<void> {
  const netns = new Map(state.pods.map((pod) => [`${pod.namespace}/${pod.name}`, pod.netns]));
  // Sorted by pod: the launcher enters each namespace once, and the file's order is the descriptors' order.
  const ordered = specs.toSorted((a, b) => a.pod.localeCompare(b.pod));
  const sockets = ordered.map((spec) => {
    const there = netns.get(spec.pod);
    if (there === undefined) throw serverError(`there is no pod ${spec.pod}`, join(dir, 'servers.json'));
    return { netns: there, protocol: spec.protocol, address: spec.address, port: spec.port };
  });
  await stopServers(dir);
  await writeJson(join(dir, 'servers.json'), ordered);
  const logFile = join(dir, 'servers.log');
  const argv = ['python3', bundledFile('open.py'), process.execPath, bundledEntry('servers'), dir];
  const started = await startDaemon(argv, { input: JSON.stringify(sockets), logFile, readyTimeoutMs });
  if (started.state === 'failed') {
    const log = await readFile(logFile, 'utf8').catch(() => '');
    throw serverError(log.trim().split('\n').at(-1) || started.why, logFile);
  }
  const id = await processId(started.pid);
  if (id !== undefined) await writeJson(join(dir, 'servers.pid.json'), id);
}

const serverError = (why: string, where: string): PodpathError =>
  new PodpathError({
    code: 'lab/servers-failed',
    what: "the pods' servers could not be started",
    where,
    why,
    todo: 'run `podpath doctor`; the log file has the details while the lab exists',
  });

/** Ends the server process if it runs, and waits until it is gone, so that its ports are free. */
export async function stopServers(dir: string): Promise<void> {
  const file = join(dir, 'servers.pid.json');
  const id = await readJson<ProcessId>(file);
  if (id === undefined) return;
  await killProcess(id);
  await rm(file, { force: true });
}

/** SIGKILL, then waits up to 2 s for the process to be gone. Does nothing if the pid is another process' by now. */
export async function killProcess(id: ProcessId): Promise<void> {
  if (!(await isAlive(id))) return;
  try {
    process.kill(id.pid, 'SIGKILL');
  } catch {
    return;
  }
  for (let waitedMs = 0; waitedMs < 2000 && (await isAlive(id)); waitedMs += 5)
    await new Promise((resolve) => setTimeout(resolve, 5));
}
