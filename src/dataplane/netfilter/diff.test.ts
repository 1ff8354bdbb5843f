import { describe, expect, it } from 'vitest';
import { ruleset } from '../../../test/support/snapshot.ts';
import { known, unknown } from '../../model/known.ts';
import { parseIpset } from '../../parse/ipset.ts';
import { parseNftJson } from '../../parse/nft/json.ts';
import { diffNetfilter } from './diff.ts';

const filter = (rules: readonly string[], chains: readonly string[] = [], policy = 'ACCEPT'): string =>
  [
    '*filter',
    `:FORWARD ${policy} [0:0]`,
    ...chains.map((name) => `:${name} - [0:0]`),
    ...rules,
    'COMMIT',
    '',
  ].join('\n');

const side = (text: string, backend: 'nft' | 'legacy' = 'nft') => ({
  rulesets: [ruleset(text, backend)],
  nftTables: [],
  ipsets: unknown('none'),
});

const diff = (a: string, b: string) => diffNetfilter(side(a), side(b)).tables[0];

/** `added -A FORWARD ...`. */
const changes = (a: string, b: string): string[] =>
  (diff(a, b)?.changes ?? []).map(({ kind, a: before, b: after }) => `${kind} ${(after ?? before)?.text}`);

describe('no difference', () => {
  it.each([
    [
      'counters',
      filter(['[1:60] -A FORWARD -s 10.0.0.1/32 -j DROP']),
      filter(['[9:540] -A FORWARD -s 10.0.0.1/32 -j DROP']),
    ],
    ['comments', filter(['-A FORWARD -m comment --comment "a b" -j DROP']), filter(['-A FORWARD -j DROP'])],
    [
      'spelling',
      filter(['-A FORWARD -p tcp -m tcp --dport 80 -j DROP']),
      filter(['-A FORWARD -p tcp -m multiport --dports 80 -j DROP']),
    ],
    ['empty tables', filter([]), ''],
  ])('%s', (_, a, b) => {
    expect(diffNetfilter(side(a), side(b)).tables).toEqual([]);
  });

  it('order that no packet can tell', () => {
    const rules = [
      '-A FORWARD -s 10.0.0.1/32 -j DROP',
      '-A FORWARD -s 10.0.0.2/32 -j ACCEPT',
      '-A FORWARD -d 10.0.0.1/32 -j DROP',
    ];
    const found = diff(filter(rules), filter([rules[1] ?? '', rules[2] ?? '', rules[0] ?? '']));
    expect([found?.changes, found?.reordered]).toEqual([[], 1]);
  });

  it('other names of generated chains, two levels deep', () => {
    const services = (svc: string, sep: string) =>
      filter(
        [
          '-A FORWARD -d 10.96.0.1/32 -j KUBE-SERVICES',
          `-A KUBE-SERVICES -p tcp -j ${svc}`,
          `-A ${svc} -j ${sep}`,
          `-A ${sep} -j DROP`,
        ],
        ['KUBE-SERVICES', svc, sep],
      );
    const found = diff(services('KUBE-SVC-AAA', 'KUBE-SEP-AAA'), services('KUBE-SVC-BBB', 'KUBE-SEP-BBB'));
    expect(found?.changes).toEqual([]);
    expect(found?.renamed).toEqual([
      ['KUBE-SVC-AAA', 'KUBE-SVC-BBB'],
      ['KUBE-SEP-AAA', 'KUBE-SEP-BBB'],
    ]);
  });

  it('the other backend, which is said', () => {
    const text = filter(['-A FORWARD -s 10.0.0.1/32 -j DROP']);
    expect(diffNetfilter(side(text, 'legacy'), side(text)).tables).toEqual([]);
    expect(diffNetfilter(side(text, 'legacy'), side(filter([]))).tables[0]?.backends).toEqual([
      'legacy',
      'nft',
    ]);
  });
});

