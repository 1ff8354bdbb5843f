/** What IPVS does with answers, and what both directions need. */
import type { Netns } from '../model/netns.ts';
import { formatAddress } from '../net/address.ts';
import { swappedPorts } from '../net/made-up.ts';
import type { Packet } from '../net/packet.ts';
import { type Endpoint, findBack } from './balanced.ts';
import { type Cursor, step } from './cursor.ts';
import { untracked } from './netfilter/conntrack.ts';

/** ip_vs_out_hook(): an answer of a real server gets the Service's address back. Undefined for all other packets. */
export function ipvsAnswer(cursor: Cursor): Cursor | undefined {
  const { packet, netns, connections } = cursor;
  if (cursor.byIpvs === true) return undefined;
  const { quoted } = packet;
  if (quoted !== undefined) {
    // ip_vs_out_icmp(): an error about what went to the real server. It quotes the packet the other way round.
    const about = findBack(connections.balanced, netns.id, 'ipvs', turned(quoted));
    if (about === undefined) return undefined;
    const { address, port } = about.virtual;
    const told = { ...packet, src: address, quoted: { ...quoted, dst: address, dstPort: port } };
    return { ...cursor, packet: told, byIpvs: true };
  }
  const found = findBack(connections.balanced, netns.id, 'ipvs', packet);
  if (found === undefined) return undefined;
  const text = `IPVS gives the answer of ${socketText(found.real)} the Service's address ${socketText(found.virtual)}`;
  const noted = { ...cursor, steps: [...cursor.steps, step('nat', 'rewrite', text)] };
  return {
    ...noted,
    byIpvs: true,
    packet: { ...packet, src: found.virtual.address, srcPort: found.virtual.port },
    ...(tracksIpvs(netns) ? {} : { connections: untrackedBy(noted) }),
  };
}

/** As its answer would be. */
export const turned = (packet: Packet): Packet => ({
  ...packet,
  src: packet.dst,
  dst: packet.src,
  ...swappedPorts(packet, packet.icmp !== undefined),
});

/** IP_VS_CONN_F_NFCT: kube-proxy sets it, since KUBE-POSTROUTING could not masquerade otherwise. The kernel's default is 0. */
export const tracksIpvs = (netns: Netns): boolean =>
  netns.sysctls.state === 'unknown' || netns.sysctls.value.get('net.ipv4.vs.conntrack') === '1';

/** ip_vs_notrack() */
export const untrackedBy = ({ connections, netns }: Cursor): Cursor['connections'] => ({
  ...connections,
  inFlight: { netns: netns.id, tracking: untracked },
});

export const socketText = ({ address, port }: Endpoint): string =>
  address.family === 4 ? `${formatAddress(address)}:${port}` : `[${formatAddress(address)}]:${port}`;
