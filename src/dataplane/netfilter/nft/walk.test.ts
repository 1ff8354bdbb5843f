import { describe, expect, test } from 'vitest';
import type { HookName } from '../../../model/netfilter.ts';
import type { Netns } from '../../../model/netns.ts';
import { address, formatAddress } from '../../../net/address.ts';
import type { Packet } from '../../../net/packet.ts';
import { buildNetns } from '../../../parse/netns.ts';
import { emptyConnections } from '../conntrack.ts';
import { type HookContext, type HookOutcome, traverseHook } from '../evaluate.ts';

const syn: Packet = {
  src: address('10.244.1.2'),
  dst: address('10.96.0.10'),
  protocol: 'tcp',
  srcPort: 40_000,
  dstPort: 80,
  flags: { syn: true },
  lengthBytes: 60,
  df: true,
  ttl: 63,
  mark: 0,
};

const table = { family: 'ip', table: 't' };
const saddr = { payload: { protocol: 'ip', field: 'saddr' } };
const daddr = { payload: { protocol: 'ip', field: 'daddr' } };
const dport = { payload: { protocol: 'th', field: 'dport' } };
const l4proto = { meta: { key: 'l4proto' } };
const mark = { meta: { key: 'mark' } };
const service = { concat: [daddr, l4proto, dport] };
const drop = { drop: null };
const accept = { accept: null };

const match = (left: unknown, right: unknown, op = '==') => ({ match: { op, left, right } });
const rule = (chain: string, ...expr: unknown[]) => ({ rule: { ...table, chain, handle: 9, expr } });
const base = (name: string, hook: HookName, prio = 0, type = 'filter', policy = 'accept') => ({
  chain: { ...table, name, hook, prio, type, policy, handle: 1 },
});
const chain = (name: string) => ({ chain: { ...table, name, handle: 2 } });
const vmap = (key: unknown, data: unknown) => ({ vmap: { key, data } });

function netns(items: readonly unknown[], save = ''): Netns {
  const files: Record<string, string> = {
    'iptables-save.txt': save,
    'nft.json': JSON.stringify({ nftables: items }),
    'sysctl.txt': '',
  };
  return buildNetns('node1', 'node1', undefined, (name) => files[name], 'nodes/node1/');
}

function run(items: readonly unknown[], hook: HookName, more: Partial<HookContext> & { save?: string } = {}) {
  const { save, ...context } = more;
  return traverseHook({
    netns: netns(items, save),
    hook,
    packet: syn,
    connections: emptyConnections(),
    inDevice: 'cni0',
    outDevice: 'eth0',
    ...context,
  });
}

const verdicts = (outcomes: readonly HookOutcome[]) => outcomes.map(({ verdict }) => verdict);

describe('one rule that drops what it matches', () => {
  test.each([
    ['an address', [match(daddr, '10.96.0.10')], 'drop'],
    ['a prefix', [match(daddr, { prefix: { addr: '10.96.0.0', len: 16 } })], 'drop'],
    ['not a prefix', [match(daddr, { prefix: { addr: '10.96.0.0', len: 16 } }, '!=')], 'accept'],
    ['a range', [match(dport, { range: [79, 81] })], 'drop'],
    ['an order', [match(dport, 80, '<')], 'accept'],
    ['an anonymous set', [match(dport, { set: [53, { range: [80, 90] }] })], 'drop'],
    [
      'a field of the other family',
      [match({ payload: { protocol: 'ip6', field: 'daddr' } }, '::1', '!=')],
      'accept',
    ],
    [
      'a field of another protocol',
      [match({ payload: { protocol: 'udp', field: 'dport' } }, 53, '!=')],
      'accept',
    ],
    ['flags that are set', [match({ payload: { protocol: 'tcp', field: 'flags' } }, 'syn', 'in')], 'drop'],
    ['flags that are not set', [match({ payload: { protocol: 'tcp', field: 'flags' } }, 'ack', '!')], 'drop'],
    [
      'masked flags',
      [match({ '&': [{ payload: { protocol: 'tcp', field: 'flags' } }, { '|': ['syn', 'ack'] }] }, 'syn')],
      'drop',
    ],
    ['a device prefix', [match({ meta: { key: 'iifname' } }, 'cni*')], 'drop'],
    ['a state list', [match({ ct: { key: 'state' } }, ['established', 'related'], 'in')], 'accept'],
    ['a status', [match({ ct: { key: 'status' } }, 'dnat', 'in')], 'accept'],
    ['a status that is not known', [match({ ct: { key: 'status' } }, 'assured', 'in')], 'unknown'],
    ['the original port', [match({ ct: { key: 'proto-dst', dir: 'original' } }, 80)], 'drop'],
    ['a mark', [match({ '&': [mark, 0x4000] }, 0, '!=')], 'accept'],
    [
      'marks set bit by bit',
      [{ mangle: { key: mark, value: { '^': [{ '|': [mark, 6] }, 2] } } }, match(mark, 4)],
      'drop',
    ],
    ['a set that is missing', [match(daddr, '@gone')], 'unknown'],
    ['a limit', [{ limit: { rate: 1, per: 'second' } }], 'unknown'],
    ['an iptables extension', [{ xt: { type: 'match', name: 'u32' } }], 'unknown'],
    ['a word nobody knows', [match({ meta: { key: 'moon' } }, 'full')], 'unknown'],
  ])('%s', (_, expr, expected) => {
    const items = [base('c', 'forward'), rule('c', ...expr, drop)];
    expect(verdicts(run(items, 'forward', { connections: tracked() }))).toEqual([expected]);
  });
});

