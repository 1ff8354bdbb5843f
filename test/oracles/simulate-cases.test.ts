/** Disagreements that random worlds have found, or that their tools cannot make: each as a small world of its own, asked of the kernel too. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { address } from '../../src/net/address.ts';
import type { Packet } from '../../src/net/packet.ts';
import { cannotRun } from './netfilter-support.ts';
import { compare, describeOurs, RouteErrors } from './simulate-compare.ts';
import { askAgain, type Question } from './simulate-flows.ts';
import { KernelNamespace, sweep } from './simulate-namespace.ts';
import { load, type WorldText } from './simulate-world.ts';

const why = cannotRun();
if (why !== undefined) console.log(`simulate cases skipped: ${why}`);

interface Sent extends Partial<Omit<Packet, 'src' | 'dst'>> {
  readonly via: string;
  readonly from: string;
  readonly to: string;
}

interface Case {
  readonly title: string;
  /** Lines of `ip -batch`. */
  readonly ip?: readonly string[];
  readonly ip6?: readonly string[];
  readonly sysctl?: readonly string[];
  /** `nft -f`. */
  readonly nft?: string;
  /** `iptables-restore` and `ip6tables-restore`. */
  readonly rules4?: string;
  readonly rules6?: string;
  readonly packets: readonly Sent[];
  /** How our words for each packet begin; the kernel must agree with all of them. */
  readonly ends: readonly string[];
}

const out = (type: string, priority: number, rule: string): string =>
  `table ip t { chain c { type ${type} hook output priority ${priority}; ${rule}; }; }`;
const marked = ['route add default dev td table 100', 'rule add pref 10 fwmark 1 table 100'];
const own = { via: 'out', from: '10.1.0.1', to: '10.2.0.5' };
const foreign = { via: 'tin', from: '10.1.0.2', to: '10.2.0.5' };

const cases: readonly Case[] = [
  {
    title: 'OUTPUT sees lo, not the device of the address, for packets to oneself',
    nft: out('filter', 0, 'oifname "tout" drop'),
    packets: [{ ...own, to: '10.2.0.1' }, own],
    ends: ['deliver', 'drop'],
  },
  {
    title: 'IPv6 packets from outside to ::1 are dropped before DNAT could send them elsewhere',
    nft: 'table ip6 t { chain c { type nat hook prerouting priority -100; ip6 daddr ::1 dnat to fd00:1::1; }; }',
    packets: [{ via: 'tin', from: 'fd00:1::2', to: '::1' }],
    ends: ['drop'],
  },
  {
    title: 'a mark set in a route chain routes the packet again',
    ip: marked,
    nft: out('route', -150, 'meta mark set 1'),
    packets: [own],
    ends: ['forward td'],
  },
  {
    title: 'a mark set in a filter chain does not',
    ip: marked,
    nft: out('filter', 0, 'meta mark set 1'),
    packets: [own],
    ends: ['forward tout'],
  },
  {
    title: 'DNAT at OUTPUT routes again with the mark of that moment',
    ip: marked,
    nft: `table ip t {
      chain a { type filter hook output priority -120; meta mark set 1; };
      chain b { type nat hook output priority -100; ip daddr 10.2.0.5 dnat to 10.3.0.5; };
      chain c { type filter hook output priority 0; meta mark set 0; };
    }`,
    packets: [own, { ...own, to: '10.2.0.6', srcPort: 1025 }],
    ends: ['forward td', 'forward tout'],
  },
  {
    title: 'without a route the sender is told so, whatever rp_filter thinks of the source',
    sysctl: ['net.ipv4.conf.tin.rp_filter=1'],
    packets: [
      { ...foreign, from: '10.2.0.9', to: '10.50.0.1' },
      { ...foreign, from: '10.2.0.9', srcPort: 1025 },
    ],
    ends: ['reject 3/0', 'drop'],
  },
  {
    title: 'a namespace that does not forward says nothing about missing routes; with IPv6 it does',
    sysctl: ['net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0'],
    packets: [
      { ...foreign, to: '10.50.0.1' },
      { via: 'tin', from: 'fd00:1::2', to: 'fd00:50::1', srcPort: 1025 },
      { via: 'tin', from: 'fd00:1::2', to: 'fd00:2::1:2', srcPort: 1026 },
    ],
    ends: ['drop', 'reject 1/0', 'drop'],
  },
  {
    title: 'routing comes before the time to live, that before the size, and both before FORWARD',
    nft: 'table ip t { chain c { type filter hook forward priority 0; drop; }; }',
    packets: [
      { ...foreign, to: '10.50.0.1', ttl: 1 },
      { ...foreign, ttl: 1, srcPort: 1025 },
      { ...foreign, to: '10.4.0.5', lengthBytes: 1400, srcPort: 1026 },
      { ...foreign, to: '10.4.0.5', lengthBytes: 1400, ttl: 1, srcPort: 1027 },
      { ...foreign, srcPort: 1028 },
    ],
    ends: ['reject 3/0', 'reject 11/0', 'reject 3/4 mtu 1280', 'reject 11/0', 'drop'],
  },
  {
    title: "IPv6 routers mind the route's MTU after FORWARD, the device's before it",
    ip6: ['route add fd00:50::/64 dev tc mtu 1300'],
    nft: 'table ip6 t { chain c { type filter hook forward priority 0; ip6 saddr fd00:1::3 drop; }; }',
    packets: [
      { via: 'tin', from: 'fd00:1::2', to: 'fd00:50::1', lengthBytes: 1450 },
      { via: 'tin', from: 'fd00:1::2', to: 'fd00:50::1', lengthBytes: 1350, srcPort: 1025 },
      { via: 'tin', from: 'fd00:1::3', to: 'fd00:50::1', lengthBytes: 1450, srcPort: 1026 },
      { via: 'tin', from: 'fd00:1::3', to: 'fd00:50::1', lengthBytes: 1350, srcPort: 1027 },
      { via: 'tin', from: 'fd00:1::2', to: 'fd00:50::1', lengthBytes: 1300, srcPort: 1028 },
    ],
    ends: ['reject 2/0 mtu 1400', 'reject 2/0 mtu 1300', 'reject 2/0 mtu 1400', 'drop', 'forward tc'],
  },
  {
    title: "an IPv4 router takes the route's MTU instead of the device's, also where it is larger",
    ip: ['route add 10.50.0.0/16 dev td mtu 1300', 'route add 10.51.0.0/16 dev tc mtu 1300'],
    packets: [
      { ...foreign, to: '10.50.0.1', lengthBytes: 1290 },
      { ...foreign, to: '10.50.0.1', lengthBytes: 1350, srcPort: 1025 },
      { ...foreign, to: '10.51.0.1', lengthBytes: 1350, srcPort: 1026 },
    ],
    ends: ['forward td', 'reject 3/4 mtu 1300', 'reject 3/4 mtu 1300'],
  },
  {
    title: 'a subnet broadcast is delivered, not forwarded',
    packets: [{ ...foreign, to: '10.1.255.255' }],
    ends: ['deliver'],
  },
  {
    title: 'a packet that a rule drops has changed the mark of its connection all the same',
    nft: `table ip t { chain c { type filter hook forward priority 0;
      ct mark 7 drop; ct direction reply ct mark set 7 drop; }; }`,
    packets: [
      { ...foreign, protocol: 'udp' },
      { via: 'tout', from: '10.2.0.5', to: '10.1.0.2', protocol: 'udp', srcPort: 80, dstPort: 1024 },
      { ...foreign, protocol: 'udp' },
    ],
    ends: ['forward tout', 'drop', 'drop'],
  },
];

