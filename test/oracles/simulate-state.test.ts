/** Connection tracking, the less common matches, and sets: whole batches against the kernel. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { address, formatAddress } from '../../src/net/address.ts';
import type { Packet, TcpFlags } from '../../src/net/packet.ts';
import { exec } from '../../src/system/exec.ts';
import { cannotRun, inNetns, type Random, randomFrom, run, sweepNetns } from './netfilter-support.ts';
import { encode } from './netfilter-wire.ts';
import type { Question } from './simulate-flows.ts';
import { KernelNamespace } from './simulate-namespace.ts';
import { agree, forwarding, onePerTtl, packetsFor } from './simulate-state-support.ts';

const why = cannotRun();
if (why !== undefined) console.log(`simulate state skipped: ${why}`);

const baseSeed = Number(process.env.PODPATH_SEED ?? 20_261_123);
const rounds = Number(process.env.PODPATH_ROUNDS ?? 4);

/** Shows state and status of the connection in the TOS byte. */
const showTracking = [
  ...['NEW', 'ESTABLISHED', 'INVALID', 'RELATED', 'UNTRACKED'].map(
    (state, i) => `-A FORWARD -m conntrack --ctstate ${state} -j TOS --set-tos ${4 * (i + 1)}/0xff`,
  ),
  '-A FORWARD -m conntrack --ctstatus ASSURED -j TOS --or-tos 0x20',
  '-A FORWARD -m conntrack --ctstatus SEEN_REPLY -j TOS --or-tos 0x40',
  '-A FORWARD -m conntrack --ctstatus CONFIRMED -j TOS --or-tos 0x80',
  '-A FORWARD -m connbytes --connbytes 3 --connbytes-dir both --connbytes-mode packets -j TOS --or-tos 0x1',
  '-A FORWARD -m mark --mark 0x100/0x100 -j TOS --or-tos 0x2',
];

/** By port: what a CT rule says of packets there, and of their answers. */
const zones: readonly (readonly [port: number, there?: string, back?: string])[] = [
  [80],
  [81, '--zone 5', '--zone 5'],
  [82, '--zone-orig 5'],
  [83, '--zone 5'],
  [84, '--zone-orig 5', '--zone 5'],
  [85, '--zone-reply 7', '--zone-reply 7'],
  [86, '--zone-orig mark', '--zone mark'],
  [87, '--ctevents new', '--notrack'],
  [88, '--zone 5', '--zone 6'],
];

const zoneRules = [
  '-A PREROUTING -p tcp -m tcp --dport 86 -j MARK --set-mark 9',
  ...zones.flatMap(([port, there, back]) => [
    ...(there === undefined ? [] : [`-A PREROUTING -i tin -p tcp -m tcp --dport ${port} -j CT ${there}`]),
    ...(back === undefined ? [] : [`-A PREROUTING -i tout -p tcp -m tcp --sport ${port} -j CT ${back}`]),
  ]),
  '-A PREROUTING -p tcp -m tcp --dport 86 -j MARK --set-mark 11',
  // Before conntrack a packet with a template counts as new, and no other CT rule counts.
  '-A PREROUTING -m conntrack --ctstate NEW -j MARK --or-mark 0x100',
  '-A PREROUTING -p tcp -m tcp --dport 87 -j CT --notrack',
];

