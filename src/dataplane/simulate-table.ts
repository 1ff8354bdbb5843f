/** The connection table of a simulation: found by tuple, so that a packet costs the same whatever the number of connections. */
import type { ConntrackEntry, Tuple } from '../model/netns.ts';
import type { Packet, Transport } from '../net/packet.ts';
import { type Connection, type Connections, defaultZone } from './netfilter/conntrack.ts';
import type { SetChange } from './netfilter/ipsets.ts';
import { fromRecord } from './netfilter/recorded.ts';
import { compareTuples, invert, isIcmpError, tupleOf } from './netfilter/tuples.ts';

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
  /** Connections of different zones share tuples. */
  const byTuple = new Map<string, readonly Connection[]>();
  /** Those with a port that the kernel made up: an answer that names a port may be theirs. */
  const madeUp = new Map<string, readonly Connection[]>();
  const mistrusted = new Set<string>();
  let setChanges: readonly SetChange[] = [];
  let nftChanges: Connections['nftChanges'];
  let balanced: Connections['balanced'] & {} = [];
  const put = (connection: Connection): boolean => {
    const keys = (['original', 'reply'] as const).map((side) => keyOf(connection.protocol, connection[side]));
    const self = ownKey(connection);
    // nf_ct_key_equal: both zones as the direction of the connection that is there sees them.
    const clash = keys.some((key) =>
      (byTuple.get(key) ?? []).some((other) => {
        if (other.dead || ownKey(other) === self) return false;
        const side = keyOf(other.protocol, other.original) === key ? 'original' : 'reply';
        return zoneOf(other, side) === zoneOf(connection, side);
      }),
    );
    if (clash) return false;
    for (const key of keys) {
      const others = (byTuple.get(key) ?? []).filter((other) => ownKey(other) !== self);
      byTuple.set(key, [...others, connection]);
    }
    if (connection.reply.madeUp !== undefined) {
      const key = hostsKey(connection.protocol, connection.reply);
      const others = (madeUp.get(key) ?? []).filter((other) => ownKey(other) !== self);
      madeUp.set(key, [...others, connection]);
    }
    return true;
  };
  for (const entry of recorded) {
    const connection = fromRecord(netns, entry);
    if (connection !== undefined) put(connection);
  }
  const possible = (packet: Packet): readonly Connection[] => {
    const looked = madeUp.size === 0 ? undefined : lookedUp(packet);
    if (looked === undefined) return [];
    const { protocol, tuple } = looked;
    const others = madeUp.get(hostsKey(protocol, tuple)) ?? [];
    return others.filter(({ reply }) => compareTuples(reply, tuple) === 'maybe');
  };
  return {
    view: (packet) => {
      const key = lookupKey(packet);
      const found = key === undefined ? undefined : byTuple.get(key);
      return {
        entries: [...(found ?? []), ...possible(packet)],
        balanced,
        ...(setChanges.length === 0 ? {} : { setChanges }),
        ...(nftChanges === undefined ? {} : { nftChanges }),
      };
    },
    keep: (connections) => {
      balanced = connections.balanced ?? balanced;
      setChanges = connections.setChanges ?? setChanges;
      nftChanges = connections.nftChanges ?? nftChanges;
      return connections.entries.map(put).every((stored) => stored);
    },
    mistrust: (packet, connections) => {
      const key = lookupKey(packet);
      if (key !== undefined) mistrusted.add(key);
      // What may have been changed is not known any more.
      const sets = connections.flatMap((one) => (one.nftChanges ?? []).slice(nftChanges?.length ?? 0));
      if (sets.length > 0)
        nftChanges = [...(nftChanges ?? []), ...sets.map(({ key: _, ...unsure }) => unsure)];
      const possible = connections.flatMap(({ setChanges: made = [] }) => made.slice(setChanges.length));
      if (possible.length > 0)
        setChanges = [...setChanges, ...possible.map(({ values: _, ...unsure }) => unsure)];
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

const zoneOf = ({ zone = defaultZone }: Connection, side: 'original' | 'reply'): number => zone[side];

const ownKey = (connection: Connection): string =>
  `${keyOf(connection.protocol, connection.original)} ${zoneOf(connection, 'original')}`;

const keyOf = (protocol: Transport, { src, dst, srcPort, dstPort, madeUp }: Tuple): string =>
  `${protocol} ${src.family} ${src.value} ${madeUp?.src?.of ?? srcPort} ${dst.value} ${madeUp?.dst?.of ?? dstPort}`;

const hostsKey = (protocol: Transport, { src, dst }: Tuple): string =>
  `${protocol} ${src.family} ${src.value} ${dst.value}`;

function lookupKey(packet: Packet): string | undefined {
  const looked = lookedUp(packet);
  return looked === undefined ? undefined : keyOf(looked.protocol, looked.tuple);
}

/** The tuple that conntrack looks for: the packet's own, or of an ICMP error that of the answer to what it quotes. */
function lookedUp(packet: Packet): { readonly protocol: Transport; readonly tuple: Tuple } | undefined {
  if (!isIcmpError(packet)) return { protocol: packet.protocol, tuple: tupleOf(packet) };
  const { quoted } = packet;
  if (quoted === undefined) return undefined;
  return { protocol: quoted.protocol, tuple: invert(quoted.protocol, tupleOf(quoted)) };
}
