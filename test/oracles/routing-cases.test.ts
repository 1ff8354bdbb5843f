/** What random routing worlds have found, and what they cannot make: each as a small world of its own, asked of the kernel too. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Family } from '../../src/net/address.ts';
import { exec } from '../../src/system/exec.ts';
import { cannotRun, inNetns, readNetns, run } from './netfilter-support.ts';
import { agrees, askKernel, askUs, type Query } from './routing-ask.ts';
import { batch, routingFiles } from './routing-world.ts';

const why = cannotRun();
if (why !== undefined) console.log(`routing cases skipped: ${why}`);

interface Case {
  readonly title: string;
  readonly family: Family;
  /** Settings, before devices lose their carriers. */
  readonly sysctl?: readonly string[];
  /** Lines of `ip -batch`. d0, d1 and d2 have 10.N.0.1/24 and fd00:N::1/64. */
  readonly ip: readonly string[];
  readonly asked: Partial<Query> & { readonly dst: string };
  /** How the answer begins. */
  readonly answer: string;
}

const name = `pp-routes-${process.pid}-cases`;
const pair = (i: number) => [
  `link add d${i} type veth peer name p${i}`,
  `link set p${i} up`,
  `link set d${i} up`,
  `addr add 10.${i}.0.1/24 dev d${i}`,
  `addr add fd00:${i}::1/64 dev d${i} nodad`,
];
const forwarding = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'];

