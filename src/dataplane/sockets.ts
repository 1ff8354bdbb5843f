/** Does a process listen where the packet arrives? */
import type { Netns, Socket } from '../model/netns.ts';
import { formatAddress, isLoopback, isUnspecified, sameAddress } from '../net/address.ts';
import type { Packet } from '../net/packet.ts';

export type Listening =
  | { readonly state: 'yes'; readonly socket: Socket }
  /** Something listens on the port, but only on other addresses. */
  | { readonly state: 'elsewhere'; readonly sockets: readonly Socket[]; readonly loopbackOnly: boolean }
  | { readonly state: 'no' }
  | { readonly state: 'unknown'; readonly why: string };

/** Looks for the socket that inet_lookup_listener() would find for the packet's destination. */
export function listening(netns: Netns, packet: Packet, inDevice: string): Listening {
  if (netns.sockets.state === 'unknown') return { state: 'unknown', why: netns.sockets.why };
  const { proxied } = packet;
  const onPort = netns.sockets.value.filter(
    (socket) =>
      socket.protocol === packet.protocol &&
      socket.port === (proxied ?? { port: packet.dstPort }).port &&
      (socket.protocol === 'udp' || socket.state === 'LISTEN'),
  );
  // nf_tproxy_assign_sock: the socket takes it whatever address it is for.
  const assigned = proxied === undefined ? undefined : onPort[0];
  if (assigned !== undefined) return { state: 'yes', socket: assigned };
  const hit = onPort.find(
    (socket) => accepts(socket, packet) && (socket.device === undefined || socket.device === inDevice),
  );
  if (hit !== undefined) return { state: 'yes', socket: hit };
  if (onPort.length === 0) return { state: 'no' };
  const loopbackOnly = onPort.every((socket) => socket.local !== undefined && isLoopback(socket.local));
  return { state: 'elsewhere', sockets: onPort, loopbackOnly };
}

function accepts(socket: Socket, packet: Packet): boolean {
  if (socket.local === undefined) return true;
  // [::] takes IPv4 too unless IPV6_V6ONLY is set, which ss prints as `*` against `[::]`: `*` has no local address here.
  if (isUnspecified(socket.local)) return socket.local.family === packet.dst.family;
  return sameAddress(socket.local, packet.dst);
}

export const formatSocket = (socket: Socket): string =>
  `${socket.local === undefined ? '*' : formatAddress(socket.local)}:${socket.port}`;
