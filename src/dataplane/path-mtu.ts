/** Full-size packets and path-MTU discovery: what the sender learns, and when it hears nothing. */
import type { Flow } from '../model/flow.ts';
import type { Netns } from '../model/netns.ts';
import type { Hop, Step } from '../model/verdict.ts';
import type { Address } from '../net/address.ts';
import type { Packet } from '../net/packet.ts';
import type { Cursor } from './cursor.ts';
import { type Exchange, exchange, initial, type Start } from './exchange.ts';
import { emptyConnections, track } from './netfilter/conntrack.ts';
import { lookupRoute } from './routing.ts';
import { run } from './run.ts';
import type { World } from './world.ts';

/** Full-size packets over the connection, both ways, shrinking where path-MTU discovery works. */
export function transfer(world: World, opened: Exchange, flow: Flow, start: Start): readonly Exchange[] {
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
export function shrinking(
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
    const isTold = facts?.answers === 'icmp' || facts?.answers === 'route';
    if (!isTold || hop === undefined || netns === undefined)
      return [withIcmp(result, facts?.icmp ?? 'none is sent')];
    // What a tunnel notes on the route of the node's own packets needs no ICMP.
    const told =
      facts.answers === 'route' ? undefined : tellSender(world, data, hop, netns, Number(facts.mtu));
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
