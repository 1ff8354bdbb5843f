/** What is asked of the routing tables, and what they answer. */
import type { NextHop, Route, RoutingRule } from '../model/netns.ts';
import type { Address } from '../net/address.ts';
import { type Packet, protocolNumber } from '../net/packet.ts';

/** Without `iif` the machine's own packet; with `iif` one that arrived there. */
export interface RouteQuery {
  readonly dst: Address;
  /** Absent: not chosen yet. Rules with `from` then do not match, as in the kernel. */
  readonly src?: Address | undefined;
  readonly iif?: string | undefined;
  readonly oif?: string | undefined;
  readonly mark?: number | undefined;
  /** Absent is 0. */
  readonly tos?: number | undefined;
  /** IP protocol number and ports; absent: not known, and rules that ask for them then match "unknown". */
  readonly protocol?: number | undefined;
  readonly srcPort?: number | undefined;
  readonly dstPort?: number | undefined;
  /** User id of the socket; absent for an own packet: not known. What arrived counts as user 0's. */
  readonly uid?: number | undefined;
  /** An own IPv4 packet whose source has to be an address of this namespace: any without FLOWI_FLAG_ANYSRC. */
  readonly needsOwnSource?: boolean | undefined;
}

/** A route that fits and was passed over. */
export interface SkippedRoute {
  readonly route: Route;
  readonly device: string;
  readonly why: 'device-down' | 'device-missing' | 'no-carrier';
}

/** One way that a flow may take. */
export interface Alternative {
  /** Where several routes share the flows (equal default routes), the one that this next hop is of. */
  readonly route?: Route;
  readonly nexthop: NextHop;
  readonly share: number;
  /** Source address if this hop is taken and the query has none. */
  readonly source?: Address;
}

export type RouteResult =
  | {
      readonly state: 'found';
      readonly route: Route;
      /** Device and gateway; of a multipath route the first usable one. */
      readonly nexthop: NextHop;
      /** Next hops that a flow can get and the share of flows that each gets; one entry for an ordinary route. */
      readonly alternatives: readonly Alternative[];
      readonly table: string;
      readonly rule?: RoutingRule;
      /** What the kernel takes as source address if the query has none. */
      readonly source?: Address;
      readonly skipped: readonly SkippedRoute[];
    }
  /**
   * A route or rule that refuses: `blackhole` is silent, `unreachable` answers ICMP 3/1, `prohibit` 3/13. `invalid` is a
   * pair of addresses that may not leave by that device (EINVAL).
   */
  | {
      readonly state: 'refused';
      readonly type: 'blackhole' | 'unreachable' | 'prohibit' | 'invalid';
      readonly route?: Route;
      readonly rule?: RoutingRule;
    }
  | {
      readonly state: 'none';
      readonly skipped: readonly SkippedRoute[];
      /** Where no table was asked. */
      readonly why?: string;
    }
  | { readonly state: 'unknown'; readonly why: string };

export type FoundRoute = Extract<RouteResult, { state: 'found' }>;

/**
 * What a packet asks: by its own addresses, mark and ports, as it arrived by `iif`, or sent from here. ICMP has no ports to
 * routing rules (flow dissector). Spelled out: every packet asks at every namespace, and spreading is slow.
 */
export function queryOf(
  packet: Packet,
  iif: string | undefined,
  mark = packet.mark,
  needsOwnSource?: boolean,
): RouteQuery {
  const { src, dst, protocol, srcPort, dstPort, tos } = packet;
  const isIcmp = protocol === 'icmp' || protocol === 'icmpv6';
  return {
    dst,
    src,
    iif,
    oif: undefined,
    mark,
    tos,
    protocol: protocolNumber[protocol],
    srcPort: isIcmp ? 0 : srcPort,
    dstPort: isIcmp ? 0 : dstPort,
    uid: undefined,
    needsOwnSource,
  };
}

/** The way back of a packet: what its source is asked as, `from` where it goes. */
export function queryBack(packet: Packet, from: Address, iif: string, mark: number): RouteQuery {
  const { src, protocol, srcPort, dstPort, tos } = packet;
  const isIcmp = protocol === 'icmp' || protocol === 'icmpv6';
  return {
    dst: src,
    src: from,
    iif,
    oif: undefined,
    mark,
    tos,
    protocol: protocolNumber[protocol],
    srcPort: isIcmp ? 0 : dstPort,
    dstPort: isIcmp ? 0 : srcPort,
    uid: undefined,
    needsOwnSource: undefined,
  };
}
