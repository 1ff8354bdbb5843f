/** What nft's expressions read from a packet, its connection and the routes: one function a source. */
import type { Tuple } from '../../../model/netns.ts';
import type { NftExpr } from '../../../model/nft.ts';
import { type Address, isMulticast } from '../../../net/address.ts';
import { whyMadeUp } from '../../../net/made-up.ts';
import { type Packet, protocolNumber } from '../../../net/packet.ts';
import type { Tracking } from '../conntrack.ts';
import type { HookContext } from '../context.ts';
import { headerBits } from './header-bits.ts';
import { addressType, ctStateBits, ctStatusBits, doubt, number, type Scalar, tcpFlagBits } from './values.ts';

/** What a rule looks at; the packet and its tracking change from rule to rule. */
export interface Subject {
  readonly context: HookContext;
  readonly packet: Packet;
  readonly tracking: Tracking;
}

/** Undefined: the packet has no such field. */
type Field = Scalar | undefined;

const addressOf = (address: Address): Scalar => number(addressType(address), address.value);

export function payloadField(protocol: string, field: string, packet: Packet): Field {
  switch (protocol) {
    case 'ip':
      return packet.src.family === 4 ? ipField(field, packet) : undefined;
    case 'ip6':
      return packet.src.family === 6 ? ip6Field(field, packet) : undefined;
    case 'th':
      return transportField(field, packet);
    case 'tcp':
    case 'udp':
    case 'sctp':
      if (packet.protocol !== protocol) return undefined;
      if (field === 'sport' || field === 'dport') return transportField(field, packet);
      if (field === 'flags') return tcpFlags(packet);
      if (protocol === 'udp' && field === 'length')
        return number('number', packet.lengthBytes - (packet.src.family === 4 ? 20 : 40));
      break;
    case 'icmp':
    case 'icmpv6':
      return packet.protocol === protocol && packet.icmp !== undefined
        ? field === 'id' && packet.madeUp?.src !== undefined
          ? doubt(whyMadeUp(packet.madeUp.src))
          : icmpField(protocol, field, packet.icmp)
        : undefined;
  }
  return doubt(`the field "${protocol} ${field}" is not known`);
}

function ipField(field: string, packet: Packet): Field {
  switch (field) {
    case 'saddr':
      return addressOf(packet.src);
    case 'daddr':
      return addressOf(packet.dst);
    case 'protocol':
      return number('proto', protocolNumber[packet.protocol]);
    case 'length':
      return number('number', packet.lengthBytes);
    case 'ttl':
      return number('number', packet.ttl);
    case 'version':
      return number('number', 4);
    case 'dscp':
      return number('dscp', (packet.tos ?? 0) >> 2);
    case 'ecn':
      return number('ecn', (packet.tos ?? 0) & 3);
    case 'hdrlength':
      return number('number', 5);
    case 'frag-off':
      // Conntrack puts fragments together before any rule sees them (nf_defrag, priority -400).
      return number('number', packet.df ? 0x4000 : 0);
    default:
      return doubt(`the field "ip ${field}" is not known`);
  }
}

function ip6Field(field: string, packet: Packet): Field {
  switch (field) {
    case 'saddr':
      return addressOf(packet.src);
    case 'daddr':
      return addressOf(packet.dst);
    case 'nexthdr':
      return number('proto', protocolNumber[packet.protocol]);
    case 'dscp':
      return number('dscp', (packet.tos ?? 0) >> 2);
    case 'ecn':
      return number('ecn', (packet.tos ?? 0) & 3);
    case 'hoplimit':
      return number('number', packet.ttl);
    case 'length':
      return number('number', packet.lengthBytes - 40);
    case 'version':
      return number('number', 6);
    default:
      return doubt(`the field "ip6 ${field}" is not known`);
  }
}

/** The first two words of the transport header, whatever it is: of ICMP they are type and code, and the checksum. */
function transportField(field: string, packet: Packet): Field {
  const isSource = field === 'sport';
  if (!isSource && field !== 'dport') return doubt(`the field "th ${field}" is not known`);
  if (packet.icmp !== undefined)
    return isSource
      ? number('port', packet.icmp.type * 256 + packet.icmp.code)
      : doubt('"th dport" of an ICMP packet is its checksum');
  if (packet.protocol === 'tcp' || packet.protocol === 'udp' || packet.protocol === 'sctp')
    return portField(isSource ? 'src' : 'dst', packet);
  return doubt(`"th ${field}" of ${packet.protocol} is not known`);
}

const portField = (
  side: 'src' | 'dst',
  { srcPort, dstPort, madeUp }: Pick<Tuple, 'srcPort' | 'dstPort' | 'madeUp'>,
): Scalar => {
  const made = madeUp?.[side];
  if (made !== undefined) return doubt(whyMadeUp(made));
  return number('port', side === 'src' ? srcPort : dstPort);
};

