import { describe, expect, it } from 'vitest';
import type { Match, Rule, Ruleset, Target } from '../model/netfilter.ts';
import { address } from '../net/address.ts';
import { prefix } from '../net/prefix.ts';
import { parseIptablesSave, printRuleset } from './iptables-save.ts';
import { withoutSources } from './testing.ts';

const options = { file: 'f', family: 4, backend: 'nft' } as const;

function read(text: string, extra: Partial<Parameters<typeof parseIptablesSave>[1]> = {}): Ruleset {
  const result = parseIptablesSave(text, { ...options, ...extra });
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}

function errorOf(text: string): string {
  const result = parseIptablesSave(text, options);
  return result.ok ? 'no error' : `${result.error.code}:${result.error.line}`;
}

const filter = (rule: string) => `*filter\n:INPUT ACCEPT [0:0]\n:KUBE-X - [0:0]\n${rule}\nCOMMIT\n`;

function rule(text: string, family: 4 | 6 = 4): Rule {
  const [first] = read(filter(`-A INPUT ${text}`), { family }).tables[0]?.chains.get('INPUT')?.rules ?? [];
  if (first === undefined) throw new Error('no rule');
  return first;
}

const v4 = (text: string) => address(text).value;

const matches: readonly [string, ...Match[]][] = [
  ['-p tcp', { kind: 'protocol', negate: false, protocol: 6 }],
  ['! -p 47', { kind: 'protocol', negate: true, protocol: 47 }],
  ['-p all'],
  ['-s 10.0.0.0/8', { kind: 'address', negate: false, side: 'src', prefix: prefix('10.0.0.0/8') }],
  ['-s 10.1.2.3/255.255.0.0', { kind: 'address', negate: false, side: 'src', prefix: prefix('10.1.0.0/16') }],
  ['! -d 127.0.0.1', { kind: 'address', negate: true, side: 'dst', prefix: prefix('127.0.0.1/32') }],
  ['-d ! 127.0.0.1/32', { kind: 'address', negate: true, side: 'dst', prefix: prefix('127.0.0.1/32') }],
  ['-s 0.0.0.0/0'],
  ['-i cali+', { kind: 'device', negate: false, direction: 'in', name: 'cali+' }],
  ['! -o br-0', { kind: 'device', negate: true, direction: 'out', name: 'br-0' }],
  ['-f', { kind: 'fragment', negate: false }],
  ['-m tcp --dport 80', { kind: 'port', negate: false, side: 'dst', ranges: [{ from: 80, to: 80 }] }],
  [
    '-m udp ! --sport 1000:2000',
    { kind: 'port', negate: true, side: 'src', ranges: [{ from: 1000, to: 2000 }] },
  ],
  ['-m tcp --dport 1024:', { kind: 'port', negate: false, side: 'dst', ranges: [{ from: 1024, to: 65535 }] }],
  ['-m tcp', { kind: 'always', text: '-m tcp' }],
  [
    '-p tcp --dport 80',
    { kind: 'protocol', negate: false, protocol: 6 },
    { kind: 'port', negate: false, side: 'dst', ranges: [{ from: 80, to: 80 }] },
  ],
  [
    '-m multiport --dports 80,443,8000:8010',
    {
      kind: 'port',
      negate: false,
      side: 'dst',
      ranges: [
        { from: 80, to: 80 },
        { from: 443, to: 443 },
        { from: 8000, to: 8010 },
      ],
    },
  ],
  [
    '-m multiport --ports 53',
    { kind: 'port', negate: false, side: 'either', ranges: [{ from: 53, to: 53 }] },
  ],
  ['-m icmp --icmp-type 3/4', { kind: 'icmp-type', negate: false, type: 3, code: 4 }],
  ['-m icmp --icmp-type any', { kind: 'icmp-type', negate: false }],
  ['-m icmp ! --icmp-type echo-request', { kind: 'icmp-type', negate: true, type: 8 }],
  [
    '-m tcp --tcp-flags FIN,SYN,RST,ACK SYN',
    { kind: 'tcp-flags', negate: false, mask: ['FIN', 'SYN', 'RST', 'ACK'], set: ['SYN'] },
  ],
  [
    '-p tcp ! --syn',
    { kind: 'protocol', negate: false, protocol: 6 },
    { kind: 'tcp-flags', negate: true, mask: ['FIN', 'SYN', 'RST', 'ACK'], set: ['SYN'] },
  ],
  [
    '-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT',
    { kind: 'ct-state', negate: true, states: ['RELATED', 'ESTABLISHED', 'DNAT'] },
  ],
  ['-m state --state NEW', { kind: 'ct-state', negate: false, states: ['NEW'] }],
  ['-m mark --mark 0x4000/0x4000', { kind: 'mark', negate: false, value: 0x4000, mask: 0x4000 }],
  ['-m mark ! --mark 1', { kind: 'mark', negate: true, value: 1, mask: 0xffffffff }],
  ['-m connmark --mark 0x80/0x80', { kind: 'connmark', negate: false, value: 0x80, mask: 0x80 }],
  ['-m set ! --match-set S src,dst', { kind: 'set', negate: true, set: 'S', directions: ['src', 'dst'] }],
  [
    '-m set --match-set S dst ! --update-counters',
    { kind: 'set', negate: false, set: 'S', directions: ['dst'] },
  ],
  [
    '-m addrtype ! --src-type LOCAL --dst-type LOCAL,BROADCAST',
    { kind: 'addrtype', negate: true, side: 'src', types: ['LOCAL'] },
    { kind: 'addrtype', negate: false, side: 'dst', types: ['LOCAL', 'BROADCAST'] },
  ],
  ['-m statistic --mode random --probability 0.5', { kind: 'statistic', negate: false, probability: 0.5 }],
  [
    '-m statistic --mode nth --every 3 --packet 1',
    { kind: 'statistic-nth', negate: false, every: 3, packet: 1 },
  ],
  [
    '-m physdev --physdev-in v0 --physdev-is-bridged',
    { kind: 'physdev-name', negate: false, direction: 'in', name: 'v0' },
    { kind: 'physdev', negate: false, condition: 'is-bridged' },
  ],
  [
    '-m iprange --src-range 10.0.0.1-10.0.0.9',
    { kind: 'address-range', negate: false, side: 'src', from: v4('10.0.0.1'), to: v4('10.0.0.9') },
  ],
  ['-m length --length 1400:', { kind: 'length', negate: false, from: 1400, to: 65535 }],
  [
    '-m conntrack --ctstate NEW --ctproto 17 ! --ctorigdstport 53 --ctreplsrc 10.0.0.0/8 --ctdir ORIGINAL',
    {
      kind: 'ct-entry',
      negate: false,
      states: { negate: false, states: ['NEW'] },
      conditions: [
        { kind: 'protocol', negate: false, protocol: 17 },
        { kind: 'port', negate: true, tuple: 'original', side: 'dst', range: { from: 53, to: 53 } },
        { kind: 'address', negate: false, tuple: 'reply', side: 'src', prefix: prefix('10.0.0.0/8') },
        { kind: 'direction', negate: false, direction: 'original' },
      ],
    },
  ],
  [
    '-m conntrack --ctstatus NONE',
    { kind: 'ct-entry', negate: false, conditions: [{ kind: 'status', negate: false, flags: [] }] },
  ],
  [
    '-m set --match-set S src --return-nomatch',
    { kind: 'set', negate: false, set: 'S', directions: ['src'], nomatch: true },
  ],
  [
    '-m addrtype --dst-type LOCAL --limit-iface-in',
    { kind: 'addrtype', negate: false, side: 'dst', types: ['LOCAL'], onDevice: 'in' },
  ],
  ['-m ttl ! --ttl-eq 64', { kind: 'ttl', negate: true, compare: 'eq', value: 64 }],
  ['-m dscp --dscp-class AF21', { kind: 'tos', negate: false, value: 0x48, mask: 0xfc }],
  ['-m tos --tos Minimize-Delay', { kind: 'tos', negate: false, value: 0x10, mask: 0x3f }],
  ['-m pkttype ! --pkt-type broadcast', { kind: 'packet-type', negate: true, type: 'broadcast' }],
  ['-m mac --mac-source 02:00:00:00:00:AB', { kind: 'mac', negate: false, address: '02:00:00:00:00:ab' }],
  [
    '-m owner ! --uid-owner 0 ! --gid-owner 0',
    { kind: 'owner', negate: true, text: '-m owner ! --uid-owner 0 ! --gid-owner 0' },
  ],
  [
    '-m rpfilter --validmark --invert',
    { kind: 'reverse-path', negate: true, loose: false, withMark: true, acceptLocal: false },
  ],
  ['-m limit --limit 5/sec', { kind: 'rate', text: '-m limit --limit 5/sec' }],
  ['-m recent --set --name x --rsource', { kind: 'always', text: '-m recent --set --name x --rsource' }],
  ['-m recent --rcheck --name x', { kind: 'rate', text: '-m recent --rcheck --name x' }],
  ['-m nfacct --nfacct-name  n', { kind: 'always', text: '-m nfacct --nfacct-name n' }],
];

