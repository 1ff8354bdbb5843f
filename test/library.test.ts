/** The library as another program imports it: built, by its package name, with its types. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'podpath-library-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const program = `
import { askedPolicyFlows, clusterFromObjects, connectivity, explain, policyEngine, quotient, suggest } from 'podpath/policy';

const pod = (name: string) => ({
  apiVersion: 'v1', kind: 'Pod',
  metadata: { namespace: 'shop', name, labels: { app: name } },
  spec: { containers: [{ name: 'main' }] },
});
const deny = {
  apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy',
  metadata: { namespace: 'shop', name: 'deny' },
  spec: { podSelector: { matchLabels: { app: 'api' } }, policyTypes: ['Ingress'] },
};
const { cluster, problems } = clusterFromObjects([pod('web'), pod('api'), deny]);
const engine = policyEngine(cluster);
const asked = askedPolicyFlows(cluster, { src: 'shop/web', dst: 'shop/api', port: 8080, namespace: 'default' });
const [flow] = asked.flows;
if (flow === undefined) throw new Error('no flow');
const verdict: 'allow' | 'deny' | 'conditional' = engine.verdict(flow).verdict;
const suggestion = suggest(engine, asked);
console.log(JSON.stringify({
  problems: problems.length,
  verdict,
  reason: explain(engine, flow).reason.text,
  connections: [...connectivity(engine)].length,
  deniedPairs: quotient(engine).deniedPairs,
  suggested: suggestion.objects.length,
}));
`;

it('is imported by name, typed, and answers', () => {
  expect(existsSync(join(root, 'dist/policy.js')), 'npm run build makes dist/policy.js').toBe(true);
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(join(folder, 'program.ts'), program);
  const types = join(folder, 'types');
  const tsc = (...args: string[]) =>
    spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...args], {
      cwd: folder,
      encoding: 'utf8',
    });
  const emitted = tsc('-p', join(root, 'tsconfig.types.json'), '--outDir', types);
  expect(emitted.stdout + emitted.stderr).toBe('');
  // The package as it would be installed, with the declarations beside the bundle.
  const installed = join(folder, 'node_modules/podpath');
  spawnSync('mkdir', ['-p', join(installed, 'dist')]);
  symlinkSync(join(root, 'package.json'), join(installed, 'package.json'));
  symlinkSync(types, join(installed, 'dist/types'));
  symlinkSync(join(root, 'dist/policy.js'), join(installed, 'dist/policy.js'));
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        target: 'ES2023',
        lib: ['ES2023', 'DOM'],
        module: 'NodeNext',
        strict: true,
        types: [],
        skipLibCheck: true,
        outDir: join(folder, 'out'),
      },
      files: ['program.ts'],
    }),
  );
  const checked = tsc('-p', join(folder, 'tsconfig.json'));
  expect(checked.stdout + checked.stderr).toBe('');
  const run = spawnSync(process.execPath, [join(folder, 'out/program.js')], {
    cwd: folder,
    encoding: 'utf8',
  });
  expect(run.stderr).toBe('');
  expect(JSON.parse(run.stdout)).toMatchObject({
    problems: 0,
    verdict: 'deny',
    reason: expect.stringContaining('NetworkPolicy shop/deny'),
    deniedPairs: 2,
    suggested: 1,
  });
}, 120_000);
