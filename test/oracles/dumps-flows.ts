/** Packets near the rules of a dump, through the kernel and through our engine. */
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { type Connections, emptyConnections } from '../../src/dataplane/netfilter/conntrack.ts';
import type { Match, Rule } from '../../src/model/netfilter.ts';
import { type Address, address, isMulticast, sameAddress } from '../../src/net/address.ts';
import { formatPacket, type Packet } from '../../src/net/packet.ts';
import type { Prefix } from '../../src/net/prefix.ts';
import { type Ending, endings, type Fate } from './dumps-walk.ts';
import { deviceFor, portsOf } from './dumps-words.ts';
import type { DumpWorld } from './dumps-world.ts';
import { withHiddenPorts } from './made-up.ts';
import { inNetns, type Random, run } from './netfilter-support.ts';
import { decode, encode, type Sequence, type Wire } from './netfilter-wire.ts';

const injector = fileURLToPath(new URL('netfilter-inject.py', import.meta.url));

interface Injection {
  readonly via: string;
  readonly packet: Packet;
  readonly sequence: Sequence;
  readonly ways: readonly Ending[];
}

export interface Tally {
  packets: number;
  /** Our engine held one fate possible, and it was the kernel's. */
  decided: number;
  /** Several were possible: chance, rate, or a match of unknown outcome. */
  open: number;
  /** We say reject; its answer was itself lost on the way out. */
  silent: number;
  readonly fates: Map<string, number>;
}

const find = <K extends Match['kind']>(rule: Rule, kind: K): Extract<Match, { kind: K }> | undefined =>
  rule.matches.find((match): match is Extract<Match, { kind: K }> => match.kind === kind);

/** Inside a prefix, or right beside it. */
function near(random: Random, { family, value, length }: Prefix): Address {
  const size = 1n << BigInt(32 - length);
  const inside = length === 32 ? 0n : BigInt(random.int(Number(size > 65_536n ? 65_536n : size)));
  const offset = random.pick([0n, inside, inside, inside, size - 1n, size, -1n]);
  return { family, value: (value + offset) & 0xffffffffn };
}

function addressNear(random: Random, world: DumpWorld, rule: Rule | undefined, side: 'src' | 'dst'): Address {
  const own = rule?.matches.find((match) => match.kind === 'address' && match.side === side);
  if (own?.kind === 'address' && random.chance(0.85)) return near(random, own.prefix);
  const { prefixes } = world.words;
  if (random.chance(0.2)) return address(random.pick(world.locals));
  if (prefixes.length > 0 && random.chance(0.8)) return near(random, random.pick(prefixes));
  return address(`192.0.2.${random.int(world.devices.length) * 16 + 2}`);
}

function portNear(
  random: Random,
  world: DumpWorld,
  rule: Rule | undefined,
  side: 'src' | 'dst',
): number | undefined {
  const own = rule?.matches.find(
    (match) => match.kind === 'port' && (match.side === side || match.side === 'either'),
  );
  const ports = own?.kind === 'port' && random.chance(0.85) ? portsOf(own) : world.words.ports;
  return ports.length === 0 ? undefined : random.pick(ports);
}

/** A source port outside the range of such a rule is given one at random: our engine shows the first. */
const picksPorts = ({ words }: DumpWorld): boolean =>
  words.rules.some(
    ({ target }) =>
      (target.kind === 'masquerade' && target.ports !== undefined) ||
      (target.kind === 'snat' && target.range.ports !== undefined),
  );

const transportOf = (random: Random, rule: Rule | undefined): 'tcp' | 'udp' | 'icmp' => {
  const protocol = rule === undefined ? undefined : find(rule, 'protocol');
  const named = ({ 1: 'icmp', 6: 'tcp', 17: 'udp' } as const)[protocol?.protocol as 1 | 6 | 17];
  return named !== undefined && random.chance(0.9) ? named : random.pick(['tcp', 'tcp', 'udp', 'icmp']);
};

/** Sockets refuse to send to broadcast addresses; those of the devices' own networks end in 15. */
const mayBeSentTo = (dst: Address): boolean =>
  !isMulticast(dst) &&
  dst.value >> 28n < 14n &&
  dst.value >> 24n > 0n &&
  dst.value !== 0x7fffffffn &&
  !(dst.value >> 8n === 0xc00002n && (dst.value & 15n) === 15n);

const flagSets = [{ ack: true }, { syn: true, ack: true }, { rst: true }, { fin: true, ack: true }, {}];

