/** A kubeconfig file (client-go, clientcmd/api/v1) -> its named parts. JSON is read too: it is YAML. */
import { load } from 'js-yaml';
import { asString, asStrings, describe, isObject, type JsonObject } from './json.ts';
import { excerpt, failed, type Parsed, parsed } from './result.ts';

export interface Kubeconfig {
  readonly currentContext?: string;
  readonly contexts: ReadonlyMap<string, KubeContext>;
  readonly clusters: ReadonlyMap<string, KubeCluster>;
  readonly users: ReadonlyMap<string, KubeUser>;
}

export interface KubeContext {
  readonly cluster: string;
  readonly user: string;
  readonly namespace?: string;
}

export interface KubeCluster {
  readonly server: string;
  readonly caFile?: string;
  /** Base64 of PEM. */
  readonly caData?: string;
  readonly insecure: boolean;
  readonly tlsServerName?: string;
  readonly proxyUrl?: string;
  /** What an exec plugin is told of the cluster: the extension `client.authentication.k8s.io/exec`. */
  readonly execConfig?: unknown;
}

export interface KubeUser {
  readonly token?: string;
  readonly tokenFile?: string;
  readonly certFile?: string;
  readonly certData?: string;
  readonly keyFile?: string;
  readonly keyData?: string;
  readonly username?: string;
  readonly password?: string;
  readonly exec?: ExecPlugin;
  /** Name of an in-tree plugin, which kubectl 1.26 removed. */
  readonly authProvider?: string;
  readonly impersonate?: Impersonation;
}

export interface Impersonation {
  readonly user?: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export interface ExecPlugin {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly provideClusterInfo: boolean;
  readonly interactive: 'Never' | 'IfAvailable' | 'Always';
  readonly installHint?: string;
}

const format = 'kubeconfig';

/** `resolve` makes a path that the file names absolute: they are relative to the file. */
export function parseKubeconfig(
  text: string,
  file: string,
  resolve: (path: string) => string,
): Parsed<Kubeconfig> {
  let value: unknown;
  try {
    value = load(text);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // Only the first line: the others quote the file, credentials among it.
    return failed({
      code: `${format}/not-yaml`,
      file,
      message: excerpt(`not YAML: ${message.split('\n')[0] ?? ''}`),
    });
  }
  if (value === undefined || value === null)
    return parsed({ contexts: new Map(), clusters: new Map(), users: new Map() });
  if (!isObject(value))
    return failed({
      code: `${format}/foreign`,
      file,
      message: `a kubeconfig is an object, this is ${describe(value)}`,
    });
  const current = text_(value['current-context']);
  return parsed({
    ...(current === undefined ? {} : { currentContext: current }),
    contexts: named(value.contexts, 'context', readContext),
    clusters: named(value.clusters, 'cluster', (item) => readCluster(item, resolve)),
    users: named(value.users, 'user', (item) => readUser(item, resolve)),
  });
}

function named<T>(list: unknown, key: string, read: (item: JsonObject) => T): ReadonlyMap<string, T> {
  const found = new Map<string, T>();
  for (const entry of Array.isArray(list) ? list : []) {
    if (!isObject(entry) || typeof entry.name !== 'string') continue;
    const value = entry[key];
    if (!found.has(entry.name)) found.set(entry.name, read(isObject(value) ? value : {}));
  }
  return found;
}

const text_ = (value: unknown): string | undefined => asString(value) || undefined;

/** Only the fields that are there: exactOptionalPropertyTypes. */
function present<T extends object>(fields: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

const readContext = (item: JsonObject): KubeContext => ({
  cluster: asString(item.cluster) ?? '',
  user: asString(item.user) ?? '',
  ...present<{ namespace?: string }>({ namespace: text_(item.namespace) }),
});

function readCluster(item: JsonObject, resolve: (path: string) => string): KubeCluster {
  const caFile = text_(item['certificate-authority']);
  return {
    server: asString(item.server) ?? '',
    insecure: item['insecure-skip-tls-verify'] === true,
    ...present<Partial<KubeCluster>>({
      caFile: caFile === undefined ? undefined : resolve(caFile),
      caData: text_(item['certificate-authority-data']),
      tlsServerName: text_(item['tls-server-name']),
      proxyUrl: text_(item['proxy-url']),
      execConfig: extension(item.extensions),
    }),
  };
}

function extension(extensions: unknown): unknown {
  for (const entry of Array.isArray(extensions) ? extensions : [])
    if (isObject(entry) && entry.name === 'client.authentication.k8s.io/exec') return entry.extension;
  return undefined;
}

function readUser(item: JsonObject, resolve: (path: string) => string): KubeUser {
  const file = (key: string): string | undefined => {
    const path = text_(item[key]);
    return path === undefined ? undefined : resolve(path);
  };
  const provider = isObject(item['auth-provider']) ? item['auth-provider'] : undefined;
  return present<KubeUser>({
    token: text_(item.token),
    tokenFile: file('tokenFile'),
    certFile: file('client-certificate'),
    certData: text_(item['client-certificate-data']),
    keyFile: file('client-key'),
    keyData: text_(item['client-key-data']),
    username: text_(item.username),
    password: text_(item.password),
    exec: isObject(item.exec) ? readExec(item.exec, resolve) : undefined,
    authProvider: provider === undefined ? undefined : (text_(provider.name) ?? 'unnamed'),
    impersonate: readImpersonation(item),
  });
}

function readImpersonation(item: JsonObject): Impersonation | undefined {
  const user = text_(item.as);
  const uid = text_(item['as-uid']);
  const groups = asStrings(item['as-groups']);
  const extra = item['as-user-extra'];
  if (user === undefined && uid === undefined && groups.length === 0) return undefined;
  return {
    groups,
    ...present<Partial<Impersonation>>({
      user,
      uid,
      extra: isObject(extra)
        ? Object.fromEntries(Object.entries(extra).map(([key, values]) => [key, asStrings(values)]))
        : undefined,
    }),
  };
}

function readExec(item: JsonObject, resolve: (path: string) => string): ExecPlugin {
  const command = asString(item.command) ?? '';
  const env = (Array.isArray(item.env) ? item.env : []).flatMap((entry: unknown) =>
    isObject(entry) && typeof entry.name === 'string' ? [[entry.name, asString(entry.value) ?? '']] : [],
  );
  const mode = item.interactiveMode;
  return {
    apiVersion: asString(item.apiVersion) ?? '',
    // A name is looked up in PATH, a path is relative to the file.
    command: command.includes('/') ? resolve(command) : command,
    args: asStrings(item.args),
    env: Object.fromEntries(env) as Record<string, string>,
    provideClusterInfo: item.provideClusterInfo === true,
    interactive: mode === 'Never' || mode === 'Always' ? mode : 'IfAvailable',
    ...present<{ installHint?: string }>({ installHint: text_(item.installHint) }),
  };
}

/** As clientcmd merges: of what is there twice the earlier file's counts. */
export function mergeKubeconfigs(configs: readonly Kubeconfig[]): Kubeconfig {
  const join = <T>(pick: (config: Kubeconfig) => ReadonlyMap<string, T>): ReadonlyMap<string, T> =>
    new Map([...configs].reverse().flatMap((config) => [...pick(config)]));
  const current = configs.find((config) => config.currentContext !== undefined)?.currentContext;
  return {
    ...(current === undefined ? {} : { currentContext: current }),
    contexts: join((config) => config.contexts),
    clusters: join((config) => config.clusters),
    users: join((config) => config.users),
  };
}
