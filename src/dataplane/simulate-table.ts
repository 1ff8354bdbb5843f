/** The connection table of a simulation: found by tuple, so that a packet costs the same whatever the number of connections. */
import type { ConntrackEntry, Tuple } from '../model/netns.ts';
import { type Packet, protocolNumber, type Transport } from '../net/packet.ts';
import { type Connection, type Connections, invert, isIcmpError, tupleOf } from './netfilter/conntrack.ts';

export interface ConnectionTable {
  /** What conntrack may find for the packet, and nothing else. */
  view(packet: Packet): Connections;
  /** Files what a packet left behind. False: the kernel would have had to choose other ports, the tuple being taken. */
  keep(connections: Connections): boolean;
  /** Marks the connections as ones that nobody can tell the state of. */
  mistrust(packet: Packet, connections: readonly Connections[]): void;
  isTrusted(packet: Packet): boolean;
}

export function connectionTable(netns: string, recorded: readonly ConntrackEntry[]): ConnectionTable {
  const byTuple = new Map<string, Connection>();
  const mistrusted = new Set<string>();
  const put = (connection: Connection): boolean => {
    const keys = [
      keyOf(connection.protocol, connection.original),
      keyOf(connection.protocol, connection.reply),
    ];
    const original = keys[0] ?? '';
    const clash = keys.some((key) => {
      const other = byTuple.get(key);
      return other !== undefined && keyOf(other.protocol, other.original) !== original;
    });
    if (clash) return false;
    for (const key of keys) byTuple.set(key, connection);
    return true;
  };
  for (const entry of recorded) {
    const connection = fromRecord(netns, entry);
    if (connection !== undefined) put(connection);
  }
  return {
    view: (packet) => {
      const key = lookupKey(packet);
      const found = key === undefined ? undefined : byTuple.get(key);
      return { entries: found === undefined ? [] : [found] };
    },
    keep: ({ entries }) => entries.map(put).every((stored) => stored),
    mistrust: (packet, connections) => {
      const key = lookupKey(packet);
      if (key !== undefined) mistrusted.add(key);
      for (const { entries } of connections)
        for (const { protocol, original, reply } of entries)
          mistrusted.add(keyOf(protocol, original)).add(keyOf(protocol, reply));
    },
    isTrusted: (packet) => {
      if (mistrusted.size === 0) return true;
      const key = lookupKey(packet);
      return key === undefined || !mistrusted.has(key);
    },
  };
}

const keyOf = (protocol: Transport, { src, dst, srcPort, dstPort }: Tuple): string =>
  `${protocol} ${src.family} ${src.value} ${srcPort} ${dst.value} ${dstPort}`;

/** The tuple that conntrack looks for: the packet's own, or of an ICMP error that of the answer to what it quotes. */
function lookupKey(packet: Packet): string | undefined {
  if (!isIcmpError(packet)) return keyOf(packet.protocol, tupleOf(packet));
  const { quoted } = packet;
  return quoted === undefined ? undefined : keyOf(quoted.protocol, invert(quoted.protocol, tupleOf(quoted)));
}

const tcpStates: Readonly<Record<string, NonNullable<Connection['tcp']>>> = {
  SYN_SENT: 'syn-sent',
  SYN_SENT2: 'syn-sent',
  SYN_RECV: 'syn-received',
};

function fromRecord(netns: string, entry: ConntrackEntry): Connection | undefined {
  const protocol = (Object.keys(protocolNumber) as Transport[]).find((name) => name === entry.protocol);
  if (protocol === undefined) return undefined;
  const { original, reply, mark, flags, state } = entry;
  const plain = invert(protocol, original);
  return {
    netns,
    protocol,
    original,
    reply,
    seenReply: !flags.includes('UNREPLIED'),
    ...(protocol === 'tcp' ? { tcp: tcpStates[state ?? ''] ?? 'established' } : {}),
    mark,
    // A connection in the table has been through the nat table, or there was none.
    natDone: { src: true, dst: true },
    natChanged: {
      src: plain.dst.value !== reply.dst.value || plain.dstPort !== reply.dstPort,
      dst: plain.src.value !== reply.src.value || plain.srcPort !== reply.srcPort,
    },
  };
}
