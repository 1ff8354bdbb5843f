/** Which routing rules a packet matches: fib_rule_match(), fib4_rule_match() and fib6_rule_match(). */
import type { Netns, Range, RoutingRule } from '../model/netns.ts';
import { isUnspecified } from '../net/address.ts';
import { contains } from '../net/prefix.ts';
import type { RouteQuery } from './routing-query.ts';
import { vrfTableOf } from './routing-vrf.ts';

export type Match = 'yes' | 'no' | 'unknown';

/** The device that stands in for "this machine" in `iif` rules (LOOPBACK_IFINDEX). */
const loopbackDevice = 'lo';

/** DSCP bits that routes and rules by TOS look at in IPv4 (INET_DSCP_LEGACY_TOS_MASK), and all of them. */
const legacyTosMask = 0x1c;
const dscpMask = 0xfc;

/** Whether a route or rule for this type of service takes the packet. */
export const tosMatches = (wanted: number | undefined, query: RouteQuery): boolean =>
  wanted === undefined ||
  wanted === 0 ||
  wanted === ((query.tos ?? 0) & (query.dst.family === 4 ? legacyTosMask : dscpMask));

export function ruleMatches(netns: Netns, rule: RoutingRule, query: RouteQuery): Match {
  const all = conditions(netns, rule, query);
  const met: Match = all.includes('no') ? 'no' : all.includes('unknown') ? 'unknown' : 'yes';
  if (!rule.not || met === 'unknown') return met;
  return met === 'yes' ? 'no' : 'yes';
}

function conditions(netns: Netns, rule: RoutingRule, query: RouteQuery): readonly Match[] {
  return [
    sure(fromMatches(rule, query)),
    sure(rule.to === undefined || contains(rule.to, query.dst)),
    sure(rule.iif === undefined || rule.iif === (query.iif ?? loopbackDevice)),
    sure(rule.oif === undefined || rule.oif === query.oif),
    sure(rule.fwmark === undefined || (((query.mark ?? 0) ^ rule.fwmark.value) & rule.fwmark.mask) === 0),
    sure(tosMatches(rule.tos, query)),
    rule.action.kind === 'l3mdev' ? inVrf(netns, query) : 'yes',
    protocolMatches(rule, query),
    within(rule.srcPorts, query.srcPort),
    within(rule.dstPorts, query.dstPort),
    // sock_net_uid() of no socket is the namespace's root.
    within(rule.uids, query.uid ?? (query.iif === undefined ? undefined : 0)),
    rule.notUnderstood.length > 0 ? 'unknown' : 'yes',
  ];
}

const sure = (matches: boolean): Match => (matches ? 'yes' : 'no');

/** IPv6 asks for a source before it compares; IPv4 compares 0.0.0.0. */
function fromMatches({ from }: RoutingRule, { src, dst }: RouteQuery): boolean {
  if (from === undefined || from.length === 0) return true;
  if (dst.family === 6) return src !== undefined && !isUnspecified(src) && contains(from, src);
  return contains(from, src ?? { family: 4, value: 0n });
}

function protocolMatches({ protocol }: RoutingRule, query: RouteQuery): Match {
  if (protocol === undefined) return 'yes';
  return query.protocol === undefined ? 'unknown' : sure(protocol === query.protocol);
}

const anyUid = 0xffff_ffff;

function within(range: Range | undefined, value: number | undefined): Match {
  if (range === undefined || (range.from === 0 && range.to >= anyUid)) return 'yes';
  return value === undefined ? 'unknown' : sure(value >= range.from && value <= range.to);
}

/** l3mdev_fib_rule_match(). */
function inVrf(netns: Netns, query: RouteQuery): Match {
  const table = vrfTableOf(netns, query);
  return table === 'unknown' ? 'unknown' : sure(table !== undefined);
}
