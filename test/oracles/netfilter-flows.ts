/** Random flows through a namespace of the kernel's and through our engine, and what became of each packet. */
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { emptyConnections } from '../../src/dataplane/netfilter/conntrack.ts';
import type { Netns } from '../../src/model/netns.ts';
import { address } from '../../src/net/address.ts';
import { swappedPorts } from '../../src/net/made-up.ts';
import { formatPacket, type Packet, type TcpFlags } from '../../src/net/packet.ts';
import { withHiddenPorts } from './made-up.ts';
import { hosts as usualHosts, ports as usualPorts } from './netfilter-rules.ts';
import { type Fate, type Simulated, simulate } from './netfilter-simulate.ts';
import { inNetns, makeNetns, type Random, run } from './netfilter-support.ts';
import { decode, encode, type Sequence, type Wire } from './netfilter-wire.ts';

export const injector = fileURLToPath(new URL('netfilter-inject.py', import.meta.url));
const flowsPerWorld = 60;

/** Two TUN devices, a network behind each, and forwarding between them. */
export async function setUp(name: string): Promise<void> {
  await makeNetns(name);
  const lines = ['link set lo up'];
  for (const [device, net] of [
    ['tin', '10.1.0.1/16'],
    ['tout', '10.2.0.1/16'],
  ]) {
    lines.push(
      `tuntap add mode tun name ${device}`,
      `link set ${device} up`,
      `addr add ${net} dev ${device}`,
    );
  }
  await run(inNetns(name, ['ip', '-batch', '-']), `${lines.join('\n')}\n`);
  const settings = ['ip_forward=1', 'icmp_ratelimit=0', 'icmp_ratemask=0', 'conf.all.send_redirects=0'];
  for (const device of ['all', 'default', 'tin', 'tout'])
    settings.push(`conf.${device}.rp_filter=0`, `conf.${device}.send_redirects=0`);
  await run(inNetns(name, ['sysctl', '-qw', ...settings.map((setting) => `net.ipv4.${setting}`)]));
}

/** Where packets go to: what the rules ask about. */
export interface Ends {
  readonly hosts: readonly string[];
  readonly ports: readonly number[];
}

const usualEnds: Ends = { hosts: usualHosts, ports: usualPorts };

export interface Injection {
  readonly via: string;
  readonly packet: Packet;
  readonly sequence: Sequence;
  readonly simulated: Simulated;
  /** The packet that it is the answer to, where that has a port that the kernel made up. */
  readonly answered?: Packet;
}

const oddFlags: readonly TcpFlags[] = [
  { ack: true },
  { syn: true, ack: true },
  { rst: true },
  { fin: true, ack: true },
];

/** The first packet of a flow; its source port tells the flow from all others of the world. */
function firstPacket(random: Random, flow: number, via: string, { hosts, ports }: Ends): Packet {
  const side = via === 'tin' ? '10.1' : '10.2';
  const src =
    via === 'out'
      ? random.pick(['10.1.0.1', '10.2.0.1'])
      : random.chance(0.9)
        ? `${side}.0.2`
        : random.pick(hosts);
  const protocol = random.pick(['tcp', 'tcp', 'udp', 'icmp'] as const);
  const isIcmp = protocol === 'icmp';
  const flags = random.chance(0.85) ? { syn: true } : random.pick(oddFlags);
  return {
    src: address(src),
    dst: address(random.pick(hosts)),
    protocol,
    srcPort: isIcmp ? 0 : 1024 + flow,
    dstPort: isIcmp ? 0 : random.pick(ports),
    lengthBytes: protocol === 'tcp' ? 40 : 36,
    df: true,
    ttl: 64,
    mark: 0,
    ...(protocol === 'tcp' ? { flags } : {}),
    ...(isIcmp ? { icmp: { type: random.chance(0.9) ? 8 : 0, code: 0, id: 1024 + flow } } : {}),
  };
}

/** The answer to a packet as it left, by whom it reached: a reply, or an ICMP error of a router on the way. */
function answerTo(random: Random, sent: Packet): Packet {
  // Marks stay inside the namespace that set them.
  const { src, dst } = sent;
  const ports = swappedPorts(sent, sent.icmp !== undefined);
  const back = { ...sent, src: dst, dst: src, ...ports, ttl: 64, mark: 0 };
  if (random.chance(0.2) && sent.icmp?.type !== 3) {
    const { flags: _flags, madeUp: _madeUp, ...plain } = back;
    const router = random.chance(0.5) ? dst : address('10.2.0.99');
    const icmp = { type: 3, code: 3 };
    return {
      ...plain,
      src: router,
      protocol: 'icmp',
      srcPort: 0,
      dstPort: 0,
      icmp,
      quoted: sent,
      lengthBytes: 56,
    };
  }
  if (sent.protocol === 'tcp') return { ...back, flags: { syn: true, ack: true } };
  if (sent.icmp !== undefined) return { ...back, icmp: { ...sent.icmp, type: 0 } };
  return back;
}

