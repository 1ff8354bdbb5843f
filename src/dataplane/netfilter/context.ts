/** What goes into a hook and what comes out of it. */
import type { Known } from '../../model/known.ts';
import type { HookName, Match, Rule } from '../../model/netfilter.ts';
import type { Netns } from '../../model/netns.ts';
import type { SourceRef } from '../../model/source.ts';
import type { NearRule, RuleVisit, Step } from '../../model/verdict.ts';
import type { Address } from '../../net/address.ts';
import type { Packet } from '../../net/packet.ts';
import type { Connections, Tracking } from './conntrack.ts';

export interface HookContext {
  readonly netns: Netns;
  readonly hook: HookName;
  readonly packet: Packet;
  /** For bridged packets the bridge, as br_netfilter presents it. */
  readonly inDevice?: string | undefined;
  readonly outDevice?: string | undefined;
  /** Bridge port that the packet came in by, also if it is routed afterwards. */
  readonly physIn?: string | undefined;
  /** Bridge port that it leaves by: set only for packets that are bridged. */
  readonly physOut?: string | undefined;
  /** The value of the packet's last outcome, from whatever namespace; the connection it belongs to is found again. */
  readonly connections: Connections;
  /** Keep the rules that the packet matches: `HookOutcome.path`. */
  readonly record?: true | undefined;
  /** Only what stands at these priorities runs, `from` included, `to` not: IPVS takes packets in the middle of a hook. */
  readonly window?: { readonly from?: number; readonly to?: number } | undefined;
  /** At OUTPUT: the packet has a connection already, as what IPVS sends on does. */
  readonly keepsTracking?: true | undefined;
  /** Of the route taken, for MASQUERADE at POSTROUTING; absent: the destination is on-link or the route is looked up. */
  readonly nextHop?: Address | undefined;
}

/** What steps and decisions show of a rule: rules of iptables and of nftables both have it. */
export type RuleView = Pick<Rule, 'source' | 'comment' | 'counters'> & {
  readonly matches: readonly { readonly kind: Match['kind'] }[];
};

/** The place where something is decided, whichever tool made the rules. */
export interface Site {
  readonly base: {
    readonly backend: Decisive['backend'];
    readonly file: string;
    readonly hook: HookName;
    readonly table: { readonly name: string };
    readonly chain: { readonly name: string; readonly source: SourceRef };
  };
  readonly frame: SiteFrame;
}

export interface SiteFrame {
  readonly chain: { readonly name: string };
  /** Base chain first, this chain last. */
  readonly path: readonly string[];
  /** The rule that led here, and the chain that it stands in. */
  readonly via?: { readonly rule: RuleView; readonly frame: SiteFrame };
  /** Named verdict maps that led here. */
  readonly maps?: readonly string[];
}

/** A rule that matched, or the base chain's policy. A list that grows at its head: forks share what they have in common. */
export interface Visit {
  readonly site: Site;
  /** Absent for the policy. */
  readonly rule?: RuleView & { readonly handle?: number };
  readonly verdict: RuleVisit['verdict'];
  /** Of jump and goto. */
  readonly to?: string;
  /** The packet as it came to the rule. */
  readonly packet: Packet;
  readonly tracking: Tracking;
  readonly before?: Visit;
}

export interface Decisive {
  /** `nftables` is a table that no iptables tool made. */
  readonly backend: 'nft' | 'legacy' | 'nftables';
  readonly file: string;
  /** `filter`; of nftables with its family, `ip kube-proxy`. */
  readonly table: string;
  /** Base chain first, the chain of the rule last. */
  readonly chainStack: readonly string[];
  readonly rule?: RuleView;
  /** The base chain's policy decided. */
  readonly policy?: true;
  /** What it had counted when the dump was taken. */
  readonly policyPackets?: number;
  /** Of nftables: the verdict maps that led there, by name. */
  readonly maps?: readonly string[];
}

export interface HookOutcome {
  readonly verdict: 'accept' | 'drop' | 'reject' | 'unknown';
  /** After NAT and marks. At OUTPUT `routeMark` tells whether the packet is routed again. */
  readonly packet: Packet;
  /** Set where OUTPUT routes the packet again: with this mark, which later rules may have changed once more. */
  readonly routeMark?: number;
  /** What conntrack makes of the packet: its connection and state. */
  readonly tracking: Tracking;
  /** Goes on with the packet; it holds the connection once INPUT or POSTROUTING accepted the packet. */
  readonly connections: Connections;
  /** Share of packets that take this outcome, 0..1; the outcomes of one call add up to 1. */
  readonly share: number;
  readonly steps: readonly Step[];
  /** What dropped or rejected the packet, or the last rule or policy that accepted it in a filter table. */
  readonly decisive?: Decisive;
  /** Of a drop or reject: the rules that would have let the packet go on. A search, so only made when it is asked for. */
  readonly nearest?: () => readonly NearRule[];
  /** With `record`: what matched, last first. */
  readonly path?: Visit;
  /** For `reject`: `icmp-port-unreachable`, `tcp-reset` ... */
  readonly rejectWith?: string;
  /** For `unknown`: the rules that could not be decided. */
  readonly unknownBecause?: readonly SourceRef[];
  readonly unknownWhy?: string;
  /** For `unknown`: the outcomes that are possible; shares are of the case that each belongs to. */
  readonly alternatives?: readonly HookOutcome[];
  /** Tables of bridge and netdev hooks that the packet passed, `family name`: their rules were not evaluated. */
  readonly unseenTables: Known<readonly string[]>;
}