/** The connection that PREROUTING of the same namespace made of the packet. */
const tracked = () => run([], 'prerouting')[0]?.connections ?? emptyConnections();

test('what is not understood says where it stands and how to look it up', () => {
  const [outcome] = run([base('c', 'forward'), rule('c', { teleport: {} }), rule('c', drop)], 'forward');
  expect(outcome?.unknownWhy).toMatch(/ip t c handle 9; compare with: nft list ruleset/);
  expect(outcome?.unknownBecause).toMatchObject([{ file: 'nodes/node1/nft.json' }]);
});

describe('chains', () => {
  test.each([
    [
      'accept ends one chain only',
      [base('a', 'forward', -10), rule('a', accept), base('b', 'forward'), rule('b', drop)],
      'drop',
    ],
    [
      'the earlier priority decides',
      [base('b', 'forward', 5), rule('b', accept), base('a', 'forward', 0), rule('a', { reject: null })],
      'reject',
    ],
    ['a policy drops', [base('a', 'forward', 0, 'filter', 'drop')], 'drop'],
    [
      'return from a base chain leads to its policy',
      [base('a', 'forward', 0, 'filter', 'drop'), rule('a', { return: null }), rule('a', accept)],
      'drop',
    ],
    [
      'a goto does not come back',
      [base('a', 'forward'), chain('u'), rule('a', { goto: { target: 'u' } }), rule('a', drop)],
      'accept',
    ],
    [
      'a jump does',
      [base('a', 'forward'), chain('u'), rule('a', { jump: { target: 'u' } }), rule('a', drop)],
      'drop',
    ],
    [
      'a verdict map without the key goes on',
      [base('a', 'forward'), rule('a', vmap(dport, { set: [[443, accept]] })), rule('a', drop)],
      'drop',
    ],
    [
      'a catch-all takes the rest',
      [
        base('a', 'forward'),
        rule(
          'a',
          vmap(dport, {
            set: [
              [443, drop],
              ['*', accept],
            ],
          }),
        ),
        rule('a', drop),
      ],
      'accept',
    ],
    ['a chain that is missing', [base('a', 'forward'), rule('a', { jump: { target: 'gone' } })], 'unknown'],
  ] as const)('%s', (_, items, expected) => expect(verdicts(run(items, 'forward'))).toEqual([expected]));
});

describe('iptables tables in the listing', () => {
  const forward = {
    chain: { family: 'ip', table: 'filter', name: 'FORWARD', hook: 'forward', prio: 0, type: 'filter' },
  };
  const dropAll = { rule: { family: 'ip', table: 'filter', chain: 'FORWARD', handle: 1, expr: [drop] } };
  test.each([
    ['are evaluated from iptables-save', '*filter\n:FORWARD ACCEPT\nCOMMIT\n', 'accept'],
    [
      'are evaluated from nft where iptables-save cannot show them',
      "# Table `filter' is incompatible, use 'nft' tool.\n",
      'drop',
    ],
  ])('%s', (_, save, expected) =>
    expect(verdicts(run([forward, dropAll], 'forward', { save }))).toEqual([expected]),
  );
});

