/** The match modules that ask for more than fields of the packet, one at a time. */
import type { ModuleTest } from '../../../model/match-modules.ts';
import type { Match } from '../../../model/netfilter.ts';
import type { Socket } from '../../../model/netns.ts';
import { isUnspecified, sameAddress } from '../../../net/address.ts';
import { protocolNumber } from '../../../net/packet.ts';
import { contains, makePrefix } from '../../../net/prefix.ts';
import { findDevice } from '../../routing-tables.ts';
import type { Subject } from '../matches.ts';
import { negateIf, type Truth } from '../truth.ts';
import { bpfMatches } from './bpf.ts';
import { headerBytes } from './header-bytes.ts';
import { stringMatches } from './string.ts';
import { u32Matches } from './u32.ts';

type Module = Extract<Match, { kind: 'module' }>;
type Test<K extends ModuleTest['kind']> = Extract<ModuleTest, { kind: K }>;

/** Modules that a negation does not reach where there is nothing to ask say `never`. */
type Found = Truth | 'never';

const negated = (match: Module, found: Found) => (found === 'never' ? false : negateIf(match.negate, found));

export function moduleMatches(match: Module, subject: Subject) {
  return negated(match, ask(match, subject));
}

function ask({ test, negate }: Module, subject: Subject): Found {
  const { packet, context } = subject;
  switch (test.kind) {
    case 'u32':
      return u32Matches(test.tests, headerBytes(packet));
    case 'bpf':
      return bpfMatches(test.program, headerBytes(packet), packet);
    case 'string':
      return stringMatches(test, headerBytes(packet));
    case 'socket':
      return socketMatches(test, subject);
    case 'cgroup':
      // cgroup_mt: a packet without a socket of this host never matches.
      if (context.inDevice !== undefined && context.hook !== 'input') return 'never';
      return { doubt: 'the control group of the process that sent the packet is not recorded' };
    case 'helper':
      return helperMatches(test, subject);
    case 'ecn':
      if (test.field === 'ect') return ((packet.tos ?? 0) & 3) === test.value;
      if (packet.protocol !== 'tcp') return 'never';
      return { doubt: 'the ECN bits of the TCP header are not known' };
    case 'connbytes':
      return trafficMatches(test, subject);
    case 'connlimit':
      return connectionsMatch(test, subject);
    case 'devgroup':
      return groupMatches(test, subject);
    case 'tcpmss':
      // tcpmss_mt: without the option the answer is no. Only packets with SYN have it (RFC 9293, 3.7.1).
      if (packet.protocol !== 'tcp') return 'never';
      if (!packet.flags?.syn) return false;
      return { doubt: 'the MSS that the sender announces is not known' };
    case 'connlabel':
      if (subject.tracking.connection === undefined) return false;
      return { doubt: `whether the connection has the label ${test.label} is not recorded` };
    case 'protocol-header':
      if (!test.protocols.includes(protocolNumber[packet.protocol])) return 'never';
      return { doubt: 'what the header holds is not known' };
    case 'extension-header':
      // frag_mt6, rt_mt6, hbh_mt6 ...: no such header, no match, negated or not.
      return 'never';
    case 'header-list':
      return headersMatch(test, negate) !== negate;
    case 'policy':
      return { doubt: 'IPsec policies are not recorded (ip xfrm policy)' };
  }
}

/** ipv6header_mt6: a packet without extension headers has the header of its protocol only. */
function headersMatch({ headers, soft }: Test<'header-list'>, negate: boolean): boolean {
  const listed = headers.includes('prot');
  // Soft asks about the headers of the list alone, and negates header by header.
  if (soft && negate) return !listed;
  return (listed && headers.length === 1) !== negate;
}

/** socket_match: sockets bound to every address count only with --nowildcard, others only without --transparent. */
function socketMatches(test: Test<'socket'>, { context, packet, tracking }: Subject): Found {
  const { netns, inDevice } = context;
  const { protocol } = packet;
  if (protocol !== 'tcp' && protocol !== 'udp')
    return packet.quoted === undefined ? false : { doubt: 'socket looks for the sender of a quoted packet' };
  if (netns.sockets.state === 'unknown') return { doubt: netns.sockets.why };
  const isFirst = protocol === 'tcp' ? packet.flags?.syn && !packet.flags.ack : tracking.state === 'NEW';
  if (!isFirst) return { doubt: 'sockets of open connections are not recorded' };
  const bound = netns.sockets.value.filter(
    (socket) =>
      socket.protocol === protocol &&
      socket.port === packet.dstPort &&
      (protocol === 'udp' || socket.state === 'LISTEN') &&
      (socket.device === undefined || socket.device === inDevice),
  );
  const isWild = ({ local }: Socket) => local === undefined || isUnspecified(local);
  const own = bound.filter(({ local }) => local !== undefined && sameAddress(local, packet.dst));
  const taken = own.length > 0 ? own : test.wildcard ? bound.filter(isWild) : [];
  if (taken.length === 0) return false;
  if (!test.transparent) return true;
  return { doubt: `whether the socket on port ${packet.dstPort} is transparent is not recorded` };
}

/** helper_mt asks the connection that announced this one, and there is none for a connection that opens by itself. */
function helperMatches({ name }: Test<'helper'>, { tracking }: Subject): Truth {
  const { connection, state } = tracking;
  if (connection === undefined) return false;
  if (state !== 'RELATED' && connection.source === undefined) return false;
  return { doubt: `whether the helper ${name} announced the connection is not recorded` };
}

/** connbytes_mt. */
function trafficMatches({ from, to, direction, mode }: Test<'connbytes'>, { tracking }: Subject): Found {
  const { connection } = tracking;
  if (connection === undefined) return 'never';
  const { volume } = connection;
  if (volume === undefined) return { doubt: 'the traffic of the connection so far is not recorded' };
  const sides = direction === 'both' ? (['original', 'reply'] as const) : ([direction] as const);
  const sum = (what: 'packets' | 'bytes') => sides.reduce((all, side) => all + volume[side][what], 0);
  const [packets, bytes] = [sum('packets'), sum('bytes')];
  const amount =
    mode === 'avgpkt'
      ? packets === 0
        ? 0
        : Math.floor(bytes / packets)
      : mode === 'bytes'
        ? bytes
        : packets;
  return from <= amount && amount <= (to ?? Number.POSITIVE_INFINITY);
}

/** connlimit counts what has passed the rule: no more than the connections that there are, and this one. */
function connectionsMatch(test: Test<'connlimit'>, { context, packet }: Subject): Truth {
  const { conntrack } = context.netns;
  if (conntrack.state === 'unknown')
    return { doubt: `the number of connections is not known: ${conntrack.why}` };
  const prefix = makePrefix(test.side === 'src' ? packet.src : packet.dst, test.prefixLength);
  const most = conntrack.value.filter(
    ({ original }) =>
      original.src.family === packet.src.family &&
      contains(prefix, test.side === 'src' ? original.src : original.dst),
  ).length;
  if (most < test.count) return false;
  return { doubt: `which of the ${most} connections recorded the rule has counted is not known` };
}

/** devgroup_mt. */
function groupMatches({ direction, value, mask }: Test<'devgroup'>, { context }: Subject): Truth {
  const { netns, inDevice, outDevice } = context;
  const name = direction === 'in' ? inDevice : outDevice;
  const group =
    name === undefined || netns.devices.state === 'unknown'
      ? undefined
      : findDevice(netns.devices.value, name)?.group;
  if (group === undefined) return { doubt: `the group of device ${name ?? ''} is not known` };
  return ((group ^ value) & mask) >>> 0 === 0;
}
