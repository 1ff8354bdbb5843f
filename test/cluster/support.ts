/** The cluster that a test file works on. */
import { inject } from 'vitest';
import { exec } from '../../src/system/exec.ts';
import type { Cluster } from './cluster.ts';
import { openCluster, upCluster } from './lifecycle.ts';
import { readRecord } from './state.ts';

const provided = inject('cluster');

/** Why the tests have no cluster of their own; undefined if they have one. */
export const whyNoOwnCluster: string | undefined = 'lack' in provided ? provided.lack : undefined;

/**
 * The tests' own cluster, made with the first call and shared by all files: a test that changes it puts it back. For `beforeAll`, since
 * it takes half a minute, and where Kubernetes has yet to be built many. Call it only where `whyNoOwnCluster` is undefined.
 */
export async function ownCluster(): Promise<Cluster> {
  if ('lack' in provided) throw new Error(provided.lack);
  const { name, ownerPid } = provided;
  if ((await readRecord(name))?.ready === true) return openCluster(name);
  const started = performance.now();
  const said = (text: string) =>
    process.stdout.write(`cluster ${((performance.now() - started) / 1000).toFixed(1)} s: ${text}\n`);
  const cluster = await upCluster({ name, ownerPid, onProgress: said });
  said('all nodes and pods are ready');
  return cluster;
}

/** A cluster that commands can reach: the tests' own one, or what PODPATH_TEST_KUBECONFIG names. */
export interface ReachableCluster {
  readonly kubeconfig: string;
  /** The arguments that run a command where the API server can be reached, with KUBECONFIG set. */
  argv(command: readonly string[]): Promise<readonly string[]>;
}

/** Why there is no cluster at all; undefined if there is one. */
export const whyNoAnyCluster: string | undefined =
  (process.env.PODPATH_TEST_KUBECONFIG ?? '') === '' ? whyNoOwnCluster : undefined;

export async function anyCluster(): Promise<ReachableCluster> {
  const given = process.env.PODPATH_TEST_KUBECONFIG ?? '';
  if (given !== '') {
    return { kubeconfig: given, argv: async (command) => ['env', `KUBECONFIG=${given}`, ...command] };
  }
  const cluster = await ownCluster();
  return {
    kubeconfig: cluster.kubeconfig,
    argv: (command) =>
      cluster.argv('admin', [
        'env',
        `KUBECONFIG=${cluster.kubeconfig}`,
        `PATH=${cluster.binaries}:${process.env.PATH}`,
        ...command,
      ]),
  };
}

/** Runs kubectl on a cluster of either kind. */
export async function kubectl(cluster: ReachableCluster, args: readonly string[]) {
  return exec(await cluster.argv(['kubectl', ...args]), { timeoutMs: 60_000 });
}