const cases: readonly Case[] = [
  {
    title: 'an IPv6 node with routes for some sources hides its other routes from packets that fit none',
    family: 6,
    ip: [
      'route add fd00:9::/64 dev d1',
      'route add unreachable fd00:9::/64 from fd00:4::/32 metric 5',
      'route add fd00::/16 via fd00:2::2 dev d2',
    ],
    asked: { dst: 'fd00:9::1', src: 'fd00:1::1' },
    answer: 'unicast dev d2 via fd00:2::2',
  },
  {
    title: 'a black hole among next hop objects refuses IPv6 packets that are bound to another device',
    family: 6,
    ip: ['nexthop add id 7 blackhole', 'route add default nhid 7'],
    asked: { dst: '2001:db8::1', oif: 'd1' },
    answer: 'invalid',
  },
  {
    title: 'a black hole without next hop object does not',
    family: 6,
    ip: ['route add blackhole default metric 5', 'route add default dev d1 metric 9'],
    asked: { dst: '2001:db8::1', oif: 'd1' },
    answer: 'unicast dev d1',
  },
  {
    title: 'where the first metric fails, IPv6 takes the best score of all the other metrics',
    family: 6,
    sysctl: ['net.ipv6.conf.d0.ignore_routes_with_linkdown=1'],
    ip: [
      'route add default dev d0 metric 5',
      'route add default dev d1 metric 6',
      'route add default dev d2 metric 7 pref high',
      'link set p0 down',
    ],
    asked: { dst: '2001:db8::1' },
    answer: 'unicast dev d2',
  },
  {
    title: 'an IPv6 host passes over a router whose neighbour entry has failed',
    family: 6,
    ip: [
      'route add fd00:9::/64 via fd00:1::2 dev d1',
      'route add default via fd00:2::2 dev d2',
      'neigh add fd00:1::2 dev d1 nud failed',
    ],
    asked: { dst: 'fd00:9::1' },
    answer: 'unicast dev d2 via fd00:2::2',
  },
  {
    title: 'an IPv6 router does not',
    family: 6,
    sysctl: forwarding,
    ip: [
      'route add fd00:9::/64 via fd00:1::2 dev d1',
      'route add default via fd00:2::2 dev d2',
      'neigh add fd00:1::2 dev d1 nud failed',
    ],
    asked: { dst: 'fd00:9::1' },
    answer: 'unicast dev d1 via fd00:1::2',
  },
  {
    title: 'IPv6 keeps ::1 to the device that is asked for',
    family: 6,
    ip: ['route add default via fd00:2::2 dev d2'],
    asked: { dst: '::1', src: 'fd00:2::1', oif: 'd2' },
    answer: 'unicast dev d2',
  },
  {
    title: 'of equal default routes the first with a living neighbour is taken',
    family: 4,
    ip: [
      'route append default via 10.1.0.2 dev d1',
      'route append default via 10.2.0.2 dev d2',
      'neigh add 10.1.0.2 dev d1 nud failed',
    ],
    asked: { dst: '192.0.2.1' },
    answer: 'unicast dev d2 via 10.2.0.2',
  },
  {
    title:
      'among equal default routes a lost carrier does not count, nor do the other next hops of a multipath route',
    family: 4,
    sysctl: ['net.ipv4.conf.d1.ignore_routes_with_linkdown=1'],
    ip: [
      'route append default via 10.0.0.2 dev d0',
      'route append default via 10.1.0.2 dev d1',
      'route append default nexthop via 10.2.0.2 dev d2 nexthop via 10.0.0.3 dev d0',
      'neigh add 10.0.0.2 dev d0 nud failed',
      'link set p1 down',
    ],
    asked: { dst: '192.0.2.1' },
    answer: 'unicast dev d1 via 10.1.0.2',
  },
  {
    title: 'what arrives takes the first of them all the same',
    family: 4,
    sysctl: forwarding,
    ip: [
      'route append default via 10.1.0.2 dev d1',
      'route append default via 10.2.0.2 dev d2',
      'neigh add 10.1.0.2 dev d1 nud failed',
    ],
    asked: { dst: '192.0.2.1', src: '10.0.0.2', iif: 'd0' },
    answer: 'unicast dev d1 via 10.1.0.2',
  },
  {
    title: 'a group of next hop objects passes over a failed neighbour',
    family: 4,
    ip: [
      'nexthop add id 1 via 10.1.0.2 dev d1',
      'nexthop add id 2 via 10.2.0.2 dev d2',
      'nexthop add id 3 group 1/2',
      'route add default nhid 3',
      'neigh add 10.1.0.2 dev d1 nud failed',
    ],
    asked: { dst: '192.0.2.1' },
    answer: 'unicast dev d2 via 10.2.0.2',
  },
  {
    title: 'the next hop object of a route is asked for where the route does not spell it out',
    family: 4,
    sysctl: ['net.ipv4.nexthop_compat_mode=0'],
    ip: ['nexthop add id 1 via 10.1.0.2 dev d1', 'route add 192.0.2.0/24 nhid 1'],
    asked: { dst: '192.0.2.1' },
    answer: 'unicast dev d1 via 10.1.0.2',
  },
  {
    title: 'a source address of one next hop leads to that next hop, whatever the hash',
    family: 4,
    ip: [
      'route add 192.0.2.0/24 nexthop via 10.1.0.2 dev d1 weight 1 nexthop via 10.2.0.2 dev d2 weight 100',
    ],
    asked: { dst: '192.0.2.1', src: '10.1.0.1' },
    answer: 'unicast dev d1 via 10.1.0.2',
  },
  {
    title: 'rules by protocol and port take their packets',
    family: 4,
    ip: [
      'route add default dev d1',
      'route add default dev d2 table 9',
      'rule add pref 5 ipproto tcp dport 80-90 table 9',
    ],
    asked: { dst: '192.0.2.1', protocol: 'tcp', dport: 85 },
    answer: 'unicast dev d2',
  },
  {
    title: 'rules by user take theirs',
    family: 4,
    ip: [
      'route add default dev d1',
      'route add default dev d2 table 9',
      'rule add pref 5 uidrange 1000-1999 table 9',
    ],
    asked: { dst: '192.0.2.1', uid: 1500 },
    answer: 'unicast dev d2',
  },
  {
    title: 'a packet that arrives counts as root to rules by user',
    family: 4,
    sysctl: forwarding,
    ip: [
      'route add default dev d1',
      'route add default dev d2 table 9',
      'rule add pref 5 uidrange 0-0 table 9',
    ],
    asked: { dst: '192.0.2.1', src: '10.0.0.2', iif: 'd0' },
    answer: 'unicast dev d2',
  },
  {
    title: 'suppress_ifgroup passes over a table whose route leaves by that group',
    family: 4,
    ip: [
      'link set d2 group 3',
      'route add default dev d1',
      'route add default dev d2 table 9',
      'rule add pref 5 table 9 suppress_ifgroup 3',
    ],
    asked: { dst: '192.0.2.1' },
    answer: 'unicast dev d1',
  },
  {
    title: 'a rule for a table without routes does nothing',
    family: 4,
    ip: ['route add default dev d1', 'rule add pref 5 table 4711'],
    asked: { dst: '192.0.2.1' },
    answer: 'unicast dev d1',
  },
  {
    title: 'a rule without VRF devices to match passes on',
    family: 4,
    ip: ['route add default dev d1', 'rule add pref 5 l3mdev'],
    asked: { dst: '192.0.2.1' },
    answer: 'unicast dev d1',
  },
  {
    title: '0.0.0.0 is the machine itself, also without its local table',
    family: 4,
    sysctl: ['net.ipv4.conf.d1.rp_filter=0'],
    ip: ['route flush table local type local', 'route add default dev d2'],
    asked: { dst: '0.0.0.0', oif: 'd1' },
    answer: 'local src 10.1.0.1',
  },
  {
    title: 'a source that the machine does not have sends nothing',
    family: 4,
    ip: ['route add default dev d1'],
    asked: { dst: '192.0.2.1', src: '10.9.0.1' },
    answer: 'none',
  },
  {
    title: 'one that a local route covers does',
    family: 4,
    ip: ['route add default dev d1', 'route add local 10.9.0.0/24 dev lo'],
    asked: { dst: '192.0.2.1', src: '10.9.0.1' },
    answer: 'unicast dev d1',
  },
  {
    title: 'without rules one that a local route of main covers does, too, where longer routes are dead',
    family: 4,
    ip: [
      'route add default dev d1',
      'route add local 10.9.0.0/16 dev lo table main',
      'route add 10.9.0.0/24 dev d2',
      'link set p2 down',
      'link set d2 down',
    ],
    asked: { dst: '192.0.2.1', src: '10.9.0.1' },
    answer: 'unicast dev d1',
  },
  {
    title: 'the way back of a broadcast is looked up from 0.0.0.0: rules by address see no other',
    family: 4,
    sysctl: [...forwarding, 'net.ipv4.conf.d1.rp_filter=1'],
    ip: ['route add unreachable default table 9', 'rule add pref 5 not from 10.0.0.0/8 table 9'],
    asked: { dst: '10.0.0.255', src: '10.1.0.2', iif: 'd1' },
    answer: 'invalid',
  },
  {
    title: 'without such a rule it is taken in',
    family: 4,
    sysctl: [...forwarding, 'net.ipv4.conf.d1.rp_filter=1'],
    ip: ['route add unreachable default table 9', 'rule add pref 5 from 10.0.0.0/24 table 9'],
    asked: { dst: '10.0.0.255', src: '10.1.0.2', iif: 'd1' },
    answer: 'broadcast dev lo',
  },
  {
    title:
      'with bc_forwarding a directed broadcast goes on to its network, whether the device forwards or not',
    family: 4,
    sysctl: [
      'net.ipv4.ip_forward=0',
      'net.ipv4.conf.all.bc_forwarding=1',
      'net.ipv4.conf.d1.bc_forwarding=1',
    ],
    ip: [],
    asked: { dst: '10.0.0.255', src: '10.1.0.2', iif: 'd1' },
    answer: 'broadcast dev d0',
  },
  {
    title: 'bc_forwarding of the device alone does nothing',
    family: 4,
    sysctl: [...forwarding, 'net.ipv4.conf.all.bc_forwarding=0', 'net.ipv4.conf.d1.bc_forwarding=1'],
    ip: [],
    asked: { dst: '10.0.0.255', src: '10.1.0.2', iif: 'd1' },
    answer: 'broadcast dev lo',
  },
  {
    title: 'a broadcast without entry in the local table is an address like others',
    family: 4,
    sysctl: [...forwarding, 'net.ipv4.conf.d1.rp_filter=0'],
    ip: ['route del broadcast 10.0.0.255 dev d0 table local'],
    asked: { dst: '10.0.0.255', src: '10.1.0.2', iif: 'd1' },
    answer: 'unicast dev d0',
  },
  {
    title: '0.0.0.0 is the machine itself',
    family: 4,
    ip: [],
    asked: { dst: '0.0.0.0', oif: 'd1' },
    answer: 'local src 10.1.0.1',
  },
  {
    title: '127.0.0.1 does not leave by another device',
    family: 4,
    ip: ['route add default dev d1'],
    asked: { dst: '192.0.2.1', src: '127.0.0.1' },
    answer: 'invalid',
  },
  {
    title: 'with route_localnet it does',
    family: 4,
    sysctl: ['net.ipv4.conf.d1.route_localnet=1'],
    ip: ['route add default dev d1'],
    asked: { dst: '192.0.2.1', src: '127.0.0.1' },
    answer: 'unicast dev d1',
  },
  {
    title:
      'a broadcast address as source is refused with rp_filter off where the packet would leave as it came',
    family: 4,
    sysctl: [...forwarding, 'net.ipv4.conf.d0.rp_filter=0', 'net.ipv4.conf.d0.send_redirects=1'],
    ip: ['addr add 10.9.0.1/24 brd 10.9.0.255 dev d1', 'route add 192.0.2.0/24 dev d0'],
    asked: { dst: '192.0.2.1', src: '10.9.0.255', iif: 'd0' },
    answer: 'invalid',
  },
  {
    title: 'rp_filter asks with the mark where src_valid_mark says so',
    family: 4,
    sysctl: [...forwarding, 'net.ipv4.conf.d0.rp_filter=1', 'net.ipv4.conf.d0.src_valid_mark=1'],
    ip: [
      'route add 192.0.2.0/24 dev d1',
      'route add 198.51.100.0/24 dev d2',
      'route add 198.51.100.0/24 dev d0 table 9',
      'rule add pref 5 fwmark 7 table 9',
    ],
    asked: { dst: '192.0.2.1', src: '198.51.100.1', iif: 'd0', mark: 7 },
    answer: 'unicast dev d1',
  },
  {
    title: 'and without it where not',
    family: 4,
    sysctl: [...forwarding, 'net.ipv4.conf.d0.rp_filter=1', 'net.ipv4.conf.d0.src_valid_mark=0'],
    ip: [
      'route add 192.0.2.0/24 dev d1',
      'route add 198.51.100.0/24 dev d2',
      'route add 198.51.100.0/24 dev d0 table 9',
      'rule add pref 5 fwmark 7 table 9',
    ],
    asked: { dst: '192.0.2.1', src: '198.51.100.1', iif: 'd0', mark: 7 },
    answer: 'invalid',
  },
  ...(['0.0.0.0', '224.0.0.1', '255.255.255.255', '127.0.0.1', '10.0.0.1'] as const).map(
    (src): Case => ({
      title: `the source ${src} is refused from outside`,
      family: 4,
      sysctl: [...forwarding, 'net.ipv4.conf.all.accept_local=0'],
      ip: ['route add default dev d1'],
      asked: { dst: '192.0.2.1', src, iif: 'd0' },
      answer: 'invalid',
    }),
  ),
  {
    title: 'an own address as source passes with accept_local',
    family: 4,
    sysctl: [...forwarding, 'net.ipv4.conf.d0.accept_local=1', 'net.ipv4.conf.d0.rp_filter=0'],
    ip: ['route add default dev d1'],
    asked: { dst: '192.0.2.1', src: '10.2.0.1', iif: 'd0' },
    answer: 'unicast dev d1',
  },
  {
    title: '240.0.0.0/4 is an address like others',
    family: 4,
    sysctl: [...forwarding, 'net.ipv4.conf.d0.rp_filter=0'],
    ip: ['route add default dev d1'],
    asked: { dst: '240.0.0.1', src: '241.0.0.1', iif: 'd0' },
    answer: 'unicast dev d1',
  },
  {
    title: '0.0.0.0/8 is one too, but for 0.0.0.0',
    family: 4,
    sysctl: [...forwarding, 'net.ipv4.conf.d0.rp_filter=0'],
    ip: ['route add default dev d1'],
    asked: { dst: '0.1.2.3', src: '0.3.2.1', iif: 'd0' },
    answer: 'unicast dev d1',
  },
  {
    title: '0.0.0.0 is no destination for a packet that arrives',
    family: 4,
    sysctl: forwarding,
    ip: ['route add default dev d1'],
    asked: { dst: '0.0.0.0', src: '10.0.0.2', iif: 'd0' },
    answer: 'invalid',
  },
];