function firstPacket(
  random: Random,
  world: DumpWorld,
  flow: number,
  taken: Set<string>,
): { via: string; packet: Packet } {
  const rule = world.words.rules.length === 0 ? undefined : random.pick(world.words.rules);
  const device = rule?.matches.find((match) => match.kind === 'device' && match.direction === 'in');
  const named = device?.kind === 'device' ? deviceFor(device.name) : undefined;
  const via =
    named !== undefined && world.devices.includes(named) && random.chance(0.85)
      ? named
      : random.chance(0.15)
        ? 'out'
        : random.pick(world.devices);
  const protocol = transportOf(random, rule);
  const src = via === 'out' ? address(random.pick(world.locals)) : addressNear(random, world, rule, 'src');
  let dst = addressNear(random, world, rule, 'dst');
  if (via === 'out' && !mayBeSentTo(dst)) dst = address('192.0.2.2');
  const isIcmp = protocol === 'icmp';
  const special =
    !picksPorts(world) && random.chance(0.15) ? portNear(random, world, rule, 'src') : undefined;
  // The source port tells flows apart: a special one is used once.
  const srcPort = special === undefined || taken.has(`${protocol} ${special}`) ? 1024 + flow : special;
  taken.add(`${protocol} ${srcPort}`);
  const flags = random.chance(0.8) ? { syn: true } : random.pick(flagSets);
  const icmpRule = rule === undefined ? undefined : find(rule, 'icmp-type');
  const type = random.chance(0.6) ? 8 : (icmpRule?.type ?? random.pick([0, 8, 13]));
  return {
    via,
    packet: {
      src,
      dst,
      protocol,
      srcPort: isIcmp ? 0 : srcPort,
      dstPort: isIcmp ? 0 : (portNear(random, world, rule, 'dst') ?? 80),
      lengthBytes: protocol === 'tcp' ? 40 : 36,
      df: true,
      ttl: random.chance(0.7) ? 64 : random.pick([2, 3, 63, 65, 255]),
      ...(random.chance(0.7) ? {} : { tos: random.pick([0x10, 0x08, 0xb8, 0x28]) }),
      mark: 0,
      ...(protocol === 'tcp' ? { flags } : {}),
      // An error that quotes nothing is no packet of a dump's traffic.
      ...(isIcmp
        ? { icmp: { type: [0, 8, 13, 14].includes(type) ? type : 8, code: 0, id: 1024 + flow } }
        : {}),
    },
  };
}

function flowOf(random: Random, world: DumpWorld, flow: number, taken: Set<string>): readonly Injection[] {
  const { via, packet } = firstPacket(random, world, flow, taken);
  const inject = (
    connections: Connections,
    by: string,
    sent: Packet,
    seq: number,
    ack: number,
  ): Injection => ({
    via: by,
    packet: sent,
    sequence: { seq, ack },
    ways: endings(world.netns, connections, by, sent),
  });
  const one = inject(emptyConnections(), via, packet, 1000, 0);
  const [out] = one.ways;
  if (one.ways.length !== 1 || out?.fate.kind !== 'forwarded' || out.fate.device === 'lo') return [one];
  const sent = out.fate.packet;
  // An answer to a port that only the kernel knows; other oracles wait for its choice.
  if (sent.madeUp !== undefined) return [one];
  const { flags: _, ...plain } = sent;
  const answer: Packet = {
    ...plain,
    src: sent.dst,
    dst: sent.src,
    srcPort: sent.dstPort,
    dstPort: sent.srcPort,
    ttl: 64,
    mark: 0,
    ...(sent.protocol === 'tcp' ? { flags: { syn: true, ack: true } } : {}),
    ...(sent.icmp === undefined ? {} : { icmp: { ...sent.icmp, type: sent.icmp.type === 13 ? 14 : 0 } }),
  };
  return [one, inject(out.connections, out.fate.device, answer, 5000, 1001)];
}

interface Seen extends Wire {
  readonly where: string;
  readonly isReset: boolean;
}

function readOutput(output: string): readonly Seen[] {
  const seen: Seen[] = [];
  for (const word of output.split(/\s+/)) {
    const [where = '', data = ''] = word.split(':');
    const bytes = Buffer.from(data, 'hex');
    const wire = decode(bytes);
    if (wire === undefined) continue;
    const isReset = wire.packet.protocol === 'tcp' && ((bytes[33] ?? 0) & 4) !== 0;
    seen.push({ where, ...wire, packet: { ...wire.packet, tos: bytes[1] ?? 0 }, isReset });
  }
  return seen;
}

/** The kernel's own RST has the IP id 0 (nf_reject_iphdr_put, ip_send_unicast_reply); those that are sent through it do not. */
const answersTo = (reset: Packet, sent: Packet): boolean =>
  sent.protocol === 'tcp' &&
  reset.protocol === 'tcp' &&
  sameAddress(reset.dst, sent.src) &&
  reset.srcPort === sent.dstPort &&
  reset.dstPort === sent.srcPort;

