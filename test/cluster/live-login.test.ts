/** Every way into a cluster that a kubeconfig knows, on a real API server. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ExecResult } from '../../src/system/exec.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { fill, skipReason } from './live-support.ts';

const adminToken = 'admin-token-for-tests';

describe.skipIf(skipReason() !== undefined)('ways to log in', () => {
  let server: TestApiServer;
  beforeAll(async () => {
    server = await startApiServer();
    await fill(server);
    writeFileSync(join(server.dir, 'ca.crt'), server.authority);
  });
  afterAll(() => server?.stop());

  const base64 = (name: string) => readFileSync(join(server.dir, name)).toString('base64');
  /** A kubeconfig in its own folder: paths in it are relative to it. */
  const config = (
    name: string,
    user: string,
    cluster = 'certificate-authority: ca.crt',
    url = server.url,
  ): string => {
    const file = join(server.dir, name);
    writeFileSync(
      file,
      `current-context: c
clusters: [{name: k, cluster: {server: "${url}", ${cluster}}}]
users: [{name: u, user: ${user}}]
contexts: [{name: c, context: {cluster: k, user: u, namespace: shop}}]
`,
    );
    return file;
  };
  const whoReads = (
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<ExecResult> =>
    server.podpath(['policy', 'explain', 'shop/web', 'other/api:80', ...args], {
      env: { KUBECONFIG: '', ...env },
    });
  const expectRead = (result: ExecResult) =>
    expect({ code: result.code, stderr: result.stderr }).toMatchObject({
      code: expect.toSatisfy((code: number) => code <= 2),
    });

  it.each<[string, () => string]>([
    ['a token', () => `{token: ${adminToken}}`],
    ['a certificate in files', () => '{client-certificate: client.crt, client-key: client.key}'],
    [
      'a certificate in the file itself',
      () => `{client-certificate-data: ${base64('client.crt')}, client-key-data: ${base64('client.key')}}`,
    ],
    [
      'a token file',
      () => {
        writeFileSync(join(server.dir, 'token'), `${adminToken}\n`);
        return '{tokenFile: token}';
      },
    ],
  ])('%s, and the authority in a file', async (name, user) => {
    expectRead(await whoReads(['--kubeconfig', config(`by ${name}`, user())]));
  });

  it('does not trust a server without its authority, nor under another name', async () => {
    const user = `{token: ${adminToken}}`;
    const strange = await whoReads(['--kubeconfig', config('untrusted', user, 'extensions: []')]);
    expect(strange).toMatchObject({ code: 3, stderr: expect.stringContaining('no trusted connection') });
    const trusted = config(
      'named',
      user,
      'certificate-authority: ca.crt, tls-server-name: kubernetes.default',
    );
    expectRead(await whoReads(['--kubeconfig', trusted]));
    const other = await whoReads(['--kubeconfig', trusted, '--tls-server-name', 'somebody.else']);
    expect(other).toMatchObject({ code: 3, stderr: expect.stringContaining('no trusted connection') });
    expectRead(
      await whoReads(['--kubeconfig', trusted, '--tls-server-name', 'x', '--insecure-skip-tls-verify']),
    );
  });

  it('merges the files of KUBECONFIG: the first one counts, missing ones do not matter', async () => {
    const first = join(server.dir, 'first');
    writeFileSync(first, `current-context: c\nusers: [{name: u, user: {token: ${adminToken}}}]\n`);
    const second = config('second', '{token: wrong}');
    expectRead(await whoReads([], { KUBECONFIG: `${first}:${join(server.dir, 'missing')}:${second}` }));
    const wrong = await whoReads([], { KUBECONFIG: `${second}:${first}` });
    expect(wrong.stderr).toContain('does not accept the credentials');
  });

  /** Writes an exec plugin; its first argument says what to print. */
  const plugin = (name: string, body: string): string => {
    const file = join(server.dir, name);
    writeFileSync(file, `#!/bin/sh\n${body}\n`);
    chmodSync(file, 0o755);
    return `{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./${name}, provideClusterInfo: true, env: [{name: GREETING, value: hello}]}}`;
  };
  const credential = (status: object) =>
    JSON.stringify({ kind: 'ExecCredential', apiVersion: 'client.authentication.k8s.io/v1', status });

  it('a credential plugin: run once, told of the cluster, its stderr shown', async () => {
    const calls = join(server.dir, 'calls');
    const body = `echo "$GREETING, please wait" >&2; echo "$KUBERNETES_EXEC_INFO" >> ${calls}; echo '${credential({ token: adminToken })}'`;
    const result = await whoReads(['--kubeconfig', config('by-plugin', plugin('plugin', body))]);
    expectRead(result);
    expect(result.stderr).toContain('hello, please wait');
    const lines = readFileSync(calls, 'utf8').trim().split('\n');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      kind: 'ExecCredential',
      spec: { interactive: false, cluster: { server: server.url } },
    });
  });

  it('a credential plugin that gives a certificate', async () => {
    const status = {
      clientCertificateData: readFileSync(join(server.dir, 'client.crt'), 'utf8'),
      clientKeyData: readFileSync(join(server.dir, 'client.key'), 'utf8'),
    };
    writeFileSync(join(server.dir, 'credential.json'), credential(status));
    const user = plugin('certificates', `cat ${server.dir}/credential.json`);
    expectRead(await whoReads(['--kubeconfig', config('by-plugin-certificate', user)]));
  });

  it('asks the plugin again when its token is refused or has expired', async () => {
    const count = join(server.dir, 'count');
    const stale = `echo x >> ${count}; if [ $(wc -l < ${count}) -eq 1 ]; then echo '${credential({ token: 'stale' })}'; else echo '${credential({ token: adminToken })}'; fi`;
    expectRead(await whoReads(['--kubeconfig', config('by-stale', plugin('stale', stale))]));
    expect(readFileSync(count, 'utf8')).toBe('x\nx\n');
  });

  it.each<[string, string, RegExp]>([
    [
      'is not there',
      '{exec: {apiVersion: v1, command: no-such-plugin-here, installHint: get it at example}}',
      /no such program[\s\S]*get it at example/,
    ],
    ['fails', '', /exit code 3: you are not logged in/],
  ])('a credential plugin that %s', async (name, given, message) => {
    const user = given === '' ? plugin('failing', 'echo "you are not logged in" >&2; exit 3') : given;
    const result = await whoReads(['--kubeconfig', config(`plugin ${name}`, user)]);
    expect(result.code).toBe(3);
    expect(result.stderr).toMatch(message);
  });

  it('the account of a pod', async () => {
    await server.kubectl([
      'create',
      'clusterrolebinding',
      'pod',
      '--clusterrole=cluster-admin',
      '--serviceaccount=shop:default',
    ]);
    const account = join(server.dir, 'account');
    mkdirSync(account);
    writeFileSync(
      join(account, 'token'),
      (await server.kubectl(['create', 'token', 'default', '-n', 'shop'])).trim(),
    );
    writeFileSync(join(account, 'ca.crt'), server.authority);
    writeFileSync(join(account, 'namespace'), 'shop');
    const folder = '/run/secrets/kubernetes.io/serviceaccount';
    // `ip netns exec` has mounts of its own: the host sees nothing of this.
    const script = `mount -t tmpfs none /run && mkdir -p ${folder} && cp ${account}/* ${folder} && exec "$@"`;
    const program = fileURLToPath(new URL('../../dist/podpath.js', import.meta.url));
    const result = await server.run(
      ['sh', '-c', script, 'sh', process.execPath, program, 'policy', 'explain', 'web', 'other/api:80'],
      {
        env: {
          KUBECONFIG: '/nowhere',
          HOME: '/nowhere',
          KUBERNETES_SERVICE_HOST: '127.0.0.1',
          KUBERNETES_SERVICE_PORT: '6443',
        },
      },
    );
    expectRead(result);
    expect(result.stderr).toContain('reading the objects of in-cluster');
  });

  it.each(['http', 'socks5'])('through a proxy: %s', async (scheme) => {
    const script = fileURLToPath(new URL('tunnel-proxy.mjs', import.meta.url));
    const child = spawn('ip', ['netns', 'exec', server.netns, process.execPath, script, scheme], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      const [first] = (await once(child.stdout, 'data')) as [Buffer];
      const port = first.toString().trim();
      const user = `{token: ${adminToken}}`;
      const through = (login: string) =>
        config(
          `${scheme}${login.length}`,
          user,
          `certificate-authority: ca.crt, proxy-url: "${scheme}://${login}127.0.0.1:${port}"`,
        );
      expectRead(await whoReads(['--kubeconfig', through('jo:planted-word@')]));
      const refused = await whoReads(['--kubeconfig', through('jo:wrong-planted@')]);
      expect(refused.code).toBe(3);
      expect(refused.stderr).toMatch(/proxy 127\.0\.0\.1:\d+: it (refused|closed)/);
      expect(refused.stderr).not.toContain('planted');
      const counted = once(child.stdout, 'data');
      child.stdin.write('count\n');
      const [count] = (await counted) as [Buffer];
      expect(Number(count.toString())).toBeGreaterThan(0);
    } finally {
      child.kill();
    }
  });
});
