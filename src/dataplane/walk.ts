/**
 * A flow's whole way, there and back: the first packet, its answer, and then full-size packets in both directions over
 * the connection that those two made. Every way a Service or a multipath route can go becomes a branch.
 */
import type { Flow } from '../model/flow.ts';
import { orElse } from '../model/known.ts';
import type { Netns } from '../model/netns.ts';
import type { Answer, Branch, Disposition, Hop, Reason, Step, Verdict } from '../model/verdict.ts';
import { type Address, formatAddress, isLinkLocal, isUnspecified, sameAddress } from '../net/address.ts';
import type { Packet, Transport } from '../net/packet.ts';
import { type Cursor, closeHop, doubt, type End, type Stage } from './cursor.ts';
import { bridgeOn, frameIn, frameOut, transmit } from './frames.ts';
import { deliver, ipIn, send } from './ip.ts';
import { emptyConnections, track } from './netfilter/conntrack.ts';
import { lookupRoute } from './routing.ts';
import { listening } from './sockets.ts';
import type { World } from './world.ts';

/** One packet's end: where its last hop is, and what became of it. */
interface Arrival {
  readonly cursor: Cursor;
  readonly end: End;
}

/** More stages than this are a loop or a rule set that forks without end. */
const maxStages = 4_000;
const maxHops = 48;

/** Moves a packet until every variant of it has ended. */
function run(world: World, first: Stage): readonly Arrival[] {
  const queue: Stage[] = [first];
  const arrivals: Arrival[] = [];
  for (let stages = 0; queue.length > 0; stages++) {
    const stage = queue.pop() as Stage;
    if (stage.at === 'end') arrivals.push({ cursor: stage.cursor, end: stage.end });
    else if (stages > maxStages || stage.cursor.hops.length > maxHops) arrivals.push(endless(stage.cursor));
    else queue.push(...next(world, stage));
  }
  return arrivals;
}

function next(world: World, stage: Exclude<Stage, { at: 'end' }>): readonly Stage[] {
  switch (stage.at) {
    case 'send':
      return send(world, stage.cursor);
    case 'transmit':
      return transmit(world, stage.cursor, stage.device, stage.nextHop, stage.mtuBytes);
    case 'bridge-on':
      return bridgeOn(world, stage.cursor, stage.device, stage.nextHop, stage.inPort);
    case 'frame-out':
      return frameOut(world, stage.cursor, stage.device, stage.dstMac);
    case 'frame-in':
      return frameIn(world, stage.cursor, stage.device, stage.dstMac);
    case 'ip-in':
      return ipIn(world, stage.cursor, stage.device, stage.physIn);
    case 'deliver':
      return deliver(stage.cursor, stage.device);
  }
}

function endless(cursor: Cursor): Arrival {
  const step: Step = {
    kind: 'route',
    action: 'lost',
    reason: 'routing-loop',
    text: `the packet goes round in circles (${cursor.hops.length} hops)`,
  };
  const closed = closeHop({ ...cursor, steps: [...cursor.steps, step] });
  return { cursor: closed, end: { kind: 'lost', step } };
}

/** Where a flow starts: the namespace, its address and the size its first device takes. */
export interface Start {
  readonly netns: Netns;
  readonly address: Address;
}

export const smallBytes = 60;

/** Walks a flow. `start` is the source's namespace; a source outside the snapshot has none and cannot be walked. */
export function walk(world: World, flow: Flow, start: Start): readonly Branch[] {
  const base = initial(start, flow);
  const branches: Branch[] = [];
  if (flow.protocol !== 'tcp' && flow.sizeBytes !== undefined && flow.sizeBytes > smallBytes) {
    // A datagram of the size that is asked about is the first of its connection.
    const large = { ...base, packet: { ...base.packet, lengthBytes: flow.sizeBytes } };
    return shrinking(world, large, flow, start).map((result) => branchOf(world, result, flow, 'full'));
  }
  const wantsSmall = flow.sizeBytes === undefined || flow.sizeBytes <= smallBytes;
  for (const opened of exchange(world, { at: 'send', cursor: base }, flow, start.netns)) {
    if (wantsSmall || opened.answer === 'unreachable') branches.push(branchOf(world, opened, flow, 'small'));
    if (opened.answer === 'unreachable' || (flow.sizeBytes !== undefined && flow.sizeBytes <= smallBytes))
      continue;
    for (const full of transfer(world, opened, flow, start))
      branches.push(branchOf(world, full, flow, 'full'));
  }
  return branches;
}

