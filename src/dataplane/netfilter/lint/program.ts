/** Rules of either tool as the analyses read them: which packets a rule takes, and what it does to them. */
import type { SourceRef } from '../../../model/source.ts';
import type { Region } from './region.ts';

/** One table of one file. */
export interface Program {
  /** `nftables` is a table that no iptables tool made. */
  readonly backend: 'nft' | 'legacy' | 'nftables';
  /** `ip`, `ip6`, `inet`, ... */
  readonly family: string;
  readonly table: string;
  readonly file: string;
  readonly bases: readonly BaseChain[];
  readonly chains: ReadonlyMap<string, ProgramChain>;
  /** Named sets and maps that the table itself defines. Undefined for iptables: its sets are elsewhere. */
  readonly sets?: ReadonlyMap<string, readonly string[]>;
}

export interface BaseChain {
  readonly chain: string;
  readonly hook: string;
  readonly priority: number;
  readonly nat: boolean;
  /** Undefined where it was not recorded. */
  readonly policy?: 'accept' | 'drop';
  readonly devices: readonly string[];
}

export interface ProgramChain {
  readonly name: string;
  readonly rules: readonly ProgramRule[];
  readonly source: SourceRef;
  /** Its header is in the file. */
  readonly declared: boolean;
}

export type Effect =
  | { readonly kind: 'continue' }
  /** Ends the table for the packet; `verdict` says how: `accept`, `drop`, `reject icmp-port-unreachable`, `dnat 10.0.0.1:80`. */
  | { readonly kind: 'verdict'; readonly verdict: string }
  | { readonly kind: 'return' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  /** One of several, by a map. */
  | { readonly kind: 'choice'; readonly of: readonly Effect[] }
  | { readonly kind: 'unknown'; readonly text: string };

/** mark = (mark & ~mask) ^ value. */
export interface MarkChange {
  readonly field: 'mark' | 'connmark';
  readonly value: number;
  readonly mask: number;
}

export interface ProgramRule {
  /** Position in its chain. */
  readonly index: number;
  /** Packets that it can match: exactly those, unless `volatile` names a condition that depends on more than the packet. */
  readonly region: Region;
  readonly volatile?: string;
  readonly effect: Effect;
  /** Fields that it changes; `*` is everything, `set:` every set. */
  readonly changes: ReadonlySet<string>;
  /** How a mark changes, where that is known. */
  readonly mark?: MarkChange;
  /** Named sets that it asks. */
  readonly sets: readonly string[];
  /** What is not understood about it, a text each. */
  readonly notUnderstood: readonly string[];
  /** Two rules of one key do the same with the same packets. Names of chains stand in it as they are. */
  readonly key: string;
  readonly comment?: string;
  readonly counters?: { readonly packets: number; readonly bytes: number };
  readonly source: SourceRef;
}

/** Chains that an effect leads to. */
export function targetsOf(effect: Effect): readonly string[] {
  if (effect.kind === 'jump' || effect.kind === 'goto') return [effect.chain];
  return effect.kind === 'choice' ? effect.of.flatMap(targetsOf) : [];
}

/** The rule as its file has it, without counters. */
export const ruleText = ({ source }: { readonly source: SourceRef }): string =>
  source.kind === 'file' ? source.text.replace(/^\[[0-9:]+\] /, '') : '';

export const noChange: ReadonlySet<string> = new Set();
