import { describe, expect, it } from 'vitest';
import { ruleset } from '../../../../test/support/snapshot.ts';
import { known, unknown } from '../../../model/known.ts';
import type { NetfilterFinding } from '../../../model/netfilter-report.ts';
import { prefix } from '../../../net/prefix.ts';
import { parseIpset } from '../../../parse/ipset.ts';
import { parseNftJson } from '../../../parse/nft/json.ts';
import { lintNetfilter, type RecordedRules } from './lint.ts';

const none: RecordedRules = {
  rulesets: [],
  nftTables: [],
  ipsets: unknown('not asked for'),
  podNetworks: [],
};

const save = (table: string, chains: readonly string[], rules: readonly string[]): string =>
  [`*${table}`, ...chains.map((chain) => `:${chain} [0:0]`), ...rules, 'COMMIT', ''].join('\n');

/** A filter table; `extra` are user chains. */
const filter = (rules: readonly string[], extra: readonly string[] = []): string =>
  save(
    'filter',
    ['INPUT ACCEPT', 'FORWARD ACCEPT', 'OUTPUT ACCEPT', ...extra.map((name) => `${name} -`)],
    rules,
  );

const findings = (text: string, more: Partial<RecordedRules> = {}): readonly NetfilterFinding[] =>
  lintNetfilter({ ...none, rulesets: [ruleset(text)], ...more }).findings;

/** `shadowed-rule: -A FORWARD ...` of each finding. */
const said = (text: string, more: Partial<RecordedRules> = {}): string[] =>
  findings(text, more).map(({ rule, place }) => `${rule}: ${place.text}`);

describe('shadowed rules', () => {
  it.each([
    ['a wider network', '-s 10.0.0.0/8 -j DROP', '-s 10.1.0.0/16 -j ACCEPT'],
    ['ports of one protocol', '-p tcp -m tcp --dport 1:1024 -j DROP', '-p tcp -m tcp --dport 80 -j ACCEPT'],
    [
      'another spelling',
      '-p tcp -m multiport --dports 80,443 -j DROP',
      '-p tcp -m tcp --dport 443 -j ACCEPT',
    ],
    ['a device prefix', '-i cali+ -j DROP', '-i cali1234 -j ACCEPT'],
    ['some mark bits', '-m mark --mark 0x10000/0x10000 -j DROP', '-m mark --mark 0x30000/0x30000 -j ACCEPT'],
    ['states', '-m conntrack ! --ctstate NEW -j DROP', '-m state --state RELATED,ESTABLISHED -j ACCEPT'],
    ['the same set', '-m set --match-set a src -j DROP', '-s 10.0.0.1/32 -m set --match-set a src -j ACCEPT'],
    ['icmp of any type', '-p icmp -j DROP', '-p icmp -m icmp --icmp-type 8 -j ACCEPT'],
  ])('%s', (_, first, second) => {
    const of = filter([`-A FORWARD ${first}`, `-A FORWARD ${second}`]);
    expect(said(of)).toEqual([`shadowed-rule: -A FORWARD ${second}`]);
    expect(findings(of)[0]?.because.map(({ text }) => text)).toEqual([`-A FORWARD ${first}`]);
  });

  it('several rules together, and names those that are needed', () => {
    const [found] = findings(
      filter([
        '-A FORWARD -p udp -j DROP',
        '-A FORWARD -s 10.0.0.0/9 -j DROP',
        '-A FORWARD -s 10.128.0.0/9 -j ACCEPT',
        '-A FORWARD -s 10.0.0.0/8 -p tcp -j DROP',
      ]),
    );
    expect(found?.place.line).toBe(8);
    expect(found?.because.map(({ line }) => line)).toEqual([6, 7]);
  });

  it.each([
    [
      'NEW behind ESTABLISHED',
      '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      '-m conntrack --ctstate NEW -j ACCEPT',
    ],
    ['a rule that only looks', '-s 10.0.0.0/8 -j LOG', '-s 10.0.0.0/8 -j DROP'],
    ['a rate', '-p icmp -m limit --limit 1/sec -j ACCEPT', '-p icmp -j DROP'],
    ['chance', '-m statistic --mode random --probability 0.5 -j ACCEPT', '-j DROP'],
    ['another set', '-m set --match-set a src -j DROP', '-m set --match-set b src -j DROP'],
    [
      'SYN only',
      '-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP',
      '-p tcp -m tcp --dport 80 -j ACCEPT',
    ],
    ['ports of another protocol', '-p tcp -m tcp --dport 53 -j DROP', '-p udp -m udp --dport 53 -j ACCEPT'],
    ['all ports, and fragments', '-p udp -m udp --dport 0:65535 -j ACCEPT', '-p udp -j DROP'],
  ])('leaves alone: %s', (_, first, second) => {
    expect(said(filter([`-A FORWARD ${first}`, `-A FORWARD ${second}`]))).toEqual([]);
  });

  it('does not follow a mark through a rule that changes it', () => {
    const between = (target: string) =>
      said(
        filter(
          [
            '-A FORWARD -m mark --mark 0x1/0x1 -j DROP',
            `-A FORWARD -j ${target}`,
            '-A FORWARD -m mark --mark 0x1/0x1 -j ACCEPT',
            '-A SET-IT -j MARK --set-xmark 0x1/0x1',
          ],
          ['SET-IT'],
        ),
      );
    expect(between('MARK --set-xmark 0x1/0x1')).toEqual(['unused-chain: :SET-IT - [0:0]']);
    expect(between('SET-IT')).toEqual([]);
  });

  it('knows jumps that never come back, and goto', () => {
    const through = (jump: string, rules: readonly string[]) =>
      said(
        filter(
          [`-A FORWARD -s 10.0.0.0/8 ${jump} END`, '-A FORWARD -s 10.0.0.1/32 -j ACCEPT', ...rules],
          ['END'],
        ),
      );
    const shadowed = 'shadowed-rule: -A FORWARD -s 10.0.0.1/32 -j ACCEPT';
    expect(through('-j', ['-A END -j DROP'])).toEqual([shadowed]);
    expect(through('-j', ['-A END -d 10.0.0.9/32 -j RETURN', '-A END -j DROP'])).toEqual([]);
    expect(through('-g', ['-A END -d 10.0.0.9/32 -j DROP'])).toEqual([shadowed]);
  });
});

