/** Finding and ending what runs in a cluster, whatever is known of it. */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { namespacesOf } from './state.ts';
import { pause } from './wait.ts';

/** Processes in one of the cluster's network namespaces. Pods have others, but die with their machine's process 1. */
export function processesOf(name: string): number[] {
  const namespaces = new Set(
    namespacesOf(name).map((netns) => `net:[${statSync(join('/run/netns', netns)).ino}]`),
  );
  if (namespaces.size === 0) return [];
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => namespaces.has(linkOf(`/proc/${pid}/ns/net`)))
    .map(Number);
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    // It has ended since.
    return '';
  }
}

/** Kills them all and waits until they are gone. Killing a machine's process 1 kills whatever runs in it (pid_namespaces(7)). */
export async function killAll(name: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const pids = processesOf(name);
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended since.
      }
    }
    await pause(50);
  }
}
