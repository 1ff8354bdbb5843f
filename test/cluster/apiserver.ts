/** etcd and kube-apiserver alone, in a network namespace of their own: the real API with RBAC, without nodes. Linux, root. */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { bundledEntry } from '../../src/system/entry.ts';
import { type ExecOptions, type ExecResult, exec } from '../../src/system/exec.ts';

/** kube-apiserver and kubectl in one, which the name chooses. */
const programVariable = 'PODPATH_TEST_KUBERNETES';

const onPath = (name: string): boolean =>
  (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, name)));

/** The binary: from the environment, or built by the cluster harness (binaries.ts). */
function kubernetesBinary(): string | undefined {
  const given = process.env[programVariable];
  if (given !== undefined && given !== '') return given;
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'podpath', 'cluster');
  if (!existsSync(cache)) return undefined;
  return readdirSync(cache)
    .map((hash) => join(cache, hash, 'bin', 'kubernetes'))
    .find((file) => existsSync(file));
}

/** Why no API server can be started here; undefined if one can. */
export function apiServerLack(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'it needs Linux and root';
  if (!onPath('etcd')) return 'etcd is not installed (apt-get install etcd-server)';
  return kubernetesBinary() === undefined
    ? `no kube-apiserver: ${programVariable} names none and the cluster harness has built none`
    : undefined;
}