function initial(start: Start, flow: Flow): Cursor {
  const protocol: Transport =
    flow.protocol === 'icmp' && start.address.family === 6 ? 'icmpv6' : flow.protocol;
  const packet: Packet = {
    src: start.address,
    dst: flow.dst.address,
    protocol,
    srcPort: flow.protocol === 'icmp' ? 0 : (flow.srcPort ?? 40_000),
    dstPort: flow.protocol === 'icmp' ? 0 : flow.dstPort,
    lengthBytes: smallBytes,
    df: true,
    ttl: 64,
    mark: 0,
    ...(flow.protocol === 'tcp' ? { flags: { syn: true } } : {}),
    ...(flow.protocol === 'icmp' ? { icmp: { type: protocol === 'icmpv6' ? 128 : 8, code: 0, id: 1 } } : {}),
  };
  return {
    netns: start.netns,
    packet,
    steps: [],
    hops: [],
    connections: emptyConnections(),
    share: 1,
    doubts: [],
    remarks: [],
    tunnels: [],
    client: { netnsId: start.netns.id, port: packet.srcPort },
  };
}

/** A packet and its answer. */
interface Exchange {
  readonly answer: Answer;
  readonly share: number;
  readonly forward: readonly Hop[];
  readonly back: readonly Hop[];
  readonly broken?: { readonly direction: 'forward' | 'back'; readonly step: Step };
  /** Where the flow's packet ended up, for naming the backend. */
  readonly target: Packet;
  readonly doubts: readonly Step[];
  readonly remarks: readonly Step[];
  /** The answer's cursor in the source's namespace, to go on from. */
  readonly settled?: Cursor;
  /** The cursor of the packet where it was delivered. */
  readonly there?: Cursor;
}

function exchange(
  world: World,
  first: Stage,
  flow: Flow,
  home: Netns,
  answerBytes?: number,
): readonly Exchange[] {
  const sent = first.cursor.packet;
  return run(world, first).flatMap((arrival): readonly Exchange[] => {
    const checked = atRightPlace(world, arrival);
    if (checked.end.kind !== 'delivered') return [failed(checked, 'forward', [])];
    const there = checked.cursor;
    const reply = sourceDoubt(replyTo(there, flow, answerBytes), there);
    return run(world, { at: 'send', cursor: reply }).map((back): Exchange => {
      const answered = atClient(back, home, sent);
      const forward = there.hops;
      if (answered.end.kind !== 'delivered')
        return { ...failed(answered, 'back', forward), target: there.packet };
      const doubts = answered.cursor.doubts;
      return {
        answer: doubts.length > 0 ? 'unknown' : 'reachable',
        share: answered.cursor.share,
        forward,
        back: answered.cursor.hops,
        target: there.packet,
        doubts,
        remarks: answered.cursor.remarks,
        settled: answered.cursor,
        there,
        ...(doubts[0] === undefined
          ? {}
          : { broken: { direction: whereIs(forward, doubts[0]), step: doubts[0] } }),
      };
    });
  });
}

const whereIs = (forward: readonly Hop[], step: Step): 'forward' | 'back' =>
  forward.some((hop) => hop.steps.includes(step)) ? 'forward' : 'back';

function failed(arrival: Arrival, direction: 'forward' | 'back', forward: readonly Hop[]): Exchange {
  const { cursor, end } = arrival;
  if (end.kind === 'delivered') throw new TypeError('a delivered packet has not failed');
  return {
    answer: end.kind === 'lost' ? 'unreachable' : 'unknown',
    share: cursor.share,
    forward: direction === 'forward' ? cursor.hops : forward,
    back: direction === 'back' ? cursor.hops : [],
    broken: { direction, step: end.step },
    target: innermost(cursor.packet),
    doubts: cursor.doubts,
    remarks: cursor.remarks,
  };
}

/** The flow's own packet, out of the tunnel that it may be lost in. */
const innermost = (packet: Packet): Packet =>
  packet.inner === undefined ? packet : innermost(packet.inner.packet);

/** A delivered packet must be in the namespace that owns its address: with a stale route it may be somebody else's. */
function atRightPlace(world: World, arrival: Arrival): Arrival {
  if (arrival.end.kind !== 'delivered') return arrival;
  const { cursor } = arrival;
  const owners = world.owners(cursor.packet.dst);
  const closed = closeHop(cursor);
  if (owners.length === 0 || owners.some((owner) => owner.netnsId === cursor.netns.id))
    return { cursor: closed, end: arrival.end };
  const expected = owners[0]?.netnsId ?? '';
  const step: Step = {
    kind: 'deliver',
    action: 'lost',
    reason: 'wrong-host',
    text: `${cursor.netns.id} takes the packet, which is meant for ${expected}`,
    facts: { expected },
  };
  return {
    cursor: closeHop({ ...cursor, steps: [...cursor.steps, step] }),
    end: { kind: 'lost', step },
  };
}

