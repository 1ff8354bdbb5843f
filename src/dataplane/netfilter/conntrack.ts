/**
 * Connection tracking as nf_conntrack does it, for the packets of one walk: values only, a table is replaced, never changed.
 * One table serves every namespace; a connection belongs to one.
 */
import type { Tuple } from '../../model/netns.ts';
import { type Address, sameAddress } from '../../net/address.ts';
import type { Packet, Transport } from '../../net/packet.ts';

export type TrackState = 'NEW' | 'ESTABLISHED' | 'RELATED' | 'INVALID' | 'UNTRACKED';
export type TrackDirection = 'original' | 'reply';
export type Manip = 'src' | 'dst';

export interface Connection {
  readonly netns: string;
  readonly protocol: Transport;
  readonly original: Tuple;
  /** What a reply looks like where it enters: the inverse of the original with its NAT applied. */
  readonly reply: Tuple;
  /** IPS_SEEN_REPLY: a reply has left the namespace's hooks, so the next packet is ESTABLISHED. */
  readonly seenReply: boolean;
  /** Only TCP has one; NONE of tcp_conntracks[] is not stored. */
  readonly tcp?: 'syn-sent' | 'syn-received' | 'established';
  /** ct->mark. */
  readonly mark: number;
  /** IPS_*_NAT_DONE: the nat table has been asked and is not asked again. */
  readonly natDone: Readonly<Record<Manip, boolean>>;
  /** IPS_SRC_NAT / IPS_DST_NAT: the tuple really changed. `--ctstate SNAT,DNAT` look at these. */
  readonly natChanged: Readonly<Record<Manip, boolean>>;
}

/** What the packet carries through the hooks of one namespace (skb->_nfct). */
export interface Tracking {
  readonly state: TrackState;
  readonly direction: TrackDirection;
  /** Absent for INVALID and UNTRACKED. */
  readonly connection?: Connection;
}

/** The table, and what the packet under way carries with it: it is the same value that goes on with the packet. */
export interface Connections {
  readonly entries: readonly Connection[];
  readonly inFlight?: { readonly netns: string; readonly tracking: Tracking };
}

export const emptyConnections = (): Connections => ({ entries: [] });

/** Before the conntrack hook has run there is no connection: rules in raw see INVALID. */
export const notTracked: Tracking = { state: 'INVALID', direction: 'original' };
export const untracked: Tracking = { state: 'UNTRACKED', direction: 'original' };

/** ICMP requests that may open a connection and the reply that each expects (nf_conntrack_proto_icmp{,v6}.c). */
const icmpReply: Readonly<Record<'icmp' | 'icmpv6', ReadonlyMap<number, number>>> = {
  icmp: new Map([
    [8, 0],
    [13, 14],
    [15, 16],
    [17, 18],
  ]),
  icmpv6: new Map([
    [128, 129],
    [139, 140],
  ]),
};

/** Neighbour discovery and MLD are never tracked (noct_valid_new). */
const icmp6Untracked = new Set([130, 131, 132, 133, 134, 135, 136, 143]);

const isIcmp = (protocol: Transport): protocol is 'icmp' | 'icmpv6' =>
  protocol === 'icmp' || protocol === 'icmpv6';

/** ICMP messages that quote the packet they are about. */
export function isIcmpError(packet: Packet): boolean {
  const type = packet.icmp?.type;
  if (type === undefined) return false;
  if (packet.protocol === 'icmp') return [3, 4, 5, 11, 12].includes(type);
  return packet.protocol === 'icmpv6' && type < 128;
}

/** Ports stand for themselves; of ICMP the id is the source port and type and code the destination port, as in the kernel. */
export function tupleOf(packet: Packet): Tuple {
  if (packet.icmp !== undefined && isIcmp(packet.protocol))
    return {
      src: packet.src,
      dst: packet.dst,
      srcPort: packet.icmp.id ?? 0,
      dstPort: packet.icmp.type * 256 + packet.icmp.code,
    };
  return { src: packet.src, dst: packet.dst, srcPort: packet.srcPort, dstPort: packet.dstPort };
}

