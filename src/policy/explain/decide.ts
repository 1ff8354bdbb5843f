/** One point of one layer and direction, decided step by step so that each step can be shown. Asks no row and no cell of the engine. */
import { hasId } from '../../net/id-set.ts';
import { hasPort } from '../../net/port-set.ts';
import { type CompiledPolicy, type CompiledRule, resolvePorts } from '../engine/compile.ts';
import { isAbsent } from '../engine/decide.ts';
import type { Engine, EngineLayer } from '../engine/engine.ts';
import type { EndpointClass } from '../engine/universe.ts';
import type { Condition, Direction, Rule, Tier } from '../ir.ts';

/** Classes and a number of the port line: where a layer is asked. */
export interface Spot {
  readonly layer: EngineLayer;
  readonly direction: Direction;
  readonly subject: number;
  readonly other: number;
  readonly point: number;
}

/** A rule that matches the point. */
export interface Hit {
  readonly policy: CompiledPolicy;
  readonly rule: Rule;
  readonly condition?: Condition;
}

export type Decider =
  | { readonly is: 'rule'; readonly hit: Hit }
  | { readonly is: 'tier-end'; readonly tier: number }
  | { readonly is: 'layer-end' };

/** What may become of the flow: both where it depends on the conditions. */
export interface Fate {
  readonly can: readonly ('allow' | 'deny')[];
  readonly conditions: readonly Condition[];
  readonly by: Decider;
}

/** Rules that are asked together: one, or those of policies that share a rank. */
type Step = readonly Hit[];

export interface Decision {
  readonly fate: Fate;
  readonly tiers: readonly TierTrace[];
  /** True if nothing before the rule had certainly decided. */
  readonly asked: (hit: Hit) => boolean;
}

export interface TierTrace {
  readonly tier: Tier;
  readonly reached: boolean;
  readonly ended: boolean;
  readonly policies: readonly CompiledPolicy[];
  readonly hits: readonly Hit[];
  readonly isolates: 'yes' | 'no' | Condition;
}

/** The rules of a policy that match, in order. */
export type HitsOf = (policy: CompiledPolicy) => readonly Hit[];

export function compiledHits({ universe }: Engine, { subject, other, point }: Spot): HitsOf {
  const own = universe.classes[subject] as EndpointClass;
  const matches = ({ peers, self, ports, rule }: CompiledRule): boolean =>
    hasId(peers, other) &&
    (self === undefined || hasId(self, subject)) &&
    // Only ingress rules leave their ports' names to the subject.
    hasPort(ports ?? resolvePorts(rule.ports, own), point);
  return (policy) => {
    const hits: Hit[] = [];
    for (const compiled of policy.rules) {
      const { rule, condition } = compiled;
      // A rule with named ports is compiled once for each meaning of the names.
      if (hits[hits.length - 1]?.rule !== rule && matches(compiled))
        hits.push({ policy, rule, ...(condition === undefined ? {} : { condition }) });
    }
    return hits;
  };
}

export function decideSpot(spot: Spot, hitsOf: HitsOf): Decision {
  const { layer, direction, subject, point } = spot;
  const { layer: lowered, tiers } = layer.compiled;
  const policies = layer.rows[direction].policiesOf(subject);
  const plans = tiers.map((tier, t) => {
    const own = policies.filter((policy) => policy.tier === t);
    const hits = own.flatMap(hitsOf);
    return { tier, own, hits, steps: stepsOf(hits), isolates: isolation(tier, own) };
  });
  const askedHits = new Set<Hit>();
  const ended = new Set<number>();
  const starts = new Map<number, Fate>();

  const enter = (t: number): Fate => {
    const known = starts.get(t);
    if (known !== undefined) return known;
    const fate: Fate =
      t < plans.length ? from(t, 0, []) : { can: [lowered.finally], conditions: [], by: { is: 'layer-end' } };
    starts.set(t, fate);
    return fate;
  };
  const from = (t: number, s: number, absent: readonly CompiledPolicy[]): Fate => {
    const { steps } = plans[t] as (typeof plans)[number];
    const step = steps[s];
    if (step === undefined) return atEnd(t, absent);
    if (step.length === 1 && step.every(({ policy }) => isAbsent(absent, policy)))
      return from(t, s + 1, absent);
    const asked = step.length === 1 ? step : firstOfEach(step);
    for (const hit of asked) askedHits.add(hit);
    const fates = asked.map((hit): readonly [Hit, Fate] => [hit, act(t, hit)]);
    const certain = fates.filter(([hit]) => hit.condition === undefined);
    // Conditions first: where a certain rule of the same rank follows, they say why the two may differ.
    let sum =
      certain.length > 0 ? together(certain.map(([, fate]) => fate)) : from(t, ...nextStep(steps, s, absent));
    for (const [{ condition }, fate] of fates)
      if (condition !== undefined) sum = eitherFate(fate, sum, condition);
    return sum;
  };
  const act = (t: number, hit: Hit): Fate =>
    hit.rule.action === 'pass'
      ? enter(t + 1)
      : { can: [hit.rule.action], conditions: [], by: { is: 'rule', hit } };
  const atEnd = (t: number, absent: readonly CompiledPolicy[]): Fate => {
    ended.add(t);
    const { tier, own } = plans[t] as (typeof plans)[number];
    const isolates = isolation(
      tier,
      own.filter((policy) => !isAbsent(absent, policy)),
    );
    if (isolates === 'no') return enter(t + 1);
    const { unspecified } = tier;
    const by: Decider = { is: 'tier-end', tier: t };
    const denied: Fate =
      unspecified !== undefined && hasPort(unspecified.ports, point)
        ? { can: ['allow', 'deny'], conditions: [unspecified.condition], by }
        : { can: ['deny'], conditions: [], by };
    return isolates === 'yes' ? denied : eitherFate(denied, enter(t + 1), isolates);
  };

  const fate = enter(0);
  return {
    fate,
    asked: (hit) => askedHits.has(hit),
    tiers: plans.map(({ tier, own, hits, isolates }, t) => ({
      tier,
      reached: starts.has(t),
      ended: ended.has(t),
      policies: own,
      hits,
      isolates,
    })),
  };
}

