import { describe, expect, test } from 'vitest';
import { known, unknown } from '../../model/known.ts';
import type { Ruleset } from '../../model/netfilter.ts';
import type { Netns } from '../../model/netns.ts';
import { address } from '../../net/address.ts';
import { formatPacket, type Packet } from '../../net/packet.ts';
import { buildNetns } from '../../parse/netns.ts';
import { emptyConnections } from './conntrack.ts';
import { type HookContext, type HookOutcome, traverseHook } from './evaluate.ts';

const links = JSON.stringify([
  { ifindex: 1, ifname: 'lo', flags: ['LOOPBACK', 'UP', 'LOWER_UP'], mtu: 65536, link_type: 'loopback' },
  { ifindex: 2, ifname: 'eth0', flags: ['UP', 'LOWER_UP'], mtu: 1500, link_type: 'ether' },
]);
const addresses = JSON.stringify([
  {
    ifname: 'eth0',
    addr_info: [{ family: 'inet', local: '192.0.2.1', prefixlen: 24, scope: 'global' }],
  },
]);
const routes = JSON.stringify([
  { dst: '10.0.0.0/8', gateway: '192.0.2.254', dev: 'eth0', flags: [] },
  { dst: '192.0.2.0/24', dev: 'eth0', scope: 'link', prefsrc: '192.0.2.1', flags: [] },
  { type: 'local', dst: '192.0.2.1', dev: 'eth0', table: 'local', scope: 'host', flags: [] },
]);
const rules = JSON.stringify([
  { priority: 0, src: 'all', table: 'local' },
  { priority: 32766, src: 'all', table: 'main' },
  { priority: 32767, src: 'all', table: 'default' },
]);

/** `filter` holds rule lines of the filter table after its built-in chains. */
function netns(tables: Record<string, string>, sets = ''): Netns {
  const heads: Record<string, string> = {
    raw: ':PREROUTING ACCEPT\n:OUTPUT ACCEPT\n',
    filter: ':INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n',
    nat: ':PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n',
    mangle: ':PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n',
  };
  const save = Object.entries(tables)
    .map(([name, text]) => `*${name}\n${heads[name]}${text.trim()}\nCOMMIT\n`)
    .join('');
  const files: Record<string, string> = {
    'iptables-save.txt': save,
    'ipset.txt': sets,
    'ip-link.json': links,
    'ip-addr.json': addresses,
    'ip-route.json': routes,
    'ip-rule.json': rules,
    'sysctl.txt': '',
  };
  return buildNetns('node1', 'node1', undefined, (name) => files[name], 'nodes/node1/');
}

const syn: Packet = {
  src: address('10.244.1.2'),
  dst: address('10.244.2.3'),
  protocol: 'tcp',
  srcPort: 40_000,
  dstPort: 80,
  flags: { syn: true },
  lengthBytes: 60,
  df: true,
  ttl: 63,
  mark: 0,
};

function at(
  where: Netns,
  hook: HookContext['hook'],
  change: Partial<HookContext> = {},
): readonly HookOutcome[] {
  return traverseHook({
    netns: where,
    hook,
    packet: syn,
    connections: emptyConnections(),
    inDevice: 'eth0',
    outDevice: 'eth0',
    ...change,
  });
}

const verdicts = (outcomes: readonly HookOutcome[]) =>
  outcomes.map(({ verdict, share }) => `${verdict} ${share}`);

