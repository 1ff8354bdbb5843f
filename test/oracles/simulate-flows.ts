/** Random flows through `podpath simulate` and through the kernel, and what became of each packet. */
import { fileURLToPath } from 'node:url';
import { simulation } from '../../src/dataplane/simulate.ts';
import type { Netns } from '../../src/model/netns.ts';
import type { Simulated } from '../../src/model/simulated.ts';
import { address } from '../../src/net/address.ts';
import { formatPacket, type Packet, type TcpFlags } from '../../src/net/packet.ts';
import { inNetns, type Random, run } from './netfilter-support.ts';
import { decode, encode, type Sequence, type Wire } from './netfilter-wire.ts';
import { tuns } from './simulate-world.ts';

const injector = fileURLToPath(new URL('simulate-inject.py', import.meta.url));

export interface Injection {
  /** A device, or `out`. */
  readonly via: string;
  readonly packet: Packet;
  readonly sequence: Sequence;
  readonly flow: number;
  readonly ours: Simulated;
}

const ports = [53, 80, 443, 8080];
const oddFlags: readonly TcpFlags[] = [
  { ack: true },
  { syn: true, ack: true },
  { rst: true },
  { fin: true, ack: true },
];

const host = (family: 4 | 6, net: number, tail: string): string => {
  const [b = '0', c = '0'] = tail.split('.');
  if (family === 4) return `10.${net}.${b}.${c}`;
  return b === '0' ? `fd00:${net}::${c}` : `fd00:${net}::${b}:${c}`;
};

function someDestination(random: Random, family: 4 | 6): string {
  if (random.chance(0.02)) return family === 4 ? '127.0.0.1' : '::1';
  const tail = random.pick(['0.1', '0.2', '0.2', '3.4', '5.6', '0.77']);
  return host(family, random.pick([1, 2, 2, 1, 3, 4, 50, 51]), tail);
}

function someSource(random: Random, family: 4 | 6, via: string): string {
  if (via === 'out') return host(family, random.pick([1, 2, 3, 4]), '0.1');
  const own = tuns.find(({ name }) => name === via)?.net ?? 1;
  if (random.chance(0.88)) return host(family, own, random.pick(['0.2', '0.2', '3.4']));
  if (random.chance(0.05)) return family === 4 ? '127.0.0.1' : '::1';
  return host(family, random.pick([1, 2, 3, 4, 50]), random.pick(['0.1', '0.2', '5.6']));
}

const least = (protocol: Packet['protocol'], family: 4 | 6): number =>
  (family === 4 ? 20 : 40) + (protocol === 'tcp' ? 20 : 16);

/** The first packet of a flow; its source port or ICMP id tells the flow from all others of the world. */
function firstPacket(random: Random, flow: number, via: string): Packet {
  const family = random.chance(0.35) ? 6 : 4;
  const protocol = random.pick(['tcp', 'tcp', 'udp', family === 4 ? 'icmp' : 'icmpv6'] as const);
  const isIcmp = protocol === 'icmp' || protocol === 'icmpv6';
  const large = via !== 'out' && random.chance(0.08);
  const echo = protocol === 'icmp' ? [8, 0] : [128, 129];
  return {
    src: address(someSource(random, family, via)),
    dst: address(someDestination(random, family)),
    protocol,
    srcPort: isIcmp ? 0 : 1024 + flow,
    dstPort: isIcmp ? 0 : random.pick(ports),
    lengthBytes: large ? random.pick([1280, 1290, 1350, 1400, 1450]) : least(protocol, family),
    df: family === 6 || random.chance(0.7),
    ttl: via !== 'out' && random.chance(0.03) ? random.pick([1, 2]) : 64,
    mark: via === 'out' && random.chance(0.2) ? random.pick([1, 2, 0x40]) : 0,
    ...(protocol === 'tcp' ? { flags: random.chance(0.85) ? { syn: true } : random.pick(oddFlags) } : {}),
    ...(isIcmp ? { icmp: { type: echo[random.chance(0.9) ? 0 : 1] ?? 8, code: 0, id: 1024 + flow } } : {}),
  };
}

