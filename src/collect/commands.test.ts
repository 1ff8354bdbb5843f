import { describe, expect, test } from 'vitest';
import { exec } from '../system/exec.ts';
import { collectCommands, collectScript, readSections } from './commands.ts';
import { netnsFiles } from './layout.ts';
import { filesOfSections } from './sections.ts';

const D = 'podpath-d';
const section = (file: string, text: string, code: number | '') =>
  `${D} begin ${file}\n${text}\n${code === '' ? '' : `${D} end ${code}\n`}`;

test('every file that a namespace is read from has a command', () => {
  const written = new Set(collectCommands.map((command) => command.file));
  expect(netnsFiles.filter(({ file }) => !written.has(file))).toEqual([]);
});

test('the script is valid sh, and no word of it needs more quoting', async () => {
  for (const scope of ['node', 'pod'] as const) {
    const checked = await exec(['sh', '-n', '-c', collectScript(scope)]);
    expect(checked).toMatchObject({ code: 0, stderr: '' });
  }
  for (const { argv } of collectCommands) for (const word of argv) expect(word).toMatch(/^[A-Za-z0-9_./-]+$/);
});

describe('readSections', () => {
  test.each<[string, string, Record<string, unknown>]>([
    ['text with its line end', section('a', 'x\n', 0), { a: { stdout: 'x\n', stderr: '', code: 0 } }],
    ['text without', section('a', 'x', 0), { a: { stdout: 'x', stderr: '', code: 0 } }],
    ['nothing', section('a', '', 1), { a: { stdout: '', stderr: '', code: 1 } }],
    ['cut off', section('a', 'x', ''), { a: { stdout: 'x\n', stderr: '' } }],
    ['cut off in the name', `${D} begin a`, {}],
    ['noise in front', `hello\n${section('a', 'x', 0)}`, { a: { stdout: 'x', stderr: '', code: 0 } }],
    [
      'two',
      section('a', 'x', 0) + section('b', 'y', 255),
      { a: { stdout: 'x', stderr: '', code: 0 }, b: { stdout: 'y', stderr: '', code: 255 } },
    ],
  ])('%s', (_name, stdout, want) => {
    expect(Object.fromEntries(readSections(stdout, '', D))).toEqual(want);
  });

  test('stderr goes with its command', () => {
    const sections = readSections(section('a', '', 1), section('a', 'broken\n', 1), D);
    expect(sections.get('a')?.stderr).toBe('broken\n');
  });
});

describe('filesOfSections', () => {
  const run = (file: string, stdout: string, stderr: string, code: number | undefined) => {
    const others = collectCommands.map(
      (command) => [command.file, { stdout: 'x', stderr: '', code: 0 }] as const,
    );
    const one = { stdout, stderr, ...(code === undefined ? {} : { code }) };
    const sections = new Map([...others, [file, one] as const]);
    return filesOfSections('n1', 'nodes/n1/', 'node', sections);
  };

  test.each<[string, string, string, string, number | undefined, string | undefined, RegExp | undefined]>([
    ['worked', 'ss.txt', '', 'a warning', 0, '', undefined],
    ['not installed', 'ipset.txt', '', 'sh: 1: ipset: not found', 127, undefined, /ipset is not installed/],
    [
      'failed',
      'nft.json',
      '',
      'Operation not permitted\n',
      1,
      undefined,
      /exit code 1: Operation not permitted/,
    ],
    ['failed half-way', 'nft.json', '{}', 'boom', 1, '{}', /exit code 1: boom/],
    ['cut off', 'conntrack.txt', 'tcp', '', undefined, 'tcp', /cut off/],
    ['write-only sysctls', 'sysctl.txt', 'net.a = 1', 'permission denied', 255, 'net.a = 1', undefined],
    ['no sysctls at all', 'sysctl.txt', '', 'permission denied', 255, undefined, /exit code 255/],
    ['optional', 'conntrack-stats.txt', '', 'no', 1, undefined, undefined],
  ])('%s', (_name, file, stdout, stderr, code, wantText, wantGap) => {
    const { files, gaps } = run(file, stdout, stderr, code);
    expect(files.get(`nodes/n1/${file}`)).toBe(wantText);
    expect(gaps.length).toBe(wantGap === undefined ? 0 : 1);
    if (wantGap !== undefined)
      expect(gaps[0]).toMatchObject({ where: `nodes/n1/${file}`, why: expect.stringMatching(wantGap) });
  });

  test('a missing program names its package', () => {
    expect(run('ipset.txt', '', '', 127).gaps[0]?.todo).toBe('apt-get install ipset');
  });

  test('a table that iptables-nft-save could not print is a gap', () => {
    const { gaps } = run('iptables-save.txt', "# Table `filter' is incompatible, use 'nft' tool.\n", '', 0);
    expect(gaps).toHaveLength(1);
    expect(gaps[0]?.what).toBe('the table filter in iptables rules of n1');
  });

  test('commands after the one that hung are gaps', () => {
    const { gaps } = filesOfSections('p', 'nodes/n1/pods/a_b/', 'pod', new Map());
    const wanted = collectCommands.filter((one) => one.scope === 'both' && one.optional !== true);
    expect(gaps).toHaveLength(wanted.length);
  });
});