describe('verdicts of the forward hook', () => {
  const unknownMatch = '-A FORWARD -m realm --realm 1 -j';
  test.each([
    ['no rules', '', 'accept 1'],
    ['a drop', '-A FORWARD -p tcp --dport 80 -j DROP', 'drop 1'],
    ['a rule for others', '-A FORWARD -p tcp --dport 81 -j DROP', 'accept 1'],
    [
      'return from a base chain leads to its policy',
      ':FORWARD DROP\n-A FORWARD -j RETURN\n-A FORWARD -j ACCEPT',
      'drop 1',
    ],
    [
      'a user chain that ends returns',
      ':u -\n-A FORWARD -j u\n-A FORWARD -j DROP\n-A u -p udp -j ACCEPT',
      'drop 1',
    ],
    [
      'goto does not come back',
      ':u -\n-A FORWARD -g u\n-A FORWARD -j DROP\n-A u -p udp -j ACCEPT',
      'accept 1',
    ],
    [
      'return after goto goes to the caller of the jumping chain',
      ':a -\n:b -\n-A FORWARD -j a\n-A FORWARD -j ACCEPT\n-A a -g b\n-A a -j DROP\n-A b -j RETURN',
      'accept 1',
    ],
    [
      'a mark set before',
      ':u -\n-A FORWARD -j MARK --set-xmark 0x4000/0x4000\n-A FORWARD -m mark --mark 0x4000/0x4000 -j DROP',
      'drop 1',
    ],
    ['an undecided rule that decides', `${unknownMatch} DROP`, 'unknown 1'],
    ['an undecided rule that changes nothing', `${unknownMatch} DROP\n-A FORWARD -j DROP`, 'drop 1'],
    ['an undecided rule before a definite one', `${unknownMatch} ACCEPT`, 'accept 1'],
    ['a negated doubt is still one', '-A FORWARD -m set ! --match-set gone src -j DROP', 'unknown 1'],
    [
      'a false match decides beside a doubt',
      '-A FORWARD -p udp -m set --match-set gone src -j DROP',
      'accept 1',
    ],
    ['a limit on a logging rule', '-A FORWARD -m limit --limit 1/min -j LOG', 'accept 1'],
    ['a limit on a verdict', '-A FORWARD -m limit --limit 1/min -j DROP', 'unknown 1'],
    [
      'chance',
      '-A FORWARD -m statistic --mode random --probability 0.25000000000 -j DROP',
      'drop 0.25,accept 0.75',
    ],
    [
      'chance without effect',
      '-A FORWARD -m statistic --mode random --probability 0.25000000000 -j ACCEPT',
      'accept 1',
    ],
    ['a chain that is missing', '-A FORWARD -p tcp -j unheard-of', 'unknown 1'],
  ])('%s', (_name, text, expected) => {
    const policyDrop = text.startsWith(':FORWARD DROP\n');
    const where = netns({ filter: text.replace(':FORWARD DROP\n', '') });
    const changed = policyDrop ? { ...where, rulesets: known([dropping(where)]) } : where;
    expect(verdicts(at(changed, 'forward')).join()).toBe(expected);
  });

  test('rules that were not collected are unknown, with the accepted packet as one possibility', () => {
    const where = { ...netns({}), rulesets: unknown('permission denied') };
    const [outcome] = at(where, 'forward');
    expect(outcome).toMatchObject({ verdict: 'unknown', unknownWhy: 'permission denied' });
    expect(outcome?.alternatives?.[0]?.verdict).toBe('accept');
  });

  test('an undecided rule is named with both ends', () => {
    const [outcome] = at(netns({ filter: `${unknownMatch} DROP` }), 'forward');
    expect(outcome?.unknownBecause).toMatchObject([{ line: 5 }]);
    expect(outcome?.alternatives?.map(({ verdict }) => verdict).sort()).toEqual(['accept', 'drop']);
  });

  test('undecided rules in a row are not walked without end', () => {
    const marks = Array.from(
      { length: 100 },
      (_, i) => `-A FORWARD -m realm --realm 1 -j CONNMARK --set-xmark ${i}/0xff`,
    );
    expect(verdicts(at(netns({ filter: marks.join('\n') }), 'forward'))).toEqual(['unknown 1']);
  });
});

function dropping(where: Netns): Ruleset {
  const ruleset = where.rulesets.state === 'known' ? where.rulesets.value[0] : undefined;
  const table = ruleset?.tables[0];
  const forward = table?.chains.get('FORWARD');
  if (ruleset === undefined || table === undefined || forward === undefined) throw new Error('no FORWARD');
  const chains = new Map(table.chains).set('FORWARD', { ...forward, policy: 'DROP' });
  return { ...ruleset, tables: [{ ...table, chains }] };
}

const service = `
:KUBE-SERVICES -
:KUBE-SVC-A -
:KUBE-SEP-A -
:KUBE-SEP-B -
:KUBE-MARK-MASQ -
:KUBE-POSTROUTING -
-A PREROUTING -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-SERVICES -d 10.96.0.7/32 -p tcp -m comment --comment "shop/api:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-A
-A KUBE-SVC-A ! -s 10.244.0.0/16 -d 10.96.0.7/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-A -m comment --comment "shop/api:http -> 10.244.2.3:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-A
-A KUBE-SVC-A -m comment --comment "shop/api:http -> 10.244.3.4:8080" -j KUBE-SEP-B
-A KUBE-SEP-A -p tcp -m comment --comment "shop/api:http" -m tcp -j DNAT --to-destination 10.244.2.3:8080
-A KUBE-SEP-B -p tcp -m comment --comment "shop/api:http" -m tcp -j DNAT --to-destination 10.244.3.4:8080
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE`;

