import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { orElse } from '../../model/known.ts';
import { readManifests } from './read.ts';

const made: string[] = [];
afterEach(async () => {
  for (const folder of made.splice(0)) await rm(folder, { recursive: true });
});

/** A directory with the given files. */
async function directory(files: Readonly<Record<string, string>>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'podpath-manifests-'));
  made.push(root);
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), text);
  }
  return root;
}

/** What was read, and each problem as `file:line: text`. */
async function read(files: Readonly<Record<string, string>>) {
  const root = await directory(files);
  const found = await readManifests(root);
  const problems: string[] = [];
  for (const problem of found.problems) {
    const at = problem.origin === undefined ? problem : await found.locate(problem.origin, problem.field);
    problems.push(`${(at.file ?? '').slice(root.length + 1)}:${at.line}: ${problem.text}`);
  }
  const pods = orElse(found.cluster.pods, []).map(
    ({ namespace, name, owner }) =>
      `${namespace}/${name}${owner === undefined ? '' : ` of ${owner.kind} ${owner.name}`}`,
  );
  return { ...found, pods, problems };
}

const pod = (name: string, more = '') =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: shop${more}}\nspec: {containers: [{name: a}]}\n`;
const deployment = (name: string, more = '') =>
  `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ${name}${more}}\nspec:\n  template:\n    metadata: {labels: {app: ${name}}}\n    spec: {containers: [{name: a, ports: [{containerPort: 80, name: http}]}]}\n`;
const policy = (spec: string) =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\n  namespace: shop\nspec:\n${spec}`;

