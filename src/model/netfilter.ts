/**
 * One intermediate form for packet-filter rules, whatever tool printed them (iptables-save of either backend, later nft).
 * Matches that are not understood stay in the rule as `unknown`: the rule's outcome is then unknown, never "no match".
 */
import type { Family } from '../net/address.ts';
import type { Prefix } from '../net/prefix.ts';
import type { CtTarget, ModuleTest, SetOperation, TproxyTarget } from './match-modules.ts';
import type { SourceRef } from './source.ts';

export type HookName = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';
export type TableName = 'raw' | 'mangle' | 'nat' | 'filter' | 'security';
export type CtState = 'NEW' | 'ESTABLISHED' | 'RELATED' | 'INVALID' | 'UNTRACKED' | 'SNAT' | 'DNAT';

export interface Ruleset {
  readonly family: Family;
  readonly backend: 'nft' | 'legacy';
  /** Path inside the snapshot. */
  readonly file: string;
  readonly tables: readonly Table[];
  /** Why the backend's rules are not known, where the family's other backend was recorded. `tables` is then empty. */
  readonly unseen?: string;
}

export interface Table {
  readonly name: TableName;
  readonly chains: ReadonlyMap<string, Chain>;
}

export interface Chain {
  readonly name: string;
  /** Set for built-in chains. */
  readonly policy?: 'ACCEPT' | 'DROP';
  readonly rules: readonly Rule[];
  readonly source: SourceRef;
}

export interface Rule {
  readonly matches: readonly Match[];
  readonly target: Target;
  readonly comment?: string;
  readonly counters?: { readonly packets: number; readonly bytes: number };
  readonly source: SourceRef;
}

export interface PortRange {
  readonly from: number;
  /** Inclusive. */
  readonly to: number;
}

interface Negatable {
  readonly negate: boolean;
}

export type Match =
  | (Negatable & { readonly kind: 'protocol'; readonly protocol: number })
  | (Negatable & { readonly kind: 'address'; readonly side: 'src' | 'dst'; readonly prefix: Prefix })
  | (Negatable & {
      readonly kind: 'address-range';
      readonly side: 'src' | 'dst';
      readonly from: bigint;
      readonly to: bigint;
    })
  /** `name` may end in `+`: a prefix match. */
  | (Negatable & { readonly kind: 'device'; readonly direction: 'in' | 'out'; readonly name: string })
  /** side `either` is multiport's --ports. */
  | (Negatable & {
      readonly kind: 'port';
      readonly side: 'src' | 'dst' | 'either';
      readonly ranges: readonly PortRange[];
    })
  /** type undefined is `any`. */
  | (Negatable & { readonly kind: 'icmp-type'; readonly type?: number; readonly code?: number })
  | (Negatable & {
      readonly kind: 'tcp-flags';
      readonly mask: readonly string[];
      readonly set: readonly string[];
    })
  | (Negatable & { readonly kind: 'ct-state'; readonly states: readonly CtState[] })
  | (Negatable & { readonly kind: 'mark' | 'connmark'; readonly value: number; readonly mask: number })
  /** A section of -m conntrack that asks about the connection's entry; `states` is its --ctstate, if it has one. */
  | {
      readonly kind: 'ct-entry';
      /** Its options are negated one by one. */
      readonly negate: false;
      readonly states?: Negatable & { readonly states: readonly CtState[] };
      readonly conditions: readonly CtCondition[];
    }
  | (Negatable & {
      readonly kind: 'set';
      readonly set: string;
      readonly directions: readonly ('src' | 'dst')[];
      /** --return-nomatch: elements marked `nomatch` are what is looked for. */
      readonly nomatch?: true;
    })
  /** One side of -m addrtype; types as the kernel names them: LOCAL, UNICAST, BROADCAST ... */
  | (Negatable & {
      readonly kind: 'addrtype';
      readonly side: 'src' | 'dst';
      readonly types: readonly string[];
      /** --limit-iface-in/out: what the address is on the packet's device alone. */
      readonly onDevice?: 'in' | 'out';
    })
  | (Negatable & { readonly kind: 'statistic'; readonly probability: number })
  | (Negatable & { readonly kind: 'statistic-nth'; readonly every: number; readonly packet: number })
  | (Negatable & { readonly kind: 'physdev'; readonly condition: 'is-bridged' | 'is-in' | 'is-out' })
  | (Negatable & { readonly kind: 'physdev-name'; readonly direction: 'in' | 'out'; readonly name: string })
  | (Negatable & { readonly kind: 'length'; readonly from: number; readonly to: number })
  | (Negatable & { readonly kind: 'fragment' })
  /** -m ttl, and -m hl of IPv6. */
  | (Negatable & { readonly kind: 'ttl'; readonly compare: 'eq' | 'lt' | 'gt'; readonly value: number })
  /** -m tos and -m dscp: the traffic class byte under a mask. */
  | (Negatable & { readonly kind: 'tos'; readonly value: number; readonly mask: number })
  | (Negatable & { readonly kind: 'packet-type'; readonly type: 'unicast' | 'broadcast' | 'multicast' })
  | (Negatable & { readonly kind: 'mac'; readonly address: string })
  /** The process that sent the packet. `negate` if every option of the section is negated. */
  | (Negatable & { readonly kind: 'owner'; readonly text: string })
  | (Negatable & {
      readonly kind: 'reverse-path';
      readonly loose: boolean;
      readonly withMark: boolean;
      readonly acceptLocal: boolean;
    })
  /** A module of its own; `text` is the whole section as iptables reads it, its negation included. */
  | (Negatable & { readonly kind: 'module'; readonly text: string; readonly test: ModuleTest })
  /** Matches some packets and not others, by time or rate: limit, hashlimit, recent. `text` is the option text. */
  | {
      readonly kind: 'rate';
      readonly text: string;
      /** kube-proxy's session affinity: whether the client was sent to this endpoint before. A new client never was. */
      readonly affinity?: true;
    }
  /** Always true: comment, nfacct, a bare `-m tcp`. */
  | { readonly kind: 'always'; readonly text: string }
  | { readonly kind: 'unknown'; readonly text: string; readonly why: string };

