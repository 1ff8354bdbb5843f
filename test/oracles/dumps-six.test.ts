/**
 * Rule sets of real machines for IPv6: those that ip6tables-save printed, and those of IPv4 with each address under one IPv6
 * prefix, since few machines have many rules for IPv6. Packets near their rules, the kernel against simulate.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { simulation } from '../../src/dataplane/simulate.ts';
import { mapKnown } from '../../src/model/known.ts';
import type { Ruleset } from '../../src/model/netfilter.ts';
import type { Netns } from '../../src/model/netns.ts';
import { type Address, address, formatAddress, isMulticast } from '../../src/net/address.ts';
import type { Packet } from '../../src/net/packet.ts';
import { formatPrefix, type Prefix } from '../../src/net/prefix.ts';
import { printRuleset } from '../../src/parse/iptables-save.ts';
import { dumpFolder, dumpSaves, type Save, savesOf, snapshotFiles, snapshotNames } from './dumps-files.ts';
import { portsOf, type Words, wordsOf } from './dumps-words.ts';
import { completed, parseSave, restore, rulesetOf } from './dumps-world.ts';
import { cannotRun, type Random, randomFrom, sweepNetns } from './netfilter-support.ts';
import { compare, describeDisagreement, RouteErrors } from './simulate-compare.ts';
import type { Injection } from './simulate-flows.ts';
import { KernelNamespace, tuns } from './simulate-namespace.ts';
import { load, type WorldText } from './simulate-world.ts';

const why = dumpFolder === undefined ? 'PODPATH_SHARED names no folder with dumps/' : cannotRun();
if (why !== undefined) console.log(`IPv6 dumps against the kernel: skipped: ${why}`);

const seed = Number(process.env.PODPATH_SEED ?? 20_261_122);
const flows = Number(process.env.PODPATH_FLOWS ?? 60);
const isDebug = process.env.PODPATH_ORACLE_DEBUG !== undefined;

/** 10.1.2.3 is fd00:4::a01:203. */
const under = (text: string): string =>
  text
    .replace(
      /\b(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(\/\d+)?(:\d+(?:-\d+)?)?/g,
      (whole, a, b, c, d, length, port) => {
        if ([a, b, c, d].some((part) => Number(part) > 255)) return whole;
        const hex = (one: string, two: string) => (Number(one) * 256 + Number(two)).toString(16);
        const moved = `fd00:4::${hex(a, b)}:${hex(c, d)}`;
        const bits = length === undefined ? '' : `/${96 + Number(length.slice(1))}`;
        return port === undefined ? `${moved}${bits}` : `[${moved}]${port}`;
      },
    )
    .replace(/ -p icmp\b/g, ' -p ipv6-icmp')
    .replace(/ -m icmp --icmp-type (8|echo-request)(\/0)?\b/g, ' -m icmp6 --icmpv6-type 128')
    .replace(/icmp-port-unreachable/g, 'icmp6-port-unreachable')
    .replace(/icmp-(net|host|proto)-(unreachable|prohibited)/g, 'icmp6-no-route')
    .replace(/icmp-admin-prohibited/g, 'icmp6-adm-prohibited');

/** Devices that this namespace has, in place of the machine's. */
const onTuns = (text: string): string =>
  text.replace(/( -[io]) (\S+)/g, (whole, option: string, name: string) => {
    if (name === 'lo' || name === '+') return whole;
    const sum = [...name].reduce((total, char) => total + char.charCodeAt(0), 0);
    return `${option} ${tuns[sum % tuns.length]?.name ?? 'tin'}`;
  });

const setLines = (random: Random, { sets, prefixes, ports }: Words): readonly string[] =>
  [...sets].flatMap(([name, count]) => {
    const type = ['hash:net', 'hash:net,port', 'hash:ip,port,net'][Math.min(count, 3) - 1] ?? 'hash:net';
    const made = [`create ${name} ${type} family inet6`];
    for (let i = random.int(4); i > 0; i--) {
      const [one, two] = [random, random].map(() =>
        prefixes.length === 0 ? undefined : random.pick(prefixes),
      );
      if (one === undefined || two === undefined || one.length === 0 || two.length === 0) continue;
      const port = `tcp:${ports.length === 0 ? 80 : random.pick(ports)}`;
      const parts = [count > 2 ? formatAddress(one) : formatPrefix(one), port, formatPrefix(two)];
      made.push(`add ${name} ${parts.slice(0, Math.min(count, 3)).join(',')}`);
    }
    return made;
  });

/** To some of the networks that the rules name; the rest leaves by `tout`. */
const routes = (random: Random, { prefixes }: Words): readonly string[] => [
  'route append default dev tout metric 5000',
  ...prefixes
    .filter((prefix) => prefix.length > 0 && !isMulticast(prefix) && prefix.value >> 1n !== 0n)
    .slice(0, 40)
    .filter(() => random.chance(0.7))
    .map((prefix, i) =>
      random.chance(0.1) && prefix.length === 128
        ? `route append local ${formatPrefix(prefix)} dev lo metric ${100 + i}`
        : `route append ${formatPrefix(prefix)} dev ${random.pick(tuns).name} metric ${100 + i}`,
    ),
];

const all = (1n << 128n) - 1n;

/** Source port 60000: rules name others. */
const firstFlow = 60_000 - 1024;

function near(random: Random, { value, length }: Prefix): Address {
  const size = 1n << BigInt(128 - length);
  const inside = BigInt(random.int(Number(size > 65_536n ? 65_536n : size)));
  return {
    family: 6,
    value: (value + random.pick([0n, inside, inside, inside, size - 1n, size, -1n])) & all,
  };
}

function ends(random: Random, words: Words, side: 'src' | 'dst', at: number): Address {
  const rule = words.rules[at];
  const own = rule?.matches.find((match) => match.kind === 'address' && match.side === side);
  if (own?.kind === 'address' && own.prefix.length > 0 && random.chance(0.85))
    return near(random, own.prefix);
  if (words.prefixes.length > 0 && random.chance(0.6)) return near(random, random.pick(words.prefixes));
  return address(`fd00:${random.pick(tuns).net}::${random.pick(['1', '2', '77'])}`);
}

const isHost = (one: Address): boolean => !isMulticast(one) && one.value > 1n && one.value >> 118n !== 0x3fan;

function firstPacket(random: Random, words: Words, flow: number, via: string): Packet {
  const at = words.rules.length === 0 ? 0 : random.int(words.rules.length);
  const rule = words.rules[at];
  const named = rule?.matches.find((match) => match.kind === 'protocol');
  const wanted =
    named?.kind === 'protocol' && !named.negate
      ? { 6: 'tcp', 17: 'udp', 58: 'icmpv6' }[named.protocol]
      : undefined;
  const protocol = (wanted ?? random.pick(['tcp', 'udp', 'icmpv6'])) as 'tcp' | 'udp' | 'icmpv6';
  const port = rule?.matches.find((match) => match.kind === 'port' && match.side !== 'src');
  const near = port?.kind === 'port' && random.chance(0.85) ? portsOf(port) : words.ports;
  const ports = near.filter((one) => one < 60_000);
  const source = ends(random, words, 'src', at);
  const [src, dst] = [
    via === 'out'
      ? address(`fd00:${random.pick(tuns).net}::1`)
      : isHost(source)
        ? source
        : address('fd00:1::2'),
    ends(random, words, 'dst', at),
  ];
  const isIcmp = protocol === 'icmpv6';
  return {
    src,
    dst: isHost(dst) ? dst : address('fd00:2::2'),
    protocol,
    srcPort: isIcmp ? 0 : 1024 + flow,
    dstPort: isIcmp ? 0 : ports.length === 0 ? 80 : random.pick(ports),
    lengthBytes: protocol === 'tcp' ? 60 : 56,
    df: true,
    ttl: 64,
    mark: via === 'out' && random.chance(0.2) ? random.pick([0x4000, 0x8000, 0x10000]) : 0,
    ...(protocol === 'tcp' ? { flags: random.chance(0.85) ? { syn: true } : { ack: true } } : {}),
    ...(isIcmp ? { icmp: { type: 128, code: 0, id: 1024 + flow } } : {}),
  };
}

function flowsNear(random: Random, words: Words, netns: Netns): readonly Injection[] {
  const simulate = simulation(netns);
  return Array.from({ length: flows }, (_none, at): readonly Injection[] => {
    const flow = firstFlow + at;
    const via = random.pick([...tuns.map(({ name }) => name), 'out']);
    const packet = firstPacket(random, words, flow, via);
    const ask = (by: string, one: Packet) => simulate({ packet: one, ...(by === 'out' ? {} : { iif: by }) });
    const ours = ask(via, packet);
    const first: Injection = { via, packet, sequence: { seq: 1000, ack: 0 }, flow, ours };
    const { oif, packet: left } = ours;
    if (ours.verdict !== 'forward' || oif === undefined || left.madeUp !== undefined) return [first];
    const { flags: _, tos: __, ...plain } = left;
    const answer: Packet = {
      ...plain,
      src: left.dst,
      dst: left.src,
      srcPort: left.dstPort,
      dstPort: left.srcPort,
      ttl: 64,
      mark: 0,
      ...(left.protocol === 'tcp' ? { flags: { syn: true, ack: true } } : {}),
      ...(left.icmp === undefined ? {} : { icmp: { ...left.icmp, type: 129 } }),
    };
    return [
      first,
      { via: oif, packet: answer, sequence: { seq: 5000, ack: 1001 }, flow, ours: ask(oif, answer) },
    ];
  }).flat();
}

const backends = ['nft', 'legacy'] as const;

describe.skipIf(why !== undefined)('IPv6 dumps against the kernel', () => {
  const saves: Save[] = [];
  const open = new Map<string, KernelNamespace>();
  beforeAll(async () => {
    await sweepNetns('pp-sixdumps');
    for (const backend of backends)
      open.set(backend, await KernelNamespace.open(`pp-sixdumps-${process.pid}-${backend}`));
    saves.push(...dumpSaves());
    for (const snapshot of snapshotNames()) saves.push(...savesOf(snapshot, await snapshotFiles(snapshot)));
  }, 120_000);
  afterAll(async () => {
    for (const kernel of open.values()) await kernel.close();
  });

  test.each(backends)('%s agrees', { timeout: 400_000 }, async (backend) => {
    const kernel = open.get(backend);
    if (kernel === undefined) throw new Error('no namespace');
    const tally = new Map<string, number>();
    const chosen = chosenOf(saves);
    let left = 0;
    const refused: string[] = [];
    const reasons = new Map<string, number>();
    let packets = 0;
    for (const [i, save] of chosen.entries()) {
      const random = randomFrom(seed + i);
      const words = wordsOf(save.ruleset);
      const world: WorldText = {
        backend,
        settings: ['net.ipv6.conf.all.forwarding 1', 'net.netfilter.nf_conntrack_tcp_loose 1'],
        routing4: [],
        routing6: routes(random, words),
        sets: setLines(random, words),
        rules4: [],
        rules6: [],
        native: [],
      };
      // Once without rules: the sets and routes must be there; then what this kernel refuses is left out.
      const before = await load(kernel, world);
      expect(typeof before, `${save.name}: ${typeof before === 'string' ? before : ''}`).toBe('object');
      const text = printRuleset(save.ruleset);
      const loaded = await restore(kernel.name, `ip6tables-${backend}`, text).catch((error: unknown) =>
        String(error),
      );
      if (typeof loaded === 'string') {
        refused.push(`${save.name}: ${loaded.slice(0, 200)}`);
        continue;
      }
      left += loaded.replaced.length;
      const netns = await load(kernel, {
        ...world,
        rules6: loaded.text.split('\n').filter((line) => line !== ''),
      });
      if (typeof netns === 'string') throw new Error(`${save.name}: ${netns}`);
      // Nothing is there but what was loaded.
      const rulesets = mapKnown(netns.rulesets, (saves) => saves.map(({ unseen: _, ...one }) => one));
      const whole: Netns = { ...netns, rulesets };
      const injections = flowsNear(random, words, whole);
      packets += injections.length;
      if (isDebug)
        for (const { ours } of injections)
          if (ours.verdict === 'unknown') reasons.set(ours.reason, (reasons.get(ours.reason) ?? 0) + 1);
      const result = await compare(kernel, new RouteErrors(), injections);
      for (const [kind, count] of result.tally) tally.set(kind, (tally.get(kind) ?? 0) + count);
      const [first] = result.disagreements;
      if (first === undefined) continue;
      const message = `${save.name}: ${result.disagreements.length} differ\n${describeDisagreement(first)}`;
      if (!isDebug) expect.fail(message);
      console.log(message);
    }
    if (isDebug) console.log([...reasons].sort((a, b) => b[1] - a[1]).slice(0, 12));
    console.log(
      `IPv6 dumps ${backend}: ${chosen.length} rule sets, ${packets} packets, ${left} rules left out, refused by the tool: ${refused.join('; ') || 'none'}, ${JSON.stringify(Object.fromEntries(tally))}`,
    );
    expect(refused.length).toBeLessThan(chosen.length / 10);
    for (const fate of ['forward', 'deliver', 'reject', 'drop', 'translated'])
      expect(tally.get(fate) ?? 0, fate).toBeGreaterThan(5);
    expect(tally.get('unknown') ?? 0).toBeLessThan(packets * 0.4);
  });
});

/** Those with rules, of each recording one; those of IPv4 moved. */
function chosenOf(saves: readonly Save[]): readonly { readonly name: string; readonly ruleset: Ruleset }[] {
  const seen = new Set<string>();
  return saves.flatMap((save) => {
    const key = `${save.name.split(':')[0]} ${save.family}`;
    if (seen.has(key) || !save.text.includes('-A ')) return [];
    seen.add(key);
    const text = onTuns(under(printRuleset(completed(rulesetOf(save)))));
    const moved = parseSave({ ...save, text, family: 6, table: undefined });
    return moved.ok
      ? [{ name: `${save.name}${save.family === 4 ? ', moved' : ''}`, ruleset: moved.value }]
      : [];
  });
}
