/** Accounts with less than everything, and certificates that are no good. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cluster } from './cluster.ts';
import { clusterRole, clusterRoleBinding, type Rule, serviceAccount } from './manifests/meta.ts';
import { makeCertificates, writeKubeconfig, writeTokenKubeconfig } from './pki.ts';

const home = 'default';

const fileFor = async (cluster: Cluster, name: string): Promise<string> => {
  const folder = join(cluster.plan.folder, 'accounts');
  await mkdir(folder, { recursive: true });
  return join(folder, `${name}.kubeconfig`);
};

/** Makes a service account that may do what the rules say, in every namespace. Returns its kubeconfig's path. */
export async function makeAccount(cluster: Cluster, name: string, rules: readonly Rule[]): Promise<string> {
  await cluster.apply([
    serviceAccount(name, home),
    clusterRole(`account-${name}`, rules),
    clusterRoleBinding(`account-${name}`, `account-${name}`, { name, namespace: home }),
  ]);
  const token = await cluster.kubectlOut(['create', 'token', name, `--namespace=${home}`, '--duration=2h']);
  const file = await fileFor(cluster, name);
  await writeTokenKubeconfig(cluster.plan, token.trim(), file);
  return file;
}

export async function removeAccount(cluster: Cluster, name: string): Promise<void> {
  for (const object of [`clusterrolebinding/account-${name}`, `clusterrole/account-${name}`])
    await cluster.kubectlOut(['delete', object, '--ignore-not-found']);
  await cluster.kubectlOut(['delete', `serviceaccount/${name}`, `--namespace=${home}`, '--ignore-not-found']);
}

/** Sees pods, Services and the like of all namespaces; no Secrets, no exec, no change. */
export const readOnly: readonly Rule[] = [
  {
    apiGroups: [''],
    resources: ['namespaces', 'nodes', 'pods', 'services', 'endpoints', 'configmaps'],
    verbs: ['get', 'list', 'watch'],
  },
  { apiGroups: ['apps'], resources: ['*'], verbs: ['get', 'list', 'watch'] },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] },
  { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs: ['get', 'list', 'watch'] },
];

/** A kubeconfig of an administrator whose certificate is good for so long; negative: it ended that long ago. */
export async function makeAdminFor(cluster: Cluster, name: string, validSeconds: number): Promise<string> {
  await makeCertificates(cluster.plan, cluster.binaries, [
    { name: `account-${name}`, commonName: name, organizations: ['system:masters'], validSeconds },
  ]);
  const file = await fileFor(cluster, name);
  await writeKubeconfig(cluster.plan, `account-${name}`, file);
  return file;
}
