/** The kernel's own words about a loss: each line of the table provoked, and what the kernel shows compared with what we say. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { simulation } from '../../src/dataplane/simulate.ts';
import type { KernelWords } from '../../src/model/verdict.ts';
import { address, formatAddress } from '../../src/net/address.ts';
import type { Packet } from '../../src/net/packet.ts';
import { exec } from '../../src/system/exec.ts';
import { setUp } from './netfilter-flows.ts';
import { cannotRun, inNetns, readNetns, run, sweepNetns } from './netfilter-support.ts';
import { decode, encode } from './netfilter-wire.ts';

const why = cannotRun();
if (why !== undefined) console.log(`kernel words skipped: ${why}`);

const name = `pp-words-${process.pid}`;
const injector = fileURLToPath(new URL('kernel-words-inject.py', import.meta.url));
const stateFiles = [
  'ip-link.json',
  'ip-addr.json',
  'ip-route.json',
  'ip-route6.json',
  'ip-rule.json',
  'ip-rule6.json',
  'iptables-save.txt',
  'ip6tables-save.txt',
  'iptables-legacy-save.txt',
  'ip6tables-legacy-save.txt',
  'nft.json',
  'ipset.txt',
  'sysctl.txt',
];

const base = {
  srcPort: 4000,
  dstPort: 80,
  df: true,
  ttl: 64,
  mark: 0,
  lengthBytes: 60,
} as const;
const tcp: Packet = {
  ...base,
  src: address('10.1.0.2'),
  dst: address('10.2.0.2'),
  protocol: 'tcp',
  flags: { syn: true },
};
const { flags: _flags, ...headless } = tcp;
const udp: Packet = { ...headless, protocol: 'udp' };
const six = { src: address('fd01::2'), dst: address('fd02::2') };

interface Case {
  readonly setUp: readonly string[];
  readonly packet: Packet;
  /** `tin`, or `socket` for a packet of the namespace's own. */
  readonly via?: string;
  readonly says: KernelWords;
}

