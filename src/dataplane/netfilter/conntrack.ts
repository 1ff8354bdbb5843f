/**
 * Connection tracking as nf_conntrack does it, for the packets of one walk: values only, a table is replaced, never changed.
 * One table serves every namespace; a connection belongs to one.
 */
import type { CtTarget } from '../../model/match-modules.ts';
import type { Tuple } from '../../model/netns.ts';
import type { SourceRef } from '../../model/source.ts';
import { sameAddress } from '../../net/address.ts';
import type { Packet, Transport } from '../../net/packet.ts';
import type { Balanced } from '../balanced.ts';
import type { SetChange } from './ipsets.ts';
import { advanceTcp, isValidTcp, openTcp, type TcpTrack } from './tcp-tracking.ts';
import { compareTuples, icmpReply, invert, isIcmp, isIcmpError, sameTuple, tupleOf } from './tuples.ts';

export type TrackState = 'NEW' | 'ESTABLISHED' | 'RELATED' | 'INVALID' | 'UNTRACKED';
export type TrackDirection = 'original' | 'reply';
export type Manip = 'src' | 'dst';

/** The zone's id as each direction of a connection sees it (nf_ct_zone_id); 0 is the default zone. */
export interface Zone {
  readonly original: number;
  readonly reply: number;
}

/** Packets and bytes of one direction (nf_conn_acct). */
export interface Volume {
  readonly packets: number;
  readonly bytes: number;
}

export interface Connection {
  readonly netns: string;
  readonly protocol: Transport;
  readonly original: Tuple;
  /** What a reply looks like where it enters: the inverse of the original with its NAT applied. */
  readonly reply: Tuple;
  /** IPS_SEEN_REPLY: a reply has left the namespace's hooks, so the next packet is ESTABLISHED. */
  readonly seenReply: boolean;
  /** Only TCP has one. */
  readonly tcp?: TcpTrack;
  /** Absent is the default zone in both directions. */
  readonly zone?: Zone;
  /** IPS_CONFIRMED: it is in the table. */
  readonly confirmed?: true;
  /** IPS_ASSURED. Of UDP it depends on the time between packets: `unknown`. */
  readonly assured?: boolean | 'unknown';
  /** Absent where a recorded entry does not tell. */
  readonly volume?: Readonly<Record<TrackDirection, Volume>>;
  /** The helper that a rule attached. */
  readonly helper?: string;
  /** The entry of a recorded table that it comes from. */
  readonly source?: SourceRef;
  /** Taken out of the table; it stands there so that nothing older is found in its place. */
  readonly dead?: true;
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
  /** Absent for INVALID and UNTRACKED, and for a template. */
  readonly connection?: Connection;
  /** What a CT rule in front of conntrack asks for (nf_conn template): a rule sees it as NEW, and no later CT rule counts. */
  readonly template?: Template;
  /** There is no connection, yet iptables' CT rules pass it over: nf_conntrack_attach() of an untracked packet. */
  readonly isPassed?: true;
}

export interface Template {
  readonly zoneRule?: NonNullable<CtTarget['zone']>;
  readonly helper?: string;
}

/** nf_ct_zone_tmpl: `mark` is the packet's mark when it comes to conntrack. The default zone is no zone. */
export function zoneOf(template: Template | undefined, packet: Packet): Zone | undefined {
  const rule = template?.zoneRule;
  if (rule === undefined) return undefined;
  const id = rule.id === 'mark' ? packet.mark & 0xffff : rule.id;
  if (id === 0) return undefined;
  return {
    original: rule.direction === 'reply' ? 0 : id,
    reply: rule.direction === 'original' ? 0 : id,
  };
}

/** `set` is named with its table. Without a key it is not known which element it was. */
export interface NftSetChange {
  readonly netns: string;
  readonly set: string;
  readonly how: 'add' | 'delete';
  readonly key?: string;
}