/** One option of -m conntrack about the entry. Ports of ICMP are its id, and type and code. */
export type CtCondition =
  | (Negatable & { readonly kind: 'protocol'; readonly protocol: number })
  | (Negatable & {
      readonly kind: 'address';
      readonly tuple: 'original' | 'reply';
      readonly side: 'src' | 'dst';
      readonly prefix: Prefix;
    })
  | (Negatable & {
      readonly kind: 'port';
      readonly tuple: 'original' | 'reply';
      readonly side: 'src' | 'dst';
      readonly range: PortRange;
    })
  | (Negatable & { readonly kind: 'direction'; readonly direction: 'original' | 'reply' })
  /** EXPECTED, SEEN_REPLY, ASSURED, CONFIRMED: any of them. An empty list is NONE. */
  | (Negatable & { readonly kind: 'status'; readonly flags: readonly string[] })
  /** The option text of what depends on time: --ctexpire. */
  | { readonly kind: 'other'; readonly text: string };

/** Addresses and ports of a NAT target; absent parts are left as they are. */
export interface NatRange {
  readonly from?: bigint;
  readonly to?: bigint;
  readonly ports?: PortRange;
  /** --random, --random-fully: a port is made up even where the packet's own would do. */
  readonly random?: true;
}

export type Target =
  /** No -j at all, or one that only looks: LOG, NFLOG, TRACE, TCPMSS (text says which). The packet goes on. */
  | { readonly kind: 'continue'; readonly text: string }
  | { readonly kind: 'accept' }
  | { readonly kind: 'drop' }
  | { readonly kind: 'reject'; readonly with: string }
  | { readonly kind: 'return' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  | { readonly kind: 'dnat' | 'snat'; readonly range: NatRange }
  | { readonly kind: 'masquerade'; readonly ports?: PortRange; readonly random?: true }
  /** NETMAP: the network part is replaced, the host part stays. */
  | { readonly kind: 'netmap'; readonly prefix: Prefix }
  | { readonly kind: 'redirect'; readonly ports?: PortRange; readonly random?: true }
  /** mark = (mark & ~mask) ^ value: xt_MARK's --set-xmark; the other spellings are lowered to it. */
  | { readonly kind: 'set-mark'; readonly value: number; readonly mask: number }
  | { readonly kind: 'set-connmark'; readonly value: number; readonly mask: number }
  | { readonly kind: 'save-connmark' | 'restore-connmark'; readonly nfmask: number; readonly ctmask: number }
  | { readonly kind: 'notrack' }
  /** CT with anything but --notrack. */
  | { readonly kind: 'ct-template'; readonly text: string; readonly ct: CtTarget }
  /** SET: later packets find the set changed. */
  | { readonly kind: 'change-set'; readonly text: string; readonly operation: SetOperation }
  /** Hands the packet to a local socket, if there is one for it. */
  | { readonly kind: 'tproxy'; readonly text: string; readonly proxy: TproxyTarget }
  /** TTL and HL. */
  | { readonly kind: 'set-ttl'; readonly how: 'set' | 'inc' | 'dec'; readonly value: number }
  /** tos = (tos & ~mask) ^ value; TOS and DSCP. */
  | { readonly kind: 'set-tos'; readonly value: number; readonly mask: number }
  | { readonly kind: 'unknown'; readonly text: string; readonly why: string };

export interface IpSet {
  readonly name: string;
  /** `hash:ip`, `hash:net,port`, `list:set` ... */
  readonly type: string;
  readonly family: Family;
  readonly entries: readonly IpSetEntry[];
  readonly source: SourceRef;
}

export interface IpSetEntry {
  /** The element's comma-separated parts as ipset prints them: `10.0.0.0/24`, `tcp:80`, `10.0.0.1-10.0.0.9`. */
  readonly parts: readonly string[];
  readonly nomatch: boolean;
  /** hash:net,iface: the device name is a prefix. */
  readonly wildcard?: true;
  readonly source: SourceRef;
}
