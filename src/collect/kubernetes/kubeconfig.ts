/** Finds the kubeconfig as kubectl does, and of it the cluster, the user and the namespace that are meant. */
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { PodpathError } from '../../model/errors.ts';
import {
  type KubeCluster,
  type Kubeconfig,
  type KubeUser,
  mergeKubeconfigs,
  parseKubeconfig,
} from '../../parse/kubeconfig.ts';
import { isSystemError, reason } from '../directory.ts';
import type { ClusterOptions } from './options.ts';

export interface Target {
  /** For people: the context's name, `in-cluster`, or the server. */
  readonly name: string;
  readonly cluster: KubeCluster;
  readonly user: KubeUser;
  /** The context's, unless -n says another; `default` where none does. */
  readonly namespace: string;
}

const accountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Throws PodpathError: no cluster is named anywhere, the file is broken, the context is not in it. */
export async function findTarget(options: ClusterOptions): Promise<Target> {
  const found = await readKubeconfigs(options);
  const config: Kubeconfig = found?.config ?? { contexts: new Map(), clusters: new Map(), users: new Map() };
  const contextName = options.context ?? config.currentContext;
  const named =
    options.context !== undefined || options.cluster !== undefined || options.server !== undefined;
  if (!named && (contextName === undefined || config.contexts.size === 0)) {
    const inside = await inCluster(options);
    if (inside !== undefined) return inside;
    throw noCluster(found?.files ?? [], found !== undefined);
  }
  const context = contextName === undefined ? undefined : config.contexts.get(contextName);
  if (contextName !== undefined && context === undefined && options.server === undefined)
    throw notThere('context', contextName, config.contexts, found?.files ?? []);
  const clusterName = options.cluster ?? context?.cluster;
  const userName = options.user ?? context?.user;
  const cluster = clusterName === undefined ? undefined : config.clusters.get(clusterName);
  const user = userName === undefined ? undefined : config.users.get(userName);
  if (cluster === undefined && options.server === undefined)
    throw notThere('cluster', clusterName ?? '', config.clusters, found?.files ?? []);
  if (options.user !== undefined && user === undefined)
    throw notThere('user', options.user, config.users, found?.files ?? []);
  return {
    name: contextName ?? options.server ?? clusterName ?? 'cluster',
    cluster: withClusterFlags(cluster ?? { server: '', insecure: false }, options),
    user: withUserFlags(user ?? {}, options),
    namespace: options.namespace ?? context?.namespace ?? 'default',
  };
}

function withClusterFlags(cluster: KubeCluster, options: ClusterOptions): KubeCluster {
  const { server, certificateAuthority, tlsServerName, insecureSkipTlsVerify } = options;
  return {
    ...cluster,
    ...(server === undefined ? {} : { server }),
    ...(certificateAuthority === undefined ? {} : { caFile: resolve(certificateAuthority), caData: '' }),
    ...(tlsServerName === undefined ? {} : { tlsServerName }),
    ...(insecureSkipTlsVerify === undefined ? {} : { insecure: insecureSkipTlsVerify }),
  };
}

/** A token from the command line replaces every other way to authenticate; so do a certificate and key. */
function withUserFlags(user: KubeUser, options: ClusterOptions): KubeUser {
  const { token, clientCertificate, clientKey } = options;
  let found: KubeUser = user;
  if (token !== undefined) found = { token };
  if (clientCertificate !== undefined && clientKey !== undefined)
    found = { certFile: resolve(clientCertificate), keyFile: resolve(clientKey) };
  const groups = options.asGroup ?? [];
  if (options.as === undefined && options.asUid === undefined && groups.length === 0)
    return user.impersonate === undefined ? found : { ...found, impersonate: user.impersonate };
  return {
    ...found,
    impersonate: {
      groups,
      ...(options.as === undefined ? {} : { user: options.as }),
      ...(options.asUid === undefined ? {} : { uid: options.asUid }),
    },
  };
}

