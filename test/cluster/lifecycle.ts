/** Up, down and sweep. */
import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PodpathError } from '../../src/model/errors.ts';
import { exec } from '../../src/system/exec.ts';
import { type Binaries, ensureBinaries } from './binaries.ts';
import { makeCgroups, removeCgroups } from './cgroups.ts';
import { Cluster } from './cluster.ts';
import { startControlPlane } from './control-plane.ts';
import { buildFabric, removeNamespace } from './fabric.ts';
import { installPackages, whyNoCluster } from './host.ts';
import { startMachine } from './machine.ts';
import { agentObjects } from './manifests/agents.ts';
import { dnsObjects } from './manifests/dns.ts';
import { workloadObjects } from './manifests/workloads.ts';
import { layImages, startKubelet, startRuntime } from './node.ts';
import { clusterCertificates, makeCertificates, writeKubeconfig } from './pki.ts';
import {
  adminKubeconfig,
  type ClusterOptions,
  checkName,
  clusterFolder,
  type Plan,
  planCluster,
} from './plan.ts';
import { killAll } from './processes.ts';
import { claim, isAbandoned, mountsOf, namespacesOf, readRecord, traces, writeRecord } from './state.ts';
import { ensureStore } from './store.ts';

export interface UpOptions extends ClusterOptions {
  /** The folder of programs/ and machine-init.sh; absent: beside this file. */
  readonly home?: string;
  readonly onProgress?: (text: string) => void;
}

/** Makes a cluster and waits until all that it runs is ready. Throws PodpathError, with nothing left behind. */
export async function upCluster(options: UpOptions): Promise<Cluster> {
  const say = options.onProgress ?? (() => {});
  const home = options.home ?? fileURLToPath(new URL('.', import.meta.url));
  const plan = planCluster(options);
  const { binaries, store } = await prepareCluster(home, say);
  await sweepClusters();
  const record = await claim(plan, binaries.folder);
  if (record === undefined) {
    throw new PodpathError({
      code: 'cluster/exists',
      what: `a cluster named ${plan.name} exists already`,
      why: 'every cluster needs a name of its own',
      todo: `remove it: node scripts/cluster.mjs down --name ${plan.name}`,
    });
  }
  try {
    await build(plan, binaries.folder, store, join(home, 'machine-init.sh'), say);
    await writeRecord({ ...record, ready: true });
    return new Cluster(plan, binaries.folder);
  } catch (error) {
    if (process.env.PODPATH_KEEP_CLUSTER === undefined) await removeCluster(plan.name);
    throw error;
  }
}

/** Installs and builds what every cluster needs, once a machine; 10 minutes, later nothing. Throws PodpathError. */
export async function prepareCluster(
  home: string,
  say: (text: string) => void,
): Promise<{ readonly binaries: Binaries; readonly store: string }> {
  const lack = whyNoCluster() ?? (await installPackages(say));
  if (lack !== undefined) throw cannot(lack);
  const binaries = await ensureBinaries(join(home, 'programs'), say);
  return { binaries, store: await ensureStore(binaries, say) };
}

const cannot = (why: string): PodpathError =>
  new PodpathError({
    code: 'cluster/cannot',
    what: 'no cluster can be made on this host',
    why,
    todo: 'use another machine, or set PODPATH_TEST_KUBECONFIG to a cluster that is for tests',
  });

async function build(
  plan: Plan,
  binaries: string,
  store: string,
  script: string,
  say: (text: string) => void,
): Promise<void> {
  const cluster = new Cluster(plan, binaries);
  say('wiring the machines');
  // A copy of its own: the tree may change while the cluster stands.
  const ownScript = join(plan.folder, 'machine-init.sh');
  await Promise.all([
    copyFile(script, ownScript),
    buildFabric(plan),
    makeCgroups(plan),
    makeCertificates(plan, binaries, clusterCertificates(plan)),
  ]);
  const machines = [plan.controlPlane, ...plan.nodes];
  await Promise.all([
    writeKubeconfig(plan, 'admin', adminKubeconfig(plan)),
    ...machines.map((machine) => startMachine(plan, machine, ownScript)),
  ]);
  say('starting the control plane and the runtimes');
  await Promise.all([
    startControlPlane(plan, binaries),
    ...plan.nodes.map(async (node) => {
      await layImages(plan, node, store);
      await startRuntime(plan, node);
    }),
  ]);
  say('starting the kubelets');
  await Promise.all([
    ...plan.nodes.map((node) => startKubelet(plan, node, binaries)),
    cluster.create([...agentObjects(plan), ...dnsObjects(plan), ...workloadObjects(plan)]),
  ]);
  say('waiting for nodes and pods');
  await cluster.untilReady();
}

/** The cluster of that name. Throws PodpathError if there is none. */
export async function openCluster(name: string): Promise<Cluster> {
  checkName(name);
  const record = await readRecord(name);
  if (record === undefined) throw noCluster(name);
  return new Cluster(record.plan, record.binaries);
}

const noCluster = (name: string): PodpathError =>
  new PodpathError({
    code: 'cluster/no-cluster',
    what: `there is no cluster named ${name}`,
    why: 'nothing of it is on this host',
    todo: `make it: node scripts/cluster.mjs up --name ${name}`,
  });

/** Removes a cluster in whatever state it is. Throws PodpathError if there is none. */
export async function downCluster(name: string): Promise<void> {
  checkName(name);
  if (!traces().includes(name)) throw noCluster(name);
  await removeCluster(name);
}

/** Processes first: their mounts go with them, and groups and folders can be removed only then. */
async function removeCluster(name: string): Promise<void> {
  await killAll(name);
  for (const mount of mountsOf(name).reverse()) await exec(['umount', '--lazy', mount]);
  for (const netns of namespacesOf(name)) await removeNamespace(netns);
  await removeCgroups(name);
  await rm(clusterFolder(name), { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}

/** Removes what dead runs left. Returns the names. */
export async function sweepClusters(): Promise<string[]> {
  const swept: string[] = [];
  for (const name of traces()) {
    if (!(await isAbandoned(name))) continue;
    await removeCluster(name);
    swept.push(name);
  }
  return swept;
}