const packetOf = ({ via: _, from, to, ...more }: Sent): Packet => {
  const protocol = more.protocol ?? 'tcp';
  const src = address(from);
  return {
    src,
    dst: address(to),
    protocol,
    srcPort: 1024,
    dstPort: 80,
    lengthBytes: (src.family === 4 ? 20 : 40) + (protocol === 'tcp' ? 20 : 16),
    df: true,
    ttl: 64,
    mark: 0,
    ...(protocol === 'tcp' ? { flags: { syn: true } } : {}),
    ...more,
  };
};

/** A world that does nothing of its own. */
const plain: WorldText = {
  backend: 'native',
  settings: [
    'net.ipv4.ip_forward 1',
    'net.ipv6.conf.all.forwarding 1',
    ...['all', 'tin', 'tout', 'tc', 'td'].map((device) => `net.ipv4.conf.${device}.rp_filter 0`),
  ],
  routing4: [],
  routing6: [],
  sets: [],
  rules4: [],
  rules6: [],
  native: [],
};

const lines = (text = ''): string[] => text.split('\n').filter((line) => line !== '');

describe.skipIf(why !== undefined)('simulate and the kernel', () => {
  let kernel: KernelNamespace;
  beforeEach(async () => {
    await sweep('pp-simc');
    kernel = await KernelNamespace.open(`pp-simc-${process.pid}`);
  });
  afterEach(() => kernel.close());

  test.each(cases)('$title', async ({ ip, ip6, sysctl = [], nft, rules4, rules6, packets, ends }) => {
    const world: WorldText = {
      ...plain,
      settings: [...plain.settings, ...sysctl.map((line) => line.replace('=', ' '))],
      routing4: ip ?? [],
      routing6: ip6 ?? [],
      native: lines(nft),
      rules4: lines(rules4),
      rules6: lines(rules6),
    };
    const netns = await load(kernel, world);
    if (typeof netns === 'string') throw new Error(netns);
    const questions = packets.map((sent): Question => {
      const packet = packetOf(sent);
      const flow = Math.max(packet.srcPort, packet.dstPort) - 1024;
      return { via: sent.via, packet, sequence: { seq: 1000, ack: 0 }, flow };
    });
    const injections = askAgain(netns, questions);
    const { disagreements, tally } = await compare(kernel, new RouteErrors(), injections);
    expect(disagreements.map(({ id, ours, kernel: theirs }) => ({ id, ours, kernel: theirs }))).toEqual([]);
    // An answer that nobody hears proves nothing.
    expect(tally.get('limited') ?? 0).toBe(0);
    const described = injections.map(({ ours }) => describeOurs(ours));
    expect(described.map((text, i) => text.slice(0, ends[i]?.length))).toEqual(ends);
  });
});
