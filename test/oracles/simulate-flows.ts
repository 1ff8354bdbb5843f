/** Random flows through `podpath simulate`: the first packet, what those answer whom it reached, and what its sender sends then. */
import { simulation } from '../../src/dataplane/simulate.ts';
import type { Netns } from '../../src/model/netns.ts';
import type { Simulated } from '../../src/model/simulated.ts';
import { address } from '../../src/net/address.ts';
import type { Packet, SctpChunk, TcpFlags } from '../../src/net/packet.ts';
import type { Random } from './netfilter-support.ts';
import type { Sequence } from './netfilter-wire.ts';
import { tuns } from './simulate-namespace.ts';

/** A packet as it is sent to both. */
export interface Question {
  /** A device, or `out`. */
  readonly via: string;
  readonly packet: Packet;
  readonly sequence: Sequence;
  readonly flow: number;
}

export interface Injection extends Question {
  readonly ours: Simulated;
}

const ports = [53, 80, 443, 8080];
const oddFlags: readonly TcpFlags[] = [
  { ack: true },
  { syn: true, ack: true },
  { rst: true },
  { fin: true, ack: true },
];

const oddChunks: readonly SctpChunk[] = [
  'init-ack',
  'cookie-echo',
  'heartbeat',
  'data',
  'shutdown-ack',
  'abort',
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
  // Many senders: the kernel tells each only so often that there is no route (ip_error).
  if (random.chance(0.4)) return host(family, own, `${6 + random.int(240)}.${1 + random.int(250)}`);
  if (random.chance(0.8)) return host(family, own, random.pick(['0.2', '0.2', '3.4']));
  if (random.chance(0.1)) return family === 4 ? '127.0.0.1' : '::1';
  return host(family, random.pick([1, 2, 3, 4, 50]), random.pick(['0.1', '0.2', '5.6']));
}

const least = (protocol: Packet['protocol'], family: 4 | 6): number =>
  (family === 4 ? 20 : 40) + (protocol === 'tcp' ? 20 : protocol === 'sctp' ? 32 : 16);

/** The first packet of a flow; its source port or ICMP id tells the flow from all others of the world. */
function firstPacket(random: Random, flow: number, via: string): Packet {
  const family = random.chance(0.35) ? 6 : 4;
  const protocol = random.chance(0.04)
    ? 'sctp'
    : random.pick(['tcp', 'tcp', 'udp', family === 4 ? 'icmp' : 'icmpv6'] as const);
  const isIcmp = protocol === 'icmp' || protocol === 'icmpv6';
  const large = via !== 'out' && random.chance(0.08);
  const echo =
    protocol === 'icmp' ? [8, 8, 8, 8, 8, 8, 8, 0, 13, 42] : [128, 128, 128, 128, 128, 128, 129, 200];
  return {
    src: address(someSource(random, family, via)),
    dst: address(someDestination(random, family)),
    protocol,
    srcPort: isIcmp ? 0 : 1024 + flow,
    dstPort: isIcmp ? 0 : random.pick(ports),
    lengthBytes: large ? random.pick([1280, 1290, 1350, 1400, 1450]) : least(protocol, family),
    df: family === 6 || random.chance(0.7),
    ttl: via !== 'out' && random.chance(0.03) ? random.pick([1, 2]) : 64,
    ...(random.chance(0.05) ? { tos: random.pick([0x04, 0x10, 0xb8]) } : {}),
    mark: via === 'out' && random.chance(0.2) ? random.pick([1, 2, 0x40]) : 0,
    ...(protocol === 'tcp' ? { flags: random.chance(0.85) ? { syn: true } : random.pick(oddFlags) } : {}),
    ...(protocol === 'sctp' ? { chunk: random.chance(0.9) ? 'init' : random.pick(oddChunks) } : {}),
    ...(isIcmp ? { icmp: { type: random.pick(echo), code: 0, id: 1024 + flow } } : {}),
  };
}

