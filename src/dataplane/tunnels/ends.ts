/** ip_tunnel_lookup(): the device whose remote and local address fit best, of those that are up. */
import type { Device } from '../../model/netns.ts';
import { type Address, sameAddress } from '../../net/address.ts';
import type { Packet } from '../../net/packet.ts';

interface Candidate {
  readonly device: Device;
  readonly tunnel: { readonly local?: Address; readonly remote?: Address };
}

/** A device that is down is the answer only where no other fits: it is then what the packet is missing. */
export function chooseByEnds<T extends Candidate>(
  candidates: readonly T[],
  { src, dst }: Packet,
): T | undefined {
  const fits = candidates
    .flatMap((candidate) => {
      const { local, remote } = candidate.tunnel;
      if (local !== undefined && !sameAddress(local, dst)) return [];
      if (remote !== undefined && !sameAddress(remote, src)) return [];
      return [{ candidate, rank: (remote === undefined ? 0 : 2) + (local === undefined ? 0 : 1) }];
    })
    .toSorted((a, b) => b.rank - a.rank)
    .map(({ candidate }) => candidate);
  return fits.find(({ device }) => device.up) ?? fits[0];
}
