/**
 * The packet in which a namespace tells a sender what became of its packet: icmp_send(), icmp6_send(), nf_send_reset() and
 * nf_send_reset6(). It has a route, a source and a mark of its own; the connection of the packet that it is about goes with it.
 */
import type { Netns } from '../model/netns.ts';
import type { KernelAnswer } from '../model/simulated.ts';
import { type Address, isLinkLocal, isMulticast } from '../net/address.ts';
import { swappedPorts } from '../net/made-up.ts';
import type { Packet } from '../net/packet.ts';
import { isLocal, lookupRoute, type RouteResult, sysctl, sysctlDevice } from './routing.ts';
import { selectAddress, selectSource6 } from './routing-source.ts';

/** The packet that is answered, as it was where it ended. */
export interface Refused {
  readonly netns: Netns;
  readonly packet: Packet;
  /** Absent: a process of the namespace sent it. */
  readonly inDevice?: string;
  /** The hook of the rule that rejected it; absent: routing or forwarding gave it up. */
  readonly hook?: string;
}

export type Departure =
  /** A route for each next hop is in `result`; `packet` lacks the source that the hop chooses where `source` is absent. */
  | { readonly kind: 'sent'; readonly packet: Packet; readonly result: RouteResult }
  | { readonly kind: 'silent'; readonly why: string };

const silent = (why: string): Departure => ({ kind: 'silent', why });

export function departure(refused: Refused, answer: Exclude<KernelAnswer, { kind: 'error' }>): Departure {
  const { packet } = refused;
  if (packet.src.family === 6)
    return answer.kind === 'icmp' ? icmp6(refused, answer) : reset(refused, packet.dst);
  if (isBroadcastRoute(refused)) return silent('packets to a broadcast address are not answered');
  if (answer.kind === 'icmp') return icmp4(refused, answer);
  // ip_route_me_harder(): a source that is no unicast address is left to the route.
  return reset(refused, packet.dst);
}

/** RTCF_BROADCAST and RTCF_MULTICAST of the route that the packet has. */
function isBroadcastRoute({ netns, packet, inDevice }: Refused): boolean {
  if (isMulticast(packet.dst)) return true;
  const { dst, src, mark } = packet;
  const found = lookupRoute(netns, { dst, src, mark, ...(inDevice === undefined ? {} : { iif: inDevice }) });
  return found.state === 'found' && ['broadcast', 'multicast'].includes(found.route.type);
}

type Icmp = Extract<KernelAnswer, { kind: 'icmp' }>;

/** IP4_REPLY_MARK and IP6_REPLY_MARK. */
const replyMark = ({ netns, packet }: Refused): number =>
  sysctl(netns, packet.src.family === 4 ? 'net.ipv4.fwmark_reflect' : 'net.ipv6.fwmark_reflect') === '1'
    ? packet.mark
    : 0;

const defaultTtl = (netns: Netns): number => Number(sysctl(netns, 'net.ipv4.ip_default_ttl') ?? 64);

/** Of what an ICMP error quotes icmp_send() takes so much that the whole has this size at most. */
const mostBytes4 = 576;
/** IPV6_MIN_MTU. */
const mostBytes6 = 1280;

/** IPTOS_PREC_INTERNETCONTROL. */
const internetControl = 0xc0;

function icmp4(refused: Refused, { type, code }: Icmp): Departure {
  const { netns, packet } = refused;
  const chosen = ownSource4(refused);
  const mark = replyMark(refused);
  // icmp_route_lookup() has no FLOWI_FLAG_ANYSRC: a called address that is foreign finds no route.
  const result = lookupRoute(netns, { dst: packet.src, src: chosen, mark, needsOwnSource: true });
  return sent(result, {
    src: chosen ?? noAddress(4),
    dst: packet.src,
    protocol: 'icmp',
    srcPort: 0,
    dstPort: 0,
    icmp: { type, code },
    lengthBytes: Math.min(28 + packet.lengthBytes, mostBytes4),
    // icmp_sk_init() sets IP_PMTUDISC_DONT.
    df: false,
    ttl: defaultTtl(netns),
    tos: ((packet.tos ?? 0) & 0x1e) | internetControl,
    mark,
    quoted: packet,
  });
}

