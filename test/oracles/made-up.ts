/** Ports that the kernel makes up, as the oracles compare them: what it chose is hidden if it may be. */
import type { Packet } from '../../src/net/packet.ts';

/** With its ports hidden where they are in the range that they are made up in. */
export function withHiddenPorts(packet: Packet, { src, dst }: NonNullable<Packet['madeUp']>): Packet {
  const isIn = (port: number | undefined, made: typeof src): boolean =>
    port !== undefined && made !== undefined && made.from <= port && port <= made.to;
  const { icmp, srcPort, dstPort } = packet;
  if (icmp !== undefined)
    return isIn(icmp.id, src) && src !== undefined ? { ...packet, madeUp: { src } } : packet;
  const ports = {
    ...(src !== undefined && isIn(srcPort, src) ? { src } : {}),
    ...(dst !== undefined && isIn(dstPort, dst) ? { dst } : {}),
  };
  return { ...packet, madeUp: ports };
}
