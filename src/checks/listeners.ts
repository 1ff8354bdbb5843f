/** Listening sockets of a pod. */
import type { Pod } from '../model/cluster.ts';
import type { Socket } from '../model/netns.ts';
import { isLoopback } from '../net/address.ts';
import type { CheckContext } from './check.ts';

/** Undefined, after noting it, where the pod's sockets were not recorded. */
export function listeners(context: CheckContext, pod: Pod): readonly Socket[] | undefined {
  const netns = context.snapshot.netns.get(`${pod.node}/${pod.namespace}_${pod.name}`);
  if (netns === undefined) {
    context.skip(`the network state of pod ${pod.namespace}/${pod.name} was not collected`);
    return undefined;
  }
  return context
    .need(netns.sockets)
    ?.filter((socket) => socket.protocol === 'udp' || socket.state === 'LISTEN');
}

export const reachableFromOutside = (socket: Socket): boolean =>
  (socket.local === undefined || !isLoopback(socket.local)) && socket.device !== 'lo';
