/** Random flows through a namespace of the kernel's and through our engine, and what became of each packet. */
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { emptyConnections } from '../../src/dataplane/netfilter/conntrack.ts';
import type { Netns } from '../../src/model/netns.ts';
import { address } from '../../src/net/address.ts';
import { formatPacket, type Packet, type TcpFlags } from '../../src/net/packet.ts';
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
  const { src, dst, srcPort, dstPort } = sent;
  // Marks stay inside the namespace that set them.
  const back = { ...sent, src: dst, dst: src, srcPort: dstPort, dstPort: srcPort, ttl: 64, mark: 0 };
  if (random.chance(0.2) && sent.icmp?.type !== 3) {
    const { flags: _flags, ...plain } = back;
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
  const answer = answerTo(random, one.fate.packet);
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

/** What the kernel did, in the words of describeFate. */
function describeKernel(all: readonly Seen[], id: number, sent: Packet): string {
  const seen = all.filter(({ packet }) => flowOf(packet) === flowOf(sent));
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
      return 'lost';
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
  const input = injections
    .map(
      ({ via, packet, sequence }, i) => `${via} ${i + 1} ${encode(packet, i + 1, sequence).toString('hex')}`,
    )
    .join('\n');
  const output = await run(inNetns(name, ['python3', injector, 'tin', 'tout']), `${input}\n`);
  const seen = readOutput(output);
  for (const [i, injection] of injections.entries()) {
    const ours = describeFate(injection.simulated.fate);
    const kernel = describeKernel(seen.get(i + 1) ?? [], i + 1, injection.packet);
    const kind = kernel.split(' ')[0] ?? '';
    tally.set(kind, (tally.get(kind) ?? 0) + 1);
    const isTranslated = injection.simulated.trail.some((step) => /^ +[SD]NAT /.test(step));
    if (isTranslated) tally.set('translated', (tally.get('translated') ?? 0) + 1);
    if (agrees(ours, kernel)) continue;
    const message = [
      `seed ${seed} packet ${i + 1} by ${injection.via}: ${formatPacket(injection.packet)} ${JSON.stringify(injection.packet.flags ?? {})}`,
      `  kernel ${kernel}`,
      `  ours   ${ours}`,
      ...injection.simulated.trail.map((line) => `    ${line}`),
    ].join('\n');
    if (process.env.PODPATH_ORACLE_DEBUG === undefined) expect.fail(message);
    console.log(message);
  }
}
