/** `podpath netfilter` as a person meets it: exit codes, streams, files of every kind. Runs dist/podpath.js. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundledEntry } from '../../src/system/entry.ts';
import { exec } from '../../src/system/exec.ts';

const program = bundledEntry('podpath');
const netfilter = (...args: readonly string[]) =>
  exec([process.execPath, program, 'netfilter', ...args], { env: { NO_COLOR: '1' }, timeoutMs: 60_000 });

/** The second rule can match nothing: the first takes its packets. */
const nftText = `table ip filter {
	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr 10.0.0.0/8 drop
		ip saddr 10.1.0.0/16 accept
	}
}
`;

let root = '';
const at = (name: string): string => join(root, name);

const save = (...rules: readonly string[]): string =>
  [
    '*filter',
    ':INPUT ACCEPT [0:0]',
    ':FORWARD ACCEPT [0:0]',
    ':OUTPUT ACCEPT [0:0]',
    ...rules,
    'COMMIT',
    '',
  ].join('\n');

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'podpath-netfilter-'));
  writeFileSync(at('good.txt'), save('-A FORWARD -m set --match-set pods src -j ACCEPT'));
  writeFileSync(
    at('bad.txt'),
    save('-A FORWARD -s 10.0.0.0/8 -j DROP', '-A FORWARD -s 10.1.0.0/16 -j ACCEPT'),
  );
  writeFileSync(at('legacy-save.txt'), save('-A FORWARD -s 10.0.0.0/8 -j DROP'));
  writeFileSync(at('six.txt'), save('-A FORWARD -s fd00::/8 -j DROP', '-A FORWARD -s fd00::1/128 -j ACCEPT'));
  writeFileSync(
    at('shell.txt'),
    '-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n-A FORWARD -i eth0 -j DROP\n',
  );
  writeFileSync(at('ipset.txt'), 'create pods hash:ip family inet hashsize 64 maxelem 100\n');
  writeFileSync(at('nft.txt'), `# Warning: made by hand\n${nftText}`);
  writeFileSync(at('cut.txt'), 'table ip filter {\n\tchain c {\n');
  writeFileSync(at('noise.txt'), 'bash: iptables-save: command not found\n');
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('netfilter lint', () => {
  it.each([
    ['good.txt', 0, /^nothing found in 1 rule\n$/],
    ['bad.txt', 1, /^1 warning in 2 rules\n[\s\S]*bad\.txt:6: -A FORWARD -s 10\.1\.0\.0\/16 -j ACCEPT/],
    ['six.txt', 1, /ip6 filter FORWARD: no packet comes to it/],
    ['shell.txt', 0, /^nothing found in 1 rule\n$/],
    ['nft.txt', 1, /nft\.txt:6: ip saddr 10\.1\.0\.0\/16 accept/],
  ])('%s: code %i', async (file, code, text) => {
    const result = await netfilter('lint', at(file));
    expect({ code: result.code, stderr: result.stderr }).toEqual({ code, stderr: '' });
    expect(result.stdout).toMatch(text);
  });

  it('takes both backends of a host together', async () => {
    const { code, stdout } = await netfilter('lint', at('bad.txt'), at('legacy-save.txt'));
    expect(code).toBe(1);
    expect(stdout).toContain('(both-backends)');
  });

  it('fails on what it is asked to', async () => {
    expect((await netfilter('lint', at('bad.txt'), '--fail-on', 'error')).code).toBe(0);
  });

  it.each([
    [
      'cut.txt',
      /cut\.txt:3:1 cannot be read as packet-filter rules[\s\S]*the text ends where "}" is expected/,
    ],
    ['noise.txt', /noise\.txt:1 cannot be read as packet-filter rules/],
    ['none.txt', /ENOENT/],
  ])('%s: code 3, with what to do', async (file, text) => {
    const { code, stdout, stderr } = await netfilter('lint', at(file));
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toMatch(text);
  });
});

describe('netfilter show', () => {
  it('prints the hooks, and one chain', async () => {
    const { code, stdout } = await netfilter('show', at('bad.txt'));
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^forward\n {2}ip filter FORWARD \(nft, priority 0, policy ACCEPT\)\n +5 {2}-s 10\.0\.0\.0\/8 -j DROP\n/,
    );
    expect((await netfilter('show', at('bad.txt'), '--chain', 'NONE')).code).toBe(3);
    const json = JSON.parse(
      (await netfilter('show', at('bad.txt'), '--chain', 'FORWARD', '-o', 'json')).stdout,
    );
    expect(json.namespaces[0].chains.map((chain: { name: string }) => chain.name)).toEqual(['FORWARD']);
  });
});

describe('netfilter diff', () => {
  it('0 for the same meaning, 1 for another', async () => {
    const same = await netfilter('diff', at('bad.txt'), at('legacy-save.txt'));
    expect([same.code, same.stdout.split('\n')[0]]).toEqual([
      0,
      '1 difference, none of which changes anything for any packet',
    ]);
    const other = await netfilter('diff', at('bad.txt'), at('good.txt'), '-o', 'json');
    expect([other.code, JSON.parse(other.stdout).equivalent]).toEqual([1, false]);
  });
});

const shared = process.env.PODPATH_SHARED || undefined;
if (shared === undefined)
  console.log('netfilter.test.ts: recordings skipped: PODPATH_SHARED names no folder');

describe.skipIf(shared === undefined)('recorded clusters', () => {
  const folder = join(shared ?? '', 'snapshots');
  const archives =
    shared === undefined
      ? []
      : readdirSync(folder).filter((name) => /^(healthy|foreign).*\.tar\.gz$/.test(name));

  it.each(archives)('%s: nothing worth a warning, and no difference from itself', async (name) => {
    const path = join(folder, name);
    const { code, stdout } = await netfilter('lint', '-s', path, '-o', 'json');
    const { namespaces } = JSON.parse(stdout) as {
      namespaces: { findings: { severity: string; rule: string }[] }[];
    };
    const serious = namespaces.flatMap(({ findings }) =>
      findings.filter(({ severity }) => severity !== 'info'),
    );
    expect({ code, serious }).toEqual({ code: 0, serious: [] });
    const diff = await netfilter('diff', path, path, '--node', 'node1');
    expect([diff.code, diff.stdout]).toEqual([0, 'No difference.\n']);
  });
});