function* tcpFlow(random: Random, flow: number): Generator<Question> {
  const src = address('10.1.0.2');
  const dst = address('10.2.0.5');
  const dstPort = random.pick(zones)[0];
  const usual: readonly (readonly ['there' | 'back', TcpFlags])[] = [
    ['there', { syn: true }],
    ['back', { syn: true, ack: true }],
    ['there', { ack: true }],
    ['back', { ack: true }],
    ['there', { fin: true, ack: true }],
    ['back', { fin: true, ack: true }],
    ['there', { ack: true }],
    ['there', { syn: true }],
  ];
  const odd: readonly TcpFlags[] = [
    { syn: true },
    { syn: true, ack: true },
    { ack: true },
    { fin: true, ack: true },
    { rst: true },
    { rst: true, ack: true },
    { fin: true },
    { syn: true, fin: true },
    {},
  ];
  const length = 2 + random.int(7);
  let step = 0;
  for (let i = 0; i < length; i++) {
    const isUsual = random.chance(0.75);
    const [way, flags] = isUsual
      ? (usual[step] ?? (['there', { ack: true }] as const))
      : ([random.pick(['there', 'back'] as const), random.pick(odd)] as const);
    if (isUsual) step++;
    const ends =
      way === 'there'
        ? { src, dst, srcPort: 1024 + flow, dstPort }
        : { src: dst, dst: src, srcPort: dstPort, dstPort: 1024 + flow };
    const packet: Packet = {
      ...ends,
      protocol: 'tcp',
      lengthBytes: 40,
      df: true,
      ttl: 64,
      mark: 0,
      flags,
    };
    // No answer acknowledges a SYN that conntrack has passed over, which would change its mind.
    // A RST counts only at the very place that the other side has acknowledged.
    const there = { seq: flags.rst ? 900 : 1000 + i, ack: 5000 };
    const back = { seq: flags.rst ? 5000 : 5001 + i, ack: 900 };
    const sequence = way === 'there' ? there : back;
    yield { via: way === 'there' ? 'tin' : 'tout', packet, sequence, flow };
  }
}

const not = (random: Random): string => (random.chance(0.25) ? '! ' : '');

function someU32(random: Random, family: 4 | 6): string {
  const [src, dst, head] = family === 4 ? [12, 16, 20] : [20, 36, 40];
  const word = random.pick([
    `${src}=${family === 4 ? '0x0a010001:0x0a010105' : '0x00010001:0x00020003'}`,
    `${dst}&0xff=${random.int(6)},${1 + random.int(6)}`,
    `${head}>>16=1024:1400`,
    `${head}&0xffff=80,443`,
    `${family === 4 ? '6' : '4'}&0xff=${random.pick(['6', '17', '1', '6:17'])}`,
    ...(family === 4
      ? [
          '0>>22&0x3c@0>>16&0xffff=1024:1500',
          '0>>22&0x3c@0&0xffff=53,80',
          '0&0xffff=0x28',
          '6&0x4000=0x4000',
          '5&0xff=3:9',
          '0>>22&0x3c@10&0x2=0x2',
        ]
      : ['0>>28=6', '0&0xfffff=3', '4>>16=20']),
    '1000=0',
    '2&0xffff=0:65535',
    `${head}<<16=0x500000`,
  ]);
  const test = random.chance(0.4) ? `${word}&&${head}>>16=1024:1600` : word;
  return `-m u32 ${not(random)}--u32 "${test}"`;
}

/** Bytecode as nfbpf_compile makes it. */
const programs4 = [
  '4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0',
  // dst host 10.2.0.3
  '4,32 0 0 16,21 0 1 167903235,6 0 0 65535,6 0 0 0',
  // dst port 80, IPv4 without fragments
  '10,48 0 0 9,21 1 0 6,21 0 6 17,40 0 0 6,69 4 0 8191,177 0 0 0,72 0 0 2,21 0 1 80,6 0 0 65535,6 0 0 0',
  // total length above 60
  '4,128 0 0 0,37 0 1 60,6 0 0 65535,6 0 0 0',
  // SYN without ACK
  '6,177 0 0 0,80 0 0 13,84 0 0 18,21 0 1 2,6 0 0 65535,6 0 0 0',
  // beyond the end
  '3,32 0 0 5000,6 0 0 65535,6 0 0 1',
  // ((source port * 3) + 7) odd
  '8,177 0 0 0,72 0 0 0,36 0 0 3,4 0 0 7,84 0 0 1,21 0 1 1,6 0 0 1,6 0 0 0',
  '3,32 0 0 4294963220,21 0 0 0,22 0 0 0',
];
const programs6 = ['4,48 0 0 6,21 0 1 17,6 0 0 1,6 0 0 0', '4,40 0 0 40,37 0 1 1200,6 0 0 65535,6 0 0 0'];