function isolation({ otherwise }: Tier, policies: readonly CompiledPolicy[]): TierTrace['isolates'] {
  if (otherwise === 'pass') return 'no';
  const isolating = policies.filter(({ isolates }) => isolates).map(({ policy }) => policy.condition);
  if (isolating.length === 0) return 'no';
  return isolating.includes(undefined) ? 'yes' : (isolating[0] as Condition);
}

/** Rules of one policy follow each other; rules of several policies of one rank are asked at once. */
function stepsOf(hits: readonly Hit[]): Step[] {
  const steps: Step[] = [];
  for (let i = 0; i < hits.length; ) {
    const first = hits[i] as Hit;
    let end = i + 1;
    while (end < hits.length && (hits[end] as Hit).policy.group === first.policy.group) end++;
    const group = hits.slice(i, end);
    if (group.every(({ policy }) => policy.rank === first.policy.rank))
      steps.push(...group.map((hit) => [hit]));
    else steps.push(group);
    i = end;
  }
  return steps;
}

/**
 * Where to go on if the step does not count, and without which policies. One that may not be there counts as a whole: none of its other
 * rules is asked then, and it isolates nobody.
 */
function nextStep(
  steps: readonly Step[],
  s: number,
  absent: readonly CompiledPolicy[],
): readonly [s: number, absent: readonly CompiledPolicy[]] {
  const [only, ...others] = steps[s] as Step;
  if (only === undefined || others.length > 0 || only.rule.condition !== undefined) return [s + 1, absent];
  let next = s + 1;
  while (steps[next]?.every(({ policy }) => policy === only.policy)) next++;
  return [next, [...absent, only.policy]];
}

/** Of each policy the rules up to the first that matches whenever the policy is there. */
function firstOfEach(step: Step): Hit[] {
  const settled = new Set<number>();
  return step.filter(({ policy, rule }) => {
    if (settled.has(policy.rank)) return false;
    if (rule.condition === undefined) settled.add(policy.rank);
    return true;
  });
}

const sameRank: Condition = {
  code: 'undefined-by-api',
  text: 'policies of the same priority disagree, and the API does not say which one wins',
};

const together = (fates: readonly Fate[]): Fate => fates.reduce((a, b) => eitherFate(a, b, sameRank));

/** Two fates of which nobody knows which one holds. A condition is a reason only where the two differ for sure. */
function eitherFate(a: Fate, b: Fate, condition: Condition): Fate {
  const can = (['allow', 'deny'] as const).filter((one) => a.can.includes(one) || b.can.includes(one));
  if (can.length === 1) return { can, conditions: [], by: b.by };
  const certain = a.can.length === 1 && b.can.length === 1;
  return {
    can,
    conditions: distinct([...(certain ? [condition] : []), ...a.conditions, ...b.conditions]),
    by: a.by,
  };
}

const distinct = (conditions: readonly Condition[]): Condition[] => [
  ...new Map(conditions.map((one) => [`${one.code} ${one.text}`, one])).values(),
];