describe('differences', () => {
  it('names rules in their chain, and a packet that shows it', () => {
    const a = filter(['-A FORWARD -s 10.0.0.0/8 -j ACCEPT'], [], 'DROP');
    const b = filter(['-A FORWARD -s 10.0.0.0/9 -j ACCEPT'], [], 'DROP');
    expect(changes(a, b)).toEqual([
      'removed -A FORWARD -s 10.0.0.0/8 -j ACCEPT',
      'added -A FORWARD -s 10.0.0.0/9 -j ACCEPT',
    ]);
    expect(diff(a, b)?.meaning).toEqual({
      state: 'different',
      hook: 'forward',
      packet: 'any 10.128.0.0 -> any',
      a: 'accept',
      b: 'drop',
    });
  });

  it('a renamed chain with one more rule is followed by the rule that leads there', () => {
    const chain = (name: string, rules: readonly string[]) =>
      filter([`-A FORWARD -d 10.96.0.1/32 -j ${name}`, ...rules.map((rule) => `-A ${name} ${rule}`)], [name]);
    expect(
      changes(
        chain('KUBE-SVC-A', ['-p udp -j DROP']),
        chain('KUBE-SVC-B', ['-p udp -j DROP', '-p tcp -j DROP']),
      ),
    ).toEqual(['added -A KUBE-SVC-B -p tcp -j DROP']);
  });

  it('order that matters, and policies', () => {
    const rules = ['-A FORWARD -s 10.0.0.1/32 -j DROP', '-A FORWARD -s 10.0.0.0/8 -j ACCEPT'];
    const moved = diff(filter(rules), filter([...rules].reverse()));
    expect(moved?.changes.map(({ kind }) => kind)).toEqual(['moved']);
    expect(moved?.meaning).toMatchObject({ packet: 'any 10.0.0.1 -> any', a: 'drop', b: 'accept' });
    expect(changes(filter([]), filter([], [], 'DROP'))).toEqual(['policy :FORWARD DROP [0:0]']);
  });

  it('says where rules that differ change nothing', () => {
    const equal = (a: string, b: string) => [diff(a, b)?.changes.length, diff(a, b)?.meaning.state];
    const halves = filter(['-A FORWARD -s 10.0.0.0/9 -j DROP', '-A FORWARD -s 10.128.0.0/9 -j DROP']);
    expect(equal(filter(['-A FORWARD -s 10.0.0.0/8 -j DROP']), halves)).toEqual([3, 'equal']);
    const inline = filter(['-A FORWARD -s 10.0.0.0/8 -p tcp -j DROP']);
    const called = filter(
      ['-A FORWARD -s 10.0.0.0/8 -j U', '-A U ! -p tcp -j RETURN', '-A U -j DROP'],
      ['U'],
    );
    expect(equal(inline, called)).toEqual([3, 'equal']);
  });

  it('does not claim what it cannot follow', () => {
    const queue = (extra: string) =>
      filter(['-A FORWARD -j NFQUEUE --queue-num 1', `-A FORWARD -s ${extra} -j DROP`]);
    expect(diff(queue('10.0.0.1/32'), queue('10.0.0.2/32'))?.meaning.state).toBe('unknown');
    const rate = (count: number) =>
      filter([`-A FORWARD -m limit --limit ${count}/sec -j ACCEPT`], [], 'DROP');
    expect(diff(rate(1), rate(2))?.meaning.state).not.toBe('equal');
  });

  it('sets that rules ask', () => {
    const text = filter(['-A FORWARD -m set --match-set s src -j DROP']);
    const sets = (element: string) => {
      const parsed = parseIpset(`create s hash:ip family inet\nadd s ${element}\n`, 'ipset.txt');
      return { ...side(text), ipsets: known(parsed.ok ? parsed.value : []) };
    };
    const { tables } = diffNetfilter(sets('10.0.0.1'), sets('10.0.0.2'));
    expect(tables[0]?.changes.map(({ text: said }) => said)).toEqual(['set s: 1 element added, 1 removed']);
    expect(diffNetfilter(sets('10.0.0.1'), sets('10.0.0.1')).tables).toEqual([]);
  });

  it('maps of nftables', () => {
    const table = (chain: string) => {
      const at = { family: 'ip', table: 't' };
      const parsed = parseNftJson(
        JSON.stringify({
          nftables: [
            { table: { family: 'ip', name: 't', handle: 1 } },
            {
              chain: {
                ...at,
                name: 'c',
                handle: 1,
                type: 'filter',
                hook: 'forward',
                prio: 0,
                policy: 'accept',
              },
            },
            { map: { ...at, name: 'm', elem: [['10.0.0.1', { [chain]: null }]] } },
            {
              rule: {
                ...at,
                chain: 'c',
                handle: 3,
                expr: [{ vmap: { key: { payload: { protocol: 'ip', field: 'daddr' } }, data: '@m' } }],
              },
            },
          ],
        }),
        'nft.json',
      );
      return { rulesets: [], nftTables: parsed.ok ? parsed.value : [], ipsets: unknown('none') };
    };
    expect(diffNetfilter(table('drop'), table('drop')).tables).toEqual([]);
    expect(diffNetfilter(table('drop'), table('accept')).tables[0]?.changes.map(({ kind }) => kind)).toEqual([
      'set',
    ]);
  });
});
