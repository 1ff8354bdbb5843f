/** Why policies let one flow pass or not, as `policy explain` prints it: everything that was asked, in order, and what decided. */
import type { ObjectOrigin } from './cluster.ts';

export type FlowVerdict = 'allow' | 'deny' | 'conditional';
export type FlowDirection = 'egress' | 'ingress';

/** A policy or a field of it. */
export interface PolicyPlace {
  readonly kind: string;
  /** Absent for cluster-wide kinds. */
  readonly namespace?: string;
  readonly name: string;
  /** `spec.ingress[0]`; absent where the policy as a whole is meant. */
  readonly field?: string;
  readonly origin?: ObjectOrigin;
}

export interface PolicyExplanation {
  readonly flow: ExplainedFlow;
  readonly verdict: FlowVerdict;
  /** What a conditional verdict depends on. */
  readonly conditions: readonly string[];
  /** What decided, for the first line. */
  readonly reason: Reason;
  readonly layers: readonly LayerExplanation[];
  /** Set where the flow is denied and some rule could have admitted it. */
  readonly nearest?: NearestMiss;
  readonly hints: readonly PolicyHint[];
  readonly reading: ReadingRemark;
}

export interface ExplainedFlow {
  readonly src: string;
  readonly dst: string;
  /** `TCP`, `ICMP`. */
  readonly protocol: string;
  /** For ICMP: type * 256 + code. */
  readonly port: number;
}

/** One sentence without a subject, and the field that it is about. */
export interface Reason {
  readonly text: string;
  readonly place?: PolicyPlace;
}

/** One layer asks the source's egress and the destination's ingress; both must let the flow pass. */
export interface LayerExplanation {
  /** `network`, `istio`. */
  readonly name: string;
  readonly verdict: FlowVerdict;
  readonly conditions: readonly string[];
  /** Set: it passes whatever the policies say. */
  readonly exempt?: 'self' | 'own-node';
  /** Several where it is not certain under which port the flow arrives. */
  readonly ways: readonly LayerWay[];
}

export interface LayerWay {
  /** Set where the layer sees another port than the flow's. */
  readonly rewrite?: { readonly protocol: string; readonly port: number; readonly condition?: string };
  readonly directions: readonly DirectionExplanation[];
}

export interface DirectionExplanation {
  readonly direction: FlowDirection;
  /** Whose policies are asked: the source for egress, the destination for ingress. */
  readonly subject: string;
  readonly verdict: FlowVerdict;
  readonly conditions: readonly string[];
  readonly reason: Reason;
  /** `open`: no policy selects the subject. `rule`: a rule. `tier-end`: isolated and no rule matches. `layer-end`: every tier passed it on. */
  readonly decidedBy: 'open' | 'rule' | 'tier-end' | 'layer-end' | 'several';
  readonly tiers: readonly TierExplanation[];
  readonly nearest?: NearestMiss;
}

export interface TierExplanation {
  readonly name: string;
  /** False: the flow was decided before. */
  readonly reached: boolean;
  /** Those that select the subject, in the order in which they are asked. */
  readonly policies: readonly ConsultedPolicy[];
  /** How many others the tier has in this direction. */
  readonly others: number;
  /** What becomes of the flow if no rule of the tier decides: denied (the subject is isolated) or handed on. */
  readonly end: 'deny' | 'pass' | 'unsure';
  /** True if the end of the tier was reached. */
  readonly ends: boolean;
}

export interface ConsultedPolicy {
  readonly place: PolicyPlace;
  readonly isolates: boolean;
  readonly condition?: string;
  /** How many rules it has in this direction. */
  readonly rules: number;
  readonly matches: readonly MatchedRule[];
}

export interface MatchedRule {
  readonly place: PolicyPlace;
  readonly action: 'allow' | 'deny' | 'pass';
  readonly condition?: string;
  /** False: something before it had decided. */
  readonly asked: boolean;
}

/** The rule that came closest to admitting the flow, and what it missed by. */
export interface NearestMiss {
  readonly place: PolicyPlace;
  readonly missing:
    | 'subject'
    | 'namespace-label'
    | 'pod-label'
    | 'namespace'
    | 'port'
    | 'protocol'
    | 'address'
    | 'peer-kind'
    | 'identity'
    | 'nothing-admitted';
  /** As the rest of a sentence about the policy: `admits app=frontend only`. */
  readonly admits: string;
  /** `spec.ingress[0].from[0].podSelector wants app=frontend, pod shop/web has app=web`. */
  readonly text: string;
  /** Requirements that the flow misses beside this one. */
  readonly more: number;
}

export interface PolicyHint {
  readonly code:
    | 'peers-and-or'
    | 'service-port'
    | 'ip-block-reading'
    | 'invalid-part'
    | 'named-port'
    | 'host-network';
  readonly text: string;
  readonly place?: PolicyPlace;
}

export interface ReadingRemark {
  /** `kubernetes`, `calico`, `cilium`. */
  readonly dialect: string;
  readonly ipBlockMatchesPods: boolean;
  readonly because: readonly string[];
}

/** Pods that everything said about the flow holds for alike. */
export interface ExplainedGroup {
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  readonly explanation: PolicyExplanation;
}

/** What was asked, and the answer for each group of its pods. */
export interface PolicyAnswer {
  /** As asked: `shop/deploy/web`, `shop/svc/api:80/TCP`. */
  readonly src: string;
  readonly dst: string;
  /** Worst first; never empty. */
  readonly groups: readonly ExplainedGroup[];
  /** Pairs that were not looked at because there are too many. */
  readonly leftOut: number;
  readonly remarks: readonly string[];
}

/** `NetworkPolicy shop/api-allow` */
export const placeTitle = ({ kind, namespace, name }: PolicyPlace): string =>
  `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;

/** Every place that a report on the explanation names. */
export function* placesOf({ reason, layers, nearest, hints }: PolicyExplanation): Generator<PolicyPlace> {
  if (reason.place !== undefined) yield reason.place;
  if (nearest !== undefined) yield nearest.place;
  for (const { place } of hints) if (place !== undefined) yield place;
  for (const { ways } of layers)
    for (const { directions } of ways)
      for (const { reason: why, nearest: near, tiers } of directions) {
        if (why.place !== undefined) yield why.place;
        if (near !== undefined) yield near.place;
        for (const { policies } of tiers)
          for (const { place, matches } of policies) {
            yield place;
            for (const match of matches) yield match.place;
          }
      }
}