function replyTo(there: Cursor, flow: Flow, lengthBytes = there.packet.lengthBytes): Cursor {
  const asked = there.packet;
  const packet: Packet = {
    ...asked,
    src: asked.dst,
    dst: asked.src,
    srcPort: asked.dstPort,
    dstPort: asked.srcPort,
    lengthBytes,
    ttl: 64,
    mark: 0,
    ...(flow.protocol === 'tcp'
      ? { flags: asked.flags?.syn === true ? { syn: true, ack: true } : { ack: true } }
      : {}),
    // icmp_sk_init() sets IP_PMTUDISC_DONT: the kernel's own answers may be fragmented.
    ...(asked.icmp === undefined
      ? {}
      : { icmp: { ...asked.icmp, type: asked.icmp.type === 8 ? 0 : 129 }, df: false }),
  };
  const { inDevice: _, fragmentBytes: __, ...rest } = there;
  return { ...rest, packet, steps: [], hops: [] };
}

/** A UDP server that is bound to every address answers from the one that its route picks, unless it takes care (IP_PKTINFO). */
function sourceDoubt(reply: Cursor, there: Cursor): Cursor {
  const { packet, netns } = there;
  if (packet.protocol !== 'udp') return reply;
  const found = listening(netns, packet, there.inDevice ?? '');
  if (found.state !== 'yes') return reply;
  const { local } = found.socket;
  if (local !== undefined && !isUnspecified(local)) return reply;
  const routed = lookupRoute(netns, { dst: packet.src, mark: 0 });
  if (routed.state !== 'found' || routed.source === undefined) return reply;
  const device = orElse(netns.devices, []).find((d) => d.name === routed.nexthop.device);
  // Among several IPv6 addresses of a device the choice depends on more than the snapshot shows (ipv6_dev_get_saddr).
  const choices = (device?.addresses ?? []).filter((a) => a.address.family === 6 && !isLinkLocal(a.address));
  const isOpen = packet.dst.family === 6 && choices.length > 1;
  if (!isOpen && sameAddress(routed.source, packet.dst)) return reply;
  const text = `${netns.id} may answer from ${isOpen ? 'another of its addresses' : formatAddress(routed.source)}, which was not asked: the socket is bound to every address`;
  return doubt(reply, 'send', text, {
    facts: { what: `the address that the server of ${netns.id} answers from` },
  });
}

/** The client takes the answer only in its own namespace and from the address it called. */
function atClient(back: Arrival, home: Netns, sent: Packet): Arrival {
  if (back.end.kind !== 'delivered') return back;
  const { cursor } = back;
  const { packet, netns } = cursor;
  const right =
    netns.id === home.id && packet.src.value === sent.dst.value && packet.srcPort === sent.dstPort;
  if (right) return { cursor: closeHop(cursor), end: back.end };
  const step: Step = {
    kind: 'deliver',
    action: 'lost',
    reason: netns.id === home.id ? 'reply-untranslated' : 'wrong-host',
    text:
      netns.id === home.id
        ? `the answer comes from ${formatAddress(packet.src)}:${packet.srcPort}, but ${formatAddress(sent.dst)}:${sent.dstPort} was called`
        : `the answer ends in ${netns.id}`,
    facts: { expected: home.id, node: netns.node },
  };
  return { cursor: closeHop({ ...cursor, steps: [...cursor.steps, step] }), end: { kind: 'lost', step } };
}

/** Full-size packets over the connection, both ways, shrinking where path-MTU discovery works. */
function transfer(world: World, opened: Exchange, flow: Flow, start: Start): readonly Exchange[] {
  const { settled, there } = opened;
  if (settled === undefined || there === undefined) return [];
  const near = mtuTowards(world, start.netns, flow.dst.address);
  const far = mtuTowards(world, there.netns, there.packet.src);
  // TCP announces each side's MTU in its MSS; other protocols know only their own device.
  const negotiated = flow.protocol === 'tcp' ? Math.min(near, far) : near;
  const lengthBytes = flow.sizeBytes ?? negotiated;
  const { inDevice: _, fragmentBytes: __, ...home } = settled;
  const data: Cursor = {
    ...home,
    netns: start.netns,
    steps: [],
    hops: [],
    packet: {
      ...initial(start, flow).packet,
      lengthBytes,
      ...(flow.protocol === 'tcp' ? { flags: { ack: true } } : {}),
    },
  };
  return shrinking(world, { ...data, share: opened.share }, flow, start);
}

