/** Disagreements that random worlds have found, or that their tools cannot make: each as a small world of its own, asked of the kernel too. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { address } from '../../src/net/address.ts';
import type { Packet } from '../../src/net/packet.ts';
import { cannotRun, sweepNetns } from './netfilter-support.ts';
import { routeCases } from './simulate-cases-routes.ts';
import { compare, describeOurs, flowOf, RouteErrors } from './simulate-compare.ts';
import { askAgain, type Question } from './simulate-flows.ts';
import { KernelNamespace } from './simulate-namespace.ts';
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
const foreign6 = { via: 'tin', from: 'fd00:1::2', protocol: 'udp', srcPort: 1024 } as const;

/** FORWARD and INPUT of both families. */
const rejecting = (...rules: readonly string[]): string =>
  ['forward', 'input']
    .map(
      (hook) =>
        `table inet r_${hook} { chain c { type filter hook ${hook} priority 0; iifname != "lo" meta l4proto { tcp, udp, icmp, ipv6-icmp } ${rules[0]};
${rules[1] ?? ''}; }; }`,
    )
    .join('\n');

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

const cases: readonly Case[] = [
  {
    title: 'OUTPUT sees lo, not the device of the address, for packets to oneself',
    nft: out('filter', 0, 'oifname "tout" drop'),
    packets: [{ ...own, to: '10.2.0.1' }, own],
    ends: ['deliver', 'drop'],
  },
  {
    title: 'a reject at PREROUTING tells an own address only if the called one is own, too',
    nft: 'table inet t { chain c { type filter hook prerouting priority -50; tcp dport 53 reject with icmpx type no-route; }; }',
    packets: [
      { via: 'td', from: '10.4.0.1', to: '10.1.0.77', dstPort: 53 },
      { via: 'td', from: '10.4.0.1', to: '10.1.0.1', dstPort: 53, srcPort: 1025 },
      { via: 'tc', from: '127.0.0.1', to: '10.3.0.2', dstPort: 53, srcPort: 1026 },
    ],
    ends: ['reject 3/0 -> silent', 'reject 3/0 -> deliver', 'reject 3/0 -> silent'],
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
  {
    title: 'addrtype calls an address unicast where a route refuses it',
    ip: ['route add blackhole 10.60.0.0/16', 'route append throw default metric 99'],
    rules4: `*filter
-A INPUT -m addrtype --src-type UNICAST -p udp --dport 80 -j DROP
-A INPUT -m addrtype --src-type BLACKHOLE,THROW,PROHIBIT -p udp --dport 81 -j DROP
COMMIT`,
    packets: ['10.60.0.1', '10.77.0.1'].flatMap((from, n) =>
      [80, 81].map((dstPort) => ({
        via: 'tin',
        from,
        to: '10.1.0.1',
        protocol: 'udp' as const,
        srcPort: 1000 + 10 * n + dstPort,
        dstPort,
      })),
    ),
    ends: ['drop', 'deliver', 'drop', 'deliver'],
  },
  {
    title: 'fib looks a source up in the tables, whatever the destination is',
    nft: `table ip t { chain c { type nat hook prerouting priority -100;
      fib saddr . iif oif exists tcp dport 80 dnat to 10.2.0.1; }; }`,
    packets: [{ ...foreign, to: '127.0.0.1' }],
    ends: ['deliver 10.1.0.2:1024 -> 10.2.0.1:80'],
  },
  {
    title:
      "fib's type of an IPv6 address is what the routes make of it: unreachable without one, prohibit as they say",
    ip6: ['route add prohibit fd00:8::/64', 'route add blackhole fd00:9::/64'],
    nft: `table inet t { chain c { type filter hook prerouting priority 0; policy drop;
      fib daddr type unicast udp dport 80 accept; fib daddr type unreachable udp dport 81 accept;
      fib daddr type prohibit udp dport 82 accept; fib daddr type local udp dport 83 accept; }; }`,
    packets: [
      { ...foreign6, to: 'fd00:2::5', dstPort: 80 },
      { ...foreign6, to: 'fd00:77::5', dstPort: 80 },
      { ...foreign6, to: 'fd00:77::5', dstPort: 81 },
      { ...foreign6, to: 'fd00:8::5', dstPort: 82 },
      { ...foreign6, to: 'fd00:9::5', dstPort: 82 },
      { ...foreign6, to: 'fd00:2::1', dstPort: 83 },
    ],
    ends: ['forward tout', 'drop', 'reject', 'reject', 'drop', 'deliver'],
  },
  {
    title:
      'a mark of mangle OUTPUT that leads nowhere ends the packet there: the DNAT behind it comes too late',
    ip: ['route add 10.51.0.0/16 dev tout table 100', 'rule add pref 10 fwmark 1/1 table 100'],
    rules4: `*mangle\n-A OUTPUT -j MARK --set-xmark 0x2/0xffffffff\nCOMMIT\n*nat\n-A OUTPUT -d 10.51.0.2 -j DNAT --to-destination 10.1.0.2\nCOMMIT`,
    packets: [{ via: 'out', from: '10.4.0.1', to: '10.51.0.2', mark: 1 }],
    ends: ['reject'],
  },
  {
    title: 'the device that a packet comes by forwards, whatever ip_forward says; IPv6 has force_forwarding',
    sysctl: [
      'net.ipv4.ip_forward=0',
      'net.ipv4.conf.tin.forwarding=1',
      'net.ipv6.conf.all.forwarding=0',
      'net.ipv6.conf.tin.force_forwarding=1',
    ],
    packets: [
      foreign,
      { ...foreign, via: 'tc', from: '10.3.0.2', srcPort: 1025 },
      { via: 'tin', from: 'fd00:1::2', to: 'fd00:2::5', srcPort: 1026 },
      { via: 'tc', from: 'fd00:3::2', to: 'fd00:2::5', srcPort: 1027 },
    ],
    ends: ['forward tout', 'drop', 'forward tout', 'drop'],
  },
  {
    title:
      'an ICMP error has the address of the way back, of the device that was called, or of the device it came by',
    ip: ['route add 10.1.0.99/32 dev td'],
    nft: rejecting('reject'),
    packets: [
      foreign,
      { ...foreign, from: '10.1.0.99', srcPort: 1025 },
      { ...foreign, to: '10.3.0.1', srcPort: 1026 },
    ],
    ends: [
      'reject 3/3 -> forward tin 10.1.0.1 -> 10.1.0.2 icmp',
      'reject 3/3 -> forward td 10.4.0.1 -> 10.1.0.99 icmp',
      'reject 3/3 -> forward tin 10.3.0.1 -> 10.1.0.2 icmp',
    ],
  },
  {
    title: 'with icmp_errors_use_inbound_ifaddr it has the address of the device that the packet came by',
    ip: ['route add 10.1.0.99/32 dev td'],
    sysctl: ['net.ipv4.icmp_errors_use_inbound_ifaddr=1'],
    nft: rejecting('reject'),
    packets: [{ ...foreign, from: '10.1.0.99' }],
    ends: ['reject 3/3 -> forward td 10.1.0.1 -> 10.1.0.99 icmp'],
  },
  {
    title: 'an IPv6 error has an address of the device that the packet came by, whatever the way back',
    ip6: ['route add fd00:1::99/128 dev td'],
    nft: rejecting('reject'),
    packets: [{ via: 'tin', from: 'fd00:1::99', to: 'fd00:2::5' }],
    ends: ['reject 1/4 -> forward td fd00:1::1 -> fd00:1::99 icmpv6'],
  },
  {
    title: 'the answer belongs to the connection: DNAT is undone, also of the packet that it quotes',
    nft: `${rejecting('meta l4proto tcp reject with tcp reset', 'reject')}
table ip n { chain c { type nat hook prerouting priority -100; ip daddr 10.2.0.77 dnat to 10.3.0.5; }; }`,
    packets: [
      { ...foreign, to: '10.2.0.77' },
      { ...foreign, to: '10.2.0.77', protocol: 'udp', srcPort: 1025 },
    ],
    ends: [
      'reject tcp-reset -> forward tin 10.2.0.77:80 -> 10.1.0.2:1024 tcp',
      'reject 3/3 -> forward tin 10.2.0.77 -> 10.1.0.2 icmp type 3 code 3 ttl 64 tos 192 about 10.1.0.2:1025 -> 10.2.0.77:80 udp',
    ],
  },
  {
    title: 'the answer passes OUTPUT and POSTROUTING as RELATED, and may be lost there',
    nft: `${rejecting('meta l4proto tcp reject with tcp reset', 'reject')}
table ip o {
  chain a { type filter hook output priority 0; meta l4proto icmp ct state related ip daddr 10.1.0.3 drop; };
  chain b { type filter hook postrouting priority 0; meta l4proto tcp ct state related ip daddr 10.1.0.3 drop; };
}`,
    packets: [
      foreign,
      { ...foreign, from: '10.1.0.3', srcPort: 1025 },
      { ...foreign, protocol: 'udp', srcPort: 1026 },
      { ...foreign, protocol: 'udp', from: '10.1.0.3', srcPort: 1027 },
    ],
    ends: [
      'reject tcp-reset -> forward',
      'reject tcp-reset -> silent',
      'reject 3/3 -> forward',
      'reject 3/3 -> silent',
    ],
  },
  {
    title:
      'a reset for a connection without a source mapping asks the nat table like a first packet; an error does not',
    nft: `${rejecting('meta l4proto tcp reject with tcp reset', 'reject')}
table ip n { chain c { type nat hook postrouting priority 100; ct state related drop; }; }`,
    packets: [foreign, { ...foreign, protocol: 'udp', srcPort: 1025 }],
    ends: ['reject tcp-reset -> silent', 'reject 3/3 -> forward'],
  },
  {
    title: 'marks are reflected where fwmark_reflect says so, and route the answer',
    ip: marked,
    sysctl: ['net.ipv4.fwmark_reflect=1'],
    nft: `${rejecting('meta l4proto tcp reject with tcp reset', 'reject')}
table ip m { chain c { type filter hook forward priority -10; ip saddr 10.1.0.2 meta mark set 1; }; }`,
    packets: [
      foreign,
      { ...foreign, from: '10.1.0.3', srcPort: 1025 },
      { ...foreign, protocol: 'udp', srcPort: 1026 },
    ],
    ends: [
      'reject tcp-reset -> forward td',
      'reject tcp-reset -> forward tin',
      'reject 3/3 -> forward td 10.4.0.1 -> 10.1.0.2',
    ],
  },
  {
    title: 'no error answers an error, nor a message of a type that ICMP does not have',
    nft: rejecting('reject'),
    packets: [
      { ...foreign, protocol: 'icmp', srcPort: 0, dstPort: 0, icmp: { type: 8, code: 0, id: 1024 } },
      { ...foreign, protocol: 'icmp', srcPort: 0, dstPort: 0, icmp: { type: 42, code: 0, id: 1024 } },
    ],
    ends: ['reject 3/3 -> forward', 'drop'],
  },
  {
    title: 'a reset closes the connection that is in the table: what comes then is not INVALID',
    rules4: `*filter
-A FORWARD -i tin -p tcp -m ttl --ttl-eq 19 -j REJECT --reject-with tcp-reset
-A FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
`,
    packets: [
      foreign,
      { ...foreign, ttl: 20 },
      { ...foreign, flags: { ack: true } },
      { ...foreign, srcPort: 1025 },
      { ...foreign, srcPort: 1025, flags: { ack: true } },
    ],
    ends: ['forward', 'reject tcp-reset -> forward tin', 'forward', 'forward', 'drop'],
  },
  {
    title:
      'an error about an untracked packet is INVALID, and no CT rule of iptables makes it untracked on its way by lo',
    rules6: `*raw
-A PREROUTING -j CT --notrack
COMMIT
*filter
-A INPUT -m conntrack --ctstate INVALID -j DROP
COMMIT
`,
    packets: [
      { via: 'tin', from: 'fd00:2::1', to: 'fd00:50::77', protocol: 'udp' },
      { via: 'tin', from: 'fd00:1::5', to: 'fd00:50::77', protocol: 'udp', srcPort: 1025 },
    ],
    ends: ['reject 1/0 -> silent', 'reject 1/0 -> forward tin'],
  },
  {
    title:
      'an SCTP association opens with INIT alone; what answers none, or has no INIT-ACK before it, is INVALID',
    rules4: `*filter
-A FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
`,
    packets: [
      { ...foreign, protocol: 'sctp', lengthBytes: 52, chunk: 'init' },
      {
        via: 'tout',
        from: foreign.to,
        to: foreign.from,
        srcPort: 80,
        dstPort: 1024,
        protocol: 'sctp',
        lengthBytes: 52,
        chunk: 'init-ack',
      },
      { ...foreign, protocol: 'sctp', lengthBytes: 52, chunk: 'cookie-echo' },
      { ...foreign, protocol: 'sctp', lengthBytes: 52, chunk: 'data' },
      { ...foreign, protocol: 'sctp', lengthBytes: 52, chunk: 'init-ack', srcPort: 1025 },
      { ...foreign, protocol: 'sctp', lengthBytes: 52, chunk: 'data', srcPort: 1026 },
      { ...foreign, protocol: 'sctp', lengthBytes: 52, chunk: 'cookie-echo', srcPort: 1027 },
      { ...foreign, protocol: 'sctp', lengthBytes: 52, chunk: 'abort', srcPort: 1028 },
      { ...foreign, protocol: 'sctp', lengthBytes: 52, chunk: 'heartbeat', srcPort: 1029 },
    ],
    ends: ['forward', 'forward', 'forward', 'forward', 'drop', 'drop', 'drop', 'drop', 'forward'],
  },
  {
    title: 'an error may mark the connection that it is about',
    nft: `table ip t { chain c { type filter hook forward priority 0;
      ct state related ct mark set 7 accept; ct mark 7 drop; }; }`,
    packets: [
      { ...foreign, protocol: 'udp' },
      {
        via: 'tout',
        from: '10.2.0.5',
        to: '10.1.0.2',
        protocol: 'icmp',
        srcPort: 0,
        dstPort: 0,
        icmp: { type: 3, code: 3 },
        lengthBytes: 56,
        quoted: packetOf({ ...foreign, protocol: 'udp' }),
      },
      { ...foreign, protocol: 'udp' },
    ],
    ends: ['forward tout', 'forward tin', 'drop'],
  },
  {
    title: 'a loss on one of two possible ways is not certain',
    rules4: `*mangle
-A PREROUTING -m limit --limit 1/hour -j MARK --set-mark 1
COMMIT
*filter
-A FORWARD -m mark --mark 1 -j REJECT
-A FORWARD -p tcp --dport 81 -j DROP
COMMIT`,
    packets: [foreign],
    ends: ['unknown'],
  },
];

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
    await sweepNetns('pp-simc');
    kernel = await KernelNamespace.open(`pp-simc-${process.pid}`);
  });
  afterEach(() => kernel.close());

  test.each([...cases, ...routeCases] as readonly Case[])(
    '$title',
    async ({ ip, ip6, sysctl = [], nft, rules4, rules6, packets, ends }) => {
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
        const flow = flowOf(packet);
        return { via: sent.via, packet, sequence: { seq: 1000, ack: 0 }, flow };
      });
      const injections = askAgain(netns, questions);
      const { disagreements, tally } = await compare(kernel, new RouteErrors(), injections);
      expect(disagreements.map(({ id, ours, kernel: theirs }) => ({ id, ours, kernel: theirs }))).toEqual([]);
      // An answer that nobody hears proves nothing.
      expect(tally.get('limited') ?? 0).toBe(0);
      const described = injections.map(({ ours }) => describeOurs(ours));
      expect(described.map((text, i) => text.slice(0, ends[i]?.length))).toEqual(ends);
    },
  );
});
