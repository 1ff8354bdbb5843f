/** What Ingresses and Routes let in on two sides, pair by pair. */
import { type Connection, partyText } from '../../model/connectivity.ts';
import type { ConnectionChange, ConnectionPorts, NamedParty } from '../../model/policy-diff.ts';

export function diffEntries(a: Iterable<Connection>, b: Iterable<Connection>): readonly ConnectionChange[] {
  const [before, after] = [pairsOf(a), pairsOf(b)];
  const changes: ConnectionChange[] = [];
  for (const key of [...new Set([...before.keys(), ...after.keys()])].sort()) {
    const [one, other] = [before.get(key), after.get(key)];
    const { src, dst } = (one ?? other) as PairOf;
    const [old, now] = [one?.lines ?? [], other?.lines ?? []];
    if (JSON.stringify(old) === JSON.stringify(now)) continue;
    changes.push({
      change: old.length === 0 ? 'added' : now.length === 0 ? 'removed' : 'changed',
      src,
      dst,
      before: old,
      after: now,
      because: [],
    });
  }
  return changes;
}

interface PairOf {
  readonly src: NamedParty;
  readonly dst: NamedParty;
  readonly lines: ConnectionPorts[];
}

function pairsOf(connections: Iterable<Connection>): ReadonlyMap<string, PairOf> {
  const pairs = new Map<string, PairOf>();
  for (const { src, dst, ...line } of connections) {
    if ('cidr' in src || 'cidr' in dst) continue;
    const key = `${partyText(src)} ${partyText(dst)}`;
    const known = pairs.get(key);
    if (known === undefined) pairs.set(key, { src, dst, lines: [line] });
    else known.lines.push(line);
  }
  return pairs;
}