describe('rules that never match', () => {
  it.each([
    [
      'own conditions',
      ['-A FORWARD -s 10.0.0.0/8 -m set --match-set a src -m set ! --match-set a src -j DROP'],
      0,
    ],
    ['the way in', ['-A FORWARD -s 192.168.0.0/16 -j USER', '-A USER -s 10.0.0.0/8 -j DROP'], 1],
    ['two steps in', ['-A FORWARD -i eth0 -j USER', '-A USER -j NEXT', '-A NEXT -i eth1 -j DROP'], 2],
    ['no device yet', ['-A INPUT -j USER', '-A USER -o eth0 -j DROP'], 1],
  ])('%s', (_, rules, wrong) => {
    const user = ['USER', 'NEXT'].filter((name) => rules.some((rule) => rule.includes(name)));
    expect(said(filter(rules, user))).toEqual([`never-matches: ${rules[wrong]}`]);
  });

  it('a module of another protocol', () => {
    expect(said(filter(['-A FORWARD -p udp -m tcp --dport 53 -j ACCEPT']))).toEqual([
      'never-matches: -A FORWARD -p udp -m tcp --dport 53 -j ACCEPT',
    ]);
  });

  it('established connections in the nat table', () => {
    const nat = save(
      'nat',
      ['PREROUTING ACCEPT', 'POSTROUTING ACCEPT'],
      [
        '-A PREROUTING -m conntrack --ctstate ESTABLISHED -j DNAT --to-destination 10.0.0.1',
        '-A PREROUTING -m conntrack --ctstate NEW,RELATED -j DNAT --to-destination 10.0.0.1',
      ],
    );
    expect(findings(nat).map(({ rule, place }) => [rule, place.line])).toEqual([['never-matches', 4]]);
  });

  it('not where two ways in differ', () => {
    const rules = [
      '-A FORWARD -s 192.168.0.0/16 -j USER',
      '-A FORWARD -s 10.0.0.0/8 -j USER',
      '-A USER -s 10.1.0.0/16 -j DROP',
    ];
    expect(said(filter(rules, ['USER']))).toEqual([]);
  });
});

describe('chains', () => {
  it('lead nowhere, are never entered, or go in circles', () => {
    expect(said(filter(['-A FORWARD -j EMPTY'], ['EMPTY']))).toEqual([
      'jump-to-empty-chain: -A FORWARD -j EMPTY',
    ]);
    expect(said(filter(['-A LOST -j DROP'], ['LOST']))).toEqual(['unused-chain: :LOST - [0:0]']);
    expect(said(filter(['-A FORWARD -j GONE']))).toEqual(['missing-chain: -A FORWARD -j GONE']);
    const [loop, ...more] = findings(filter(['-A FORWARD -j A', '-A A -j B', '-A B -j A'], ['A', 'B']));
    expect([loop?.rule, loop?.because.map(({ line }) => line), more]).toEqual(['chain-loop', [8, 9], []]);
  });

  it('may nest without end', () => {
    const names = Array.from({ length: 20_000 }, (_, i) => `U${i}`);
    const rules = names.map((name, i) => `-A ${i === 0 ? 'FORWARD' : `U${i - 1}`} -j ${name}`);
    expect(said(filter(rules, names))).toEqual(['jump-to-empty-chain: -A U19998 -j U19999']);
  });

  it('are left alone where only an excerpt is there', () => {
    expect(said(filter(['-A FORWARD -j GONE', '-A NOT-DECLARED -j DROP']))).toEqual([]);
  });
});