function condition(random: Random, family: 4 | 6): string {
  const kind = random.int(family === 4 ? 9 : 12);
  switch (kind) {
    case 0:
    case 1:
    case 2:
      return someU32(random, family);
    case 3:
    case 4:
      return `-m bpf --bytecode "${random.pick(family === 4 ? programs4 : programs6)}"`;
    case 5: {
      const text = random.pick(['|0a01|', '|0a020003|', '|0050|', '|fd00|', '|ffffffffffffff|', 'abc']);
      const range = random.pick(['', '--from 12 ', '--to 20 ', '--from 20 --to 24 ']);
      return `-m string ${not(random)}--hex-string "${text}" --algo ${random.pick(['bm', 'kmp'])} ${range}`;
    }
    case 6:
      return `-m ecn ${not(random)}--ecn-ip-ect ${random.int(4)}`;
    case 7:
      return random.pick([
        `-m connbytes ${not(random)}--connbytes ${random.int(3)}:${2 + random.int(2)} --connbytes-dir ${random.pick(['original', 'reply', 'both'])} --connbytes-mode packets`,
        `-m connbytes ${not(random)}--connbytes 50:100 --connbytes-dir both --connbytes-mode ${random.pick(['bytes', 'avgpkt'])}`,
      ]);
    case 8:
      return random.pick([
        `-m helper ${not(random)}--helper ftp`,
        `-m devgroup ${not(random)}--src-group 0`,
        `-m devgroup ${not(random)}--dst-group 0x1/0x3`,
        `-p tcp -m tcpmss ${not(random)}--mss 1000:1460`,
        `-p tcp -m ecn ${not(random)}--ecn-tcp-ece`,
        `-m dscp ${not(random)}--dscp 4`,
        `-m connlabel ${not(random)}--label 3`,
      ]);
    case 9:
      return `-m ipv6header ${random.chance(0.6) ? '--soft ' : ''}${not(random)}--header ${random.pick(['prot', 'hop', 'prot,hop', 'frag', 'none'])}`;
    case 10:
      return random.pick([
        '-m frag --fragid 0:4294967295',
        '-m frag ! --fragid 1',
        '-m frag --fragfirst',
        '-m rt --rt-type 0',
        '-m rt ! --rt-type 0',
        '-m hbh --hbh-len 5',
        '-m dst ! --dst-len 5',
      ]);
    default:
      return '-m mac ! --mac-source 02:00:00:00:00:01';
  }
}

const setTypes4 = [
  ['hash:ip', 1],
  ['hash:ip netmask 24', 1],
  ['hash:ip bitmask 255.0.0.255', 1],
  ['bitmap:ip range 10.1.0.0/16', 1],
  ['bitmap:ip range 10.1.0.0/16 netmask 24', 1],
  ['bitmap:port range 50-9000', 1],
  ['hash:net', 1],
  ['hash:ip,port', 2],
  ['hash:net,port', 2],
  ['hash:ip,port,ip', 3],
  ['hash:ip,port,net', 3],
  ['hash:net,iface', 2],
  ['hash:net timeout 1000', 1],
  ['hash:ip counters comment skbinfo timeout 900', 1],
] as const;

function someElement(random: Random, type: string): string {
  const host = () => `10.${random.pick([1, 2])}.${random.int(3)}.${1 + random.int(6)}`;
  const net = () => {
    const length = random.pick([8, 16, 22, 24, 29, 30, 32]);
    return length === 32 ? host() : `${host()}/${length}`;
  };
  const port = () =>
    random.pick([
      'tcp:53',
      'tcp:80',
      'udp:80',
      'tcp:440-450',
      'icmp:echo-request',
      'udp:53',
      'tcp:1024-1100',
    ]);
  const parts = (type.split(' ')[0] ?? '').split(':')[1]?.split(',') ?? [];
  if (type.startsWith('bitmap:port')) return String(random.pick([53, 80, 443, 1024, '1100-1200']));
  if (type.startsWith('bitmap:ip')) return `10.1.${random.int(3)}.${1 + random.int(6)}`;
  const one = parts.map((part) =>
    part === 'ip'
      ? host()
      : part === 'net'
        ? net()
        : part === 'port'
          ? port()
          : random.pick(['tin', 'tout', 'tc']),
  );
  return one.join(',');
}