/** The answer of whom the packet reached: a reply, or an ICMP error of a router on the way. */
function answerTo(random: Random, sent: Packet): Packet {
  const { src, dst, srcPort, dstPort } = sent;
  const six = src.family === 6;
  const { flags: _flags, ...plain } = sent;
  // Marks stay inside the namespace that set them.
  const back = {
    ...plain,
    src: dst,
    dst: src,
    srcPort: dstPort,
    dstPort: srcPort,
    ttl: 64,
    mark: 0,
    df: true,
  };
  if (random.chance(0.2) && (sent.icmp === undefined || sent.quoted === undefined)) {
    return {
      ...back,
      src: random.chance(0.5) ? dst : address(host(src.family, 2, '0.99')),
      protocol: six ? 'icmpv6' : 'icmp',
      srcPort: 0,
      dstPort: 0,
      icmp: six ? { type: 1, code: 4 } : { type: 3, code: 3 },
      quoted: sent,
      lengthBytes: six ? 96 : 56,
    };
  }
  if (sent.protocol === 'tcp') return { ...back, flags: { syn: true, ack: true } };
  if (sent.icmp !== undefined) return { ...back, icmp: { ...sent.icmp, type: six ? 129 : 0 } };
  return back;
}

/** The first packet, an answer to what left, and the next packet of the sender. */
function* randomFlow(random: Random, netns: Netns, flow: number, send: ReturnType<typeof simulation>) {
  const via = random.pick([...tuns.map(({ name }) => name), 'tin', 'out']);
  const inject = (by: string, packet: Packet, sequence: Sequence): Injection => {
    const ours = send({ packet, ...(by === 'out' ? {} : { iif: by }) });
    return { via: by, packet, sequence, flow, ours };
  };
  const first = inject(via, firstPacket(random, flow, via), { seq: 1000, ack: 0 });
  yield first;
  const left = first.ours;
  if (left.verdict !== 'forward' || left.oif === undefined) return;
  const answer = answerTo(random, left.packet);
  const second = inject(left.oif, answer, { seq: 5000, ack: 1001 });
  yield second;
  // What the namespace itself receives it may answer (a RST), which would change the connection.
  if (
    second.ours.verdict === 'deliver' ||
    second.ours.answer?.kind === 'tcp-reset' ||
    answer.quoted !== undefined
  )
    return;
  const { flags: _, ...rest } = first.packet;
  const third = { ...rest, mark: 0, ...(rest.protocol === 'tcp' ? { flags: { ack: true } } : {}) };
  yield inject(via, third, { seq: 1001, ack: 5001 });
  void netns;
}

export function randomFlows(random: Random, netns: Netns, count: number): readonly Injection[] {
  const send = simulation(netns);
  return Array.from({ length: count }, (_, flow) => [...randomFlow(random, netns, flow, send)]).flat();
}

type Seen = Wire & { readonly where: string };

interface Observed {
  /** By the id of the packet that was sent: itself, or an error about it. */
  readonly byId: ReadonlyMap<number, readonly Seen[]>;
  /** Resets that the kernel itself made, by flow. */
  readonly resets: ReadonlySet<number>;
  /** errno of sends that were refused, by id. */
  readonly refused: ReadonlyMap<number, number>;
}

function readOutput(output: string): Observed {
  const byId = new Map<number, Seen[]>();
  const resets = new Set<number>();
  const refused = new Map<number, number>();
  for (const line of output.split('\n')) {
    const [where = '', data = '', errno] = line.split(' ');
    if (where === 'error') refused.set(Number(data), Number(errno));
    const wire = where === 'error' ? undefined : decode(Buffer.from(data, 'hex'));
    if (wire === undefined) continue;
    const id = wire.quotedId ?? wire.id;
    if (id === 0 && wire.packet.flags?.rst === true) resets.add(flowOf(wire.packet));
    byId.set(id, [...(byId.get(id) ?? []), { where, ...wire }]);
  }
  return { byId, resets, refused };
}

/** Source port or ICMP id of the flow, less 1024. */
function flowOf({ quoted, icmp, srcPort, dstPort }: Packet): number {
  if (quoted !== undefined) return flowOf(quoted);
  return (icmp?.id ?? [srcPort, dstPort].find((port) => port >= 1024 && port !== 8080) ?? 0) - 1024;
}