const toB = 'ip route replace';
const cases: Readonly<Record<string, Case>> = {
  'a rule drops': {
    setUp: ['iptables-nft -A FORWARD -p tcp --dport 80 -j DROP'],
    packet: tcp,
    says: { dropReason: 'NETFILTER_DROP', symptom: 'silent' },
  },
  'a policy drops': {
    setUp: ['iptables-nft -P FORWARD DROP'],
    packet: tcp,
    says: { dropReason: 'NETFILTER_DROP', symptom: 'silent' },
  },
  'a rule rejects': {
    setUp: ['iptables-nft -A FORWARD -j REJECT'],
    packet: udp,
    says: { dropReason: 'NETFILTER_DROP', symptom: 'ICMP 3/3', counter: 'IcmpOutDestUnreachs' },
  },
  'a rule resets': {
    setUp: ['iptables-nft -A FORWARD -p tcp -j REJECT --reject-with tcp-reset'],
    packet: tcp,
    says: { dropReason: 'NETFILTER_DROP', symptom: 'TCP reset' },
  },
  'OUTPUT drops': {
    setUp: ['iptables-nft -A OUTPUT -p udp -j DROP'],
    packet: { ...udp, src: address('10.1.0.1') },
    via: 'socket',
    says: { dropReason: 'NETFILTER_DROP', symptom: 'sendto() fails (EPERM)', counter: 'IpOutDiscards' },
  },
  'forwarding is off': {
    setUp: ['sysctl -qw net.ipv4.ip_forward=0'],
    packet: tcp,
    says: { dropReason: 'IP_INADDRERRORS', symptom: 'silent', counter: 'IpInAddrErrors' },
  },
  'forwarding is off on the device': {
    setUp: ['sysctl -qw net.ipv4.conf.tin.forwarding=0'],
    packet: tcp,
    says: { dropReason: 'IP_INADDRERRORS', symptom: 'silent', counter: 'IpInAddrErrors' },
  },
  'strict reverse path': {
    setUp: ['sysctl -qw net.ipv4.conf.all.rp_filter=1', 'ip route add 10.9.0.0/16 dev tout'],
    packet: { ...tcp, src: address('10.9.0.1') },
    says: { dropReason: 'IP_RPFILTER', symptom: 'silent', counter: 'TcpExtIPReversePathFilter' },
  },
  'loose reverse path': {
    setUp: ['sysctl -qw net.ipv4.conf.all.rp_filter=2'],
    packet: { ...tcp, src: address('10.9.0.1') },
    says: { dropReason: 'IP_RPFILTER', symptom: 'silent', counter: 'TcpExtIPReversePathFilter' },
  },
  'an own address as source': {
    setUp: [],
    packet: { ...tcp, src: address('10.2.0.1') },
    says: { dropReason: 'IP_LOCAL_SOURCE', symptom: 'silent' },
  },
  'a loopback source': {
    setUp: [],
    packet: { ...tcp, src: address('127.0.0.1') },
    says: { dropReason: 'IP_LOCALNET', symptom: 'silent' },
  },
  'DNAT to loopback': {
    setUp: ['iptables-nft -t nat -A PREROUTING -p tcp -j DNAT --to-destination 127.0.0.1'],
    packet: tcp,
    says: { dropReason: 'IP_LOCALNET', symptom: 'silent' },
  },
  'a multicast source': {
    setUp: [],
    packet: { ...tcp, src: address('224.0.0.9') },
    says: { dropReason: 'IP_INVALID_SOURCE', symptom: 'silent' },
  },
  'no route': {
    setUp: [],
    packet: { ...tcp, dst: address('10.77.0.1') },
    says: { dropReason: 'IP_INNOROUTES', symptom: 'ICMP 3/0', counter: 'IpExtInNoRoutes' },
  },
  'no route for an own packet': {
    setUp: [],
    packet: { ...udp, src: address('10.1.0.1'), dst: address('10.77.0.1') },
    via: 'socket',
    says: { symptom: 'the call fails', counter: 'IpOutNoRoutes' },
  },
  'an unreachable route': {
    setUp: [`${toB} unreachable 10.2.0.2`],
    packet: tcp,
    says: { dropReason: 'NOT_SPECIFIED', symptom: 'ICMP 3/1' },
  },
  'a prohibit route': {
    setUp: [`${toB} prohibit 10.2.0.2`],
    packet: tcp,
    says: { dropReason: 'NOT_SPECIFIED', symptom: 'ICMP 3/13' },
  },
  'a blackhole route': {
    setUp: [`${toB} blackhole 10.2.0.2`],
    packet: tcp,
    says: { dropReason: 'NOT_SPECIFIED', symptom: 'silent' },
  },
  'TTL used up': {
    setUp: [],
    packet: { ...tcp, ttl: 1 },
    says: { dropReason: 'IP_INHDR', symptom: 'ICMP 11/0', counter: 'IpInHdrErrors' },
  },
  'too large': {
    setUp: ['ip link set tout mtu 576'],
    packet: { ...udp, lengthBytes: 900 },
    says: { dropReason: 'PKT_TOO_BIG', symptom: 'ICMP 3/4, MTU 576', counter: 'IpFragFails' },
  },
  'IPv6: a rule drops': {
    setUp: ['ip6tables-nft -A FORWARD -j DROP'],
    packet: { ...tcp, ...six },
    says: { dropReason: 'NETFILTER_DROP', symptom: 'silent' },
  },
  'IPv6: a rule rejects': {
    setUp: ['ip6tables-nft -A FORWARD -j REJECT'],
    packet: { ...udp, ...six },
    says: { dropReason: 'NETFILTER_DROP', symptom: 'ICMP 1/4', counter: 'Icmp6OutDestUnreachs' },
  },
  'IPv6: forwarding is off': {
    setUp: ['sysctl -qw net.ipv6.conf.all.forwarding=0'],
    packet: { ...tcp, ...six },
    says: { dropReason: 'IP_INADDRERRORS', symptom: 'silent', counter: 'Ip6InAddrErrors' },
  },
  'IPv6: no route': {
    setUp: [],
    packet: { ...tcp, ...six, dst: address('fd77::1') },
    says: { dropReason: 'IP_INNOROUTES', symptom: 'ICMP 1/0', counter: 'Ip6InNoRoutes' },
  },
  'IPv6: an unreachable route': {
    setUp: ['ip -6 route add unreachable fd02::2'],
    packet: { ...tcp, ...six },
    says: { dropReason: 'IP_INNOROUTES', symptom: 'ICMP 1/0', counter: 'Ip6InNoRoutes' },
  },
  'IPv6: hop limit used up': {
    setUp: [],
    packet: { ...tcp, ...six, ttl: 1 },
    says: { dropReason: 'IP_INHDR', symptom: 'ICMP 3/0', counter: 'Ip6InHdrErrors' },
  },
  'IPv6: too large': {
    setUp: ['ip link set tout mtu 1280'],
    packet: { ...udp, ...six, lengthBytes: 1400 },
    says: { dropReason: 'PKT_TOO_BIG', symptom: 'ICMP 2/0, MTU 1280', counter: 'Ip6InTooBigErrors' },
  },
};

