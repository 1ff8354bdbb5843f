/** Matches that ask about the connection's entry, the frame, the sender or the way back. */
import type { CtCondition, CtState, Match } from '../../model/netfilter.ts';
import { isLinkLocal, isMulticast, isUnspecified } from '../../net/address.ts';
import { portIn, whyMadeUp } from '../../net/made-up.ts';
import { protocolNumber } from '../../net/packet.ts';
import { contains } from '../../net/prefix.ts';
import { lookupRoute } from '../routing-lookup.ts';
import { bestRoute, findDevice, routesOf } from '../routing-tables.ts';
import type { Connection, Tracking } from './conntrack.ts';
import type { HookContext } from './context.ts';
import type { Subject } from './matches.ts';
import { allOf, type MatchResult, negateIf, type Truth } from './truth.ts';

/** Whether the packet is in one of the states. */
export function hasState({ state, connection }: Tracking, wanted: readonly CtState[]): boolean {
  if (wanted.includes(state)) return true;
  if (connection === undefined) return false;
  const { natChanged } = connection;
  return (natChanged.src && wanted.includes('SNAT')) || (natChanged.dst && wanted.includes('DNAT'));
}

/** conntrack_mt: the state, and SNAT and DNAT only if the connection's tuple was really changed. */
export function statesOf(tracking: Tracking): readonly CtState[] {
  const { connection } = tracking;
  if (connection === undefined) return [tracking.state];
  return [
    tracking.state,
    ...(connection.natChanged.src ? (['SNAT'] as const) : []),
    ...(connection.natChanged.dst ? (['DNAT'] as const) : []),
  ];
}

/** Without a connection only the state is asked; a section without --ctstate then says no (conntrack_mt). */
export function entryMatches(match: Extract<Match, { kind: 'ct-entry' }>, tracking: Tracking): MatchResult {
  const { states } = match;
  if (states !== undefined) {
    const found = statesOf(tracking).some((state) => states.states.includes(state));
    if (found === states.negate) return false;
  }
  const { connection } = tracking;
  if (connection === undefined) return states !== undefined;
  return allOf(match.conditions.map((condition) => conditionMatches(condition, connection, tracking)));
}

function conditionMatches(
  condition: CtCondition,
  connection: Connection,
  { direction }: Tracking,
): MatchResult {
  switch (condition.kind) {
    case 'protocol':
      return negateIf(condition.negate, condition.protocol === protocolNumber[connection.protocol]);
    case 'address': {
      const tuple = connection[condition.tuple];
      return negateIf(
        condition.negate,
        contains(condition.prefix, condition.side === 'src' ? tuple.src : tuple.dst),
      );
    }
    case 'port': {
      const tuple = connection[condition.tuple];
      const port = condition.side === 'src' ? tuple.srcPort : tuple.dstPort;
      const made = tuple.madeUp?.[condition.side];
      const found = portIn(port, made, [condition.range]);
      if (found === 'maybe') return { doubt: made === undefined ? '' : whyMadeUp(made) };
      return negateIf(condition.negate, found);
    }
    case 'direction':
      return negateIf(condition.negate, condition.direction === direction);
    case 'status':
      return negateIf(condition.negate, statusMatches(condition.flags, connection));
    case 'other':
      return { doubt: `whether "${condition.text}" is true depends on the time` };
  }
}

function statusMatches(flags: readonly string[], connection: Connection): Truth {
  if (flags.includes('SEEN_REPLY') && connection.seenReply) return true;
  if (flags.includes('CONFIRMED') && connection.confirmed) return true;
  const { assured = false } = connection;
  if (flags.includes('ASSURED') && assured === true) return true;
  if (flags.includes('ASSURED') && assured === 'unknown')
    return { doubt: 'whether the connection is assured depends on the time between its packets' };
  // `conntrack -L` does not show it; a connection of the walk itself is never expected.
  if (flags.includes('EXPECTED') && connection.source !== undefined)
    return { doubt: 'whether the connection was expected is not recorded' };
  return false;
}