function randomSets(
  random: Random,
  prefix: string,
): { readonly lines: string[]; readonly matches: string[] } {
  const lines: string[] = [];
  const matches: string[] = [];
  const chosen = setTypes4.filter(() => random.chance(0.6));
  for (const [i, [type, dimensions]] of chosen.entries()) {
    const name = `${prefix}-${i}`;
    lines.push(`create ${name} ${type}`);
    for (let n = 2 + random.int(12); n > 0; n--) {
      const nomatch = type.split(' ')[0]?.includes('net') && random.chance(0.25) ? ' nomatch' : '';
      lines.push(`add ${name} ${someElement(random, type)}${nomatch}`);
    }
    for (let n = 0; n < 3; n++) {
      const count = random.chance(0.85) ? dimensions : 1 + random.int(3);
      const directions = Array.from({ length: count }, () => random.pick(['src', 'dst']));
      // Interfaces of FORWARD rules: both are there.
      const tail = random.chance(0.15) ? ' --return-nomatch' : '';
      matches.push(`-m set ${not(random)}--match-set ${name} ${directions.join(',')}${tail}`);
    }
  }
  lines.push(`create ${prefix}-l list:set`);
  for (const [i] of chosen.entries()) if (random.chance(0.4)) lines.push(`add ${prefix}-l ${prefix}-${i}`);
  matches.push(`-m set --match-set ${prefix}-l src,dst`, `-m set ! --match-set ${prefix}-l dst,src,src`);
  return { lines, matches };
}

