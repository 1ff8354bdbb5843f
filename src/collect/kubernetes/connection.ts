/** One API server and one account on it. Owns the sockets; credentials are made when they are first needed, and again when they expire. */
import { readFile } from 'node:fs/promises';
import type { Agent } from 'node:http';
import { PodpathError } from '../../model/errors.ts';
import type { Impersonation } from '../../parse/kubeconfig.ts';
import { reason } from '../directory.ts';
import { makeAgent } from './agent.ts';
import { type ExecCredential, runPlugin } from './exec-plugin.ts';
import { findTarget, type Target } from './kubeconfig.ts';
import type { ClusterOptions } from './options.ts';
import { proxyFor } from './proxy.ts';

/** A list is one header a value. */
export type RequestHeaders = Readonly<Record<string, string | readonly string[]>>;

export interface Credentials {
  readonly agent: Agent;
  /** Authorization and Impersonate-*. */
  readonly headers: RequestHeaders;
  /** Counts up with each `renew`. */
  readonly generation: number;
}

export interface Connection {
  /** For people: the context's name. */
  readonly name: string;
  /** `https://10.0.0.1:6443`, with the path that a gateway wants, without a slash at the end. */
  readonly base: string;
  readonly namespace: string;
  /** What `kubectl` wants to be the same account on the same cluster: ` --context prod --as jo`. */
  readonly kubectlFlags: string;
  /** The account as far as the kubeconfig tells, for messages. */
  readonly impersonate?: Impersonation;
  credentials(signal: AbortSignal): Promise<Credentials>;
  /** After a 401 of this generation: true if there are newer ones, or ones that can be made anew; those are forgotten then. */
  renew(generation: number): boolean;
  /** The server took credentials of this generation. */
  accepted(generation: number): void;
  close(): void;
}

/** No request yet. Throws PodpathError: no cluster named, broken kubeconfig, unreadable certificate. */
export async function connect(options: ClusterOptions): Promise<Connection> {
  const target = await findTarget(options);
  const { cluster, user } = target;
  if (user.authProvider !== undefined && user.exec === undefined)
    throw removedProvider(user.authProvider, target);
  const server = serverUrl(cluster.server, target);
  const proxy = readProxy(server, target);
  const fixed = {
    server,
    insecure: cluster.insecure,
    ...(cluster.tlsServerName === undefined ? {} : { servername: cluster.tlsServerName }),
    ...(proxy === undefined ? {} : { proxy }),
    ...spread('ca', cluster.insecure ? undefined : await pem(cluster.caData, cluster.caFile, target)),
  };
  const cert = await pem(user.certData, user.certFile, target);
  const key = await pem(user.keyData, user.keyFile, target);
  const own = { ...spread('cert', cert), ...spread('key', key) };
  let agent = makeAgentFor(() => makeAgent({ ...fixed, ...own }), target);
  let issued: { readonly credential: ExecCredential; readonly agent: Agent } | undefined;
  /** Several requests want it at once: the plugin runs once. */
  let running: Promise<void> | undefined;

  const issue = async (signal: AbortSignal): Promise<void> => {
    if (user.exec === undefined) return;
    const credential = await runPlugin(user.exec, cluster, signal);
    const { certificate, key: pluginKey } = credential;
    if (certificate !== undefined && pluginKey !== undefined) {
      agent.destroy();
      agent = makeAgentFor(() => makeAgent({ ...fixed, cert: certificate, key: pluginKey }), target);
    }
    issued = { credential, agent };
  };
  const isFresh = (): boolean =>
    issued !== undefined &&
    (issued.credential.expires === undefined || issued.credential.expires > Date.now() + expiryMarginMs);

  let generation = 0;
  /** The newest generation that the server took: what was never taken is not asked for again and again. */
  let proven = 0;

  const authorization = async (signal: AbortSignal): Promise<string | undefined> => {
    // client-go: a token file is read again and again, and wins over the token.
    if (user.tokenFile !== undefined) return `Bearer ${(await file(user.tokenFile, target)).trim()}`;
    if (user.token !== undefined) return `Bearer ${user.token}`;
    if (user.username !== undefined)
      return `Basic ${Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64')}`;
    if (user.exec === undefined) return undefined;
    if (!isFresh()) {
      running ??= issue(signal).finally(() => {
        running = undefined;
      });
      await running;
    }
    const token = issued?.credential.token;
    return token === undefined ? undefined : `Bearer ${token}`;
  };

  return {
    name: target.name,
    base: server.href.replace(/\/+$/, ''),
    namespace: target.namespace,
    kubectlFlags: kubectlFlags(options),
    ...(user.impersonate === undefined ? {} : { impersonate: user.impersonate }),
    credentials: async (signal) => {
      const text = await authorization(signal);
      return {
        agent,
        generation,
        headers: {
          ...(text === undefined ? {} : { Authorization: text }),
          ...impersonationHeaders(user.impersonate),
        },
      };
    },
    renew: (used) => {
      // Several requests were under way with the same credentials: the first of them has renewed those.
      if (used < generation) return true;
      if ((user.exec === undefined && user.tokenFile === undefined) || proven < generation) return false;
      issued = undefined;
      generation++;
      return true;
    },
    accepted: (used) => {
      proven = Math.max(proven, used);
    },
    close: () => agent.destroy(),
  };
}

