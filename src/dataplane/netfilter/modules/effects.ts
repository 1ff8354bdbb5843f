/** What targets do to tracking, sets and sockets. */
import type { CtTarget, SetOperation, TproxyTarget } from '../../../model/match-modules.ts';
import { isUnspecified, sameAddress } from '../../../net/address.ts';
import type { Template } from '../conntrack.ts';
import type { HookContext } from '../context.ts';
import { hasFrames } from '../entry-matches.ts';
import { setChange } from '../ipsets.ts';
import type { State } from '../state.ts';
import type { Truth } from '../truth.ts';

/** xt_ct_target: the first CT rule counts; a packet that has a connection or a template keeps it. */
export function attachTemplate(state: State, { zone, helper }: CtTarget): State {
  const { tracking } = state;
  if (!isFree(state)) return state;
  const template: Template = {
    ...(zone === undefined ? {} : { zoneRule: zone }),
    ...(helper === undefined ? {} : { helper }),
  };
  return { ...state, tracking: { ...tracking, state: 'NEW', template } };
}

/** set_target_v3: later packets, and later rules for this one, find the set changed. */
export function changeSet(context: HookContext, state: State, operation: SetOperation): State {
  const { netns, inDevice, outDevice } = context;
  const { packet, connections } = state;
  const { directions } = operation;
  const change = setChange(netns, operation, {
    packet,
    inDevice,
    outDevice,
    directions,
    framed: hasFrames(context),
  });
  if (change === undefined) return state;
  const setChanges = [...(connections.setChanges ?? []), change];
  return { ...state, connections: { ...connections, setChanges } };
}

/** skb->_nfct is 0: neither a connection, a template nor UNTRACKED. */
export const isFree = ({ tracking }: State): boolean =>
  tracking.connection === undefined &&
  tracking.template === undefined &&
  tracking.state === 'INVALID' &&
  tracking.isPassed !== true;

/** tproxy_tg4: whether a socket takes the packet; without one it is dropped. */
export function takesPacket({ netns }: HookContext, proxy: TproxyTarget, { packet, tracking }: State): Truth {
  const { protocol } = packet;
  if (netns.sockets.state === 'unknown') return { doubt: netns.sockets.why };
  const port = proxy.port === 0 ? packet.dstPort : proxy.port;
  const listeners = netns.sockets.value.filter(
    (socket) =>
      socket.protocol === protocol &&
      socket.port === port &&
      (protocol === 'udp' || socket.state === 'LISTEN'),
  );
  const { address } = proxy;
  const fitting = listeners.filter(
    ({ local }) =>
      local === undefined || isUnspecified(local) || address === undefined || sameAddress(local, address),
  );
  const isFirst = protocol === 'tcp' ? packet.flags?.syn && !packet.flags.ack : tracking.state === 'NEW';
  if (fitting.length === 0)
    return isFirst ? false : { doubt: 'sockets of open connections are not recorded' };
  return { doubt: `whether the socket on port ${port} is transparent is not recorded` };
}