export function invert(protocol: Transport, tuple: Tuple): Tuple {
  if (isIcmp(protocol)) {
    const type = Math.floor(tuple.dstPort / 256);
    const back = [...icmpReply[protocol]].find(([, reply]) => reply === type)?.[0];
    const inverse = icmpReply[protocol].get(type) ?? back ?? type;
    return {
      src: tuple.dst,
      dst: tuple.src,
      srcPort: tuple.srcPort,
      dstPort: inverse * 256 + (tuple.dstPort % 256),
    };
  }
  return { src: tuple.dst, dst: tuple.src, srcPort: tuple.dstPort, dstPort: tuple.srcPort };
}

const sameTuple = (a: Tuple, b: Tuple): boolean =>
  a.srcPort === b.srcPort &&
  a.dstPort === b.dstPort &&
  sameAddress(a.src, b.src) &&
  sameAddress(a.dst, b.dst);

/** Looks a tuple up in both directions. */
function lookupConnection(
  view: Connections,
  netns: string,
  protocol: Transport,
  tuple: Tuple,
): { readonly connection: Connection; readonly direction: TrackDirection } | undefined {
  // Newest first: a replaced connection stands at the end.
  for (let i = view.entries.length - 1; i >= 0; i--) {
    const connection = view.entries[i];
    if (connection === undefined || connection.netns !== netns || connection.protocol !== protocol) continue;
    if (sameTuple(connection.original, tuple)) return { connection, direction: 'original' };
    if (sameTuple(connection.reply, tuple)) return { connection, direction: 'reply' };
  }
  return undefined;
}

/** nf_conntrack_in: what the conntrack hook of PREROUTING and OUTPUT makes of a packet. `tcpLoose` is nf_conntrack_tcp_loose. */
export function track(view: Connections, netns: string, packet: Packet, tcpLoose = true): Tracking {
  if (packet.protocol === 'icmpv6' && icmp6Untracked.has(packet.icmp?.type ?? -1)) return untracked;
  if (isIcmpError(packet)) return trackIcmpError(view, netns, packet);
  const tuple = tupleOf(packet);
  const found = lookupConnection(view, netns, packet.protocol, tuple);
  if (found === undefined) return openConnection(netns, packet, tuple, tcpLoose);
  return advance(found.connection, found.direction, packet);
}

function openConnection(netns: string, packet: Packet, original: Tuple, tcpLoose: boolean): Tracking {
  if (isIcmp(packet.protocol) && !icmpReply[packet.protocol].has(packet.icmp?.type ?? -1)) return notTracked;
  let tcp: Connection['tcp'];
  if (packet.protocol === 'tcp') {
    // tcp_conntracks[ORIGINAL][*][NONE]: SYN opens, ACK picks up (if loose), everything else is invalid.
    const flags = packet.flags ?? {};
    if (flags.rst) return notTracked;
    if (flags.syn) {
      if (flags.ack) return notTracked;
      tcp = 'syn-sent';
    } else if (flags.fin || !flags.ack || !tcpLoose) return notTracked;
    else tcp = 'established';
  }
  return {
    state: 'NEW',
    direction: 'original',
    connection: {
      netns,
      protocol: packet.protocol,
      original,
      reply: invert(packet.protocol, original),
      seenReply: false,
      ...(tcp === undefined ? {} : { tcp }),
      mark: 0,
      natDone: { src: false, dst: false },
      natChanged: { src: false, dst: false },
    },
  };
}

function advance(connection: Connection, direction: TrackDirection, packet: Packet): Tracking {
  let next = connection;
  if (packet.protocol === 'tcp') {
    const flags = packet.flags ?? {};
    const plainAck = flags.ack === true && !flags.syn && !flags.rst && !flags.fin;
    if (direction === 'reply' && flags.syn && flags.ack && connection.tcp === 'syn-sent')
      next = { ...next, tcp: 'syn-received' };
    else if (direction === 'original' && plainAck) {
      // tcp_conntracks[ORIGINAL][ACK][SYN_SENT] is sIV: the SYN-ACK went another way.
      if (connection.tcp === 'syn-sent') return notTracked;
      if (connection.tcp === 'syn-received') next = { ...next, tcp: 'established' };
    }
  }
  if (direction === 'reply')
    return { state: 'ESTABLISHED', direction, connection: { ...next, seenReply: true } };
  return { state: connection.seenReply ? 'ESTABLISHED' : 'NEW', direction, connection: next };
}