describe.skipIf(why !== undefined)('routing, by name', () => {
  beforeEach(async () => {
    await run(['ip', 'netns', 'add', name]);
    const lines = ['link set lo up', ...[0, 1, 2].flatMap(pair)];
    await run(['ip', '-n', name, '-batch', '-'], `${lines.join('\n')}\n`);
  });
  afterEach(async () => {
    await exec(['ip', 'netns', 'delete', name]);
  });

  test.each(cases)('$title', async ({ family, sysctl = [], ip, asked, answer }) => {
    if (sysctl.length > 0) await run(inNetns(name, ['sysctl', '-qw', ...sysctl]));
    expect(await batch(name, ip, family)).toBe('');
    // A lost carrier is told to the routes by a queued event (linkwatch).
    if (ip.some((line) => line.endsWith('down'))) await new Promise((done) => setTimeout(done, 1500));
    const query: Query = { mark: 0, tos: 0, protocol: 'udp', sport: 4000, dport: 53, uid: 0, ...asked };
    const netns = await readNetns(name, routingFiles);
    const [theirs = ''] = await askKernel(name, [query], family);
    expect(theirs).toMatch(new RegExp(`^${answer}`));
    const ours = askUs(netns, query);
    expect(agrees(ours, theirs), [...ours.keys()].join(' | ')).toBe(true);
    // A case that we answer with everything possible would show nothing.
    expect(ours.size).toBe(1);
  });
});