describe('kube-proxy in nftables mode', () => {
  const kp = (item: Record<string, object>) =>
    Object.fromEntries(Object.entries(item).map(([kind, body]) => [kind, { ...body, table: 'kube-proxy' }]));
  const name = 'service-WEZGB4Y6-shop/api/tcp/http';
  const backend = (i: number, host: string) => [i, { concat: [host, 8080] }];
  const spread = { numgen: { mode: 'random', mod: 2, offset: 0 } };
  const backends = { set: [backend(0, '10.244.1.2'), backend(1, '10.244.2.6')] };
  const key = { concat: ['10.96.0.10', 'tcp', 80] };
  const items = (map: string, verdict: object) => [
    kp(base('nat', 'prerouting', -100, 'nat')),
    kp(base('fwd', 'forward')),
    kp(chain('reject-chain')),
    kp(chain(name)),
    { map: { family: 'ip', table: 'kube-proxy', name: map, map: 'verdict', elem: [[key, verdict]] } },
    kp(rule('nat', vmap(service, '@service-ips'))),
    kp(rule('fwd', vmap(service, '@no-endpoint-services'))),
    kp(rule('reject-chain', { reject: { type: 'icmp', expr: 'port-unreachable' } })),
    kp(
      rule(name, match(l4proto, 'tcp'), {
        dnat: { family: 'ip', addr: { map: { key: spread, data: backends } } },
      }),
    ),
    { map: { family: 'ip', table: 'kube-proxy', name: 'service-ips', map: 'verdict' } },
    { map: { family: 'ip', table: 'kube-proxy', name: 'no-endpoint-services', map: 'verdict' } },
  ];
  test('spreads a Service over its endpoints', () => {
    const outcomes = run(items('service-ips', { goto: { target: name } }), 'prerouting');
    expect(outcomes.map(({ packet, share }) => [formatAddress(packet.dst), packet.dstPort, share])).toEqual([
      ['10.244.1.2', 8080, 0.5],
      ['10.244.2.6', 8080, 0.5],
    ]);
    expect(outcomes[0]?.steps[0]?.facts).toMatchObject({ service: 'shop/api', owner: 'kube-proxy' });
  });
  test('refuses a Service without endpoints', () => {
    const [outcome] = run(items('no-endpoint-services', { goto: { target: 'reject-chain' } }), 'forward');
    expect(outcome).toMatchObject({
      verdict: 'reject',
      rejectWith: 'icmp-port-unreachable',
      decisive: {
        backend: 'nftables',
        table: 'ip kube-proxy',
        chainStack: ['fwd', 'reject-chain'],
        maps: ['no-endpoint-services'],
        rule: { source: { text: 'reject with icmp port-unreachable # handle 9' } },
      },
    });
    expect(outcome?.steps.at(-1)).toMatchObject({ reason: 'no-endpoints', facts: { owner: 'kube-proxy' } });
  });
});

test('a translation of the port alone keeps the address', () => {
  const items = [
    base('n', 'prerouting', -100, 'nat'),
    rule('n', match(saddr, '10.244.1.2'), match(l4proto, 'tcp'), { dnat: { port: 8080 } }),
  ];
  expect(run(items, 'prerouting').map(({ packet }) => packet.dstPort)).toEqual([8080]);
});

describe('hooks below IP', () => {
  const chain = (family: string, hook: string, more: object) => [
    { table: { family, name: 'edge' } },
    { chain: { family, table: 'edge', name: 'i', hook, prio: 0, type: 'filter', ...more } },
    { rule: { family, table: 'edge', chain: 'i', handle: 1, expr: [match(dport, 80), drop] } },
  ];

  test('chains of the device that a packet comes or leaves by', () => {
    expect(verdicts(run(chain('netdev', 'ingress', { dev: 'cni0' }), 'prerouting'))).toEqual(['drop']);
    expect(verdicts(run(chain('inet', 'ingress', { dev: ['x', 'cni0'] }), 'prerouting'))).toEqual(['drop']);
    expect(verdicts(run(chain('netdev', 'ingress', { dev: 'other' }), 'prerouting'))).toEqual(['accept']);
    expect(verdicts(run(chain('netdev', 'ingress', { dev: 'cni0' }), 'forward'))).toEqual(['accept']);
    const leaving = { outDevice: 'eth0' };
    expect(verdicts(run(chain('netdev', 'egress', { dev: 'eth0' }), 'postrouting', leaving))).toEqual([
      'drop',
    ]);
  });

  test('without its devices a chain is in doubt', () => {
    const [outcome] = run(chain('netdev', 'ingress', {}), 'prerouting');
    expect(outcome).toMatchObject({
      verdict: 'unknown',
      unknownWhy: expect.stringContaining('which devices the chain i'),
    });
    expect(outcome?.alternatives?.map(({ verdict }) => verdict).sort()).toEqual(['accept', 'drop']);
  });

  test('a dormant table is not in force', () => {
    const items = [base('c', 'forward'), rule('c', drop)];
    const dormant = (flags: string) =>
      verdicts(run([{ table: { family: 'ip', name: 't', flags } }, ...items], 'forward'));
    expect([dormant('dormant'), dormant('owner'), dormant('garbage')]).toEqual([
      ['accept'],
      ['drop'],
      ['unknown'],
    ]);
  });
});