/** Devices without link-layer addresses: their packets are neither broadcast nor from a MAC address. */
const rawKinds: ReadonlySet<string> = new Set([
  'tun',
  'ipip',
  'sit',
  'gre',
  'ip6tnl',
  'wireguard',
  'vti',
  'ppp',
]);

/** Whether frames of the device carry MAC addresses. Undefined if the device is not known. */
export function hasFrames(context: HookContext): boolean | undefined {
  const { netns, inDevice } = context;
  if (inDevice === undefined || netns.devices.state === 'unknown') return undefined;
  const kind = findDevice(netns.devices.value, inDevice)?.kind;
  return kind === undefined ? undefined : !rawKinds.has(kind);
}

/** xt_mac: no on devices that are no Ethernet, negated or not. */
export function macMatches(match: Extract<Match, { kind: 'mac' }>, context: HookContext): MatchResult {
  if (context.inDevice === 'lo' || hasFrames(context) === false) return false;
  return { doubt: `whether the frame came from ${match.address} is not followed` };
}

/** skb->pkt_type: own and forwarded packets are "to this host"; one that comes in is what its frame was addressed to. */
export function packetTypeMatches(
  match: Extract<Match, { kind: 'packet-type' }>,
  { context, packet }: Subject,
): MatchResult {
  const arriving = context.hook === 'prerouting' || context.hook === 'input';
  const isTo = (type: typeof match.type): MatchResult => negateIf(match.negate, match.type === type);
  if (!arriving) return isTo('unicast');
  const framed = hasFrames(context);
  if (framed === false) return isTo('unicast');
  if (isMulticast(packet.dst)) return framed ? isTo('multicast') : { doubt: 'the device is not known' };
  if (packet.dst.family === 6) return isTo('unicast');
  if (packet.dst.value === 0xffffffffn)
    return framed ? isTo('broadcast') : { doubt: 'the device is not known' };
  const routes = routesOf(context.netns, 4);
  if (routes.state === 'unknown') return { doubt: routes.why };
  return isTo(bestRoute(routes.value, ['local'], packet.dst)?.type === 'broadcast' ? 'broadcast' : 'unicast');
}

/** xt_owner: a packet that no socket here sent fits only where every option is negated. */
export function ownerMatches(match: Extract<Match, { kind: 'owner' }>, context: HookContext): Truth {
  if (context.inDevice !== undefined) return match.negate;
  return { doubt: `${match.text}: the process that sent the packet is not recorded` };
}

/** xt_rpfilter and ip6t_rpfilter: whether the way back to the source leaves by the device that the packet came by. */
export function reversePathMatches(
  match: Extract<Match, { kind: 'reverse-path' }>,
  { context, packet }: Subject,
): MatchResult {
  const { inDevice, netns } = context;
  if (inDevice === undefined) return { doubt: 'the device that the packet came by is not known' };
  return negateIf(match.negate, inDevice === 'lo' ? true : waysBack());

  function waysBack(): Truth {
    const { src, dst } = packet;
    if (src.family === 6 && isUnspecified(src)) return true;
    if (
      src.family === 4 &&
      src.value >> 24n === 0n &&
      (dst.value === 0xffffffffn || isLocalMulticast(dst.value))
    )
      return true;
    const noSource =
      src.family === 4 && (isMulticast(dst) || dst.value === 0xffffffffn || dst.value >> 24n === 0n);
    const back = lookupRoute(netns, {
      dst: src,
      src: noSource ? undefined : dst,
      iif: 'lo',
      ...(src.family === 6 && isLinkLocal(src) ? { oif: inDevice } : {}),
      mark: match.withMark ? packet.mark : 0,
    });
    if (back.state === 'unknown') return { doubt: back.why };
    if (back.state !== 'found') return false;
    const { type } = back.route;
    if (type !== 'unicast' && !(type === 'local' && match.acceptLocal)) return false;
    return match.loose || back.route.nexthops.some(({ device }) => device === inDevice);
  }
}

/** 224.0.0.0/24. */
const isLocalMulticast = (value: bigint): boolean => value >> 8n === 0xe00000n;