/** The table, and what the packet under way carries with it: it is the same value that goes on with the packet. */
export interface Connections {
  readonly entries: readonly Connection[];
  /** What SET rules changed on the way here. */
  readonly setChanges?: readonly SetChange[];
  /** What nft's rules changed in their sets. */
  readonly nftChanges?: readonly NftSetChange[];
  /** What IPVS or eBPF translated, beside conntrack. */
  readonly balanced?: readonly Balanced[];
  readonly inFlight?: {
    readonly netns: string;
    readonly tracking: Tracking;
    /** The packet is the kernel's own answer and was given the connection of what it answers (nf_ct_attach). */
    readonly attached?: true;
  };
}

export const emptyConnections = (): Connections => ({ entries: [] });

/** Before the conntrack hook has run there is no connection: rules in raw see INVALID. */
export const notTracked: Tracking = { state: 'INVALID', direction: 'original' };
export const untracked: Tracking = { state: 'UNTRACKED', direction: 'original' };

/** Neighbour discovery and MLD are never tracked (noct_valid_new). */
const icmp6Untracked = new Set([130, 131, 132, 133, 134, 135, 136, 143]);

export const defaultZone: Zone = { original: 0, reply: 0 };

interface Found {
  readonly connection: Connection;
  readonly direction: TrackDirection;
}

/** The tuples of a table that was there before the walk, by protocol and tuple. */
export type RecordedLookup = (protocol: Transport, tuple: Tuple) => readonly Connection[];

/** What track() needs to know beside the packet. */
export interface TrackOptions {
  /** nf_conntrack_tcp_loose. */
  readonly tcpLoose?: boolean;
  readonly zone?: Zone;
  /** Named by a CT rule. */
  readonly helper?: string;
  readonly recorded?: RecordedLookup;
  /** A packet whose port may be the one that the kernel made up for a connection is taken to belong to it. */
  readonly guesses?: true;
}

/** nf_ct_key_equal: the tuple in one of its directions, in a zone with the id that the packet's zone has for that direction. */
function directionOf(
  { original, reply, zone = defaultZone }: Connection,
  tuple: Tuple,
  wanted: Zone,
  guesses = false,
): TrackDirection | undefined {
  const fits = (own: Tuple): boolean => {
    const same = compareTuples(own, tuple);
    return same === true || (same === 'maybe' && guesses && tuple.madeUp === undefined);
  };
  if (zone.original === wanted.original && fits(original)) return 'original';
  if (zone.reply === wanted.reply && fits(reply)) return 'reply';
  return undefined;
}

/** Looks a tuple up in both directions. */
function lookupConnection(
  view: Connections,
  netns: string,
  protocol: Transport,
  tuple: Tuple,
  { zone = defaultZone, recorded, guesses }: TrackOptions,
): Found | undefined {
  // Newest first: a replaced connection stands at the end.
  for (let i = view.entries.length - 1; i >= 0; i--) {
    const connection = view.entries[i];
    if (connection === undefined || connection.netns !== netns || connection.protocol !== protocol) continue;
    const direction = directionOf(connection, tuple, zone, guesses);
    if (direction !== undefined) return connection.dead ? undefined : { connection, direction };
  }
  for (const connection of recorded?.(protocol, tuple) ?? []) {
    const direction = directionOf(connection, tuple, zone);
    if (direction !== undefined && !isReplaced(view, connection)) return { connection, direction };
  }
  return undefined;
}

/** An older entry whose other direction's tuple the packet has: its newer self does not have it any more. */
const isReplaced = (view: Connections, old: Connection): boolean =>
  view.entries.some((entry) => sameConnection(entry, old));

const sameConnection = (a: Connection, b: Connection): boolean =>
  a.netns === b.netns &&
  a.protocol === b.protocol &&
  (a.zone ?? defaultZone).original === (b.zone ?? defaultZone).original &&
  (a.original === b.original || sameTuple(a.original, b.original));

