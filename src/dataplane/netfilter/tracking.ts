/** The conntrack hook: which connection a packet belongs to, and whether the table takes another one. */
import type { Netns } from '../../model/netns.ts';
import { formatAddress, sameAddress } from '../../net/address.ts';
import type { Packet } from '../../net/packet.ts';
import { sysctl } from '../routing-tables.ts';
import {
  type Connection,
  type Connections,
  type Template,
  type Tracking,
  track,
  zoneOf,
} from './conntrack.ts';
import type { HookOutcome } from './context.ts';
import { joinDoubt, outcome } from './outcomes.ts';
import { recordedLookup } from './recorded.ts';
import { copyOf, type Next, type Run, type State } from './state.ts';
import { invalidStep } from './steps.ts';
import { isIcmpError } from './tuples.ts';

/** What conntrack of the namespace makes of the packet. */
export function startTracking(
  connections: Connections,
  netns: Netns,
  packet: Packet,
  template?: Template,
  guesses?: true,
): Tracking {
  const zone = zoneOf(template, packet);
  return track(connections, netns.id, packet, {
    tcpLoose: sysctl(netns, 'net.netfilter.nf_conntrack_tcp_loose') !== '0',
    recorded: recordedLookup(netns),
    ...(zone === undefined ? {} : { zone }),
    ...(guesses === undefined ? {} : { guesses }),
    ...(template?.helper === undefined ? {} : { helper: template.helper }),
  });
}

const whyGuessed = 'whether its port or id is the one that the kernel made up for a connection is not known';

/** nf_conntrack_in; `hasRules` tells whether anybody can ask for the answer. */
export function runTracking(run: Run, hasRules: boolean, state: State, next: Next): readonly HookOutcome[] {
  const { tracking, connections, packet } = state;
  const { netns } = run.context;
  if (tracking.connection !== undefined || tracking.state === 'UNTRACKED') return next(state);
  const found = startTracking(connections, netns, packet, tracking.template);
  // nf_conntrack_in() leaves skb->_nfct of an ICMP error without connection as it was.
  const isPassed = tracking.isPassed === true && found.state === 'INVALID' && isIcmpError(packet);
  const tracked: Tracking = isPassed ? { ...found, isPassed } : found;
  const isSaid = tracked.state === 'INVALID' && hasRules;
  const onward = (changed: Tracking) => {
    const after = copyOf(state);
    after.tracking = changed;
    if (isSaid) after.steps = [...state.steps, invalidStep(packet)];
    return next(after);
  };
  const { connection } = tracked;
  if (connection?.confirmed) return onward(tracked);
  // An answer that names a port, to one that the kernel made up.
  const guessed = connections.entries.some(({ reply }) => reply.madeUp !== undefined)
    ? startTracking(connections, netns, packet, tracking.template, true)
    : tracked;
  if (guessed.connection?.confirmed)
    return joinDoubt(state, netns.id, [], whyGuessed, onward(guessed), onward(tracked));
  if (connection === undefined) return onward(tracked);
  const full = fullTable(netns);
  if (full !== undefined)
    return joinDoubt(state, netns.id, [], full, [outcome(state, 'drop', netns.id)], onward(tracked));
  const expected = hasRules ? expectedBy(netns, connection) : undefined;
  if (expected === undefined) return onward(tracked);
  const related = onward({ ...tracked, state: 'RELATED' });
  return joinDoubt(state, netns.id, [], expected, related, onward(tracked));
}

/**
 * __nf_conntrack_alloc: beyond the limit a new connection is dropped unless early_drop() finds one to throw out; which of
 * both cannot be foreseen.
 */
function fullTable(netns: Netns): string | undefined {
  const number = (name: string) => {
    const text = sysctl(netns, name);
    return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
  };
  const count = number('net.netfilter.nf_conntrack_count');
  const most = number('net.netfilter.nf_conntrack_max') ?? number('net.nf_conntrack_max');
  if (count === undefined || most === undefined || most === 0 || count < most) return undefined;
  return `the connection table is full (${count} of ${most}): new connections are dropped by chance`;
}

/** A helper may have announced this connection (init_conntrack); expectations are not recorded. */
function expectedBy(netns: Netns, connection: Connection): string | undefined {
  if (netns.conntrack.state === 'unknown') return undefined;
  const { src, dst } = connection.original;
  const master = netns.conntrack.value.find(
    ({ helper, original, reply }) =>
      helper !== undefined &&
      [original, reply].some(
        (tuple) =>
          (sameAddress(tuple.src, src) && sameAddress(tuple.dst, dst)) ||
          (sameAddress(tuple.src, dst) && sameAddress(tuple.dst, src)),
      ),
  );
  if (master === undefined) return undefined;
  return `whether the ${master.helper} helper expects this connection from ${formatAddress(src)} is not recorded`;
}