/** A token that ends within this time would end under way. */
const expiryMarginMs = 10_000;

const spread = <K extends string>(key: K, value: string | undefined): { readonly [P in K]?: string } =>
  (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: string };

function serverUrl(text: string, target: Target): URL {
  // kubectl takes `host:port` for http://host:port; a server without a scheme is more often a mistake here.
  try {
    const url = new URL(text.includes('://') ? text : `https://${text}`);
    if (url.protocol === 'http:' || url.protocol === 'https:') return url;
  } catch {}
  throw unusable(target, `its server ${JSON.stringify(text)} is no http or https URL`);
}

function readProxy(server: URL, target: Target): URL | undefined {
  try {
    return proxyFor(server, target.cluster.proxyUrl, process.env);
  } catch {
    throw unusable(target, 'its proxy-url, or HTTPS_PROXY, is no URL');
  }
}

/** OpenSSL's reasons for a bad certificate or key come here. */
function makeAgentFor(make: () => Agent, target: Target): Agent {
  try {
    return make();
  } catch (error) {
    throw unusable(target, error instanceof Error ? error.message : String(error));
  }
}

async function pem(
  data: string | undefined,
  path: string | undefined,
  target: Target,
): Promise<string | undefined> {
  if (data !== undefined && data !== '') return Buffer.from(data, 'base64').toString('utf8');
  return path === undefined ? undefined : file(path, target);
}

async function file(path: string, target: Target): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw unusable(target, `${path}: ${reason(error)}`);
  }
}

const unusable = (target: Target, why: string): PodpathError =>
  new PodpathError({
    code: 'cluster/unusable-context',
    what: `the kubeconfig's context ${target.name} cannot be used`,
    why,
    todo: 'kubectl config view --minify shows it; --context names another',
  });

const removedProvider = (name: string, target: Target): PodpathError =>
  unusable(
    target,
    `its user logs in with the built-in plugin ${JSON.stringify(name)}, which Kubernetes removed in 1.26: its cloud's exec plugin has taken its place`,
  );

function impersonationHeaders(who: Impersonation | undefined): RequestHeaders {
  if (who === undefined) return {};
  return {
    ...(who.user === undefined ? {} : { 'Impersonate-User': who.user }),
    ...(who.uid === undefined ? {} : { 'Impersonate-Uid': who.uid }),
    ...(who.groups.length === 0 ? {} : { 'Impersonate-Group': who.groups }),
    ...Object.fromEntries(
      Object.entries(who.extra ?? {}).map(([key, values]) => [
        `Impersonate-Extra-${encodeURIComponent(key)}`,
        values,
      ]),
    ),
  };
}

/** Only what names the cluster and the account; never a token. */
function kubectlFlags(options: ClusterOptions): string {
  const flags: readonly (readonly [string, string | undefined])[] = [
    ['--kubeconfig', options.kubeconfig],
    ['--context', options.context],
    ['--cluster', options.cluster],
    ['--user', options.user],
    ['--as', options.as],
    ['--as-uid', options.asUid],
    ...(options.asGroup ?? []).map((group) => ['--as-group', group] as const),
  ];
  return flags.map(([flag, value]) => (value === undefined ? '' : ` ${flag} ${quoted(value)}`)).join('');
}

const quoted = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, `'\\''`)}'`;
