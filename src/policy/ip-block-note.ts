/** Whether an answer depends on how ipBlocks are read: the API means addresses outside the cluster, and CNIs differ about pods' own. */
import type { Cluster, NetworkPolicy } from '../model/cluster.ts';
import { orElse } from '../model/known.ts';
import { type Address, addressBits, type Family, formatAddress } from '../net/address.ts';
import { contains, type Prefix } from '../net/prefix.ts';
import { isEndpointPod } from './endpoint.ts';
import type { PolicyReading } from './options.ts';

interface PodAddress {
  readonly address: Address;
  readonly pod: string;
}

/** One sentence where some ipBlock covers a pod's address; undefined where the reading makes no difference. */
export function ipBlockNote(cluster: Cluster, reading: PolicyReading): string | undefined {
  if (reading.dialect !== 'kubernetes') return undefined;
  const addresses = podAddresses(cluster);
  const seen = new Set<string>();
  for (const policy of orElse(cluster.networkPolicies, []))
    for (const { cidr, except } of blocksOf(policy)) {
      const key = [cidr, ...except].map(({ family, value, length }) => `${family} ${value}/${length}`).join();
      if (seen.has(key)) continue;
      seen.add(key);
      const found = firstIn(addresses[cidr.family], cidr, except);
      if (found === undefined) continue;
      const does = reading.ipBlockMatchesPods ? 'does' : 'does not';
      return `An ipBlock of NetworkPolicy ${policy.namespace}/${policy.name} covers ${formatAddress(found.address)}, which is pod ${found.pod}: CNIs differ in whether it matches pods; here it ${does}.`;
    }
  return undefined;
}

const blocksOf = ({ ingress = [], egress = [] }: NetworkPolicy) =>
  [...ingress, ...egress]
    .flatMap(({ peers = [] }) => peers)
    .flatMap((peer) => (peer.kind === 'ip-block' ? [peer] : []));

function podAddresses(cluster: Cluster): Readonly<Record<Family, readonly PodAddress[]>> {
  const all = orElse(cluster.pods, [])
    .filter((pod) => isEndpointPod(pod) && !pod.hostNetwork)
    .flatMap((pod) => pod.addresses.map((address) => ({ address, pod: `${pod.namespace}/${pod.name}` })));
  const sorted = (family: Family) =>
    all
      .filter((one) => one.address.family === family)
      .sort((a, b) => (a.address.value < b.address.value ? -1 : 1));
  return { 4: sorted(4), 6: sorted(6) };
}

/** The lowest address in the block that is in none of `except`. */
function firstIn(
  addresses: readonly PodAddress[],
  cidr: Prefix,
  except: readonly Prefix[],
): PodAddress | undefined {
  const end = cidr.value + (1n << BigInt(addressBits(cidr.family) - cidr.length));
  let [low, high] = [0, addresses.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((addresses[middle] as PodAddress).address.value < cidr.value) low = middle + 1;
    else high = middle;
  }
  for (let i = low; i < addresses.length; i++) {
    const one = addresses[i] as PodAddress;
    if (one.address.value >= end) return undefined;
    if (!except.some((prefix) => contains(prefix, one.address))) return one;
  }
  return undefined;
}