describe.skipIf(why !== undefined)('state and the kernel', () => {
  let kernel: KernelNamespace;
  beforeAll(async () => {
    await sweepNetns('pp-state');
    kernel = await KernelNamespace.open(`pp-state-${process.pid}`);
  });
  afterAll(() => kernel.close());
  const clear = () => exec(['ip', 'netns', 'exec', kernel.name, 'conntrack', '-F']);

  test.each([0, 1])('TCP connections and zones, tcp_loose %i', { timeout: 0 }, async (loose) => {
    for (let round = 0; round < rounds; round++) {
      await clear();
      const random = randomFrom(baseSeed + round + loose * 1000);
      const questions = Array.from({ length: 400 }, (_, flow) => [...tcpFlow(random, flow)]).flat();
      const settings = [
        `net.netfilter.nf_conntrack_tcp_loose ${loose}`,
        'net.netfilter.nf_conntrack_tcp_be_liberal 1',
        'net.netfilter.nf_conntrack_tcp_ignore_invalid_rst 1',
      ];
      const rules4 = ['*raw', ...zoneRules, 'COMMIT', '*mangle', ...showTracking, 'COMMIT'];
      const world = { ...forwarding, settings: [...forwarding.settings, ...settings], rules4 };
      const asked = await agree(kernel, world, questions);
      const states = new Set(asked.map(({ ours }) => (ours.packet.tos ?? 0) & 0xfc));
      expect(states.size).toBeGreaterThan(5);
      // Answers that open a connection of their own in another zone may find their tuple taken.
      expect(asked.filter(({ ours }) => ours.verdict === 'unknown').length).toBeLessThan(
        questions.length / 20,
      );
    }
  });

  test.each([4, 6] as const)('matches of IPv%i', { timeout: 0 }, async (family) => {
    let decided = 0;
    let matched = 0;
    for (let round = 0; round < rounds; round++) {
      await clear();
      const random = randomFrom(baseSeed + round + family * 1000);
      const conditions = Array.from({ length: 120 }, () => condition(random, family));
      const rules = onePerTtl(conditions, family);
      const world = { ...forwarding, ...(family === 4 ? { rules4: rules } : { rules6: rules }) };
      const questions = Array.from({ length: 1200 }, (_, flow) => packetsFor(random, family, flow, 120));
      const asked = await agree(kernel, world, questions);
      decided += asked.filter(({ ours }) => ours.verdict !== 'unknown').length;
      matched += asked.filter(({ ours }) => ours.verdict !== 'unknown' && ours.packet.tos === 4).length;
    }
    console.log(`IPv${family}: ${decided} of ${rounds * 1200} decided, ${matched} matched`);
    expect(decided).toBeGreaterThan(rounds * 700);
    expect(matched).toBeGreaterThan(rounds * 100);
  });

  test('sets', { timeout: 0 }, async () => {
    for (let round = 0; round < rounds * 2; round++) {
      await clear();
      const random = randomFrom(baseSeed + round + 5000);
      const { lines, matches } = randomSets(random, `z${round}`);
      const world = { ...forwarding, sets: lines, rules4: onePerTtl(matches, 4) };
      const questions = Array.from({ length: 800 }, (_, flow) => packetsFor(random, 4, flow, matches.length));
      const asked = await agree(kernel, world, questions);
      expect(asked.filter(({ ours }) => ours.verdict === 'unknown')).toEqual([]);
    }
  });

  test('a packet follows the connection that is there, not the rules of today', async () => {
    await clear();
    const rules = (backend: string) => [
      '*nat',
      `-A PREROUTING -d 10.2.0.100 -p udp -m udp --dport 53 -j DNAT --to-destination ${backend}:53`,
      'COMMIT',
    ];
    const packet = (change: Partial<Packet>): Packet => ({
      src: address('10.1.0.2'),
      dst: address('10.2.0.100'),
      protocol: 'udp',
      srcPort: 1024,
      dstPort: 53,
      lengthBytes: 36,
      df: true,
      ttl: 64,
      mark: 0,
      ...change,
    });
    const questions = [
      packet({}),
      packet({ srcPort: 1025 }),
      // The dead backend does not answer; another one that took its address would.
      packet({ src: address('10.2.0.66'), dst: address('10.1.0.2'), srcPort: 53, dstPort: 1024 }),
      packet({ srcPort: 1026 }),
    ].map((one, flow) => ({
      via: one.src.value === address('10.1.0.2').value ? 'tin' : 'tout',
      packet: one,
      sequence: { seq: 0, ack: 0 },
      flow: flow === 2 ? 0 : flow === 3 ? 2 : flow,
    }));
    const inZone = ['*raw', '-A PREROUTING -p udp -m udp --sport 1026 -j CT --zone 4', 'COMMIT'];
    const [yesterday, today] = [
      [...inZone, ...rules('10.2.0.66')],
      ['*raw', 'COMMIT', ...rules('10.2.0.5')],
    ];
    const restore = (lines: readonly string[]) =>
      run(inNetns(kernel.name, ['iptables-nft-restore']), `${lines.join('\n')}\n`);
    const asked = await agree(kernel, { ...forwarding, rules4: today }, questions, async () => {
      await restore(yesterday);
      await kernel.send(
        questions
          .filter((_, i) => i === 0 || i === 3)
          .map(({ via, packet: one }, i) => ({ via, mark: 0, bytes: encode(one, 900 + i) })),
      );
      await restore(today);
      return run(inNetns(kernel.name, ['conntrack', '-L']));
    });
    const ends = asked.map(({ ours }) => `${ours.verdict} ${formatAddress(ours.packet.dst)}`);
    expect(ends).toEqual([
      'forward 10.2.0.66',
      'forward 10.2.0.5',
      'forward 10.1.0.2',
      // An entry of another zone is not this packet's.
      'forward 10.2.0.5',
    ]);
  });

  test('a rule that puts the sender into a set decides about its next packet', async () => {
    await clear();
    const rules4 = [
      '*filter',
      '-A FORWARD -m set --match-set grey src -j DROP',
      '-A FORWARD -p tcp -m tcp --dport 443 -j SET --add-set grey src',
      '-A FORWARD -p tcp -m tcp --dport 53 -j SET --del-set grey dst',
      '-A FORWARD -p tcp -m tcp --dport 80 -m set --match-set knock src,dst -j DROP',
      '-A FORWARD -p tcp -m tcp --dport 80 -j SET --add-set knock src,dst',
      'COMMIT',
    ];
    const sets = ['create grey hash:ip', 'create knock hash:ip,port', 'add grey 10.2.0.9'];
    const sent = [
      ['10.1.0.2', 443],
      ['10.1.0.2', 80],
      ['10.1.0.3', 80],
      ['10.1.0.3', 80],
      ['10.1.0.4', 53],
      ['10.1.0.4', 443],
      ['10.1.0.4', 53],
    ] as const;
    const questions = sent.map(
      ([src, dstPort], flow): Question => ({
        via: 'tin',
        packet: {
          src: address(src),
          dst: address('10.2.0.5'),
          protocol: 'tcp',
          srcPort: 1024 + flow,
          dstPort,
          lengthBytes: 40,
          df: true,
          ttl: 64,
          mark: 0,
          flags: { syn: true },
        },
        sequence: { seq: 1, ack: 0 },
        flow,
      }),
    );
    const asked = await agree(kernel, { ...forwarding, sets, rules4 }, questions);
    expect(asked.map(({ ours }) => ours.verdict)).toEqual([
      'forward',
      'drop',
      'forward',
      'drop',
      'forward',
      'forward',
      'drop',
    ]);
  });
});
