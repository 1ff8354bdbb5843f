/** What one network namespace does with one packet. */
import type { Packet } from '../net/packet.ts';
import type { RuleVisit, Step } from './verdict.ts';

export interface Simulated {
  readonly verdict: 'forward' | 'deliver' | 'drop' | 'reject' | 'unknown';
  /** Device that it leaves by. */
  readonly oif?: string;
  /** As it leaves or is delivered; as it was where it ended. */
  readonly packet: Packet;
  readonly reason: string;
  /** File, line and text of what decided. */
  readonly rule?: string;
  /** What the sender is told. */
  readonly answer?: KernelAnswer;
  /**
   * What becomes of the answer's own packet: `forward` and `deliver` if the sender is told, `drop` if the namespace loses it.
   * Absent where a call fails.
   */
  readonly answerEnd?: Simulated;
  /** Where chance or something unknown decides: what can happen. */
  readonly alternatives?: readonly Simulated[];
  /** Of an alternative: how often, 0..1. */
  readonly share?: number;
  readonly steps: readonly Step[];
  /** The rules that it matched, in order, where that was asked for. */
  readonly rules?: readonly RuleVisit[];
}

export type KernelAnswer =
  | { readonly kind: 'icmp'; readonly type: number; readonly code: number; readonly mtuBytes?: number }
  | { readonly kind: 'tcp-reset' }
  /** A process of the namespace itself sent it: its call fails. */
  | { readonly kind: 'error' };