describe('NAT', () => {
  const where = netns({ nat: service });
  const toService = { ...syn, dst: address('10.96.0.7') };

  test('a Service forks over its endpoints, and a reply is translated back', () => {
    const outcomes = at(where, 'prerouting', { packet: toService });
    expect(outcomes.map(({ packet, share }) => `${share} ${formatPacket(packet)}`)).toEqual([
      '0.5 10.244.1.2:40000 -> 10.244.2.3:8080 tcp',
      '0.5 10.244.1.2:40000 -> 10.244.3.4:8080 tcp',
    ]);
    const [first] = outcomes;
    expect(first?.steps[0]?.facts).toMatchObject({
      service: 'shop/api',
      to: '10.244.2.3:8080',
      side: 'dst',
    });
    const [left] = at(where, 'postrouting', {
      packet: first?.packet ?? syn,
      connections: first?.connections ?? emptyConnections(),
    });
    const reply = {
      ...syn,
      src: address('10.244.2.3'),
      dst: syn.src,
      srcPort: 8080,
      dstPort: 40_000,
      flags: { syn: true, ack: true },
    };
    const [back] = at(where, 'prerouting', {
      packet: reply,
      connections: left?.connections ?? emptyConnections(),
    });
    expect(back?.tracking.state).toBe('ESTABLISHED');
    const [out] = at(where, 'postrouting', {
      packet: back?.packet ?? syn,
      connections: back?.connections ?? emptyConnections(),
    });
    expect(formatPacket(out?.packet ?? syn)).toBe('10.96.0.7:80 -> 10.244.1.2:40000 tcp');
  });

  test('a client from outside is masqueraded with the address of the device it leaves by', () => {
    const [first] = at(where, 'prerouting', { packet: { ...toService, src: address('198.51.100.9') } });
    const [left] = at(where, 'postrouting', {
      packet: first?.packet ?? syn,
      connections: first?.connections ?? emptyConnections(),
    });
    expect(formatPacket(left?.packet ?? syn)).toBe('192.0.2.1:40000 -> 10.244.2.3:8080 tcp');
  });

  test('DNAT is a state only where the tuple really changed', () => {
    const same = netns({
      nat: '-A PREROUTING -j DNAT --to-destination 10.244.2.3',
      filter: '-A FORWARD -m conntrack --ctstate DNAT -j DROP',
    });
    for (const [dst, expected] of [
      ['10.244.2.3', 'accept'],
      ['10.244.2.4', 'drop'],
    ] as const) {
      const [first] = at(same, 'prerouting', { packet: { ...syn, dst: address(dst) } });
      const [last] = at(same, 'forward', {
        packet: first?.packet ?? syn,
        connections: first?.connections ?? emptyConnections(),
      });
      expect(last?.verdict).toBe(expected);
    }
  });
});

test('a Service without endpoints is recognised by its reject', () => {
  const where = netns({
    filter: `:KUBE-SERVICES -
-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.244.2.3/32 -p tcp -m comment --comment "shop/api:http has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable`,
  });
  const [outcome] = at(where, 'forward');
  expect(outcome).toMatchObject({ verdict: 'reject', rejectWith: 'icmp-port-unreachable' });
  expect(outcome?.steps.at(-1)).toMatchObject({
    reason: 'no-endpoints',
    facts: { service: 'shop/api', owner: 'kube-proxy' },
  });
  expect(outcome?.decisive?.chainStack).toEqual(['FORWARD', 'KUBE-SERVICES']);
});

describe('sets', () => {
  const sets = `create net hash:net family inet hashsize 1024 maxelem 65536
add net 10.0.0.0/8
add net 10.244.0.0/16 nomatch
add net 10.244.1.0/24
create mark hash:ip,mark family inet markmask 0xffffffff hashsize 1024 maxelem 65536
add mark 10.244.1.2,0x00000000
create portipnet hash:ip,port,net family inet hashsize 1024 maxelem 65536
add portipnet 10.244.2.3,tcp:80,10.244.1.0/24
create six hash:ip family inet6 hashsize 1024 maxelem 65536
create both list:set size 8
add both six
add both net
`;
  test.each([
    ['the most specific network decides', '--match-set net src', 'drop'],
    ['nomatch is no match', '--match-set net dst', 'accept'],
    ['three dimensions', '--match-set portipnet dst,dst,src', 'drop'],
    ['too few directions', '--match-set portipnet dst,dst', 'accept'],
    ['a set of sets', '--match-set both src', 'drop'],
    ['the other family', '--match-set six src', 'accept'],
    ['negated', '! --match-set net dst', 'drop'],
  ])('%s', (_name, option, expected) => {
    const where = netns({ filter: `-A FORWARD -m set ${option} -j DROP` }, sets);
    expect(at(where, 'forward').map(({ verdict }) => verdict)).toEqual([expected]);
  });
});