/** PSH, URG and the ECN bits are taken as clear: the walk's packets do not carry them. */
function tcpFlags(packet: Packet): Scalar {
  const { syn, ack, fin, rst } = packet.flags ?? {};
  const bits = { syn, ack, fin, rst };
  const value = Object.entries(bits).reduce(
    (sum, [name, set]) => sum + (set === true ? tcpFlagBits[name as keyof typeof bits] : 0),
    0,
  );
  return number('tcp-flags', value);
}

function icmpField(
  protocol: 'icmp' | 'icmpv6',
  field: string,
  icmp: { readonly type: number; readonly code: number; readonly id?: number },
): Field {
  if (field === 'type') return number(protocol === 'icmp' ? 'icmp-type' : 'icmpv6-type', icmp.type);
  if (field === 'code') return number('icmp-code', icmp.code);
  if (field === 'id' && icmp.id !== undefined) return number('number', icmp.id);
  return doubt(`the field "${protocol} ${field}" is not known`);
}

/** Addresses and ports that nft has no name for where it stands, by their place in the header. */
export function rawField(expression: Extract<NftExpr, { kind: 'raw-payload' }>, packet: Packet): Field {
  const { base, offsetBits, lengthBits } = expression;
  const place = `${base} ${offsetBits} ${lengthBits}`;
  if (place === 'th 0 16') return transportField('sport', packet);
  if (place === 'th 16 16') return transportField('dport', packet);
  if (packet.src.family === 4) {
    if (place === 'nh 96 32') return addressOf(packet.src);
    if (place === 'nh 128 32') return addressOf(packet.dst);
    if (place === 'nh 72 8') return number('proto', protocolNumber[packet.protocol]);
  }
  return headerBits(base, offsetBits, lengthBits, packet);
}

export function metaField(key: string, { packet, context }: Subject): Field {
  switch (key) {
    case 'l4proto':
      return number('proto', protocolNumber[packet.protocol]);
    case 'nfproto':
      return number('nfproto', packet.src.family === 4 ? 2 : 10);
    case 'protocol':
      return number('ethertype', packet.src.family === 4 ? 0x800 : 0x86dd);
    // nft_meta_store_ifname: without a device the name is empty. Indexes are compared by the names that nft prints for them.
    case 'iifname':
    case 'iif':
      return { kind: 'name', name: context.inDevice ?? '' };
    case 'oifname':
    case 'oif':
      return { kind: 'name', name: context.outDevice ?? '' };
    case 'mark':
      return number('number', packet.mark);
    case 'length':
      return number('number', packet.lengthBytes);
    case 'pkttype':
      return number('pkttype', packetType(packet.dst));
    default:
      return doubt(`"meta ${key}" is not known of this packet`);
  }
}

const packetType = (dst: Address): number =>
  isMulticast(dst) ? 2 : dst.family === 4 && dst.value === 0xffffffffn ? 1 : 0;

const stateBit = {
  NEW: ctStateBits.new,
  ESTABLISHED: ctStateBits.established,
  RELATED: ctStateBits.related,
  INVALID: ctStateBits.invalid,
  UNTRACKED: ctStateBits.untracked,
} as const;

/** nft_ct_get_eval: all but the state need a connection. */
export function ctField(
  key: string,
  direction: 'original' | 'reply' | undefined,
  { tracking, packet }: Subject,
): Field {
  if (key === 'state') return number('ct-state', stateBit[tracking.state]);
  const { connection } = tracking;
  if (connection === undefined) return undefined;
  switch (key) {
    case 'mark':
      return number('number', connection.mark);
    case 'direction':
      return number('ct-direction', tracking.direction === 'original' ? 0 : 1);
    case 'status':
      return ctStatus(connection);
    case 'l3proto':
      return number('nfproto', packet.src.family === 4 ? 2 : 10);
    case 'protocol':
      return number('proto', protocolNumber[connection.protocol]);
  }
  const tuple = direction === 'reply' ? connection.reply : connection.original;
  // A connection of the other family has no such address: NFT_BREAK.
  if (key.startsWith(packet.src.family === 4 ? 'ip6 ' : 'ip ')) return undefined;
  switch (key) {
    case 'saddr':
    case 'ip saddr':
    case 'ip6 saddr':
      return addressOf(tuple.src);
    case 'daddr':
    case 'ip daddr':
    case 'ip6 daddr':
      return addressOf(tuple.dst);
    case 'proto-src':
      return portField('src', tuple);
    case 'proto-dst':
      return portField('dst', tuple);
    default:
      return doubt(`"ct ${key}" is not known of this connection`);
  }
}

/** Whether the kernel has confirmed or assured the connection by now depends on packets that the walk does not send. */
function ctStatus(connection: NonNullable<Tracking['connection']>): Scalar {
  const value =
    (connection.seenReply ? ctStatusBits['seen-reply'] : 0) +
    (connection.natChanged.src ? ctStatusBits.snat : 0) +
    (connection.natChanged.dst ? ctStatusBits.dnat : 0);
  const known = ctStatusBits['seen-reply'] | ctStatusBits.snat | ctStatusBits.dnat | ctStatusBits.expected;
  return { kind: 'number', type: 'ct-status', value: BigInt(value), unclear: 0xffffn & ~BigInt(known) };
}