const targets: readonly [string, Target][] = [
  ['-j ACCEPT', { kind: 'accept' }],
  ['', { kind: 'continue', text: '' }],
  ['-j REJECT', { kind: 'reject', with: 'icmp-port-unreachable' }],
  ['-j REJECT --reject-with tcp-reset', { kind: 'reject', with: 'tcp-reset' }],
  ['-j RETURN', { kind: 'return' }],
  ['-j KUBE-X', { kind: 'jump', chain: 'KUBE-X' }],
  ['-g KUBE-X', { kind: 'goto', chain: 'KUBE-X' }],
  ['-j NOT-THERE', { kind: 'jump', chain: 'NOT-THERE' }],
  [
    '-j DNAT --to-destination 10.0.0.1:80',
    { kind: 'dnat', range: { from: v4('10.0.0.1'), to: v4('10.0.0.1'), ports: { from: 80, to: 80 } } },
  ],
  [
    '-j DNAT --to-destination :8080-8090 --random',
    { kind: 'dnat', range: { ports: { from: 8080, to: 8090 }, random: true } },
  ],
  [
    '-j SNAT --to-source 10.0.0.1-10.0.0.3 --random-fully',
    { kind: 'snat', range: { from: v4('10.0.0.1'), to: v4('10.0.0.3'), random: true } },
  ],
  ['-j MASQUERADE --random-fully', { kind: 'masquerade', random: true }],
  ['-j MASQUERADE --to-ports 1024-2000', { kind: 'masquerade', ports: { from: 1024, to: 2000 } }],
  ['-j NETMAP --to 10.9.0.0/16', { kind: 'netmap', prefix: prefix('10.9.0.0/16') }],
  ['-j TTL --ttl-dec 1', { kind: 'set-ttl', how: 'dec', value: 1 }],
  ['-j DSCP --set-dscp-class EF', { kind: 'set-tos', value: 0xb8, mask: 0xfc }],
  ['-j TOS --or-tos 0x04', { kind: 'set-tos', value: 4, mask: 4 }],
  ['-j REDIRECT --to-ports 15001', { kind: 'redirect', ports: { from: 15001, to: 15001 } }],
  ['-j MARK --set-xmark 0x4000/0x4000', { kind: 'set-mark', value: 0x4000, mask: 0x4000 }],
  // xt_MARK: set-mark V/M clears M and ORs V, which as an xmark is V/(V|M).
  ['-j MARK --set-mark 0x3/0x1', { kind: 'set-mark', value: 3, mask: 3 }],
  ['-j MARK --and-mark 0xffff', { kind: 'set-mark', value: 0, mask: 0xffff0000 }],
  ['-j MARK --or-mark 0x8000', { kind: 'set-mark', value: 0x8000, mask: 0x8000 }],
  ['-j MARK --xor-mark 0x1', { kind: 'set-mark', value: 1, mask: 0 }],
  ['-j CONNMARK --set-xmark 0x80/0x80', { kind: 'set-connmark', value: 0x80, mask: 0x80 }],
  [
    '-j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80',
    { kind: 'restore-connmark', nfmask: 0x80, ctmask: 0x80 },
  ],
  ['-j CONNMARK --save-mark', { kind: 'save-connmark', nfmask: 0xffffffff, ctmask: 0xffffffff }],
  ['-j CT --notrack', { kind: 'notrack' }],
  ['-j NOTRACK', { kind: 'notrack' }],
  ['-j LOG --log-prefix "[x] "', { kind: 'continue', text: '-j LOG --log-prefix "[x] "' }],
  ['-j TCPMSS --clamp-mss-to-pmtu', { kind: 'continue', text: '-j TCPMSS --clamp-mss-to-pmtu' }],
];