/** A flow: the first packet, an answer to what left, and the next packet of the sender. */
export function randomFlow(
  random: Random,
  netns: Netns,
  flow: number,
  ends = usualEnds,
): readonly Injection[] {
  const via = random.pick(['tin', 'tin', 'tout', 'out']);
  const first = firstPacket(random, flow, via, ends);
  const one = simulate(netns, emptyConnections(), via, first);
  const injections: Injection[] = [{ via, packet: first, sequence: { seq: 1000, ack: 0 }, simulated: one }];
  if (one.fate.kind !== 'forwarded' || one.fate.device === 'lo') return injections;
  // Its answer must name the port that the kernel makes up.
  if (one.fate.packet.madeUp !== undefined) return injections;
  const answer = answerTo(random, one.fate.packet);
  return [...injections, ...restOf(netns, via, first, one, answer)];
}

/** The answer, and what the sender sends then. */
function restOf(
  netns: Netns,
  via: string,
  first: Packet,
  one: Simulated,
  answer: Packet,
): readonly Injection[] {
  if (one.fate.kind !== 'forwarded') return [];
  const injections: Injection[] = [];
  const two = simulate(netns, one.connections, one.fate.device, answer);
  injections.push({
    via: one.fate.device,
    packet: answer,
    sequence: { seq: 5000, ack: 1001 },
    simulated: two,
  });
  // What the namespace itself receives it may answer (a RST), which would change the connection.
  if (two.fate.kind === 'local' || answer.quoted !== undefined) return injections;
  const flags = first.protocol === 'tcp' ? { flags: { ack: true } } : {};
  const third = { ...first, ...flags };
  const three = simulate(netns, two.connections, via, third);
  injections.push({ via, packet: third, sequence: { seq: 1001, ack: 5001 }, simulated: three });
  return injections;
}

type Seen = Wire & { readonly where: string };

/** All that came out during a world, by the IP id that names the packet: under load something comes out late. */
function readOutput(output: string): ReadonlyMap<number, readonly Seen[]> {
  const seen = new Map<number, Seen[]>();
  for (const word of output.split(/\s+/)) {
    const [where = '', data = ''] = word.split(':');
    const wire = decode(Buffer.from(data, 'hex'));
    if (wire === undefined) continue;
    const id = wire.quotedId ?? wire.id;
    seen.set(id, [...(seen.get(id) ?? []), { where, ...wire }]);
  }
  return seen;
}

/** Source port or ICMP id of the flow that a packet belongs to: the kernel's own packets may have any IP id. */
const flowOf = ({ quoted, icmp, srcPort, dstPort }: Packet): number =>
  quoted !== undefined
    ? flowOf(quoted)
    : (icmp?.id ?? [srcPort, dstPort].find((port) => port >= 1024 && port < 8000) ?? 0);

/** What the kernel did, in the words of describeFate; `expected` has a port that the kernel makes up, which hides the flow. */
function describeKernel(
  all: readonly Seen[],
  id: number,
  { packet: sent, simulated, answered }: Injection,
): string {
  const expected = simulated.fate;
  const made = 'packet' in expected ? expected.packet.madeUp : undefined;
  const seen = all
    .filter(({ packet }) => made !== undefined || answered !== undefined || flowOf(packet) === flowOf(sent))
    .map((entry) => ({
      ...entry,
      packet: made === undefined ? entry.packet : withHiddenPorts(entry.packet, made),
    }));
  const own = seen.filter((entry) => entry.id === id);
  const local = own.find((entry) => entry.where === 'local');
  if (local !== undefined) return `local ${formatPacket(local.packet)}`;
  const [out] = own;
  if (out !== undefined) return `forwarded ${out.where} ${formatPacket(out.packet)}`;
  const error = seen.find((entry) => entry.quotedId === id);
  return error === undefined ? 'lost' : `rejected ${error.packet.icmp?.code}`;
}

function describeFate(fate: Fate): string {
  switch (fate.kind) {
    case 'forwarded':
      return `forwarded ${fate.device} ${formatPacket(fate.packet)}`;
    case 'local':
      return `local ${formatPacket(fate.packet)}`;
    case 'rejected':
      return `rejected ${fate.how === 'icmp-port-unreachable' ? 3 : 13}`;
    case 'lost':
    case 'undecided':
      return fate.kind;
  }
}

