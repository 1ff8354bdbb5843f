import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Kubeconfig, mergeKubeconfigs, parseKubeconfig } from './kubeconfig.ts';

const read = (text: string): Kubeconfig => {
  const parsed = parseKubeconfig(text, 'config', (path) => `/home/jo/.kube/${path}`);
  if (!parsed.ok) throw new Error(parsed.error.message);
  return parsed.value;
};

describe('kubeconfig', () => {
  it('makes the paths in it absolute, but not the name of a program', () => {
    const { users, clusters } = read(`
clusters: [{name: k, cluster: {server: https://x, certificate-authority: ca.crt}}]
users:
- {name: u, user: {client-certificate: a.crt, client-key: a.key, tokenFile: t}}
- {name: in-path, user: {exec: {command: aws, args: [eks, get-token]}}}
- {name: beside, user: {exec: {command: ./login, interactiveMode: Never}}}
`);
    expect(clusters.get('k')?.caFile).toBe('/home/jo/.kube/ca.crt');
    expect(users.get('u')).toEqual({
      certFile: '/home/jo/.kube/a.crt',
      keyFile: '/home/jo/.kube/a.key',
      tokenFile: '/home/jo/.kube/t',
    });
    expect(users.get('in-path')?.exec).toMatchObject({ command: 'aws', args: ['eks', 'get-token'] });
    expect(users.get('beside')?.exec).toMatchObject({
      command: '/home/jo/.kube/./login',
      interactive: 'Never',
    });
  });

  it('merges as kubectl does: the first file counts, name by name', () => {
    const first = read('current-context: a\ncontexts: [{name: a, context: {cluster: k1, user: u}}]');
    const second = read(
      'current-context: b\ncontexts: [{name: a, context: {cluster: k2, user: u}}, {name: b, context: {cluster: k2, user: u}}]',
    );
    const merged = mergeKubeconfigs([first, second]);
    expect(merged.currentContext).toBe('a');
    expect(merged.contexts.get('a')?.cluster).toBe('k1');
    expect(merged.contexts.get('b')?.cluster).toBe('k2');
  });

  it('does not quote the file in its error: credentials stand there', () => {
    const parsed = parseKubeconfig('users: [{token: planted', 'config', (path) => path);
    expect(parsed).toMatchObject({ ok: false, error: { code: 'kubeconfig/not-yaml' } });
    expect(JSON.stringify(parsed)).not.toContain('planted');
  });

  it('never throws', () => {
    const keys = fc.constantFrom(
      'contexts',
      'clusters',
      'users',
      'current-context',
      'name',
      'user',
      'exec',
      'env',
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        fc.string(),
        fc.constant(null),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(keys, tie('tree')),
      ),
    }));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          tree.map((value) => JSON.stringify(value) ?? ''),
        ),
        (text) => {
          const parsed = parseKubeconfig(text, 'config', (path) => path);
          if (!parsed.ok) expect(parsed.error.code).toMatch(/^kubeconfig\//);
        },
      ),
    );
  });
});