const unknowns = [
  '-m realm --realm 1',
  '-m u32 --u32 0=x',
  '-m conntrack --ctstatus WAITING',
  '-m conntrack --ctorigdst 10.0.0.1 --ctbrandnew 1',
  '-m set --match-set S src --packets-gt 3',
  '-m ttl ! --ttl-lt 3',
  '-m brand-new --thing 1',
  '-m tcp --dport http',
  '-m recent ! --set --name x',
  '-s example.org',
  '-p tcp --dport',
];

describe('rules', () => {
  it.each(matches)('match %s', (text, ...expected) => {
    expect(rule(`${text} -j DROP`).matches).toEqual(expected);
  });
  it.each(targets)('target %s', (text, expected) => {
    expect(rule(text).target).toEqual(expected);
  });
  it.each(unknowns)('%s stays in the rule as unknown', (text) => {
    expect(rule(`${text} -j DROP`).matches.at(-1)).toMatchObject({ kind: 'unknown' });
  });
  it.each([
    '-j NFQUEUE --queue-num 0',
    '-j TPROXY --on-port x',
    '-j BRANDNEW --x 1',
    '-j DNAT --to-destination 1.2.3.4:80-90/100',
    '-j CT --zone 1 --zone-orig 2',
  ])('%s is an unknown target', (text) => expect(rule(text).target).toMatchObject({ kind: 'unknown', text }));
  it('reads IPv6 NAT targets with and without brackets', () => {
    const from = address('fd00::1').value;
    const target = (text: string) => rule(`-j DNAT --to-destination ${text}`, 6).target;
    expect(target('[fd00::1]:80')).toEqual({
      kind: 'dnat',
      range: { from, to: from, ports: { from: 80, to: 80 } },
    });
    expect(target('fd00::1')).toEqual({ kind: 'dnat', range: { from, to: from } });
    expect(target('[fd00::1-fd00::3]:80')).toMatchObject({ range: { from, to: from + 2n } });
  });
  it('keeps comment, counters and the line', () => {
    const ruleset = read(
      filter('[7:420] -A INPUT -m comment --comment "say \\"hi\\" --x" -m comment --comment --y -j DROP'),
    );
    expect(ruleset.tables[0]?.chains.get('INPUT')?.rules[0]).toMatchObject({
      comment: 'say "hi" --x; --y',
      counters: { packets: 7, bytes: 420 },
      source: { file: 'f', line: 4 },
    });
  });
  it('notes only what nobody taught it', () => {
    const result = parseIptablesSave(
      filter('-A INPUT -m owner --uid-owner 0\n-A INPUT -m brand-new --x'),
      options,
    );
    expect(result.ok && result.notes.map(({ code, line }) => `${code}:${line}`)).toEqual([
      'iptables/not-understood:5',
    ]);
  });
});

