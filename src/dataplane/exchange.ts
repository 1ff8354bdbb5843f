/** One packet and its answer: what makes a connection, and what every later packet of it is. */
import type { Flow } from '../model/flow.ts';
import { orElse } from '../model/known.ts';
import type { Netns } from '../model/netns.ts';
import type { Answer, Hop, Step } from '../model/verdict.ts';
import { type Address, formatAddress, isLinkLocal, isUnspecified, sameAddress } from '../net/address.ts';
import { swappedPorts } from '../net/made-up.ts';
import type { Packet, Transport } from '../net/packet.ts';
import { type Cursor, closeHop, copyOf, doubt, type Stage } from './cursor.ts';
import { emptyConnections } from './netfilter/conntrack.ts';
import { lookupRoute } from './routing.ts';
import { type Arrival, run } from './run.ts';
import { listening } from './sockets.ts';
import type { World } from './world.ts';

/** Where a flow starts: the namespace, its address and the size its first device takes. */
export interface Start {
  readonly netns: Netns;
  readonly address: Address;
  /** Keep what a reader wants to know: the rules that matched, and for a drop the nearest that would have accepted. */
  readonly explain?: true;
}

export const smallBytes = 60;

export function initial(start: Start, flow: Flow): Cursor {
  const protocol: Transport =
    flow.protocol === 'icmp' && start.address.family === 6 ? 'icmpv6' : flow.protocol;
  const packet: Packet = {
    src: chosenSource(start, flow),
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
    ...(start.explain === undefined ? {} : { explain: start.explain }),
  };
}

/**
 * A node has many addresses: its kernel picks the one that the route prefers (ip_route_connect), which need not be the
 * InternalIP. IPv4 alone: of IPv6 a dump does not tell enough. Where next hops differ, the given one stands.
 */
function chosenSource({ netns, address }: Start, { dst }: Flow): Address {
  if (netns.pod !== undefined || dst.address.family !== 4) return address;
  const routed = lookupRoute(netns, { dst: dst.address, mark: 0 });
  if (routed.state !== 'found' || routed.source === undefined) return address;
  const { source } = routed;
  const isSure = routed.alternatives.every((one) => one.source?.value === source.value);
  return isSure ? source : address;
}

/** A packet and its answer. */
export interface Exchange {
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

export function exchange(
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

export const whereIs = (forward: readonly Hop[], step: Step): 'forward' | 'back' =>
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
  const { proxied: _proxied, ...asked } = there.packet;
  const packet: Packet = {
    ...asked,
    src: asked.dst,
    dst: asked.src,
    ...swappedPorts(asked, asked.icmp !== undefined),
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
  const reply = copyOf(there);
  reply.inDevice = undefined;
  reply.fragmentBytes = undefined;
  reply.packet = packet;
  reply.steps = [];
  reply.hops = [];
  return reply;
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
  // Rules that were not seen may be the ones that translate the answer.
  const doubted = cursor.unsure ?? cursor.doubts[0];
  if (doubted !== undefined) return { cursor: closeHop(cursor), end: { kind: 'unknown', step: doubted } };
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