/** The namespace's own ICMP answer may itself be dropped by its rules: a reject that stays silent is no disagreement. */
const agrees = (ours: string, kernel: string): boolean =>
  ours === kernel || (ours.startsWith('rejected') && kernel === 'lost');

/**
 * Sends random flows into the namespace `name`, whose state `netns` is, and compares what became of each packet. Counts what
 * the kernel did in `tally`; fails at the first disagreement (with PODPATH_ORACLE_DEBUG set it prints all of them).
 */
export async function compareWorld(
  name: string,
  netns: Netns,
  random: Random,
  seed: number,
  tally: Map<string, number>,
  ends: Ends = usualEnds,
): Promise<void> {
  const flows = Array.from({ length: flowsPerWorld }, (_, flow) => randomFlow(random, netns, flow, ends));
  const injections = flows.flat();
  const seen = await inject(name, injections, 0);
  compare(injections, 0, seen, seed, tally);
  const answers = injections.flatMap((one, i) => answersOf(random, netns, one, seen.get(i + 1) ?? [], i + 1));
  if (answers.length === 0) return;
  const { length } = injections;
  compare(answers, length, await inject(name, answers, length), seed, tally);
}

/** The rest of a flow whose port the kernel made up, now that it is seen. To us it stays unknown. */
function answersOf(
  random: Random,
  netns: Netns,
  { via, packet, simulated }: Injection,
  seen: readonly Seen[],
  id: number,
): readonly Injection[] {
  const { fate } = simulated;
  if (fate.kind !== 'forwarded' || fate.packet.madeUp === undefined) return [];
  const left = seen.find((entry) => entry.id === id && entry.where === fate.device)?.packet;
  if (left === undefined) return [];
  const answer = answerTo(random, fate.packet);
  const { quoted } = answer;
  const ports = { srcPort: answer.srcPort, dstPort: left.srcPort };
  const icmp = left.icmp?.id;
  const named: Packet =
    quoted !== undefined
      ? {
          ...answer,
          quoted: {
            ...quoted,
            srcPort: left.srcPort,
            ...(icmp === undefined || quoted.icmp === undefined
              ? {}
              : { icmp: { ...quoted.icmp, id: icmp } }),
          },
        }
      : answer.icmp === undefined || icmp === undefined
        ? { ...answer, ...ports }
        : { ...answer, icmp: { ...answer.icmp, id: icmp } };
  return restOf(netns, via, packet, simulated, answer).map((one) =>
    one.packet === answer ? { ...one, packet: named, answered: packet } : one,
  );
}

async function inject(
  name: string,
  injections: readonly Injection[],
  before: number,
): Promise<ReadonlyMap<number, readonly Seen[]>> {
  const input = injections
    .map(
      ({ via, packet, sequence }, i) =>
        `${via} ${before + i + 1} ${encode(packet, before + i + 1, sequence).toString('hex')}`,
    )
    .join('\n');
  return readOutput(await run(inNetns(name, ['python3', injector, 'tin', 'tout']), `${input}\n`));
}

function compare(
  injections: readonly Injection[],
  before: number,
  seen: ReadonlyMap<number, readonly Seen[]>,
  seed: number,
  tally: Map<string, number>,
): void {
  for (const [i, injection] of injections.entries()) {
    const { packet, simulated, via, answered } = injection;
    const id = before + i + 1;
    const ours = describeFate(simulated.fate);
    const kernel = describeKernel(seen.get(id) ?? [], id, injection);
    const count = (kind: string): unknown => tally.set(kind, (tally.get(kind) ?? 0) + 1);
    if (simulated.fate.kind === 'undecided') {
      count('undecided');
      continue;
    }
    count(kernel.split(' ')[0] ?? '');
    if (simulated.trail.some((step) => /^ +[SD]NAT /.test(step))) count('translated');
    if ('packet' in simulated.fate && simulated.fate.packet.madeUp !== undefined) count('made up');
    if (answered !== undefined) count('answers to made-up ports');
    if (agrees(ours, kernel)) continue;
    const message = [
      `seed ${seed} packet ${id} by ${via}: ${formatPacket(packet)} ${JSON.stringify(packet.flags ?? {})}`,
      `  kernel ${kernel}`,
      `  ours   ${ours}`,
      ...simulated.trail.map((line) => `    ${line}`),
    ].join('\n');
    if (process.env.PODPATH_ORACLE_DEBUG === undefined) expect.fail(message);
    console.log(message);
  }
}