describe('the whole host', () => {
  const one = filter(['-A FORWARD -s 10.0.0.0/8 -j ACCEPT']);

  it('both backends at one hook', () => {
    const rulesets = [ruleset(one), ruleset(one, 'legacy')];
    expect(said('', { rulesets })).toEqual(['both-backends: :FORWARD ACCEPT [0:0]']);
    expect(said('', { rulesets: [ruleset(one), ruleset(filter([]), 'legacy')] })).toEqual([]);
  });

  it('a policy of DROP that nothing escapes', () => {
    const drop = (rule: string) => said(save('filter', ['FORWARD DROP'], [rule]));
    expect(drop('-A FORWARD -s 10.0.0.0/8 -j LOG')).toEqual(['drops-everything: :FORWARD DROP [0:0]']);
    expect(drop('-A FORWARD -s 10.0.0.0/8 -j ACCEPT')).toEqual([]);
    expect(drop('-A FORWARD -s 10.0.0.0/8 -j NFQUEUE --queue-num 1')).toEqual([]);
  });

  it('sets that are not there', () => {
    const text = filter(['-A FORWARD -m set --match-set a src -j DROP']);
    const sets = parseIpset('create b hash:ip family inet\n', 'ipset.txt');
    expect(said(text, { ipsets: known(sets.ok ? sets.value : []) })).toEqual([
      'missing-set: -A FORWARD -m set --match-set a src -j DROP',
    ]);
    expect(lintNetfilter({ ...none, rulesets: [ruleset(text)] }).notRun.map(({ rule }) => rule)).toEqual([
      'missing-set',
    ]);
  });

  it('MASQUERADE of packets between pods', () => {
    const post = (...rules: string[]) =>
      said(save('nat', ['POSTROUTING ACCEPT'], rules), {
        podNetworks: [prefix('10.244.1.0/24'), prefix('10.244.2.0/24')],
      });
    const own = '-A POSTROUTING -s 10.244.1.0/24 ! -d 10.244.1.0/24 -j MASQUERADE';
    expect(post(own)).toEqual([`masquerade-hides-pods: ${own}`]);
    expect(post('-A POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE')).toEqual([]);
    expect(post('-A POSTROUTING -s 10.244.0.0/16 -d 10.244.0.0/16 -j RETURN', own)).toEqual([]);
    expect(
      post(
        '-A POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
        '-A POSTROUTING -j MARK --set-xmark 0x4000/0x0',
        '-A POSTROUTING -j MASQUERADE',
      ),
    ).toEqual([]);
  });

  it('kube-proxy cut off from its hook', () => {
    const nat = (rules: readonly string[]) =>
      save(
        'nat',
        ['PREROUTING ACCEPT', 'OUTPUT ACCEPT', 'KUBE-SERVICES -', 'KUBE-SEP-A -'],
        [
          ...rules,
          '-A OUTPUT -j KUBE-SERVICES',
          '-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SEP-A',
          '-A KUBE-SEP-A -j DNAT --to-destination 10.0.0.1',
        ],
      );
    expect(said(nat(['-A PREROUTING -j KUBE-SERVICES']))).toEqual([]);
    expect(said(nat([]))).toEqual(['incomplete-rules: :KUBE-SERVICES - [0:0]']);
  });
});

describe('nftables', () => {
  const table = (...rules: readonly unknown[][]) => {
    const at = { family: 'inet', table: 't' };
    const items = [
      { table: { family: 'inet', name: 't', handle: 1 } },
      {
        chain: { ...at, name: 'fwd', handle: 1, type: 'filter', hook: 'forward', prio: 0, policy: 'accept' },
      },
      ...rules.map((expr, i) => ({ rule: { ...at, chain: 'fwd', handle: i + 2, expr } })),
    ];
    const parsed = parseNftJson(JSON.stringify({ nftables: items }), 'nft.json');
    if (!parsed.ok) throw new Error(parsed.error.message);
    return said('', { rulesets: [], nftTables: parsed.value });
  };
  const match = (protocol: string, field: string, right: unknown, op = '==') => ({
    match: { op, left: { payload: { protocol, field } }, right },
  });

  it('compares sets, ranges and prefixes', () => {
    expect(
      table(
        [match('ip', 'saddr', { prefix: { addr: '10.0.0.0', len: 8 } }), { drop: null }],
        [
          match('ip', 'saddr', { set: ['10.0.0.1', '10.0.0.2'] }),
          match('tcp', 'dport', 80),
          { accept: null },
        ],
      ),
    ).toEqual(['shadowed-rule: ip saddr { 10.0.0.1, 10.0.0.2 } tcp dport 80 accept # handle 3']);
  });

  it('keeps families and protocols apart', () => {
    expect(
      table(
        [match('ip', 'saddr', '0.0.0.0', '!='), { drop: null }],
        [match('ip6', 'saddr', 'fd00::1'), { drop: null }],
        [match('tcp', 'dport', 53), { drop: null }],
        [match('udp', 'dport', 53), { accept: null }],
      ),
    ).toEqual([]);
  });
});