interface Found {
  readonly files: readonly string[];
  readonly config: Kubeconfig;
}

/** --kubeconfig must exist; of several files in KUBECONFIG some may be missing; undefined: there is none. */
async function readKubeconfigs({ kubeconfig }: ClusterOptions): Promise<Found | undefined> {
  const listed = process.env.KUBECONFIG ?? '';
  const files =
    kubeconfig !== undefined
      ? [kubeconfig]
      : listed === ''
        ? [join(homedir(), '.kube', 'config')]
        : [...new Set(listed.split(delimiter).filter((file) => file !== ''))];
  const configs: Kubeconfig[] = [];
  const read: string[] = [];
  for (const file of files) {
    const text = await readText(file, kubeconfig !== undefined);
    if (text === undefined) continue;
    const folder = dirname(resolve(file));
    const config = parseKubeconfig(text, file, (path) => resolve(folder, path));
    if (!config.ok) throw broken(file, config.error.message);
    configs.push(config.value);
    read.push(file);
  }
  return configs.length === 0 ? undefined : { files: read, config: mergeKubeconfigs(configs) };
}

async function readText(file: string, required: boolean): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (!required && isSystemError(error) && error.code === 'ENOENT') return undefined;
    throw broken(file, reason(error));
  }
}

/** A pod's own account. As client-go: KUBERNETES_SERVICE_HOST and the token make it one. */
async function inCluster({ namespace }: ClusterOptions): Promise<Target | undefined> {
  const host = process.env.KUBERNETES_SERVICE_HOST ?? '';
  const port = process.env.KUBERNETES_SERVICE_PORT ?? '';
  if (host === '' || port === '') return undefined;
  const token = await readText(`${accountFolder}/token`, false);
  if (token === undefined) return undefined;
  const own = await readText(`${accountFolder}/namespace`, false);
  return {
    name: 'in-cluster',
    cluster: {
      server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
      caFile: `${accountFolder}/ca.crt`,
      insecure: false,
    },
    user: { tokenFile: `${accountFolder}/token` },
    namespace: namespace ?? (own?.trim() || 'default'),
  };
}

const broken = (file: string, why: string): PodpathError =>
  new PodpathError({
    code: 'cluster/bad-kubeconfig',
    what: 'the kubeconfig cannot be read',
    where: file,
    why,
    todo: 'kubectl config view --kubeconfig FILE shows whether kubectl can read it; --kubeconfig names another',
  });

function noCluster(files: readonly string[], found: boolean): PodpathError {
  const looked =
    process.env.KUBECONFIG === undefined || process.env.KUBECONFIG === ''
      ? '~/.kube/config'
      : `KUBECONFIG (${process.env.KUBECONFIG})`;
  return new PodpathError({
    code: 'usage/no-source',
    what: 'nothing to look at',
    why: found
      ? `${files.join(', ')} names no current context, and neither --context, --snapshot nor --lab was given`
      : `there is no kubeconfig (${looked}), this is no pod with a service account, and neither --snapshot nor --lab was given`,
    todo: '--kubeconfig FILE or --context NAME looks at a cluster, -s PATH reads a snapshot, podpath lab up makes a lab; podpath demo shows one',
  });
}

function notThere(
  what: 'context' | 'cluster' | 'user',
  name: string,
  known: ReadonlyMap<string, unknown>,
  files: readonly string[],
): PodpathError {
  const names = [...known.keys()];
  const some = names.slice(0, 8).join(', ');
  return new PodpathError({
    code: 'cluster/not-in-kubeconfig',
    what: `there is no ${what} ${JSON.stringify(name)}`,
    ...(files.length === 0 ? {} : { where: files.join(', ') }),
    why:
      names.length === 0
        ? `the kubeconfig has no ${what}s`
        : `it has ${some}${names.length > 8 ? ', ...' : ''}`,
    todo: 'kubectl config get-contexts lists them',
  });
}