export interface TestApiServer {
  readonly netns: string;
  readonly dir: string;
  /** kubeconfig with the contexts admin, reader, nobody; namespace shop. */
  readonly kubeconfig: string;
  readonly url: string;
  /** PEM of the authority that signed the server's certificate. */
  readonly authority: string;
  /** In the namespace. */
  run(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** As admin. Throws if it fails. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  podpath(args: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Kills kube-apiserver, as a crash does. */
  kill(): Promise<void>;
  /** Starts it; resolves when it is ready. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

const port = 6443;
const url = `https://127.0.0.1:${port}`;
const prefix = 'pp-live-';

export async function startApiServer(): Promise<TestApiServer> {
  await sweep();
  const netns = `${prefix}${process.pid}-${Date.now() % 100_000}`;
  const dir = mkdtempSync(join(tmpdir(), `podpath-${netns}-`));
  await must(['ip', 'netns', 'add', netns]);
  await must(['ip', 'netns', 'exec', netns, 'ip', 'link', 'set', 'lo', 'up']);
  const binary = kubernetesBinary() ?? '';
  for (const name of ['kube-apiserver', 'kubectl']) symlinkSync(binary, join(dir, name));
  await makeKeys(dir);
  const kubeconfig = join(dir, 'kubeconfig');
  writeFileSync(kubeconfig, configOf(url, 'insecure-skip-tls-verify: true'));
  const inside = (argv: readonly string[]): string[] => ['ip', 'netns', 'exec', netns, ...argv];
  const children = new Set<ChildProcess>();
  const begin = (argv: readonly string[]): ChildProcess => {
    const [program = '', ...args] = inside(argv);
    const child = spawn(program, args, { stdio: 'ignore' });
    children.add(child);
    return child;
  };
  begin([
    'etcd',
    `--data-dir=${dir}/etcd`,
    '--listen-client-urls=http://127.0.0.1:2379',
    '--advertise-client-urls=http://127.0.0.1:2379',
    '--listen-peer-urls=http://127.0.0.1:2380',
    '--unsafe-no-fsync',
    '--log-level=error',
  ]);
  let api: ChildProcess | undefined;
  const run = (argv: readonly string[], options: ExecOptions = {}) => exec(inside(argv), options);
  const server: TestApiServer = {
    netns,
    dir,
    kubeconfig,
    url,
    get authority() {
      return readFileSync(join(dir, 'certs', 'apiserver.crt'), 'utf8');
    },
    run,
    kubectl: async (args, input) => {
      const result = await run([join(dir, 'kubectl'), '--kubeconfig', kubeconfig, ...args], {
        timeoutMs: 60_000,
        ...(input === undefined ? {} : { input }),
      });
      if (result.code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${result.stderr}`);
      return result.stdout;
    },
    podpath: (args, options = {}) =>
      run([process.execPath, bundledEntry('podpath'), ...args], {
        timeoutMs: 60_000,
        ...options,
        env: { NO_COLOR: '1', KUBECONFIG: kubeconfig, ...options.env },
      }),
    kill: async () => {
      await end(api);
      if (api !== undefined) children.delete(api);
    },
    start: async () => {
      api = begin(apiServerArgs(dir));
      await ready(server);
    },
    stop: async () => {
      await Promise.all([...children].map(end));
      await exec(['ip', 'netns', 'del', netns]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
  try {
    await server.start();
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

const apiServerArgs = (dir: string): readonly string[] => [
  join(dir, 'kube-apiserver'),
  '--etcd-servers=http://127.0.0.1:2379',
  `--secure-port=${port}`,
  '--bind-address=127.0.0.1',
  // Must not be a loopback address, and nobody has to reach it.
  '--advertise-address=192.0.2.1',
  '--endpoint-reconciler-type=none',
  `--cert-dir=${dir}/certs`,
  `--client-ca-file=${dir}/client-ca.crt`,
  `--token-auth-file=${dir}/tokens.csv`,
  '--authorization-mode=RBAC',
  `--service-account-key-file=${dir}/sa.key`,
  `--service-account-signing-key-file=${dir}/sa.key`,
  '--service-account-issuer=https://kubernetes.default.svc',
  '--service-cluster-ip-range=10.96.0.0/16',
];

/** `cluster` is the rest of the cluster's entry. */
const configOf = (server: string, cluster: string): string => `apiVersion: v1
kind: Config
current-context: admin
clusters: [{name: test, cluster: {server: "${server}", ${cluster}}}]
users:
${['admin', 'reader', 'nobody'].map((name) => `- {name: ${name}, user: {token: ${name}-token-for-tests}}`).join('\n')}
contexts:
${['admin', 'reader', 'nobody'].map((name) => `- {name: ${name}, context: {cluster: test, user: ${name}, namespace: shop}}`).join('\n')}
`;

async function makeKeys(dir: string): Promise<void> {
  writeFileSync(
    join(dir, 'tokens.csv'),
    'admin-token-for-tests,admin,1,system:masters\nreader-token-for-tests,reader,2\nnobody-token-for-tests,nobody,3\n',
  );
  const file = (name: string) => join(dir, name);
  await must(['openssl', 'genrsa', '-out', file('sa.key'), '2048']);
  const make = ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2'];
  await must([
    ...make,
    '-subj',
    '/CN=test-ca',
    '-keyout',
    file('client-ca.key'),
    '-out',
    file('client-ca.crt'),
  ]);
  const ca = ['-CA', file('client-ca.crt'), '-CAkey', file('client-ca.key')];
  const subject = '/O=system:masters/CN=by-certificate';
  await must([...make, ...ca, '-subj', subject, '-keyout', file('client.key'), '-out', file('client.crt')]);
}

async function ready(server: TestApiServer): Promise<void> {
  const until = Date.now() + 60_000;
  while (Date.now() < until) {
    const result = await server.run(
      [join(server.dir, 'kubectl'), '--kubeconfig', server.kubeconfig, 'get', '--raw', '/readyz'],
      { timeoutMs: 10_000 },
    );
    if (result.stdout.trim() === 'ok') return;
    await sleep(300);
  }
  throw new Error('kube-apiserver is not ready after 60 s');
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

/** What a killed test left behind: its process is named in the namespace's name. */
async function sweep(): Promise<void> {
  const { stdout } = await exec(['ip', 'netns', 'list']);
  for (const line of stdout.split('\n')) {
    const [name = ''] = line.split(' ');
    const pid = /^pp-live-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    const inside = await exec(['ip', 'netns', 'pids', name]);
    for (const one of inside.stdout.split('\n').filter((text) => text !== '')) {
      try {
        process.kill(Number(one), 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
    await exec(['ip', 'netns', 'del', name]);
    for (const folder of readdirSync(tmpdir()))
      if (folder.startsWith(`podpath-${name}-`))
        rmSync(join(tmpdir(), folder), { recursive: true, force: true });
  }
}

async function must(argv: readonly string[]): Promise<void> {
  const result = await exec(argv);
  if (result.code !== 0) throw new Error(`${argv.join(' ')}: ${result.stderr}`);
}

/** One fault for requests whose path matches. */
export interface Fault {
  readonly match: string;
  /** Let this many matching requests through first. */
  readonly after?: number;
  /** Then this many have the fault. */
  readonly times: number;
  readonly kind: 'status' | 'cut' | 'cut-body' | 'slow' | 'html';
  readonly status?: number;
  readonly retryAfterSeconds?: number;
  /** Of 410: with a token to go on with. */
  readonly resume?: boolean;
  readonly delayMs?: number;
}

export interface FaultProxy {
  readonly url: string;
  readonly kubeconfig: string;
  set(faults: readonly Fault[]): Promise<void>;
  /** `GET /api/v1/pods?limit=500` since the last set, with the status that the client got. */
  log(): Promise<readonly { readonly method: string; readonly path: string; readonly status: number }[]>;
  stop(): Promise<void>;
}

/** A proxy in front of the real server, in the same namespace, that spoils answers as told. Plain HTTP towards the client. */
export async function startFaultProxy(server: TestApiServer): Promise<FaultProxy> {
  const script = fileURLToPath(new URL('fault-proxy.mjs', import.meta.url));
  const child = spawn('ip', ['netns', 'exec', server.netns, process.execPath, script, server.url], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const waiting: ((line: string) => void)[] = [];
  let rest = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (text: string) => {
    rest += text;
    for (let at = rest.indexOf('\n'); at >= 0; at = rest.indexOf('\n')) {
      waiting.shift()?.(rest.slice(0, at));
      rest = rest.slice(at + 1);
    }
  });
  const answer = () => new Promise<string>((resolve) => waiting.push(resolve));
  const ask = (value: unknown) => {
    const line = answer();
    child.stdin.write(`${JSON.stringify(value)}\n`);
    return line;
  };
  const proxyUrl = await answer();
  const kubeconfig = join(server.dir, 'proxied');
  writeFileSync(kubeconfig, configOf(proxyUrl, 'insecure-skip-tls-verify: true'));
  return {
    url: proxyUrl,
    kubeconfig,
    set: async (faults) => {
      await ask({ faults });
    },
    log: async () => JSON.parse(await ask({ log: true })) as Awaited<ReturnType<FaultProxy['log']>>,
    stop: () => end(child),
  };
}