async function prepare(commands: readonly string[]): Promise<void> {
  await setUp(name);
  const lines = ['tin fd01::1/64', 'tout fd02::1/64'].map((text) => {
    const [device, net] = text.split(' ');
    return `addr add ${net} dev ${device} nodad`;
  });
  await run(inNetns(name, ['ip', '-6', '-batch', '-']), `${lines.join('\n')}\n`);
  await run(
    inNetns(name, [
      'sysctl',
      '-qw',
      'net.ipv6.conf.all.forwarding=1',
      'net.ipv6.icmp.ratelimit=0',
      'net.ipv6.icmp.ratemask=',
    ]),
  );
  for (const command of commands) await run(inNetns(name, command.split(' ')));
}

/** snmp and netstat have a line of names and one of values for each protocol, snmp6 a counter a line. */
async function counters(): Promise<ReadonlyMap<string, number>> {
  const text = await run(inNetns(name, ['cat', '/proc/net/snmp', '/proc/net/netstat', '/proc/net/snmp6']));
  const all = new Map<string, number>();
  let names: string[] | undefined;
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/);
    const [head = '', ...rest] = words;
    if (!head.endsWith(':')) {
      if (words.length === 2) all.set(head, Number(words[1]));
    } else if (names === undefined) names = rest;
    else {
      for (const [i, key] of names.entries()) all.set(`${head.slice(0, -1)}${key}`, Number(rest[i]));
      names = undefined;
    }
  }
  return all;
}

interface Shown {
  readonly symptom: string;
  readonly reasons: readonly string[] | undefined;
  readonly risen: readonly string[];
}

async function provoke({ packet, via = 'tin' }: Case): Promise<Shown> {
  const before = await counters();
  const data = via === 'socket' ? formatAddress(packet.dst) : encode(packet, 7).toString('hex');
  const input = `${via} ${data}\n`;
  const text = await run(inNetns(name, ['python3', injector, '0.05', 'tin', 'tout']), input);
  const after = await counters();
  const { out, reasons } = JSON.parse(text) as { out: string[]; reasons: string[] | null };
  return {
    symptom: symptomOf(out),
    reasons: reasons ?? undefined,
    risen: [...after].filter(([key, value]) => value > (before.get(key) ?? 0)).map(([key]) => key),
  };
}

function symptomOf(out: readonly string[]): string {
  for (const word of out) {
    const [where = '', data = ''] = word.split(':');
    if (where === 'error') return data === '1' ? 'sendto() fails (EPERM)' : 'the call fails';
    const wire = decode(Buffer.from(data, 'hex'));
    if (wire === undefined) continue;
    const { icmp, flags } = wire.packet;
    if (wire.quotedId !== undefined)
      return `ICMP ${icmp?.type}/${icmp?.code}${(wire.mtuBytes ?? 0) === 0 ? '' : `, MTU ${wire.mtuBytes}`}`;
    if (flags?.rst === true) return 'TCP reset';
    if (where === 'tout' && wire.id === 7) return 'it passed';
  }
  return 'silent';
}

/** Those that tell of a loss; Icmp and Ip counters of the answer itself rise too. Ip6OutDiscards rises by itself (MLD). */
const lossCounters =
  /NoRoutes|AddrErrors|HdrErrors|IpOutDiscards|InDiscards|Fails|ReversePathFilter|TooBigErrors|OutRsts|NoPorts/;

describe.skipIf(why !== undefined)('what the kernel shows of a loss', () => {
  beforeAll(() => sweepNetns('pp-words'));
  afterAll(async () => {
    await exec(['ip', 'netns', 'delete', name]);
  });

  test.each(Object.entries(cases))('%s', async (_, one) => {
    await prepare(one.setUp);
    const netns = await readNetns(name, stateFiles);
    const { via = 'tin', packet } = one;
    const ours = simulation(netns)({ packet, ...(via === 'socket' ? {} : { iif: via }) });
    const lost = ours.steps.findLast((step) => step.action === 'lost');
    const shown = await provoke(one);
    if (process.env.PODPATH_ORACLE_DEBUG !== undefined) console.log(JSON.stringify([lost?.kernel, shown]));
    expect(lost?.kernel, ours.reason).toEqual(one.says);
    expect(shown.symptom).toBe(one.says.symptom);
    if (one.says.counter === undefined)
      expect(shown.risen.filter((counter) => lossCounters.test(counter))).toEqual([]);
    else expect(shown.risen).toContain(one.says.counter);
    if (shown.reasons === undefined)
      console.log('skb:kfree_skb cannot be read here: no drop reason compared');
    else if (one.says.dropReason !== undefined) expect(shown.reasons).toContain(one.says.dropReason);
  });
});