const noAddress = (family: 4 | 6): Address => ({ family, value: 0n });

/** The address that was called where it is the namespace's own; else, if icmp_errors_use_inbound_ifaddr says so, one of the device. */
function ownSource4({ netns, packet, inDevice, hook }: Refused): Address | undefined {
  const isOwn = hook === 'input' || (hook === 'output' && isLocal(netns, packet.dst) === true);
  // nf_reject_fill_skb_dst(): at PREROUTING the route is one to the sender.
  if (isOwn || (hook === 'prerouting' && isLocal(netns, packet.src) === true)) return packet.dst;
  if (hook === 'prerouting' || inDevice === undefined) return undefined;
  if (sysctl(netns, 'net.ipv4.icmp_errors_use_inbound_ifaddr') !== '1') return undefined;
  return selectAddress(netns, inDevice, packet.src, 'link');
}

function icmp6(refused: Refused, { type, code }: Icmp): Departure {
  const { netns, packet, inDevice } = refused;
  const mark = replyMark(refused);
  const called = isMulticast(packet.dst) ? false : isLocal(netns, packet.dst);
  const chosen = called === true ? packet.dst : inboundSource6(refused);
  const oif = isLinkLocal(packet.src) ? inDevice : undefined;
  const result = lookupRoute(netns, { dst: packet.src, src: chosen, mark, oif });
  if (result.state === 'found' && result.route.type === 'anycast')
    return silent('anycast addresses are not answered');
  return sent(result, {
    src: chosen ?? noAddress(6),
    dst: packet.src,
    protocol: 'icmpv6',
    srcPort: 0,
    dstPort: 0,
    icmp: { type, code },
    lengthBytes: Math.min(48 + packet.lengthBytes, mostBytes6),
    df: true,
    ttl: hopLimit6(netns, result),
    mark,
    quoted: packet,
  });
}

/** icmpv6_rt_has_prefsrc(), then the addresses of the device that the packet came by. */
function inboundSource6({ netns, packet, inDevice }: Refused): Address | undefined {
  const plain = lookupRoute(netns, { dst: packet.src });
  if (plain.state === 'found' && plain.route.prefsrc !== undefined) return plain.route.prefsrc;
  return inDevice === undefined ? undefined : selectSource6(netns, packet.src, inDevice);
}

/** ip6_dst_hoplimit(). */
function hopLimit6(netns: Netns, result: RouteResult): number {
  const device = result.state === 'found' ? result.nexthop.device : undefined;
  const own =
    device === undefined ? undefined : sysctl(netns, `net.ipv6.conf.${sysctlDevice(device)}.hop_limit`);
  return Number(own ?? 64);
}

function reset(refused: Refused, from: Address): Departure {
  const { netns, packet } = refused;
  const mark = replyMark(refused);
  const six = packet.src.family === 6;
  const result = lookupRoute(netns, { dst: packet.src, src: from, mark });
  return sent(result, {
    src: from,
    dst: packet.src,
    protocol: 'tcp',
    ...swappedPorts(packet, false),
    // nf_reject_ip_tcphdr_put(): what has no ACK is acknowledged.
    flags: packet.flags?.ack === true ? { rst: true } : { rst: true, ack: true },
    lengthBytes: six ? 60 : 40,
    df: true,
    ttl: six ? hopLimit6(netns, result) : defaultTtl(netns),
    mark,
  });
}

function sent(result: RouteResult, packet: Packet): Departure {
  if (result.state === 'none' || result.state === 'refused')
    return silent('the namespace has no route back to the sender');
  return { kind: 'sent', packet, result };
}
