/** Connections that a recorded table holds, found by either of their tuples. */
import { lazy } from '../../model/lazy.ts';
import type { ConntrackEntry, Netns, Tuple } from '../../model/netns.ts';
import { protocolNumber, type Transport } from '../../net/packet.ts';
import type { Connection, RecordedLookup } from './conntrack.ts';
import { recordedTcp } from './tcp-tracking.ts';
import { invert } from './tuples.ts';

const indexes = new WeakMap<readonly ConntrackEntry[], RecordedLookup>();

const nothing: RecordedLookup = () => [];

/** A table that was not recorded holds nothing that the walk's packets, which open connections, would belong to. */
export function recordedLookup(netns: Netns): RecordedLookup {
  if (netns.conntrack.state === 'unknown') return nothing;
  const entries = netns.conntrack.value;
  const known = indexes.get(entries);
  if (known !== undefined) return known;
  const lookup = indexed(netns.id, entries);
  indexes.set(entries, lookup);
  return lookup;
}

function indexed(netns: string, entries: readonly ConntrackEntry[]): RecordedLookup {
  const byTuple = lazy(() => {
    const index = new Map<string, Connection[]>();
    for (const entry of entries) {
      const connection = fromRecord(netns, entry);
      if (connection === undefined) continue;
      const { protocol, original, reply } = connection;
      for (const key of new Set([keyOf(protocol, original), keyOf(protocol, reply)])) {
        const list = index.get(key);
        if (list === undefined) index.set(key, [connection]);
        else list.push(connection);
      }
    }
    return index;
  });
  return (protocol, tuple) => byTuple().get(keyOf(protocol, tuple)) ?? [];
}

const keyOf = (protocol: Transport, { src, dst, srcPort, dstPort }: Tuple): string =>
  `${protocol} ${src.family} ${src.value} ${srcPort} ${dst.value} ${dstPort}`;

const protocolNames = Object.keys(protocolNumber) as Transport[];

/** Undefined for protocols that no packet of the walk has. */
export function fromRecord(netns: string, entry: ConntrackEntry): Connection | undefined {
  const protocol = protocolNames.find((name) => name === entry.protocol);
  if (protocol === undefined) return undefined;
  const { original, reply, mark, flags, state, zone, helper, volume, source } = entry;
  const plain = invert(protocol, original);
  return {
    netns,
    protocol,
    original,
    reply,
    seenReply: !flags.includes('UNREPLIED'),
    assured: flags.includes('ASSURED') || flags.includes('OFFLOAD') || flags.includes('HW_OFFLOAD'),
    confirmed: true,
    ...(protocol === 'tcp' ? { tcp: recordedTcp(state) } : {}),
    ...(zone === undefined ? {} : { zone }),
    ...(helper === undefined ? {} : { helper }),
    ...(volume === undefined ? {} : { volume }),
    mark,
    // A connection in the table has been through the nat table, or there was none.
    natDone: { src: true, dst: true },
    natChanged: {
      src: plain.dst.value !== reply.dst.value || plain.dstPort !== reply.dstPort,
      dst: plain.src.value !== reply.src.value || plain.srcPort !== reply.srcPort,
    },
    source,
  };
}