function mtuTowards(world: World, netns: Netns, dst: Address): number {
  const found = lookupRoute(netns, { dst, mark: 0 });
  const device = found.state === 'found' ? world.device(netns, found.nexthop.device ?? '') : undefined;
  const onRoute = found.state === 'found' ? found.route.mtuBytes : undefined;
  return Math.min(device?.mtuBytes ?? 1500, onRoute ?? Number.POSITIVE_INFINITY);
}

/** Sends, and on "fragmentation needed" sends again smaller, as that side's kernel does when the ICMP reaches it. */
function shrinking(
  world: World,
  data: Cursor,
  flow: Flow,
  start: Start,
  tries = 4,
  answerBytes?: number,
): readonly Exchange[] {
  const results = exchange(world, { at: 'send', cursor: data }, flow, start.netns, answerBytes);
  return results.flatMap((result) => {
    const { broken } = result;
    if (broken?.step.reason !== 'mtu-exceeded') return [result];
    const { facts } = broken.step;
    const hop = (broken.direction === 'forward' ? result.forward : result.back).at(-1);
    const netns = hop === undefined ? undefined : world.netns(hop.netns);
    if (facts?.answers !== 'icmp' || hop === undefined || netns === undefined)
      return [withIcmp(result, facts?.icmp ?? 'none is sent')];
    const told = tellSender(world, data, hop, netns, Number(facts.mtu));
    if (told !== undefined) return [withIcmp(result, told)];
    if (tries === 0) return [withIcmp(result, 'path-MTU discovery does not end')];
    const smaller = Number(facts.mtu);
    const noted: Step = {
      kind: 'mtu',
      action: 'pass',
      text: `path-MTU discovery: ${hop.node} tells the ${broken.direction === 'forward' ? 'sender' : 'answering side'} to use ${smaller} bytes`,
    };
    const remarks = [...data.remarks, noted];
    // Each direction has a size of its own; an answer that only repeats what came is no larger than that.
    if (broken.direction === 'back')
      return shrinking(world, { ...data, remarks }, flow, start, tries - 1, smaller);
    const again = { ...data, packet: { ...data.packet, lengthBytes: smaller }, remarks };
    const answer = flow.protocol === 'tcp' ? (answerBytes ?? data.packet.lengthBytes) : undefined;
    return shrinking(world, again, flow, start, tries - 1, answer);
  });
}

/** Undefined if the ICMP error reaches the sender; else why it does not. */
function tellSender(world: World, data: Cursor, hop: Hop, netns: Netns, mtu: number): string | undefined {
  const { packet } = hop;
  const six = packet.src.family === 6;
  const route = lookupRoute(netns, { dst: packet.src, mark: 0 });
  // icmp_send() leaves the source to the route back to the packet's sender.
  const from = route.state === 'found' ? route.source : undefined;
  if (from === undefined) return `${hop.node} has no address to send the ICMP error from`;
  const error: Packet = {
    src: from,
    dst: packet.src,
    protocol: six ? 'icmpv6' : 'icmp',
    srcPort: 0,
    dstPort: 0,
    icmp: six ? { type: 2, code: 0 } : { type: 3, code: 4 },
    lengthBytes: 576,
    df: false,
    ttl: 64,
    mark: 0,
    // What conntrack calls RELATED by, and NAT translates back by.
    quoted: packet,
  };
  const { inDevice: _, fragmentBytes: __, ...rest } = data;
  const { connections } = data;
  // icmp_glue_bits() gives the error the connection of the packet that it is about, also where SNAT is yet to come.
  const attached = track(emptyConnections(), netns.id, packet).connection;
  const arrivals = run(world, {
    at: 'send',
    cursor: {
      ...rest,
      netns,
      packet: error,
      connections: {
        ...connections,
        entries: attached === undefined ? connections.entries : [attached, ...connections.entries],
      },
      steps: [],
      hops: [],
      tunnels: [],
      doubts: [],
      remarks: [],
    },
  });
  const lost = arrivals.find((arrival) => arrival.end.kind !== 'delivered');
  if (lost === undefined || lost.end.kind === 'delivered') return undefined;
  const at = lost.cursor.hops.at(-1)?.netns ?? hop.node;
  return `the ICMP "fragmentation needed" (MTU ${mtu}) is lost at ${at}: ${lost.end.step.text}`;
}

