import type { Evidence } from './evidence.ts';

/** Stable ids of docs/causes: `area/what`. */
export type CauseId = `${string}/${string}`;

/** What a finding or cause is about, so that causes can be matched with paths. */
export interface Subject {
  readonly kind: 'node' | 'pod' | 'service' | 'policy' | 'namespace' | 'device' | 'cluster';
  /** `node2`, `shop/api-1`, `node2/flannel.1` for a device. */
  readonly name: string;
}

/** A check's result: something is wrong whether or not anybody asked about a flow. */
export interface Finding {
  /** Id of the check, `node-routes`. */
  readonly check: string;
  readonly cause: CauseId;
  /** error: pods are cut off now. warning: will hurt, or hurts some traffic. */
  readonly severity: 'error' | 'warning';
  readonly subject: Subject;
  /** Other objects that the finding concerns (the peer node of a missing route). */
  readonly concerns: readonly Subject[];
  /** One sentence: `node2 has no route to 10.244.1.0/24 (node1)`. */
  readonly statement: string;
  readonly evidence: readonly Evidence[];
}

/** Why a flow fails, with the proof. */
export interface Cause {
  readonly id: CauseId;
  /** One clause that completes "shop/web cannot reach shop/api:8080: ...". */
  readonly title: string;
  /** 0..1: 1 is proven by state and by a probe; below 0.5 is a guess that must be called one. */
  readonly score: number;
  readonly subject: Subject;
  readonly evidence: readonly Evidence[];
  /** Statements that speak against it. */
  readonly contradictedBy: readonly string[];
  /** How to repair it, as commands a person can read; the fix engine owns doing it. */
  readonly repair: readonly string[];
  /** The command that would prove or disprove it, where it is not proven. */
  readonly nextProbe?: string;
}