/** nf_conntrack_in: what the conntrack hook of PREROUTING and OUTPUT makes of a packet. */
export function track(
  view: Connections,
  netns: string,
  packet: Packet,
  options: TrackOptions = {},
): Tracking {
  if (packet.protocol === 'icmpv6' && icmp6Untracked.has(packet.icmp?.type ?? -1)) return untracked;
  if (isIcmpError(packet)) return trackIcmpError(view, netns, packet, options);
  if (packet.protocol === 'tcp' && !isValidTcp(packet.flags ?? {})) return notTracked;
  const tuple = tupleOf(packet);
  const found = lookupConnection(view, netns, packet.protocol, tuple, options);
  if (found === undefined) return openConnection(netns, packet, tuple, options);
  return advance(found, packet, () => openConnection(netns, packet, tuple, options));
}

function openConnection(
  netns: string,
  packet: Packet,
  original: Tuple,
  { tcpLoose = true, zone, helper }: TrackOptions,
): Tracking {
  if (isIcmp(packet.protocol) && !icmpReply[packet.protocol].has(packet.icmp?.type ?? -1)) return notTracked;
  if (packet.protocol === 'sctp' && !opensSctp.has(packet.chunk ?? 'init')) return notTracked;
  const tcp = packet.protocol === 'tcp' ? openTcp(packet.flags ?? {}, tcpLoose) : undefined;
  if (packet.protocol === 'tcp' && tcp === undefined) return notTracked;
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
      ...(zone === undefined ? {} : { zone }),
      ...(helper === undefined ? {} : { helper }),
      volume: {
        original: { packets: 1, bytes: packet.lengthBytes },
        reply: { packets: 0, bytes: 0 },
      },
      mark: 0,
      natDone: { src: false, dst: false },
      natChanged: { src: false, dst: false },
    },
  };
}

/** sctp_new() for the rows of sctp_conntracks[ORIGINAL] that leave SCTP_CONNTRACK_NONE for a living state. */
const opensSctp: ReadonlySet<string> = new Set(['init', 'heartbeat', 'shutdown-ack']);

/**
 * nf_conntrack_sctp_packet(): what carries the verification tag of a side whose INIT-ACK did not come by here does not fit. Tags
 * are taken to be the right ones otherwise, as TCP's sequence numbers are.
 */
const fitsSctp = ({ connection, direction }: Found, { protocol, chunk }: Packet): boolean =>
  protocol !== 'sctp' ||
  direction === 'reply' ||
  connection.seenReply ||
  chunk === undefined ||
  opensSctp.has(chunk);

function advance({ connection, direction }: Found, packet: Packet, reopen: () => Tracking): Tracking {
  let next: Connection = connection;
  let isCounted = true;
  if (!fitsSctp({ connection, direction }, packet)) return notTracked;
  if (packet.protocol === 'tcp' && connection.tcp !== undefined) {
    const flags = packet.flags ?? {};
    const verdict = advanceTcp(connection.tcp, direction, flags, connection.seenReply);
    if (verdict.kind === 'invalid') return notTracked;
    if (verdict.kind === 'reopen') return reopen();
    // A reset before any answer ends the connection at once (nf_ct_kill_acct); this packet still has it.
    if (flags.rst && !connection.seenReply) next = { ...next, dead: true };
    isCounted = verdict.passedOver !== true;
    // An ACK after the SYN-ACK, or the answer to a connection that was picked up.
    const before = connection.tcp.state;
    const open = before === 'syn-received' || before === 'established';
    if (isCounted && connection.seenReply && open && verdict.track.state === 'established')
      next = { ...next, assured: true };
    next = { ...next, tcp: verdict.track };
  }
  if (isCounted) next = counted(next, direction, packet);
  if (direction === 'reply') {
    const assured = assuredByReply(next);
    return {
      state: 'ESTABLISHED',
      direction,
      connection: { ...next, seenReply: true, ...(assured === undefined ? {} : { assured }) },
    };
  }
  return { state: connection.seenReply ? 'ESTABLISHED' : 'NEW', direction, connection: next };
}

/** UDP counts as a stream only some time after its first packet (nf_conntrack_udp_packet); ICMP is never assured. */
function assuredByReply({ protocol, assured }: Connection): Connection['assured'] {
  if (assured === true || protocol === 'tcp' || isIcmp(protocol)) return assured;
  return 'unknown';
}

