/** `podpath policy explain` and `suggest` as a person meets them: first line, exit code, streams. Runs dist/podpath.js. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundledEntry } from '../../src/system/entry.ts';
import { exec } from '../../src/system/exec.ts';

const program = bundledEntry('podpath');
const policy = (...args: readonly string[]) =>
  exec([process.execPath, program, 'policy', ...args], { env: { NO_COLOR: '1' }, timeoutMs: 20_000 });

let root = '';

const manifests = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: a}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec: {template: {metadata: {labels: {app: api}}, spec: {containers: [{name: a, ports: [{name: http, containerPort: 8080}]}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec: {selector: {app: api}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api-allow, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress:
  - from:
    - podSelector: {matchLabels: {app: frontend}}
    ports: [{port: 8080}]
`;
/** The line of manifests.yaml that `podSelector` of the peer stands on. */
const peerLine = manifests.split('\n').findIndex((line) => line.includes('frontend')) + 1;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'podpath-explain-'));
  writeFileSync(join(root, 'shop.yaml'), manifests);
});
afterAll(() => rmSync(root, { recursive: true }));

describe('policy explain', () => {
  it.each<[string, string, string[], number, string]>([
    [
      'shop/web',
      'shop/api:8080',
      [],
      1,
      'shop/web may not reach shop/api:8080/TCP: NetworkPolicy shop/api-allow admits app=frontend only (FILE:LINE)',
    ],
    [
      'deploy/web',
      'svc/front:80',
      ['-n', 'shop'],
      1,
      'shop/deploy/web may not reach shop/svc/front:80/TCP: NetworkPolicy shop/api-allow admits app=frontend only (FILE:LINE)',
    ],
    ['shop/api', 'shop/web:1', [], 0, 'shop/api may reach shop/web:1/TCP: no policy selects either end'],
    [
      '192.0.2.1',
      'shop/api:8080',
      ['-p', 'icmp'],
      2,
      'it depends whether 192.0.2.1 may reach shop/api (ICMP): NetworkPolicy does not say what happens to ICMP and other protocols without ports; CNIs differ',
    ],
  ])('%s %s %j', async (src, dst, more, code, line) => {
    const result = await policy('explain', src, dst, root, ...more);
    const wanted = line.replace('FILE', join(root, 'shop.yaml')).replace('LINE', String(peerLine));
    expect(result.stdout.split('\n')[0]).toBe(wanted);
    expect({ code: result.code, stderr: result.stderr }).toEqual({ code, stderr: '' });
  });

  it('is JSON with -o json, with the place that decides', async () => {
    const { stdout, code } = await policy('explain', 'shop/web', 'shop/api:8080', root, '-o', 'json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      apiVersion: 'podpath.dev/v1alpha1',
      kind: 'PolicyExplanation',
      verdict: 'deny',
      groups: [
        { nearest: { missing: 'pod-label', place: { file: join(root, 'shop.yaml'), line: peerLine } } },
      ],
    });
  });

  it.each<[string, string, RegExp]>([
    [
      'shop/wep',
      'shop/api:8080',
      /there is no pod, workload or Service shop\/wep[\s\S]*did you mean shop\/web/,
    ],
    ['shop/web', 'shop/svc/front:81', /has no port 81\/TCP[\s\S]*it has 80\/TCP/],
    ['shop/api', 'shop/web', /the destination needs a port/],
    ['shop/svc/front', 'shop/web:80', /a Service sends nothing/],
    ['shop/web', 'shop/api:x', /no usable port/],
  ])('%s %s is a usage error', async (src, dst, message) => {
    const { stdout, stderr, code } = await policy('explain', src, dst, root);
    expect(stderr).toMatch(message);
    expect({ stdout, code }).toEqual({ stdout: '', code: 3 });
  });
});

describe('policy suggest', () => {
  it('with its policy applied the flow passes, and a second one is not needed', async () => {
    const first = await policy('suggest', 'shop/web', 'shop/svc/front:80', root, '-o', 'yaml');
    expect(first.code).toBe(0);
    expect(first.stderr).toContain('Nothing else is opened, and nothing is closed.');
    const applied = join(root, '..', `${root.split('/').pop()}-applied.yaml`);
    writeFileSync(applied, `${manifests}---\n${first.stdout}`);
    try {
      expect((await policy('explain', 'shop/web', 'shop/api:8080', applied)).code).toBe(0);
      expect((await policy('explain', 'shop/web', 'shop/api:8081', applied)).code).toBe(1);
      const again = await policy('suggest', 'shop/web', 'shop/svc/front:80', applied);
      expect(again.stdout).toMatch(/^# nothing to do: /);
      expect(again.code).toBe(0);
    } finally {
      rmSync(applied);
    }
  });

  it('says so where no policy can help', async () => {
    const { stdout, code } = await policy('suggest', 'shop/web', 'shop/api:8080', root, '--kind', 'cilium');
    expect(stdout).toMatch(/^# No policy of this kind can admit it:$/m);
    expect(stdout).toMatch(/^(#.*\n)+$/);
    expect(code).toBe(1);
  });
});