/** ENETUNREACH, EHOSTUNREACH, EACCES, EMSGSIZE. EPERM is what a filter's drop looks like. */
const refusals = new Set([101, 113, 13, 90]);

const words = (packet: Packet): string =>
  `${formatPacket(packet)} ttl ${packet.ttl}${packet.quoted === undefined ? '' : ` about ${formatPacket(packet.quoted)}`}`;

/** What the kernel did with packet `id`, in the words of describeOurs. */
function describeKernel({ byId, refused }: Observed, id: number, flow: number): string {
  const seen = (byId.get(id) ?? []).filter(({ packet }) => flowOf(packet) === flow);
  const own = seen.filter((entry) => entry.id === id);
  const local = own.find((entry) => entry.where === 'local');
  if (local !== undefined) return `deliver ${words(local.packet)}`;
  const [out] = own;
  if (out !== undefined) return `forward ${out.where} ${words(out.packet)}`;
  const error = seen[0];
  if (error !== undefined) {
    const { icmp } = error.packet;
    const isSize =
      icmp !== undefined &&
      (error.packet.protocol === 'icmp' ? icmp.type === 3 && icmp.code === 4 : icmp.type === 2);
    return `reject ${icmp?.type}/${icmp?.code}${isSize ? ` mtu ${error.mtuBytes}` : ''}`;
  }
  return refusals.has(refused.get(id) ?? 0) ? 'reject error' : 'drop';
}

export function describeOurs({ verdict, packet, oif, answer, reason }: Simulated): string {
  switch (verdict) {
    case 'forward':
      return `forward ${oif} ${words(packet)}`;
    case 'deliver':
      return `deliver ${words(packet)}`;
    case 'drop':
      return 'drop';
    case 'unknown':
      return `unknown: ${reason}`;
    case 'reject':
      if (answer?.kind !== 'icmp') return `reject ${answer?.kind}`;
      return `reject ${answer.type}/${answer.code}${answer.mtuBytes === undefined ? '' : ` mtu ${answer.mtuBytes}`}`;
  }
}

export interface Disagreement {
  readonly id: number;
  readonly injection: Injection;
  readonly ours: string;
  readonly kernel: string;
}

export interface Comparison {
  readonly disagreements: readonly Disagreement[];
  /** How often the kernel did what. */
  readonly tally: ReadonlyMap<string, number>;
}

/** Sends the whole batch into namespace `name` and compares every packet's fate. */
export async function compare(name: string, injections: readonly Injection[]): Promise<Comparison> {
  const input = injections
    .map(
      ({ via, packet, sequence }, i) =>
        `${via} ${packet.mark} ${encode(packet, i + 1, sequence).toString('hex')}`,
    )
    .join('\n');
  const argv = inNetns(name, ['python3', injector, ...tuns.map((tun) => tun.name)]);
  const observed = readOutput(await run(argv, `${input}\n`));
  const tally = new Map<string, number>();
  const count = (what: string) => tally.set(what, (tally.get(what) ?? 0) + 1);
  const disagreements: Disagreement[] = [];
  const resetExpected = new Set(
    injections
      .filter(
        ({ ours }) =>
          ours.answer?.kind === 'tcp-reset' || ours.verdict === 'deliver' || ours.verdict === 'unknown',
      )
      .map(({ flow }) => flow),
  );
  for (const [i, injection] of injections.entries()) {
    const ours = describeOurs(injection.ours);
    const plain = describeKernel(observed, i + 1, injection.flow);
    const isReset = plain === 'drop' && observed.resets.has(injection.flow);
    const kernel = isReset && ours === 'reject tcp-reset' ? ours : plain;
    if (injection.ours.verdict === 'unknown') {
      count('unknown');
      continue;
    }
    count(kernel.split(' ')[0] ?? '');
    if (injection.ours.steps.some((step) => step.kind === 'nat')) count('translated');
    const silent = ours.startsWith('reject') && kernel === 'drop';
    if (silent) count('silent');
    const unexplained = isReset && !resetExpected.has(injection.flow);
    if ((ours === kernel || silent) && !unexplained) continue;
    disagreements.push({ id: i + 1, injection, ours, kernel: unexplained ? 'reset' : kernel });
  }
  return { disagreements, tally };
}