/** Its source port or ICMP id tells a flow from the kernel's own packets, which may have any IP id. */
const isOfFlow = (found: Packet, sent: Packet): boolean =>
  found.protocol === sent.protocol &&
  // A port that the kernel made up tells nothing, and the other one may be translated too.
  (found.madeUp?.src !== undefined ||
    (sent.icmp !== undefined
      ? found.icmp?.id === sent.icmp.id
      : [found.srcPort, found.dstPort].includes(sent.srcPort) ||
        [found.srcPort, found.dstPort].includes(sent.dstPort)));

const describePacket = (packet: Packet): string =>
  `${formatPacket(packet)} ttl ${packet.ttl} tos ${packet.tos ?? 0}`;

const describeError = (icmp: Packet['icmp']): string =>
  icmp?.type === 3 ? `rejected ${icmp.code}` : `rejected ${icmp?.type}/${icmp?.code}`;

/** What the kernel did, in the words of describeFate; ports that it may have made up are hidden. */
function describeKernel(all: readonly Seen[], id: number, sent: Packet, made: Packet['madeUp']): string {
  const seen =
    made === undefined
      ? all
      : all.map((entry) => ({ ...entry, packet: withHiddenPorts(entry.packet, made) }));
  const own = seen.filter(
    (entry) => entry.id === id && entry.quotedId === undefined && isOfFlow(entry.packet, sent),
  );
  const local = own.find((entry) => entry.where === 'local');
  if (local !== undefined) return `local ${describePacket(local.packet)}`;
  const [out] = own;
  if (out !== undefined) return `forwarded ${out.where} ${describePacket(out.packet)}`;
  const error = seen.find((entry) => entry.quotedId === id);
  if (error !== undefined) return describeError(error.packet.icmp);
  const reset = seen.find(
    (entry) => entry.isReset && entry.id === 0 && answersTo(entry.packet, sent) && !sent.flags?.rst,
  );
  return reset === undefined ? 'lost' : 'rejected tcp-reset';
}

const rejectCodes: Readonly<Record<string, string>> = {
  'icmp-net-unreachable': '0',
  'icmp-host-unreachable': '1',
  'icmp-proto-unreachable': '2',
  'icmp-port-unreachable': '3',
  'icmp-net-prohibited': '9',
  'icmp-host-prohibited': '10',
  'icmp-admin-prohibited': '13',
  'time-exceeded': '11/0',
};

function describeFate(fate: Fate): string {
  switch (fate.kind) {
    case 'forwarded':
      return `forwarded ${fate.device} ${describePacket(fate.packet)}`;
    case 'local':
      return `local ${describePacket(fate.packet)}`;
    case 'rejected':
      return `rejected ${rejectCodes[fate.how] ?? fate.how}`;
    case 'lost':
    case 'any':
      return fate.kind;
  }
}

/** Sends `flows` flows through both and compares. Fails at the first packet whose fate our engine does not hold possible. */
export async function compareDump(
  name: string,
  label: string,
  world: DumpWorld,
  random: Random,
  flows: number,
  tally: Tally,
): Promise<void> {
  const taken = new Set<string>();
  const injections = Array.from({ length: flows }, (_, flow) => flowOf(random, world, flow, taken)).flat();
  const input = injections.map(
    ({ via, packet, sequence }, i) => `${via} ${i + 1} ${encode(packet, i + 1, sequence).toString('hex')}`,
  );
  const output = await run(inNetns(name, ['python3', injector, ...world.devices]), `${input.join('\n')}\n`);
  const seen = readOutput(output);
  for (const [i, { packet, via, ways }] of injections.entries()) {
    const [made] = ways.flatMap(({ fate }) => ('packet' in fate ? (fate.packet.madeUp ?? []) : []));
    const kernel = describeKernel(seen, i + 1, packet, made);
    const ours = [...new Set(ways.map(({ fate }) => describeFate(fate)))];
    tally.packets++;
    const kind = kernel.split(' ')[0] ?? '';
    tally.fates.set(kind, (tally.fates.get(kind) ?? 0) + 1);
    if (ours.length > 1 || ours[0] === 'any') tally.open++;
    else tally.decided++;
    if (ours.includes(kernel) || ours.includes('any')) continue;
    // The answer of a REJECT passes OUTPUT itself and may be dropped there.
    if (kernel === 'lost' && ours.some((fate) => fate.startsWith('rejected'))) {
      tally.silent++;
      continue;
    }
    const message = [
      `${label} packet ${i + 1} by ${via}: ${formatPacket(packet)} ${JSON.stringify(packet.flags ?? {})}`,
      `  kernel ${kernel}`,
      ...ways.flatMap(({ fate, trail }) => [
        `  ours   ${describeFate(fate)} ${'why' in fate ? fate.why : ''}`,
        ...trail.map((line) => `    ${line}`),
      ]),
    ].join('\n');
    if (process.env.PODPATH_ORACLE_DEBUG === undefined) expect.fail(message);
    console.log(message);
  }
}
