/** `podpath policy list` as a person meets it: exit codes, streams, filters. Runs dist/podpath.js. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundledEntry } from '../../src/system/entry.ts';
import { exec } from '../../src/system/exec.ts';

const program = bundledEntry('podpath');
const list = (...args: readonly string[]) =>
  exec([process.execPath, program, 'policy', 'list', ...args], { env: { NO_COLOR: '1' }, timeoutMs: 20_000 });

let root = '';
const write = (name: string, text: string): string => {
  const path = join(root, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
};

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'podpath-list-'));
  const workload = (name: string) =>
    `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ${name}, namespace: shop}\nspec:\n  template:\n    metadata: {labels: {app: ${name}}}\n    spec: {containers: [{name: a, ports: [{name: http, containerPort: 8080}]}]}\n`;
  const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: http}]
  egress:
  - to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]
    ports: [{port: 53, protocol: UDP}]
`;
  const entry = `apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
`;
  write('good/pods.yaml', `${workload('web')}---\n${workload('api')}`);
  write('good/policy.yaml', policy);
  write('good/ingress.yaml', entry);
  write(
    'bad/all.yaml',
    `${workload('web')}---\n${workload('api')}---\n${policy.replace('- from: [{podSelector: {matchLabels: {app: web}}}]', '- from: [{}]')}`,
  );
  write('bad/broken.yaml', 'kind: Pod\n  oops: 1\n');
  write('empty/notes.txt', 'kind: Pod');
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** `src dst protocol ports` of each connection. */
async function connections(...args: readonly string[]): Promise<string[]> {
  const { stdout } = await list(...args, '-o', 'csv');
  return stdout
    .trimEnd()
    .split('\r\n')
    .slice(1)
    .map((line) => line.split(',').slice(0, 4).join(' '));
}

describe('policy list', () => {
  it('prints the connectivity, and code 0', async () => {
    const { code, stdout, stderr } = await list(join(root, 'good'));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^5 connections are allowed\. What is not listed is denied\.\n/);
    expect(stdout).toMatch(/shop\/web\[Deployment\] +shop\/api\[Deployment\] +TCP 8080\n/);
    expect(stdout).toMatch(
      /shop\/api\[Deployment\] +10\.0\.0\.0\/16, 10\.2\.0\.0-10\.255\.255\.255 +UDP 53\n/,
    );
  });

  it.each<[string[], string[]]>([
    [['--from', 'shop/web', '--to', 'shop/api'], ['shop/web[Deployment] shop/api[Deployment] TCP 8080']],
    [['--to', 'api'], ['shop/web[Deployment] shop/api[Deployment] TCP 8080']],
    [
      ['--from', 'ingress-controller'],
      ['ingress-controller[IngressController] shop/web[Deployment] TCP 8080'],
    ],
    [['--from', 'api', '--to', '10.0.3.4', '--port', '53/udp'], ['shop/api[Deployment] 10.0.0.0/16 UDP 53']],
    [['--from', 'api', '--to', '10.1.3.4'], []],
    [['--from', 'api', '--to', 'external', '--port', '53'], []],
    [['--from', 'shop/web', '--to', 'shop/api', '--by', 'pod'], ['shop/web[Pod] shop/api[Pod] TCP 8080']],
  ])('%j', async (args, expected) => {
    expect(await connections(join(root, 'good'), ...args)).toEqual(expected);
  });

  it('says what it could not use with file and line, and ends with 2', async () => {
    const { code, stdout, stderr } = await list(join(root, 'bad'), '-o', 'json');
    expect(code).toBe(2);
    expect(stderr).toMatch(/bad\/broken\.yaml:2:\d+: not YAML/);
    expect(stderr).toMatch(
      /bad\/all\.yaml:24: NetworkPolicy shop\/api: spec\.ingress\[0\]\.from\[0\] names no peer/,
    );
    const { problems, connections: found } = JSON.parse(stdout) as {
      problems: { file: string; line: number; field?: string }[];
      connections: unknown[];
    };
    expect(problems.map(({ line, field }) => [line, field])).toEqual([
      [2, undefined],
      [24, 'spec.ingress[0].from[0]'],
    ]);
    expect(found.length).toBeGreaterThan(0);
  });

  it.each<[string, () => string[], RegExp]>([
    ['an empty directory', () => [join(root, 'empty')], /no Kubernetes object/],
    ['a path that is not there', () => [join(root, 'nowhere')], /no such manifests/],
    ['no source', () => [], /nothing to look at/],
    ['two sources', () => [join(root, 'good'), '-s', root], /both .* and --snapshot/],
    ['a party that nobody is', () => [join(root, 'good'), '--from', 'shop/nobody'], /names nobody/],
    ['a port that is none', () => [join(root, 'good'), '--port', '80/icmp'], /port or a range/],
  ])('%s: code 3', async (_, args, message) => {
    const { code, stdout, stderr } = await list(...args());
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toMatch(message);
  });
});
