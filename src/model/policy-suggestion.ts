/** The smallest policies that admit a denied flow, and what they change besides, as `policy suggest` prints it. */
import type { PolicyAnswer } from './policy-explanation.ts';

export type SuggestedKind = 'network-policy' | 'admin' | 'calico' | 'cilium' | 'istio';

/** A manifest as it is applied. */
export type Manifest = Readonly<Record<string, unknown>>;

export interface PolicySuggestion {
  readonly kind: SuggestedKind;
  /** `allowed`: it passes already. `suggested`: with the objects it passes. `partly`: some of it, or not certainly. `none`: no object helps. */
  readonly state: 'allowed' | 'suggested' | 'partly' | 'none';
  /** The flow as it is now. */
  readonly before: PolicyAnswer;
  /** The flow with the objects applied. */
  readonly after: PolicyAnswer;
  readonly objects: readonly Manifest[];
  /** What the objects rely on: labels of pods, of namespaces, addresses. */
  readonly relies: readonly string[];
  /** Flows that pass with the objects and did not before, the asked ones aside: pods with the same labels, or another way in. */
  readonly opened: ChangedFlows;
  /** What to do where no object of the kind can help. */
  readonly advice: readonly string[];
}

export interface ChangedFlows {
  readonly flows: readonly ChangedFlow[];
  /** How many more there are than are listed. */
  readonly more: number;
}

export interface ChangedFlow {
  readonly src: string;
  readonly dst: string;
  /** `8080/TCP` */
  readonly ports: string;
}
