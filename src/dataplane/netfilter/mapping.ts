/** NAT on a connection: its mapping of each side, and packets as the mapping has them. */
import type { PortRange } from '../../model/netfilter.ts';
import type { Tuple } from '../../model/netns.ts';
import type { Address } from '../../net/address.ts';
import { type MadeUpPort, portsOf } from '../../net/made-up.ts';
import type { Packet } from '../../net/packet.ts';
import type { Connection, Manip, Tracking } from './conntrack.ts';
import { isIcmp, isIcmpError, sameTuple } from './tuples.ts';

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
      manip === 'src' ? withSide(quoted, 'dst', opposite, 'dst') : withSide(quoted, 'src', opposite, 'src');
    return { ...outer, quoted: inner };
  }
  return manip === 'src'
    ? withSide(packet, 'src', opposite, 'dst')
    : withSide(packet, 'dst', opposite, 'src');
}

/** The packet with one side as the `end` of a tuple has it. */
function withSide(packet: Packet, side: Manip, tuple: Tuple, end: Manip): Packet {
  const address = end === 'src' ? tuple.src : tuple.dst;
  const moved = side === 'src' ? { ...packet, src: address } : { ...packet, dst: address };
  if (packet.protocol === 'ipip') return moved;
  if (isIcmp(packet.protocol)) {
    if (packet.icmp === undefined || packet.madeUp?.src?.of === tuple.madeUp?.src?.of) return moved;
    return withMadeUp({ ...moved, icmp: { ...packet.icmp, id: tuple.srcPort } }, 'src', tuple.madeUp?.src);
  }
  const port = end === 'src' ? tuple.srcPort : tuple.dstPort;
  const translated = side === 'src' ? { ...moved, srcPort: port } : { ...moved, dstPort: port };
  return withMadeUp(translated, side, tuple.madeUp?.[end]);
}

function withMadeUp(packet: Packet, side: Manip, made: MadeUpPort | undefined): Packet {
  // Nearly every packet: without this look it would be copied first.
  if (packet.madeUp === undefined && made === undefined) return packet;
  const { madeUp, ...rest } = packet;
  const ports = side === 'src' ? portsOf(made, madeUp?.dst) : portsOf(madeUp?.src, made);
  return ports.src === undefined && ports.dst === undefined ? rest : { ...rest, madeUp: ports };
}

/** nf_nat_setup_info: fixes one side's mapping for good; an unchanged tuple only sets the DONE bit. */
export function setMapping(
  connection: Connection,
  manip: Manip,
  to: { readonly address?: Address; readonly port?: number; readonly made?: PortRange },
): Connection {
  const { src, dst, srcPort, dstPort } = connection.reply;
  const madeUp = madeUpBy(connection, manip, to);
  const isMade = madeUp?.src !== undefined || madeUp?.dst !== undefined;
  const port = isIcmp(connection.protocol) ? undefined : to.port;
  const plain: Tuple =
    manip === 'src'
      ? { src, dst: to.address ?? dst, srcPort, dstPort: port ?? dstPort }
      : { src: to.address ?? src, dst, srcPort: port ?? srcPort, dstPort };
  const reply: Tuple = isMade ? { ...plain, madeUp } : plain;
  const changed = !sameTuple(reply, connection.reply);
  return { ...connection, reply, ...doneWith(connection, manip, changed) };
}

function doneWith(
  { natDone, natChanged }: Connection,
  manip: Manip,
  changed: boolean,
): Pick<Connection, 'natDone' | 'natChanged'> {
  return manip === 'src'
    ? {
        natDone: { src: true, dst: natDone.dst },
        natChanged: { src: natChanged.src || changed, dst: natChanged.dst },
      }
    : {
        natDone: { src: natDone.src, dst: true },
        natChanged: { src: natChanged.src, dst: natChanged.dst || changed },
      };
}

/** That a port made up is the one that the packet had is not taken into account: one case in tens of thousands. */
function madeUpBy(
  { netns, protocol, original, reply }: Connection,
  manip: Manip,
  { port, made }: { readonly port?: number; readonly made?: PortRange },
): Tuple['madeUp'] {
  if (port === undefined && made === undefined) return reply.madeUp;
  const { src, dst, srcPort, dstPort, madeUp } = original;
  const of = [
    netns,
    protocol,
    src.value,
    madeUp?.src?.of ?? srcPort,
    dst.value,
    madeUp?.dst?.of ?? dstPort,
    manip,
  ];
  const own = made && { from: made.from, to: made.to, of: of.join(' ') };
  if (isIcmp(protocol)) return made === undefined ? reply.madeUp : portsOf(own, undefined);
  return manip === 'src' ? portsOf(reply.madeUp?.src, own) : portsOf(own, reply.madeUp?.dst);
}
