/**
 * Native nftables rule sets, as the kernel keeps them: tables of chains, sets and maps; a rule is a list of statements that
 * run in order. What is not understood stays in its place as `unknown`, with its JSON text.
 */
import type { Match } from './netfilter.ts';
import type { SourceRef } from './source.ts';

export interface NftTable {
  /** `ip`, `ip6`, `inet`, `bridge`, `netdev` or `arp`. */
  readonly family: string;
  readonly name: string;
  /** Tables and chains made later have larger handles. */
  readonly handle: number;
  /** Path inside the snapshot. */
  readonly file: string;
  /** `yes`: its base chains are not in force. */
  readonly dormant?: 'yes' | 'unknown';
  /** In the order of the file; also those of `chains` that are attached to a hook. */
  readonly baseChains: readonly NftBaseChain[];
  readonly chains: ReadonlyMap<string, NftChain>;
  /** Named sets and maps, by name. */
  readonly sets: ReadonlyMap<string, NftSet>;
  readonly ruleCount: number;
}

export interface NftBaseChain {
  readonly name: string;
  /** `filter`, `nat`, `route`. */
  readonly type: string;
  /** `prerouting` ... `postrouting`, `ingress`, `egress`. */
  readonly hook: string;
  readonly priority: number;
  readonly policy: string;
  readonly handle: number;
  /** Of ingress and egress hooks: the devices that they are bound to. */
  readonly devices: readonly string[];
  /** The listing does not tell `devices`. */
  readonly devicesUnknown?: boolean;
}

export interface NftChain {
  readonly name: string;
  readonly rules: readonly NftRule[];
  readonly source: SourceRef;
}

export interface NftRule {
  readonly handle: number;
  /** Up to the last one that has an effect. */
  readonly statements: readonly NftStatement[];
  /** The conditions behind them: they tell whether the whole rule matched, which decides nothing. */
  readonly trailing?: readonly NftStatement[];
  readonly comment?: string;
  readonly counters?: { readonly packets: number; readonly bytes: number };
  /** What the rule looks at, in the words of iptables rules: tells narrow rules from general ones. */
  readonly matches: readonly { readonly kind: Match['kind'] }[];
  readonly source: SourceRef;
}

/** A set, or a map where its elements have values. */
export interface NftSet {
  readonly name: string;
  readonly elements: readonly NftElement[];
}

export interface NftElement {
  /** `any` is the catch-all `*`. */
  readonly key: NftExpr;
  readonly value?: NftExpr;
  readonly verdict?: NftVerdict;
  readonly comment?: string;
}

export type NftSetUse =
  | { readonly kind: 'set-ref'; readonly name: string }
  | { readonly kind: 'set'; readonly set: NftSet };

export type NftBinaryOp = '&' | '|' | '^' | '<<' | '>>';

export type NftExpr =
  | NftSetUse
  /** A name or number; what it means depends on what it is compared with. */
  | { readonly kind: 'constant'; readonly value: string | number | boolean }
  /** Flags that are combined by comma. */
  | { readonly kind: 'list'; readonly items: readonly NftExpr[] }
  | { readonly kind: 'concat'; readonly parts: readonly NftExpr[] }
  | { readonly kind: 'prefix'; readonly address: NftExpr; readonly length: number }
  | { readonly kind: 'range'; readonly from: NftExpr; readonly to: NftExpr }
  | { readonly kind: 'any' }
  | { readonly kind: 'payload'; readonly protocol: string; readonly field: string }
  /** Offset and length in bits from the start of a header: `nh` network, `th` transport. */
  | {
      readonly kind: 'raw-payload';
      readonly base: string;
      readonly offsetBits: number;
      readonly lengthBits: number;
    }
  | { readonly kind: 'meta'; readonly key: string }
  | { readonly kind: 'ct'; readonly key: string; readonly direction?: 'original' | 'reply' }
  | { readonly kind: 'fib'; readonly result: string; readonly flags: readonly string[] }
  /** numgen and the hashes: each of `offset` .. `offset + modulus - 1` is equally likely. */
  | {
      readonly kind: 'spread';
      readonly modulus: number;
      readonly offset: number;
      /** Of a jhash with a seed: what is hashed. */
      readonly jhash?: { readonly key: NftExpr; readonly seed: number };
    }
  | { readonly kind: 'map'; readonly key: NftExpr; readonly data: NftSetUse }
  | { readonly kind: 'binary'; readonly op: NftBinaryOp; readonly left: NftExpr; readonly right: NftExpr }
  | { readonly kind: 'unknown'; readonly text: string };

export type NftVerdict =
  | { readonly kind: 'accept' | 'drop' | 'return' | 'continue' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  | { readonly kind: 'unknown'; readonly text: string };

/** `in` asks for any of some bits, or for membership; `!` for none of them. */
export type NftOp = '==' | '!=' | '<' | '>' | '<=' | '>=' | 'in' | '!';

export type NftStatement =
  | { readonly kind: 'match'; readonly op: NftOp; readonly left: NftExpr; readonly right: NftExpr }
  | { readonly kind: 'verdict'; readonly verdict: NftVerdict }
  | { readonly kind: 'vmap'; readonly key: NftExpr; readonly data: NftSetUse }
  /** `type` is `icmp`, `icmpv6`, `icmpx` or `tcp reset`. */
  | { readonly kind: 'reject'; readonly type: string; readonly code: string }
  | { readonly kind: 'set-mark' | 'set-ct-mark'; readonly value: NftExpr }
  /** Of the IP header; `protocol` is `ip` or `ip6`. */
  | {
      readonly kind: 'set-header';
      readonly protocol: string;
      readonly field: 'ttl' | 'hoplimit' | 'dscp' | 'ecn';
      readonly value: NftExpr;
    }
  | {
      readonly kind: 'nat';
      readonly how: 'dnat' | 'snat' | 'masquerade' | 'redirect';
      /** Of an inet table: the family that the address belongs to. */
      readonly family?: string;
      readonly address?: NftExpr;
      readonly port?: NftExpr;
      /** A port is made up even where the packet's own would do: `random`, `fully-random`. */
      readonly random?: true;
    }
  | { readonly kind: 'notrack' }
  /** Later packets find the set changed. */
  | {
      readonly kind: 'update-set';
      readonly set: string;
      readonly how: 'add' | 'delete';
      readonly key: NftExpr;
    }
  /** Goes on for some packets and not for others, by time or count: limit, quota, ct count. */
  | { readonly kind: 'rate'; readonly text: string }
  | { readonly kind: 'unknown'; readonly text: string; readonly why: string };