describe('readManifests', () => {
  it('reads folders, many documents, lists of lists and JSON', async () => {
    const { pods, sources, problems } = await read({
      'a.yaml': `${pod('a')}---\n${pod('b')}`,
      'deep/er/b.yml': `# only a comment\n---\nkind: List\napiVersion: v1\nitems:\n- kind: PodList\n  apiVersion: v1\n  items:\n  - metadata: {name: c}\n    spec: {containers: []}\n`,
      'c.json': JSON.stringify({ kind: 'Pod', apiVersion: 'v1', metadata: { name: 'd' } }),
      'two.json':
        '{"kind":"Pod","apiVersion":"v1","metadata":{"name":"e"}}\n{"kind":"Pod","apiVersion":"v1","metadata":{"name":"f"}}',
      'notes.txt': 'kind: Pod',
    });
    expect(problems).toEqual([]);
    expect(sources).toHaveLength(4);
    expect(pods.sort()).toEqual(['default/c', 'default/d', 'default/e', 'default/f', 'shop/a', 'shop/b']);
  });

  it('leaves out what is broken, with its line, and keeps the rest of the file', async () => {
    const { pods, problems } = await read({
      'a.yaml': `${pod('a')}---\nkind: Pod\n  bad: indent\n---\n${pod('b')}`,
      'b.json': '{"kind": "Pod",\n "metadata": }',
    });
    expect(pods).toEqual(['shop/a', 'shop/b']);
    expect(problems).toHaveLength(2);
    expect(problems[0]).toMatch(/^a\.yaml:7: not YAML: /);
    expect(problems[1]).toMatch(/^b\.json:2: not JSON: /);
  });

  it.each([
    [
      'another group',
      'apiVersion: crd.antrea.io/v1beta1\nkind: ClusterNetworkPolicy\nmetadata: {name: x}\n',
      'x.yaml:2: ClusterNetworkPolicy x: unknown kind',
    ],
    [
      'a misspelt kind',
      policy('  {}').replace('kind: NetworkPolicy', 'kind: Networkpolicys'),
      'x.yaml:2: Networkpolicys shop/p: unknown kind',
    ],
    [
      'no apiVersion',
      policy('  {}').replace(/^.*\n/, ''),
      'x.yaml:1: NetworkPolicy shop/p: apiVersion is missing',
    ],
    [
      'no name',
      'apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {}\n',
      'x.yaml:3: Pod (without a name): metadata.name must be a string',
    ],
    [
      'a label that is a number',
      pod('x', ', labels: {a: 1}'),
      'x.yaml:3: Pod shop/x: metadata.labels["a"] must be a string',
    ],
  ])('%s is a problem at its line', async (_, text, wanted) => {
    const { problems } = await read({ 'ok.yaml': pod('ok'), 'x.yaml': text });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(wanted);
  });

  it('says nothing of kinds that decide nothing', async () => {
    const { problems } = await read({
      'a.yaml': `${pod('a')}---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\n---\nimage: {tag: 1}\n---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: b}\n`,
    });
    expect(problems).toEqual([]);
  });

  it('makes one pod for a workload without pods', async () => {
    const cron =
      'apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: night}\nspec: {jobTemplate: {spec: {template: {spec: {hostNetwork: true, containers: []}}}}}\n';
    const { cluster, pods } = await read({ 'a.yaml': `${deployment('web')}---\n${cron}` });
    expect(pods).toEqual(['default/web of Deployment web', 'default/night of CronJob night']);
    const [web, night] = orElse(cluster.pods, []);
    expect(web).toMatchObject({ phase: 'Running', addresses: [], labels: { app: 'web' } });
    expect(web?.containers[0]?.ports).toEqual([{ name: 'http', port: 80, protocol: 'TCP' }]);
    expect(night?.hostNetwork).toBe(true);
  });

  it.each([
    ['by reference', pod('web-1', ', ownerReferences: [{kind: Deployment, name: web}]')],
    [
      'by the name of a ReplicaSet that is not there',
      pod('web-1', ', ownerReferences: [{kind: ReplicaSet, name: web-5d8}]'),
    ],
    [
      'through a ReplicaSet',
      `${pod('w', ', ownerReferences: [{kind: ReplicaSet, name: odd}]')}---\napiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: odd, namespace: shop, ownerReferences: [{kind: Deployment, name: web}]}\nspec: {template: {spec: {}}}\n`,
    ],
  ])('makes none where it has pods, %s', async (_, text) => {
    const { pods } = await read({ 'a.yaml': `${deployment('web', ', namespace: shop')}---\n${text}` });
    expect(pods).toHaveLength(1);
    expect(pods[0]).not.toContain('shop/web ');
  });

  it('makes none for what a server runs no pod of', async () => {
    const { pods } = await read({ 'a.yaml': `${deployment('web', ', uid: "1"')}---\n${pod('other')}` });
    expect(pods).toEqual(['shop/other']);
  });

  it('adds the namespaces that were left out, with the label that the server sets', async () => {
    const { cluster } = await read({ 'a.yaml': `${pod('a')}---\n${deployment('web')}` });
    expect(orElse(cluster.namespaces, []).map(({ labels }) => ({ ...labels }))).toEqual([
      { 'kubernetes.io/metadata.name': 'shop' },
      { 'kubernetes.io/metadata.name': 'default' },
    ]);
  });

  it('of an object that is there twice the later counts, and it is said if they differ', async () => {
    const same = await read({ 'a.yaml': pod('a'), 'b.yaml': pod('a') });
    expect([same.pods.length, same.problems.length]).toEqual([1, 0]);
    const other = await read({ 'a.yaml': pod('a'), 'b.yaml': pod('a', ', labels: {x: z}') });
    expect(orElse(other.cluster.pods, [])[0]?.labels.x).toBe('z');
    expect(other.problems[0]).toMatch(/^b\.yaml:1: Pod shop\/a: is also in .*a\.yaml/);
  });

  it('keeps a pod of which one port is malformed', async () => {
    const { pods, problems } = await read({
      'a.yaml': pod('a').replace('{name: a}', '{ports: [{name: x, containerport: 1}]}'),
    });
    expect(pods).toEqual(['shop/a']);
    expect(problems[0]).toContain(
      'a.yaml:4: Pod shop/a: spec.containers[0].ports[0].containerPort must be a port',
    );
  });

  it('reads what Ingresses and Routes let in', async () => {
    const { entryPoints } = await read({
      'a.yaml':
        'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\nspec:\n  defaultBackend: {service: {name: d, port: {name: http}}}\n  rules: [{http: {paths: [{backend: {service: {name: s, port: {number: 80}}}}, {backend: {resource: {kind: Bucket, name: b}}}]}}]\n---\napiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {name: r}\nspec: {to: {kind: Service, name: t}}\n',
    });
    expect(
      entryPoints.map(({ name, backends }) => [
        name,
        ...backends.map(({ service, port }) => [service, port?.value]),
      ]),
    ).toEqual([
      ['i', ['d', 'http'], ['s', 80]],
      ['r', ['t', undefined]],
    ]);
  });

  it('unfolds aliases within limits', async () => {
    const bomb = Array.from(
      { length: 12 },
      (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(i === 0 ? 'x' : `*a${i}`)}]`,
    );
    const { pods, problems } = await read({
      'a.yaml': `${pod('a').replace('{containers: [{name: a}]}', '\n  x: &x {name: a}\n  containers: [*x]')}`,
      'bomb.yaml': bomb.join('\n'),
    });
    expect(pods).toEqual(['shop/a']);
    expect(problems[0]).toMatch(/bomb\.yaml:.*not YAML/);
  });

  it.each([
    ['an empty directory', {}, 'manifests/empty'],
    ['a directory without objects', { 'values.yaml': 'a: 1', 'x.yaml': '' }, 'manifests/empty'],
    ['only broken text', { 'a.yaml': 'a: [' }, 'manifests/empty'],
  ])('%s is an error', async (_, files, code) => {
    const root = await directory(files as Record<string, string>);
    await expect(readManifests(root)).rejects.toMatchObject({ complaint: { code } });
  });

  it('a path that is not there is an error', async () => {
    await expect(readManifests('/no/such/path')).rejects.toMatchObject({
      complaint: { code: 'manifests/missing' },
    });
  });
});
