/** What is read of a live cluster, what is not, and what an account without rights gets. A real API server, dist/podpath.js. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { collect, fill, itemsOf, skipReason } from './live-support.ts';

describe.skipIf(skipReason() !== undefined)('objects of a live cluster', () => {
  let server: TestApiServer;
  beforeAll(async () => {
    server = await startApiServer();
    await fill(server);
  });
  afterAll(() => server?.stop());

  it('writes every list that the server has, without a gap', async () => {
    const found = await collect(server);
    expect({ code: found.code, gaps: found.gaps }).toEqual({ code: 0, gaps: [] });
    expect([...found.files.keys()]).toEqual(
      expect.arrayContaining([
        'podpath.json',
        'cluster/pods.json',
        'cluster/endpointslices.discovery.k8s.io.json',
        'cluster/networkpolicies.networking.k8s.io.json',
        'cluster/ciliumnetworkpolicies.cilium.io.json',
        'cluster/bgppeers.crd.projectcalico.org.json',
        'cluster/configmaps.json',
        'cluster/events.json',
      ]),
    );
    expect([...found.files.keys()].filter((path) => /secret/.test(path))).toEqual([]);
    expect(itemsOf(found, 'configmaps').map(({ metadata }) => metadata.name)).toEqual([
      'coredns',
      'calico-config',
    ]);
  });

  it('lets no credential reach the disk or the terminal', async () => {
    const found = await collect(server, ['-v']);
    const everything = [...found.files, ['stdout', found.stdout], ['stderr', found.stderr]];
    const leaks = everything.flatMap(([path, text]) =>
      [...(text ?? '').matchAll(/planted-[a-z-]+/g)].map(([word]) => `${path}: ${word}`),
    );
    // A label of a selector is no credential, and changing it would change the policy.
    expect(leaks).toEqual(['cluster/networkpolicies.networking.k8s.io.json: planted-label']);
    const text = (file: string) => found.files.get(`cluster/${file}.json`) ?? '';
    expect(text('bgppeers.crd.projectcalico.org')).toContain('"peerIP":"10.0.0.254"');
    expect(text('configmaps')).toContain('forward . 10.0.0.53');
    expect(text('configmaps')).toContain('"veth_mtu": "1440"');
    expect(text('pods')).toContain('"linkerd.io/inject":"disabled"');
    expect(text('pods')).toContain('"containerPort":8080');
    expect(text('events')).toContain('registry.local failed');
    for (const never of ['managedFields', 'last-applied', '"env"', '"args"', '"command"'])
      expect([...found.files.values()].filter((one) => one.includes(never))).toEqual([]);
  });

  it('takes -o FILE.tar.gz, and what it wrote is a snapshot', async () => {
    const path = `${server.dir}/one.tar.gz`;
    const { code, stdout } = await server.podpath(['snapshot', 'collect', '-o', path]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining('no gaps') });
    expect(gunzipSync(readFileSync(path)).includes('planted-environment')).toBe(false);
    const shown = await server.podpath(['snapshot', 'show', path]);
    expect(shown.stdout).toMatch(/^admin: a live cluster/);
    expect(shown.stdout).toContain('shop/web');
  });

  it('is where commands look by default', async () => {
    const list = await server.podpath(['policy', 'explain', 'other/api', 'web:8080', '-o', 'json']);
    // web is in the context's namespace; the empty CiliumNetworkPolicy does not open what the API's own closes.
    expect(list.stdout).toContain('shop/web');
    const scan = await server.podpath(['scan', '-o', 'json']);
    expect(JSON.parse(scan.stdout)).toMatchObject({ kind: 'Scan' });
    const trace = await server.podpath(['trace', 'other/api', 'shop/web:8080']);
    // The nodes' state is not read: nobody can know.
    expect(`${trace.code} ${trace.stderr}`).toMatch(/^2 /);
  });

  it('an account without rights gets a gap for each kind, with the command that shows it', async () => {
    const found = await collect(server, ['--context', 'nobody']);
    expect(found.code).toBe(0);
    const pods = found.gaps.find(({ where }) => where === 'cluster/pods.json');
    expect(pods?.why).toContain('User "nobody" cannot list resource "pods"');
    expect(pods?.todo).toContain('kubectl auth can-i list pods --all-namespaces --context nobody');
    expect(found.gaps.map(({ where }) => where)).toEqual(
      expect.arrayContaining([
        'cluster/nodes.json',
        'cluster/networkpolicies.networking.k8s.io.json',
        'cluster/ciliumnetworkpolicies.cilium.io.json',
        'cluster/configmaps.json',
      ]),
    );
    const [command = ''] = (pods?.todo ?? '').split(';');
    const said = await server.run([`${server.dir}/kubectl`, ...command.split(' ').slice(1)], {
      env: { KUBECONFIG: server.kubeconfig },
    });
    expect(said.stdout.trim()).toBe('no');
    // Not one list counts as empty.
    const policies = await server.podpath(['policy', 'list', '-s', found.path]);
    expect(policies.code).not.toBe(0);
    expect(policies.stderr).toMatch(/cilium are not known: .*cannot list resource "ciliumnetworkpolicies"/);
  });

  it('names --as in the command, and acts as that user', async () => {
    const found = await collect(server, ['--as', 'jo', '--as-group', 'staff', '--as-group', 'night shift']);
    const pods = found.gaps.find(({ where }) => where === 'cluster/pods.json');
    expect(pods?.why).toContain('User "jo" cannot list');
    expect(pods?.todo).toContain("--all-namespaces --as jo --as-group staff --as-group 'night shift'");
  });

  it('doctor --rbac prints a role that suffices, and no rule of it is idle', async () => {
    const role = (await server.podpath(['doctor', '--rbac'])).stdout;
    await server.kubectl(['apply', '-f', '-'], role);
    await server.kubectl([
      'create',
      'clusterrolebinding',
      'pp',
      '--clusterrole=podpath-reader',
      '--user=reader',
    ]);
    const whole = await collect(server, ['--context', 'reader']);
    expect(whole.gaps).toEqual([]);
    const secrets = ['auth', 'can-i', 'get', 'secrets', '-A', '--as', 'reader'];
    const asked = await server.run([`${server.dir}/kubectl`, '--kubeconfig', server.kubeconfig, ...secrets]);
    expect(asked.stdout.trim()).toBe('no');
    // Without one right, exactly that is missing, and it is unknown.
    await server.kubectl(
      ['apply', '-f', '-'],
      role.replace('networkpolicies, ', '').replace(/\[networkpolicies\]/, '[none]'),
    );
    const less = await collect(server, ['--context', 'reader']);
    expect(less.gaps.map(({ where }) => where)).toEqual(['cluster/networkpolicies.networking.k8s.io.json']);
    expect(less.files.get('cluster/networkpolicies.networking.k8s.io.json')).toContain('"kind":"Status"');
    await server.kubectl(['delete', 'clusterrolebinding', 'pp']);
  });

  it('an account of one namespace works with that', async () => {
    await server.kubectl([
      'create',
      'rolebinding',
      'pp',
      '-n',
      'shop',
      '--clusterrole=podpath-reader',
      '--user=reader',
    ]);
    const found = await collect(server, ['--context', 'reader', '-n', 'shop']);
    expect(itemsOf(found, 'pods').map(({ metadata }) => metadata.name)).toEqual(['web']);
    expect(itemsOf(found, 'namespaces').map(({ metadata }) => metadata.name)).toEqual(['shop']);
    expect(found.gaps.find(({ where }) => where === 'cluster/pods.json')?.what).toMatch(
      /outside of .*\(shop\)/,
    );
    const list = await server.podpath(['policy', 'list', '-s', found.path, '--to', 'shop/web']);
    expect(list.stdout).toMatch(/web/);
    // With all pods and the policies of one namespace only, the others would look open.
    await server.kubectl(['create', 'clusterrole', 'all-pods', '--verb=list', '--resource=pods']);
    await server.kubectl(['create', 'clusterrolebinding', 'pods', '--clusterrole=all-pods', '--user=reader']);
    const mixed = await collect(server, ['--context', 'reader', '-n', 'shop']);
    expect(itemsOf(mixed, 'pods')).toHaveLength(2);
    expect(mixed.files.get('cluster/networkpolicies.networking.k8s.io.json')).toContain('"kind":"Status"');
    await server.kubectl(['delete', 'rolebinding', 'pp', '-n', 'shop']);
    await server.kubectl(['delete', 'clusterrolebinding', 'pods']);
  });

  it('only reads: the cluster is the same before and after', async () => {
    const list = async () => {
      const all = await server.kubectl(['api-resources', '--verbs=list', '-o', 'name']);
      const names = all
        .trim()
        .split('\n')
        .filter((name) => !/^(events|componentstatuses)/.test(name));
      return server.kubectl([
        'get',
        names.join(','),
        '-A',
        '-o',
        'jsonpath={range .items[*]}{.metadata.uid} {.metadata.name}{"\\n"}{end}',
      ]);
    };
    const before = await list();
    await collect(server);
    expect(await list()).toBe(before);
  });
});