function withIcmp(result: Exchange, icmp: string): Exchange {
  const { broken } = result;
  if (broken === undefined) return result;
  const step: Step = { ...broken.step, facts: { ...broken.step.facts, icmp } };
  const swap = (hops: readonly Hop[]) =>
    hops.map((hop) => ({ ...hop, steps: hop.steps.map((s) => (s === broken.step ? step : s)) }));
  return { ...result, forward: swap(result.forward), back: swap(result.back), broken: { ...broken, step } };
}

function branchOf(world: World, result: Exchange, flow: Flow, size: Branch['size']): Branch {
  const fragmented = result.remarks.find((noted) => noted.reason === 'fragment-lost');
  const uncertain = result.answer === 'reachable' && fragmented !== undefined;
  const broken =
    uncertain && fragmented !== undefined
      ? { direction: whereIs(result.forward, fragmented), step: fragmented }
      : result.broken;
  const hop =
    broken === undefined
      ? undefined
      : holder(broken.direction === 'forward' ? result.forward : result.back, broken.step);
  const owner = world.owners(result.target.dst)[0];
  const viaService =
    result.target.dst.value !== flow.dst.address.value || result.target.dstPort !== flow.dstPort;
  const name = owner?.pod === undefined ? '' : `${owner.pod.namespace}/${owner.pod.name} `;
  return {
    share: result.share,
    size,
    answer: uncertain ? 'unknown' : result.answer,
    disposition: broken === undefined ? 'delivered' : dispositionOf(broken.step, broken.direction),
    trace: { forward: result.forward, back: result.back },
    remarks: result.remarks,
    ...(viaService ? { backend: `${name}${formatAddress(result.target.dst)}:${result.target.dstPort}` } : {}),
    ...(broken === undefined || hop === undefined
      ? {}
      : { broken: { direction: broken.direction, hop, step: broken.step } }),
  };
}

const holder = (hops: readonly Hop[], step: Step): Hop | undefined =>
  hops.find((hop) => hop.steps.includes(step)) ?? hops.at(-1);

const dispositions: Readonly<Record<Reason, Disposition>> = {
  'no-route': 'no-route',
  'route-blackhole': 'blackholed',
  'wrong-next-hop': 'no-route',
  'ip-forward-off': 'not-forwarding',
  'rp-filter': 'rpf-failed',
  'martian-source': 'martian',
  'routing-loop': 'loop',
  'ttl-exceeded': 'loop',
  'device-down': 'no-route',
  'device-missing': 'no-route',
  'neighbour-unresolved': 'neighbour-unreachable',
  'neighbour-wrong-mac': 'neighbour-unreachable',
  'no-host-for-address': 'neighbour-unreachable',
  'hairpin-off': 'filtered',
  'fdb-missing': 'tunnel-lost',
  'fdb-wrong': 'tunnel-lost',
  'vtep-mac-mismatch': 'tunnel-lost',
  'tunnel-endpoint-missing': 'tunnel-lost',
  'tunnel-endpoint-down': 'tunnel-lost',
  'tunnel-parameters-differ': 'tunnel-lost',
  'rule-drop': 'filtered',
  'rule-reject': 'filtered',
  'chain-policy-drop': 'filtered',
  'no-endpoints': 'no-endpoints',
  'service-rules-missing': 'no-route',
  'mtu-exceeded': 'mtu-exceeded',
  'fragment-lost': 'fragment-lost',
  'not-listening': 'refused',
  'loopback-only': 'refused',
  'policy-ingress': 'denied-ingress',
  'policy-egress': 'denied-egress',
  'reply-untranslated': 'return-lost',
  'wrong-host': 'no-route',
  'unknown-state': 'insufficient-info',
};

/** A reply's loss is return-lost, except for sizes: those say more than the direction. */
export function dispositionOf(step: Step, direction: 'forward' | 'back'): Disposition {
  const own = dispositions[step.reason ?? 'unknown-state'];
  const keeps = own === 'insufficient-info' || own === 'mtu-exceeded' || own === 'fragment-lost';
  return direction === 'back' && !keeps ? 'return-lost' : own;
}

/** The answer over all branches: one that fails makes the flow unreachable, one that is not known makes it unknown. */
export function conclude(branches: readonly Branch[]): Pick<Verdict, 'answer' | 'disposition' | 'trace'> {
  const shown =
    branches.find((branch) => branch.answer === 'unreachable') ??
    branches.find((branch) => branch.answer === 'unknown') ??
    branches[0];
  if (shown === undefined)
    return { answer: 'unknown', disposition: 'insufficient-info', trace: { forward: [], back: [] } };
  return { answer: shown.answer, disposition: shown.disposition, trace: shown.trace };
}
