/** API servers that throttle, forget, break and hang: the collection ends in time with what it has. Real server, spoiled by a proxy. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundledEntry } from '../../src/system/entry.ts';
import { type FaultProxy, startApiServer, startFaultProxy, type TestApiServer } from './apiserver.ts';
import { collect, itemsOf, skipReason } from './live-support.ts';

/** Three pages of 500. */
const podCount = 1_200;
const podPages = '^/api/v1/pods\\?';

describe.skipIf(skipReason() !== undefined)('an API server with faults', () => {
  let server: TestApiServer;
  let proxy: FaultProxy;
  beforeAll(async () => {
    server = await startApiServer();
    await server.kubectl(['create', 'namespace', 'shop']);
    await server.kubectl(['create', 'serviceaccount', 'default', '-n', 'shop']);
    const seed = fileURLToPath(new URL('seed.mjs', import.meta.url));
    const seeded = await server.run([
      process.execPath,
      seed,
      server.url,
      'admin-token-for-tests',
      String(podCount),
    ]);
    expect(seeded.stderr).toBe('');
    proxy = await startFaultProxy(server);
  });
  afterAll(async () => {
    await proxy?.stop();
    await server?.stop();
  });

  const proxied = (...args: string[]) => collect(server, ['--kubeconfig', proxy.kubeconfig, ...args]);
  const pages = async () => (await proxy.log()).filter(({ path }) => new RegExp(podPages).test(path));
  const tokens = async () =>
    (await pages()).map(({ path, status }) => `${/continue=/.test(path) ? 'next' : 'first'} ${status}`);

  it('reads pages of 500, with GET alone', async () => {
    await proxy.set([]);
    const found = await proxied();
    expect(found.gaps).toEqual([]);
    expect(itemsOf(found, 'pods')).toHaveLength(podCount);
    expect(await tokens()).toEqual(['first 200', 'next 200', 'next 200']);
    expect([...new Set((await proxy.log()).map(({ method }) => method))]).toEqual(['GET']);
    expect((await proxy.log()).filter(({ path }) => /resourceVersion=|secrets/.test(path))).toEqual([]);
  });

  it('waits as long as Retry-After says', async () => {
    await proxy.set([
      { match: podPages, after: 1, times: 2, kind: 'status', status: 429, retryAfterSeconds: 1 },
    ]);
    const found = await proxied();
    expect(found.gaps).toEqual([]);
    expect(itemsOf(found, 'pods')).toHaveLength(podCount);
    expect(await tokens()).toEqual(['first 200', 'next 429', 'next 429', 'next 200', 'next 200']);
    expect(found.ms).toBeGreaterThan(2_000);
  });

  it('begins a list again after 410 Gone, and says so', async () => {
    await proxy.set([{ match: podPages, after: 2, times: 1, kind: 'status', status: 410 }]);
    const found = await proxied();
    const names = itemsOf(found, 'pods').map(({ metadata }) => metadata.name);
    expect([names.length, new Set(names).size]).toEqual([podCount, podCount]);
    expect(await tokens()).toEqual([
      'first 200',
      'next 200',
      'next 410',
      'first 200',
      'next 200',
      'next 200',
    ]);
    expect(found.gaps.map(({ why }) => why)).toEqual([expect.stringContaining('410 Gone')]);
  });

  it('gives a list up that is gone again and again: unknown, not short', async () => {
    await proxy.set([{ match: `${podPages}.*continue`, times: 99, kind: 'status', status: 410 }]);
    const found = await proxied();
    expect(found.gaps.map(({ where }) => where)).toEqual(['cluster/pods.json']);
    expect(found.files.get('cluster/pods.json')).toContain('"kind":"Status"');
  });

  it('takes the offer to go on elsewhere only after beginning again twice', async () => {
    const match = `${podPages}.*continue`;
    await proxy.set([{ match, times: 3, kind: 'status', status: 410, resume: true }]);
    const found = await proxied();
    expect(itemsOf(found, 'pods')).toHaveLength(podCount);
    const restart = ['first 200', 'next 410'];
    expect(await tokens()).toEqual([...restart, ...restart, ...restart, 'next 200', 'next 200']);
    expect(found.gaps.at(-1)?.why).toContain('two states of the cluster');
  });

  it.each(['cut', 'cut-body'] as const)(
    'goes on at the page where a connection was lost: %s',
    async (kind) => {
      await proxy.set([{ match: podPages, after: 1, times: 2, kind }]);
      const found = await proxied();
      expect(found.gaps).toEqual([]);
      expect(itemsOf(found, 'pods')).toHaveLength(podCount);
      const asked = (await pages()).map(({ path }) => path);
      expect(asked.length).toBe(5);
      // The same page three times, and no page twice after it.
      expect(new Set(asked).size).toBe(3);
    },
  );

  it('takes 503 for a moment', async () => {
    await proxy.set([{ match: '^/', times: 3, kind: 'status', status: 503 }]);
    const found = await proxied();
    expect(found.gaps).toEqual([]);
  });

  it('asks for smaller pages where large ones are too slow', async () => {
    await proxy.set([{ match: `${podPages}limit=500`, times: 99, kind: 'slow', delayMs: 4_000 }]);
    const found = await proxied('--request-timeout', '1s');
    expect(found.gaps).toEqual([]);
    expect(itemsOf(found, 'pods')).toHaveLength(podCount);
    expect((await pages()).some(({ path }) => path.includes('limit=125'))).toBe(true);
  });

  it('a kind that never answers costs its time-outs, not the run', async () => {
    await proxy.set([{ match: '^/api/v1/services\\?', times: 99, kind: 'slow', delayMs: 5_000 }]);
    const found = await proxied('--request-timeout', '500ms');
    expect(found.gaps.map(({ where }) => where)).toEqual(['cluster/services.json']);
    expect(found.gaps[0]?.why).toContain('within 0.5 s');
    expect(itemsOf(found, 'pods')).toHaveLength(podCount);
    expect(found.ms).toBeLessThan(12_000);
  });

  it('a page of HTML is an error with its words, not an empty list', async () => {
    await proxy.set([{ match: '^/api/v1/nodes\\?', times: 99, kind: 'html' }]);
    const found = await proxied();
    expect(found.gaps.map(({ where }) => where)).toEqual(['cluster/nodes.json']);
    expect(found.gaps[0]?.why).toContain('Please log in');
  });

  it('outlives a restart of the API server', async () => {
    await proxy.set([{ match: podPages, after: 1, times: 1, kind: 'slow', delayMs: 1_500 }]);
    const running = proxied();
    await sleep(1_000);
    await server.kill();
    await sleep(500);
    await server.start();
    const found = await running;
    expect(itemsOf(found, 'pods')).toHaveLength(podCount);
  });

  it('bounds its rate', async () => {
    await proxy.set([]);
    const found = await proxied('--qps', '5');
    expect(found.gaps).toEqual([]);
    const requests = (await proxy.log()).length;
    // Ten at once, then five a second.
    expect(found.ms).toBeGreaterThan(((requests - 10) / 5) * 1_000 - 200);
  });

  it('ends within a second after Ctrl-C, with nothing left', async () => {
    await proxy.set([{ match: podPages, after: 1, times: 99, kind: 'slow', delayMs: 60_000 }]);
    const folder = mkdtempSync(join(server.dir, 'int-'));
    const child = spawn(
      'ip',
      [
        ...['netns', 'exec', server.netns, process.execPath, bundledEntry('podpath')],
        ...['snapshot', 'collect', '--kubeconfig', proxy.kubeconfig, '--out', join(folder, 'out.tar.gz')],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
    while ((await pages()).length < 1) await sleep(50);
    await sleep(300);
    const at = performance.now();
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(performance.now() - at).toBeLessThan(1_000);
    expect(existsSync(join(folder, 'out.tar.gz'))).toBe(false);
    expect(readdirSync(folder)).toEqual([]);
    expect(stderr).not.toMatch(/defect|Error/);
  });

  it.each<[string, string[], RegExp]>([
    ['nobody listens', ['--server', 'https://127.0.0.1:1'], /cannot be asked[\s\S]*connection refused/],
    ['a wrong token', ['--token', 'no-such-token'], /does not accept the credentials/],
    [
      'no such context',
      ['--context', 'nowhere'],
      /there is no context "nowhere"[\s\S]*admin, reader, nobody/,
    ],
  ])('%s: one error, code 3', async (_, args, message) => {
    const found = await server.podpath(['scan', ...args]);
    expect(found).toMatchObject({ code: 3, stdout: '' });
    expect(found.stderr).toMatch(message);
    expect(found.stderr).not.toContain('no-such-token');
    expect(found.ms).toBeLessThan(25_000);
  });
});