describe('files', () => {
  it('reads an empty file as no rules', () => expect(read('').tables).toEqual([]));
  it('reads iptables -S with the table given', () => {
    const ruleset = read('-P INPUT DROP\n-N A\n-A A -j ACCEPT\n', { table: 'filter' });
    expect(
      [...(ruleset.tables[0]?.chains.values() ?? [])].map(({ name, policy, rules }) => [
        name,
        policy,
        rules.length,
      ]),
    ).toEqual([
      ['INPUT', 'DROP', 0],
      ['A', undefined, 1],
    ]);
  });
  it.each([
    ['iptables-save: command not found', 'iptables/tool-error:1'],
    ["Fatal: can't open lock file: Permission denied", 'iptables/tool-error:1'],
    ['<html>', 'iptables/foreign:1'],
    ['-A INPUT -j DROP', 'iptables/no-table:1'],
    ['*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\n', 'iptables/truncated:3'],
    ['*filter\n*nat\nCOMMIT', 'iptables/truncated:2'],
    ['*blah\nCOMMIT', 'iptables/unknown-table:1'],
    ['*filter\n:INPUT MAYBE [0:0]\nCOMMIT', 'iptables/policy:2'],
  ])('%s is an error', (text, expected) => expect(errorOf(text)).toBe(expected));
  it('notes tables that iptables cannot print', () => {
    const result = parseIptablesSave(
      "*filter\nCOMMIT\n# Table `nat' is incompatible, use 'nft' tool.",
      options,
    );
    expect(result).toMatchObject({ ok: true, notes: [{ code: 'iptables/incompatible-nat', line: 3 }] });
  });
  it('keeps a rule with an open quote as unknown', () => {
    expect(rule('-m comment --comment "x -j DROP')).toMatchObject({ target: { kind: 'unknown' } });
  });
});

describe('printRuleset', () => {
  it('prints what reads back the same', () => {
    const lines = [...matches, ...targets].map(([text]) => `-A INPUT ${text}`);
    const ruleset = read(
      filter(
        [...lines, ...unknowns.map((text) => `[1:2] -A INPUT ${text} -m comment --comment "a \\\\ b"`)].join(
          '\n',
        ),
      ),
    );
    const again = read(printRuleset(ruleset));
    expect(withoutSources(again)).toEqual(withoutSources(ruleset));
    expect(ruleset.tables[0]?.chains.get('INPUT')?.rules.length).toBe(
      matches.length + targets.length + unknowns.length,
    );
  });
});
