/** Credentials from a program (client.authentication.k8s.io ExecCredential): aws, gcloud, kubelogin and the like. */
import { PodpathError } from '../../model/errors.ts';
import { isObject, type JsonObject } from '../../parse/json.ts';
import type { ExecPlugin, KubeCluster } from '../../parse/kubeconfig.ts';
import { exec } from '../../system/exec.ts';
import { redactText } from './redact.ts';

export interface ExecCredential {
  readonly token?: string;
  readonly certificate?: string;
  readonly key?: string;
  /** Milliseconds since 1970; absent: good for the whole run. */
  readonly expires?: number;
}

/** A person may have to log in with a browser. */
const interactiveMs = 5 * 60_000;
const silentMs = 60_000;

/** Throws PodpathError: the program is missing, fails, or prints no credential. Its stderr goes to ours as it comes. */
export async function runPlugin(
  plugin: ExecPlugin,
  cluster: KubeCluster,
  signal: AbortSignal,
): Promise<ExecCredential> {
  const terminal = process.stdin.isTTY === true;
  if (plugin.interactive === 'Always' && !terminal)
    throw failure(plugin, 'it wants to ask questions, and standard input is no terminal');
  const interactive = plugin.interactive !== 'Never' && terminal;
  const info = JSON.stringify({
    kind: 'ExecCredential',
    apiVersion: plugin.apiVersion,
    spec: {
      interactive,
      ...(plugin.provideClusterInfo ? { cluster: clusterInfo(cluster) } : {}),
    },
  });
  const result = await exec([plugin.command, ...plugin.args], {
    env: { ...plugin.env, KUBERNETES_EXEC_INFO: info },
    timeoutMs: interactive ? interactiveMs : silentMs,
    signal,
    inheritInput: interactive,
    onStderr: (text) => process.stderr.write(redactText(text)),
  });
  if (result.startError !== undefined && !signal.aborted)
    throw failure(
      plugin,
      result.startError === 'ENOENT'
        ? 'there is no such program'
        : `it could not be started (${result.startError})`,
    );
  if (result.timedOut) throw failure(plugin, `it did not end within ${Math.round(result.ms / 1000)} s`);
  if (result.code !== 0) {
    const said = redactText(result.stderr.trim().split('\n').at(-1) ?? '').slice(0, 300);
    throw failure(plugin, `it ended with exit code ${result.code}${said === '' ? '' : `: ${said}`}`);
  }
  return readCredential(plugin, result.stdout);
}

function clusterInfo(cluster: KubeCluster): object {
  return {
    server: cluster.server,
    ...(cluster.tlsServerName === undefined ? {} : { 'tls-server-name': cluster.tlsServerName }),
    ...(cluster.insecure ? { 'insecure-skip-tls-verify': true } : {}),
    ...(cluster.caData === undefined ? {} : { 'certificate-authority-data': cluster.caData }),
    ...(cluster.proxyUrl === undefined ? {} : { 'proxy-url': cluster.proxyUrl }),
    config: cluster.execConfig ?? null,
  };
}

function readCredential(plugin: ExecPlugin, stdout: string): ExecCredential {
  let value: unknown;
  try {
    value = JSON.parse(stdout);
  } catch {
    throw failure(plugin, 'what it printed is no JSON');
  }
  const status: JsonObject = isObject(value) && isObject(value.status) ? value.status : {};
  const text = (key: string): string | undefined => {
    const found = status[key];
    return typeof found === 'string' && found !== '' ? found : undefined;
  };
  const token = text('token');
  const certificate = text('clientCertificateData');
  const key = text('clientKeyData');
  const expires = Date.parse(text('expirationTimestamp') ?? '');
  if (token === undefined && (certificate === undefined || key === undefined))
    throw failure(plugin, 'it printed neither a token nor a certificate with its key');
  return {
    ...(token === undefined ? {} : { token }),
    ...(certificate === undefined || key === undefined ? {} : { certificate, key }),
    ...(Number.isNaN(expires) ? {} : { expires }),
  };
}

const failure = ({ command, args, installHint }: ExecPlugin, why: string): PodpathError =>
  new PodpathError({
    code: 'cluster/no-credentials',
    what: 'the credential plugin of the kubeconfig gave no credentials',
    where: redactText([command, ...args].join(' ')),
    why,
    todo:
      installHint?.trim().split('\n')[0] ??
      'run it by hand, and `kubectl auth whoami`: it uses the same plugin',
  });
