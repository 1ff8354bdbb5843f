/** Which devices are tunnels, whether or not their parameters were recorded. */
import type { Device } from '../../model/netns.ts';

const frameKinds = new Set(['vxlan', 'geneve', 'gretap', 'ip6gretap', 'erspan', 'ip6erspan']);
const packetKinds = new Set(['ipip', 'sit', 'ip6tnl', 'gre', 'ip6gre', 'wireguard']);

/** A tunnel that carries frames: its next hops have MAC addresses. */
export const carriesFrames = ({ kind }: Device): boolean => frameKinds.has(kind);

/** A tunnel that carries IP packets: no MAC addresses, no neighbours. */
export const carriesPackets = ({ kind }: Device): boolean => packetKinds.has(kind);