/** nf_ct_acct_add. */
function counted(connection: Connection, direction: TrackDirection, packet: Packet): Connection {
  const { volume } = connection;
  if (volume === undefined) return connection;
  const { packets, bytes } = volume[direction];
  const more = { packets: packets + 1, bytes: bytes + packet.lengthBytes };
  return { ...connection, volume: { ...volume, [direction]: more } };
}

/** An ICMP error is RELATED to the connection of the packet it quotes, and goes the other way (nf_conntrack_inet_error). */
function trackIcmpError(view: Connections, netns: string, packet: Packet, options: TrackOptions): Tracking {
  if (packet.quoted === undefined) return notTracked;
  const inner = invert(packet.quoted.protocol, tupleOf(packet.quoted));
  const found = lookupConnection(view, netns, packet.quoted.protocol, inner, options);
  if (found === undefined) return notTracked;
  const tuple = found.direction === 'original' ? found.connection.original : found.connection.reply;
  // The error must be addressed to the sender of the quoted packet.
  if (!sameAddress(tuple.dst, packet.dst)) return notTracked;
  return { state: 'RELATED', direction: found.direction, connection: found.connection };
}

/** __nf_conntrack_confirm at the end of INPUT and POSTROUTING: the connection enters, or replaces its older self in, the table. */
export function confirm(view: Connections, tracking: Tracking): Connections {
  const { connection } = tracking;
  return connection === undefined || tracking.state === 'RELATED' ? view : enter(view, connection);
}

function enter(view: Connections, connection: Connection): Connections {
  const entries: Connection[] = [];
  for (const other of view.entries) if (!sameConnection(other, connection)) entries.push(other);
  entries.push(connection.confirmed === true ? connection : { ...connection, confirmed: true });
  return { ...view, entries };
}

/** nf_ct_set_closing: who answers a packet with a reset takes its connection, if that is in the table, for closed. */
export function setClosing(view: Connections, netns: string): Connections {
  const { inFlight } = view;
  const connection = inFlight?.netns === netns ? inFlight.tracking.connection : undefined;
  if (inFlight === undefined || connection?.tcp === undefined || connection.confirmed !== true) return view;
  const closed: Connection = { ...connection, tcp: { ...connection.tcp, state: 'close' } };
  return {
    ...view,
    entries: view.entries.map((entry) => (sameConnection(entry, closed) ? closed : entry)),
    inFlight: { ...inFlight, tracking: { ...inFlight.tracking, connection: closed } },
  };
}

/**
 * nf_conntrack_attach: the kernel's own answer goes the other way of the connection of the packet that it is about, whether or
 * not that is in the table.
 */
export function attach(view: Connections, netns: string): Connections {
  const { inFlight, ...table } = view;
  if (inFlight?.netns !== netns) return table;
  if (inFlight.tracking.state === 'UNTRACKED')
    return { ...table, inFlight: { netns, tracking: { ...notTracked, isPassed: true }, attached: true } };
  if (inFlight.tracking.connection === undefined) return table;
  const { connection, direction } = inFlight.tracking;
  const back = direction === 'original' ? 'reply' : 'original';
  const tracking: Tracking = { state: 'RELATED', direction: back, connection };
  return { ...table, inFlight: { netns, tracking, attached: true } };
}

/** The packet's own view after that: it may come in again by lo. */
export function confirmed(tracking: Tracking): Tracking {
  const { connection, state } = tracking;
  if (connection === undefined || state === 'RELATED' || connection.confirmed) return tracking;
  return { ...tracking, connection: { ...connection, confirmed: true } };
}

/** A connection that is in the table is one object for every packet: what a packet changed stays changed, even if it is dropped. */
export function refresh(view: Connections, tracking: Tracking): Connections {
  const { connection } = tracking;
  if (connection === undefined) return view;
  const isKnown = view.entries.some((entry) => sameConnection(entry, connection));
  return isKnown || connection.confirmed ? enter(view, connection) : view;
}
