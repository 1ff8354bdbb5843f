/** Lookups in Cilium's maps, as bpf/lib/{lb,eps,policy}.h does them. */
import type { IpcacheEntry, LbService, LxcEntry, PolicyEntry } from '../../model/cilium-maps.ts';
import { type Address, sameAddress } from '../../net/address.ts';
import { type Packet, protocolNumber } from '../../net/packet.ts';
import { contains } from '../../net/prefix.ts';

export const hostIdentity = 1;
export const worldIdentity = 2;

/** ipcache_lookup4(): the longest prefix. */
export function ipcacheAt(entries: readonly IpcacheEntry[], at: Address): IpcacheEntry | undefined {
  let best: IpcacheEntry | undefined;
  for (const entry of entries)
    if (contains(entry.prefix, at) && (best === undefined || entry.prefix.length > best.prefix.length))
      best = entry;
  return best;
}

export const endpointAt = (entries: readonly LxcEntry[], at: Address): LxcEntry | undefined =>
  entries.find(({ address }) => sameAddress(address, at));

/** lb4_lookup_service(): pods and the host take the entry for inside of the cluster where a Service has two. */
export function serviceAt(services: readonly LbService[], packet: Packet): LbService | undefined {
  const found = services.filter(
    (one) =>
      one.port === packet.dstPort &&
      (one.protocol === undefined || one.protocol === packet.protocol) &&
      sameAddress(one.address, packet.dst),
  );
  return found.find(({ internal }) => internal) ?? found[0];
}

export type PolicyVerdict =
  | { readonly state: 'allow' | 'deny'; readonly entry: PolicyEntry }
  | { readonly state: 'none' }
  | { readonly state: 'unknown'; readonly why: string; readonly entry?: PolicyEntry };

interface Asked {
  readonly direction: 'ingress' | 'egress';
  /** Of the other side; undefined where it is not known. */
  readonly identity: number | undefined;
  readonly packet: Packet;
}

/**
 * __policy_can_access(): the most specific entry for the identity, and the most specific for any; a deny of either wins, and
 * with neither the packet is dropped. Entries of identities that the dump does not name may be the ones that match.
 */
export function policyVerdict(entries: readonly PolicyEntry[], asked: Asked): PolicyVerdict {
  const fitting = entries.filter((entry) => fits(entry, asked));
  const own: PolicyEntry[] = [];
  const any: PolicyEntry[] = [];
  const open: PolicyEntry[] = [];
  for (const entry of fitting) {
    const id = 'id' in entry.identity ? entry.identity.id : undefined;
    if (id === 0) any.push(entry);
    else if (id === undefined || asked.identity === undefined) open.push(entry);
    else if (id === asked.identity) own.push(entry);
  }
  const matched = [mostSpecific(own), mostSpecific(any)].filter((entry) => entry !== undefined);
  const denied = matched.find(({ action }) => action === 'deny');
  if (denied !== undefined) return { state: 'deny', entry: denied };
  const [allowed] = matched;
  const doubtful = open.find(({ action }) => (action === 'deny') === (allowed !== undefined));
  if (doubtful !== undefined) {
    const why =
      asked.identity === undefined
        ? 'the identity of the other side is not known'
        : 'the dump names labels in place of identities (-n prints numbers)';
    return { state: 'unknown', why, entry: doubtful };
  }
  return allowed === undefined ? { state: 'none' } : { state: 'allow', entry: allowed };
}

function fits({ direction, protocol, ports }: PolicyEntry, asked: Asked): boolean {
  const { packet } = asked;
  if (direction !== asked.direction) return false;
  if (protocol !== undefined && protocol !== protocolNumber[packet.protocol]) return false;
  return ports === undefined || (ports.from <= packet.dstPort && packet.dstPort <= ports.to);
}

/** The prefix that the key keeps: nothing, the protocol, or with it some bits of the port. */
const prefixBits = ({ protocol, ports }: PolicyEntry): number =>
  protocol === undefined ? 0 : ports === undefined ? 8 : 24 - Math.log2(ports.to - ports.from + 1);

function mostSpecific(entries: readonly PolicyEntry[]): PolicyEntry | undefined {
  const [first, ...others] = entries;
  if (first === undefined) return undefined;
  return others.reduce((best, one) => (prefixBits(one) > prefixBits(best) ? one : best), first);
}
