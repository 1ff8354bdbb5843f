/** Worlds for what the random ones of `simulate.test.ts` do not make: one rule a TTL, so that one world asks many questions. */
import { expect } from 'vitest';
import { known } from '../../src/model/known.ts';
import { type Address, address } from '../../src/net/address.ts';
import type { Packet } from '../../src/net/packet.ts';
import { parseConntrack } from '../../src/parse/conntrack.ts';
import type { Random } from './netfilter-support.ts';
import { compare, describeDisagreement, RouteErrors } from './simulate-compare.ts';
import { askAgain, type Injection, type Question } from './simulate-flows.ts';
import type { KernelNamespace } from './simulate-namespace.ts';
import { load, type WorldText } from './simulate-world.ts';

/** A world that forwards and does nothing else. */
export const forwarding: WorldText = {
  backend: 'nft',
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

/** Sends the questions through both, after `connections` has filled the table and listed it; every packet that we are sure of must agree. Returns what we said. */
export async function agree(
  kernel: KernelNamespace,
  world: WorldText,
  questions: readonly Question[],
  connections?: () => Promise<string>,
): Promise<readonly Injection[]> {
  const loaded = await load(kernel, world);
  if (typeof loaded === 'string') throw new Error(loaded);
  const table = connections === undefined ? undefined : parseConntrack(await connections(), 'conntrack.txt');
  if (table?.ok === false) throw new Error(table.error.message);
  const netns = table === undefined ? loaded : { ...loaded, conntrack: known(table.value) };
  const injections = askAgain(netns, questions);
  const { disagreements } = await compare(kernel, new RouteErrors(), injections);
  const shown = disagreements
    .slice(0, 4)
    .map(
      (one) =>
        `${describeDisagreement(one)}\n  ${ruleOf(world, one.injection.packet)}\n${before(one.injection, injections)}`,
    );
  expect(shown.join('\n'), `${disagreements.length} of ${questions.length} differ`).toBe('');
  return injections;
}

/** The packets of the flow up to the one that differs. */
const before = (last: Injection, all: readonly Injection[]): string =>
  all
    .slice(0, all.indexOf(last) + 1)
    .filter(({ flow }) => flow === last.flow)
    .map(
      ({ via, packet, ours }) => `  ${via} ${Object.keys(packet.flags ?? {}).join()} tos ${ours.packet.tos}`,
    )
    .join('\n');

/** Routers count the TTL down before FORWARD. */
const ruleOf = (world: WorldText, { ttl, src }: Packet): string =>
  (src.family === 4 ? world.rules4 : world.rules6).find((line) => line.includes(`-eq ${ttl - 1} `)) ?? '';

/** Rules of FORWARD, each for the packets of one TTL, that show by the TOS whether they matched. */
export function onePerTtl(conditions: readonly string[], family: 4 | 6): readonly string[] {
  const module = family === 4 ? '-m ttl --ttl-eq' : '-m hl --hl-eq';
  return [
    '*mangle',
    ...conditions.map(
      (condition, i) => `-A FORWARD ${module} ${i + 2} ${condition} -j TOS --set-tos 0x4/0xff`,
    ),
    'COMMIT',
  ];
}

/** Random packets from `tin` to behind `tout`, with a TTL of one of `count` rules. */
export function packetsFor(random: Random, family: 4 | 6, flow: number, count: number): Question {
  const host = (net: number): Address => {
    const [b, c] = [random.int(3), 1 + random.int(6)];
    return address(family === 4 ? `10.${net}.${b}.${c}` : `fd00:${net}::${b}:${c}`);
  };
  const protocol = random.pick(['tcp', 'tcp', 'udp', family === 4 ? 'icmp' : 'icmpv6'] as const);
  const isIcmp = protocol === 'icmp' || protocol === 'icmpv6';
  const least = (family === 4 ? 20 : 40) + (protocol === 'tcp' ? 20 : 16);
  const packet: Packet = {
    src: host(1),
    dst: host(2),
    protocol,
    srcPort: isIcmp ? 0 : 1024 + flow,
    dstPort: isIcmp ? 0 : random.pick([53, 80, 443, 8080]),
    lengthBytes: random.chance(0.3) ? random.pick([100, 200, 256]) : least,
    df: family === 6 || random.chance(0.5),
    ttl: 3 + random.int(count),
    tos: random.pick([0, 0, 0x10, 0x11, 0x2e]),
    mark: 0,
    ...(protocol === 'tcp' ? { flags: random.chance(0.7) ? { syn: true } : { ack: true } } : {}),
    ...(isIcmp ? { icmp: { type: protocol === 'icmp' ? 8 : 128, code: 0, id: 1024 + flow } } : {}),
  };
  return { via: 'tin', packet, sequence: { seq: 1000, ack: 0 }, flow };
}