/** The answer of whom the packet reached: a reply, or an ICMP error of a router on the way. */
function answerTo(random: Random, sent: Packet): Packet {
  const { src, dst, srcPort, dstPort } = sent;
  const six = src.family === 6;
  const { flags: _flags, tos: _tos, ...plain } = sent;
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
  if (sent.protocol === 'sctp')
    return {
      ...back,
      chunk: sent.chunk === 'heartbeat' ? 'heartbeat' : sent.chunk === 'init' ? 'init-ack' : 'data',
    };
  if (sent.protocol === 'tcp') return { ...back, flags: { syn: true, ack: true } };
  if (sent.icmp !== undefined) return { ...back, icmp: { ...sent.icmp, type: six ? 129 : 0 } };
  return back;
}

/** The first packet, an answer to what left, and more packets of the sender, as long as nobody inside answers too. */
function* randomFlow(random: Random, flow: number, send: ReturnType<typeof simulation>) {
  const via = random.pick([...tuns.map(({ name }) => name), 'tin', 'out']);
  const inject = (by: string, packet: Packet, sequence: Sequence): Injection => {
    const ours = send({ packet, ...(by === 'out' ? {} : { iif: by }) });
    return { via: by, packet, sequence, flow, ours };
  };
  const first = inject(via, firstPacket(random, flow, via), { seq: 1000, ack: 0 });
  yield first;
  const { flags: _, ...plain } = first.packet;
  const isTcp = plain.protocol === 'tcp';
  const again = (flags: TcpFlags, sequence: Sequence, change: Partial<Packet> = {}): Injection =>
    inject(
      via,
      { ...plain, mark: 0, ...(isTcp ? { flags } : {}), ...nextChunk(flags, plain), ...change },
      sequence,
    );
  const left = first.ours;
  if (left.verdict === 'drop' || left.verdict === 'reject') {
    // Who is refused tries again: what the first packet left behind, and what its answer did, shows.
    if (random.chance(0.8)) return;
    yield again(random.pick([{ syn: true }, { ack: true }]), { seq: 1000, ack: 0 });
    return;
  }
  if (left.verdict !== 'forward' || left.oif === undefined) return;
  // A SYN within a connection is passed over until its answer comes (last_end): that depends on sequence numbers.
  if (first.packet.flags?.ack !== true && random.chance(0.05)) {
    // With another traffic class other rules may meet it, and refuse it with a reset.
    const second = again({ syn: true }, { seq: 1000, ack: 0 }, { tos: 0x10 });
    yield second;
    if (mayAnswer(second)) return;
  }
  const answer = answerTo(random, left.packet);
  const reply = inject(left.oif, answer, { seq: 5000, ack: 1001 });
  yield reply;
  if (mayAnswer(reply)) return;
  const third = again({ ack: true }, { seq: 1001, ack: 5001 });
  yield third;
  if (mayAnswer(third) || random.chance(0.9)) return;
  yield again(random.pick([{ fin: true, ack: true }, { syn: true }]), { seq: 1001, ack: 5001 });
}

/** What of SCTP stands where TCP has these flags. */
const nextChunk = ({ syn, fin }: TcpFlags, { chunk }: Packet): Pick<Packet, 'chunk'> =>
  chunk === undefined ? {} : { chunk: syn ? chunk : chunk === 'init' && !fin ? 'cookie-echo' : 'data' };

/** What the namespace itself receives it may answer (a RST of its TCP), which would change the connection. */
const mayAnswer = ({ ours }: Injection): boolean => ours.verdict === 'deliver' || ours.verdict === 'unknown';

export function randomFlows(random: Random, netns: Netns, count: number): readonly Injection[] {
  const send = simulation(netns);
  return Array.from({ length: count }, (_, flow) => [...randomFlow(random, flow, send)]).flat();
}

/** Asks again, of another state. */
export function askAgain(netns: Netns, questions: readonly Question[]): readonly Injection[] {
  const send = simulation(netns);
  return questions.map(({ via, packet, sequence, flow }) => {
    const ours = send({ packet, ...(via === 'out' ? {} : { iif: via }) });
    return { via, packet, sequence, flow, ours };
  });
}
