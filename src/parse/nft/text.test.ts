import { describe, expect, it } from 'vitest';
import type { NftTable } from '../../model/nft.ts';
import { parseNftJson } from './json.ts';
import { isNftText, parseNftText } from './text.ts';

const tables = (text: string): readonly NftTable[] => {
  const read = parseNftText(text, 'nft.txt');
  expect(read).toMatchObject({ ok: true, notes: [] });
  return read.ok ? read.value : [];
};

const inChain = (...rules: readonly string[]): string =>
  `table ip t {\n\tchain c {\n\t\ttype filter hook input priority filter; policy accept;\n${rules.map((rule) => `\t\t${rule}\n`).join('')}\t}\n}\n`;
const rulesOf = (text: string) => tables(text)[0]?.chains.get('c')?.rules ?? [];

describe('nft text', () => {
  it('an empty listing is a rule set without tables', () => {
    expect(tables('')).toEqual([]);
    expect(tables('# nothing\n\n')).toEqual([]);
  });

  it('each rule has its line and its own words', () => {
    const [first, second] = rulesOf(inChain('ip saddr 10.0.0.0/8 drop # handle 7', 'accept'));
    expect(first).toMatchObject({
      handle: 7,
      source: { file: 'nft.txt', line: 4, text: 'ip saddr 10.0.0.0/8 drop # handle 7' },
    });
    expect(second).toMatchObject({ handle: 0, source: { line: 5, text: 'accept' } });
  });

  it('words that are not understood make their rule unknown, and no other', () => {
    const rules = rulesOf(
      inChain(
        'teleport to mars',
        'tcp dport { 80, ? } drop',
        'ip saddr 1.2.3.4 wibble { a : b } accept',
        'drop',
      ),
    );
    expect(rules.map(({ statements }) => statements.map(({ kind }) => kind))).toEqual([
      ['unknown'],
      ['unknown'],
      ['match', 'unknown'],
      ['verdict'],
    ]);
    expect(rules[1]?.statements[0]).toMatchObject({ text: 'tcp dport { 80, ? } drop' });
  });

  it('elements that are not understood leave the set with one of which nothing is known', () => {
    const text =
      'table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1, ?!,\n\t\t\t\t10.0.0.2 }\n\t}\n\tchain c {\n\t\taccept\n\t}\n}\n';
    const [table] = tables(text);
    expect(table?.sets.get('s')?.elements).toMatchObject([{ key: { kind: 'unknown' } }]);
    expect(table?.chains.get('c')?.rules).toHaveLength(1);
  });

  it('extensions of iptables that nft prints as comments are part of the rule', () => {
    const [rule] = rulesOf(inChain('meta l4proto tcp # xt_multiport counter packets 5 bytes 6 accept'));
    expect(rule?.statements.map(({ kind }) => kind)).toEqual(['match', 'match', 'verdict']);
    expect(rule?.counters).toEqual({ packets: 5, bytes: 6 });
  });

  it('objects that decide nothing are passed over, with what is in them', () => {
    const text = `table inet t { # handle 9\n\tflags dormant\n\ttunnel x {\n\t\tid 5\n\t\tvxlan {\n\t\t\tgbp 2\n\t\t}\n\t}\n\tchain c { # handle 1\n\t\ttype filter hook ingress devices = { "a", b } priority -5; policy drop;\n\t}\n}\n`;
    expect(tables(text)).toMatchObject([
      {
        handle: 9,
        dormant: 'yes',
        baseChains: [
          { name: 'c', hook: 'ingress', devices: ['a', 'b'], priority: -5, policy: 'drop', handle: 1 },
        ],
      },
    ]);
  });

  it.each([
    ['filter', 'bridge', -200],
    ['filter + 3', 'bridge', -197],
    ['srcnat', 'ip', 100],
    ['dstnat - 10', 'ip', -110],
    ['-150', 'ip', -150],
  ])('priority %s of %s', (priority, family, expected) => {
    const text = `table ${family} t {\n\tchain c {\n\t\ttype filter hook input priority ${priority}; policy accept;\n\t}\n}\n`;
    expect(tables(text)[0]?.baseChains[0]?.priority).toBe(expected);
  });

  it.each([
    ['cut off', 'table ip t {\n\tchain c {\n\t\taccept\n', 'nft/truncated', 4, 1],
    ['another format', '*filter\n:INPUT ACCEPT [0:0]\n', 'nft/foreign', 1, 1],
    ['an error message', 'table ip t {\n}\nError: no\n', 'nft/foreign', 3, 1],
    ['too many braces', 'table ip t {\n}}\n', 'nft/foreign', 2, 2],
  ])('%s is an error with its place', (_, text, code, line, column) => {
    expect(parseNftText(text, 'f')).toMatchObject({ ok: false, error: { code, file: 'f', line, column } });
  });

  it('tells its own text from others', () => {
    expect(['table ip t {\n}\n', '# Warning: x\n\ntable inet y {'].map(isNftText)).toEqual([true, true]);
    expect(['*filter\n', '{"nftables":[]}', 'create x hash:ip', ''].map(isNftText)).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });

  it.each(['{', '"', '# xt_a ', 'tcp dport { ', '( ', 'ip saddr . ', '1:', 'a', 'x\n'])(
    'time grows with the text: %j',
    (piece) => {
      const read = (count: number): number => {
        const start = performance.now();
        parseNftText(`table ip t {\n\tchain c {\n${piece.repeat(count)}`, 'f');
        return performance.now() - start;
      };
      read(1000);
      // Eight times the text: with its square it would be 64 times.
      expect(read(80_000)).toBeLessThan(30 * Math.max(20, read(10_000)));
    },
  );
});

describe('nft JSON', () => {
  it('laid out in lines, each rule has its line', () => {
    const rule = (chain: string) => ({
      rule: { family: 'ip', table: 't', chain, handle: 3, expr: [{ drop: null }] },
    });
    const read = parseNftJson(
      JSON.stringify(
        { nftables: [{ table: { family: 'ip', name: 't"{[\\' } }, rule('c'), rule('d')] },
        null,
        1,
      ),
      'f',
    );
    const lines = read.ok
      ? [...(read.value[1]?.chains.values() ?? [])].map((chain) => chain.rules[0]?.source)
      : [];
    expect(lines).toMatchObject([{ line: 9 }, { line: 22 }]);
  });
});
