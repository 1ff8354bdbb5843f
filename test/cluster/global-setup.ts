/** One cluster for all test files of the project: made by the first that wants it, removed after the last. */
import type { TestProject } from 'vitest/node';
import { whyNoCluster } from './host.ts';
import { downCluster } from './lifecycle.ts';
import { traces } from './state.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Name and owner of the tests' own cluster, or why there is none. */
    cluster: { readonly name: string; readonly ownerPid: number } | { readonly lack: string };
  }
}

export default function setup(project: TestProject): () => Promise<void> {
  const given = process.env.PODPATH_TEST_KUBECONFIG ?? '';
  const lack =
    given === '' ? whyNoCluster() : 'PODPATH_TEST_KUBECONFIG names another one, which is not ours to break';
  if (lack !== undefined) process.stdout.write(`tests on a cluster of our own are skipped: ${lack}\n`);
  const name = `t${process.pid}`;
  project.provide('cluster', lack === undefined ? { name, ownerPid: process.pid } : { lack });
  return async () => {
    if (traces().includes(name)) await downCluster(name);
  };
}