/** An ICMP error is RELATED to the connection of the packet it quotes, and goes the other way (nf_conntrack_inet_error). */
function trackIcmpError(view: Connections, netns: string, packet: Packet): Tracking {
  if (packet.quoted === undefined) return notTracked;
  const inner = invert(packet.quoted.protocol, tupleOf(packet.quoted));
  const found = lookupConnection(view, netns, packet.quoted.protocol, inner);
  if (found === undefined) return notTracked;
  const tuple = found.direction === 'original' ? found.connection.original : found.connection.reply;
  // The error must be addressed to the sender of the quoted packet.
  if (!sameAddress(tuple.dst, packet.dst)) return notTracked;
  return { state: 'RELATED', direction: found.direction, connection: found.connection };
}

/** __nf_conntrack_confirm at the end of INPUT and POSTROUTING: the connection enters, or replaces its older self in, the table. */
export function confirm(view: Connections, tracking: Tracking): Connections {
  const { connection } = tracking;
  if (connection === undefined || tracking.state === 'RELATED') return view;
  const others = view.entries.filter(
    (other) =>
      other.netns !== connection.netns ||
      other.protocol !== connection.protocol ||
      !sameTuple(other.original, connection.original),
  );
  return { ...view, entries: [...others, connection] };
}

/** A connection that is in the table is one object for every packet: what a packet changed stays changed, even if it is dropped. */
export function refresh(view: Connections, tracking: Tracking): Connections {
  const { connection } = tracking;
  if (connection === undefined || tracking.state === 'RELATED') return view;
  const found = lookupConnection(view, connection.netns, connection.protocol, connection.original);
  return found === undefined ? view : confirm(view, tracking);
}

/**
 * nf_nat_packet: applies the connection's mapping of one side to a packet. In the reply direction the sides swap:
 * a reply's destination is translated back at the hooks where destinations are (PREROUTING, OUTPUT).
 */
export function translate(tracking: Tracking, manip: Manip, packet: Packet): Packet {
  const { connection, direction } = tracking;
  if (connection === undefined) return packet;
  const side: Manip = direction === 'original' ? manip : manip === 'src' ? 'dst' : 'src';
  if (!connection.natChanged[side]) return packet;
  const opposite = direction === 'original' ? connection.reply : connection.original;
  const quoted = packet.quoted;
  if (isIcmpError(packet)) {
    // nf_nat_icmp_reply_translation: the outer address and the quoted packet's other side.
    const outer = manip === 'src' ? { ...packet, src: opposite.dst } : { ...packet, dst: opposite.src };
    if (quoted === undefined) return outer;
    const inner =
      manip === 'src'
        ? withSide(quoted, 'dst', opposite.dst, opposite.dstPort)
        : withSide(quoted, 'src', opposite.src, opposite.srcPort);
    return { ...outer, quoted: inner };
  }
  return manip === 'src'
    ? withSide(packet, 'src', opposite.dst, opposite.dstPort)
    : withSide(packet, 'dst', opposite.src, opposite.srcPort);
}

function withSide(packet: Packet, side: Manip, address: Address, port: number): Packet {
  if (isIcmp(packet.protocol) || packet.protocol === 'ipip')
    return side === 'src' ? { ...packet, src: address } : { ...packet, dst: address };
  return side === 'src'
    ? { ...packet, src: address, srcPort: port }
    : { ...packet, dst: address, dstPort: port };
}

/** nf_nat_setup_info: fixes one side's mapping for good; an unchanged tuple only sets the DONE bit. */
export function setMapping(
  connection: Connection,
  manip: Manip,
  to: { readonly address?: Address; readonly port?: number },
): Connection {
  const key = manip === 'src' ? 'dst' : 'src';
  const portKey = manip === 'src' ? 'dstPort' : 'srcPort';
  const reply: Tuple = {
    ...connection.reply,
    ...(to.address === undefined ? {} : { [key]: to.address }),
    ...(to.port === undefined || isIcmp(connection.protocol) ? {} : { [portKey]: to.port }),
  };
  const changed = !sameTuple(reply, connection.reply);
  return {
    ...connection,
    reply,
    natDone: { ...connection.natDone, [manip]: true },
    natChanged: { ...connection.natChanged, [manip]: connection.natChanged[manip] || changed },
  };
}
