/** `podpath policy diff` and `policy lint` as a person meets them: exit codes, first lines, places. Runs dist/podpath.js. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundledEntry } from '../../src/system/entry.ts';
import { exec } from '../../src/system/exec.ts';

const program = bundledEntry('podpath');
const policy = (...args: readonly string[]) =>
  exec([process.execPath, program, 'policy', ...args], { env: { NO_COLOR: '1' }, timeoutMs: 20_000 });

let root = '';
const write = (name: string, text: string): void => {
  const path = join(root, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
};

const workload = (name: string) =>
  `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ${name}, namespace: shop}\nspec:\n  template:\n    metadata: {labels: {app: ${name}}}\n    spec: {containers: [{name: a, ports: [{containerPort: 8080}]}]}\n`;
const admit = (name: string, from: string, port: number) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ${name}, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: ${from}}}}]
    ports: [{port: ${port}}]
`;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'podpath-diff-'));
  const pods = `${workload('web')}---\n${workload('api')}---\n`;
  write('a/all.yaml', `${pods}${admit('api', 'web', 8080)}`);
  write('renamed/all.yaml', `${admit('other', 'web', 8080)}---\n${pods}`);
  write('b/all.yaml', `${pods}${admit('api', 'web', 443)}`);
  write(
    'odd/all.yaml',
    `${pods}${admit('api', 'wob', 8080).replace('ingress:', 'policyTypes: [Egress]\n  ingress:')}`,
  );
  write('empty/notes.txt', 'nothing');
  write(
    'staged/all.yaml',
    `${pods}apiVersion: projectcalico.org/v3\nkind: StagedNetworkPolicy\nmetadata: {name: lock, namespace: shop}\nspec: {selector: app == 'api', types: [Ingress]}\n`,
  );
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('policy diff', () => {
  it('exits 1 with the counts first and the line that made the difference', async () => {
    const { code, stdout } = await policy('diff', join(root, 'a'), join(root, 'b'));
    expect(stdout.split('\n')[0]).toBe('0 connections added, 0 removed, 1 changed');
    expect(stdout).toContain(`NetworkPolicy shop/api was edited (${join(root, 'a/all.yaml')}:`);
    expect(stdout).toMatch(/shop\/web\[Deployment\] \S+ shop\/api\[Deployment\] +TCP 8080 \S+ TCP 443/);
    expect(code).toBe(1);
  });

  it('exits 0 where policies changed and connectivity did not', async () => {
    const { code, stdout } = await policy('diff', join(root, 'a'), join(root, 'renamed'));
    expect(stdout.split('\n')[0]).toBe('No difference: policies changed (1 renamed), connectivity did not.');
    expect(code).toBe(0);
  });

  it('shows what staged policies would change, and says that they are left out otherwise', async () => {
    const staged = join(root, 'staged');
    const { code, stdout } = await policy('diff', staged, '--staged');
    expect(code).toBe(1);
    expect(stdout).toContain('shop/lock was added');
    expect(stdout).toContain('- shop/web[Deployment]');
    expect((await policy('list', staged)).stdout).toContain('1 staged policy is not enforced');
    expect((await policy('diff', staged)).code).toBe(3);
  });

  it.each(['json', 'csv', 'md', 'dot', 'html'])('has %s', async (format) => {
    const { code, stdout } = await policy('diff', join(root, 'a'), join(root, 'b'), '-o', format);
    expect(stdout).toContain(format === 'json' ? '"ports":"443"' : 'TCP 443');
    expect(code).toBe(1);
  });

  it.each([
    ['a directory without objects', ['a', 'empty']],
    ['one that is not there', ['a', 'nowhere']],
    ['a snapshot that is none', ['a', 'x.tar.gz']],
  ])('exits 3 for %s', async (_, names) => {
    const { code, stdout, stderr } = await policy('diff', ...names.map((name) => join(root, name)));
    expect([code, stdout]).toEqual([3, '']);
    expect(stderr).toContain('podpath:');
  });
});

describe('policy lint', () => {
  it('exits 1 for what counts, and names file and line', async () => {
    const { code, stdout } = await policy('lint', join(root, 'odd'));
    expect(stdout.split('\n')[0]).toBe('1 error in 1 policy');
    expect(stdout).toMatch(/odd\/all\.yaml:\d+ {2}\(policy-types\)/);
    expect(code).toBe(1);
  });

  it('exits 0 for less than that', async () => {
    expect((await policy('lint', join(root, 'a'))).code).toBe(0);
    const { code, stdout } = await policy('lint', join(root, 'a'), '--fail-on', 'info', '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'PolicyLint', findings: [], policies: 1 });
    expect(code).toBe(0);
  });

  it('exits 3 for a directory without objects', async () => {
    expect((await policy('lint', join(root, 'empty'))).code).toBe(3);
  });
});
