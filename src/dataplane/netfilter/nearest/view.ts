/** Rules of either tool as the search for the nearest one sees them: conditions, and what follows if they hold. */
import type { RuleView, SiteFrame } from '../context.ts';
import type { Subject } from '../matches.ts';
import type { MatchResult } from '../truth.ts';

export interface Condition {
  readonly holds: (subject: Subject) => MatchResult;
  /** `destination port 8080; the packet has 8081`. */
  readonly needs: (subject: Subject) => string;
  /** How far a packet is from it that lacks it: a port is easily another one, a device or an address means somebody else. */
  readonly distance: number;
  /** A mark that it asks for. */
  readonly mark?: MarkBits & { readonly negate: boolean };
  /** No packet of this kind can ever have it: an answer's state for a new connection, the loopback device, an ICMP type. */
  readonly isVain?: (subject: Subject) => boolean;
}

export interface MarkBits {
  readonly value: number;
  readonly mask: number;
}

export type Effect =
  | { readonly kind: 'accept' | 'return' | 'end' | 'none' }
  | { readonly kind: 'enter'; readonly chain: string }
  /** mark = (mark & ~mask) ^ value. */
  | ({ readonly kind: 'mark' } & MarkBits);

/** One way that a rule can go: a verdict map has several. */
export interface RuleLook {
  readonly rule: RuleView;
  readonly conditions: readonly Condition[];
  readonly effects: readonly Effect[];
}

/** A table's chains. */
export interface Chains {
  readonly rules: (
    chain: string,
  ) => readonly { readonly rule: RuleView; readonly looks: () => readonly RuleLook[] }[];
}

/** Where the packet was dropped. */
export interface Drop {
  readonly chains: Chains;
  readonly table: string;
  readonly frame: SiteFrame;
  /** Absent where the base chain's policy dropped. */
  readonly rule?: RuleView;
  readonly subject: Subject;
}
