/** The order of decision inside of a layer: tier after tier, group after group, the first rule that matches. */
import {
  everyPort,
  intersectPorts,
  noPorts,
  type PortSet,
  subtractPorts,
  unionPorts,
} from '../../net/port-set.ts';
import type { Condition, Layer } from '../ir.ts';
import { type Cell, cellOf, eitherOutcome, joinOutcomes, noOutcome, type Outcome } from './cell.ts';
import type { CompiledPolicy, CompiledRule } from './compile.ts';

/** A rule that matches the pair of classes in question, with the policy it stands in. */
export interface ActiveRule {
  readonly policy: CompiledPolicy;
  readonly rule: CompiledRule;
  readonly ports: PortSet;
}

/** One step of a tier: a single policy's rule, or the rules of policies that share a rank. */
type Step = readonly ActiveRule[];

interface Plan {
  readonly layer: Layer;
  readonly steps: readonly (readonly Step[])[];
  /** By tier. */
  readonly isolating: readonly (readonly CompiledPolicy[])[];
}

/** What awaits a flow at the end of a tier. */
interface TierEnd {
  readonly isolated: boolean;
  /** Set where only policies that may not be there isolate the subject. */
  readonly perhaps?: Condition;
}

const sameRank: Condition = {
  code: 'undefined-by-api',
  text: 'policies of the same priority disagree, and the API does not say which one wins',
};

/**
 * All ports between a subject and one other class. `policies` are those that select the subject, `active` their rules that match the
 * pair; both in the order of the layer.
 */
export type DecideCell = (policies: readonly CompiledPolicy[], active: readonly ActiveRule[]) => Cell;

/** Remembers the answers of the commonest form, plain allow rules in one isolating tier: they depend on the rules' ports alone. */
export function cellDecider(layer: Layer): DecideCell {
  const plain = new Map<string, Cell>();
  return (policies, active) => {
    const tier = plainTier(layer, policies, active);
    if (tier === undefined) return decideCell(layer, policies, active);
    const key = `${tier}/${active.map(({ ports }) => ports.join()).join(';')}`;
    const cell = plain.get(key) ?? decideCell(layer, policies, active);
    plain.set(key, cell);
    return cell;
  };
}

function plainTier(
  { tiers }: Layer,
  policies: readonly CompiledPolicy[],
  active: readonly ActiveRule[],
): number | undefined {
  const tier = policies[0]?.tier;
  if (tier === undefined || tiers[tier]?.otherwise !== 'deny') return undefined;
  const isolating = policies.every(
    (one) => one.tier === tier && one.isolates && one.policy.condition === undefined,
  );
  const allowing = active.every(({ rule }) => rule.action === 'allow' && rule.condition === undefined);
  return isolating && allowing ? tier : undefined;
}

function decideCell(layer: Layer, policies: readonly CompiledPolicy[], active: readonly ActiveRule[]): Cell {
  const plan: Plan = {
    layer,
    steps: layer.tiers.map((_, t) => stepsOf(active.filter(({ policy }) => policy.tier === t))),
    isolating: layer.tiers.map(({ otherwise }, t) =>
      otherwise === 'pass' ? [] : policies.filter((policy) => policy.tier === t && policy.isolates),
    ),
  };
  return cellOf(run(plan, 0, 0, everyPort));
}

/** Whether the policy, or another part of its object, is taken not to be there. */
export const isAbsent = (absent: readonly CompiledPolicy[], one: CompiledPolicy): boolean =>
  absent.some(
    (other) => other === one || (one.policy.whole !== undefined && other.policy.whole === one.policy.whole),
  );

/** `absent`: policies that are taken not to be there. */
function tierEnd(policies: readonly CompiledPolicy[], absent: readonly CompiledPolicy[]): TierEnd {
  const isolating = absent.length === 0 ? policies : policies.filter((policy) => !isAbsent(absent, policy));
  if (isolating.some(({ policy }) => policy.condition === undefined)) return { isolated: true };
  const perhaps = isolating[0]?.policy.condition;
  return { isolated: false, ...(perhaps === undefined ? {} : { perhaps }) };
}

/** Rules of a group with one policy are steps of their own; of several policies the group is one step. */
function stepsOf(active: readonly ActiveRule[]): Step[] {
  const steps: ActiveRule[][] = [];
  for (const rule of active) {
    const last = steps[steps.length - 1];
    const before = last?.[0];
    const shared = before !== undefined && before.policy.group === rule.policy.group;
    if (last !== undefined && shared) last.push(rule);
    else steps.push([rule]);
  }
  return steps.flatMap((step) =>
    step.every(({ policy }) => policy.rank === step[0]?.policy.rank) ? step.map((rule) => [rule]) : [step],
  );
}

/** The outcome for `ports`, from step `s` of tier `t` on, in which the `absent` policies do not count. */
function run(
  plan: Plan,
  t: number,
  s: number,
  ports: PortSet,
  absent: readonly CompiledPolicy[] = [],
): Outcome {
  if (ports.length === 0) return noOutcome;
  const { layer, steps, isolating } = plan;
  const tier = layer.tiers[t];
  if (tier === undefined)
    return layer.finally === 'allow' ? { ...noOutcome, allow: ports } : { ...noOutcome, deny: ports };
  let outcome = noOutcome;
  let left = ports;
  let passed: PortSet = noPorts;
  const tierSteps = steps[t] as readonly Step[];
  for (let i = s; i < tierSteps.length && left.length > 0; i++) {
    const step = tierSteps[i] as Step;
    if (step.length > 1) {
      const shared = runGroup(plan, t, i, step, left, absent);
      outcome = joinOutcomes(outcome, shared.outcome);
      left = subtractPorts(left, shared.ports);
      continue;
    }
    const { policy, rule, ports: own } = step[0] as ActiveRule;
    if (absent.length > 0 && isAbsent(absent, policy)) continue;
    const met = intersectPorts(left, own);
    if (met.length === 0) continue;
    left = subtractPorts(left, met);
    if (rule.condition !== undefined) {
      const taken = act(plan, t, rule.action, met);
      // A policy that may not be there counts as a whole: where it is not, none of its rules is asked, and it isolates nobody.
      const skipped =
        rule.rule.condition === undefined
          ? run(plan, t, afterPolicy(tierSteps, i), met, [...absent, policy])
          : run(plan, t, i + 1, met, absent);
      outcome = joinOutcomes(outcome, eitherOutcome(taken, skipped, met, rule.condition));
    } else if (rule.action === 'pass') passed = unionPorts(passed, met);
    else outcome = joinOutcomes(outcome, act(plan, t, rule.action, met));
  }
  const { isolated, perhaps } = tierEnd(isolating[t] as readonly CompiledPolicy[], absent);
  if (isolated) outcome = joinOutcomes(outcome, atEnd(tier.unspecified, left));
  else if (perhaps !== undefined && left.length > 0) {
    const other = run(plan, t + 1, 0, left);
    outcome = joinOutcomes(outcome, eitherOutcome(atEnd(tier.unspecified, left), other, left, perhaps));
  } else passed = unionPorts(passed, left);
  return joinOutcomes(outcome, run(plan, t + 1, 0, passed));
}

/** The first step after `s` that is not of the same policy. */
function afterPolicy(steps: readonly Step[], s: number): number {
  const own = steps[s]?.[0]?.policy;
  let next = s + 1;
  while (next < steps.length && steps[next]?.[0]?.policy === own) next++;
  return next;
}

function act(plan: Plan, t: number, action: CompiledRule['action'], ports: PortSet): Outcome {
  if (action === 'pass') return run(plan, t + 1, 0, ports);
  return action === 'allow' ? { ...noOutcome, allow: ports } : { ...noOutcome, deny: ports };
}

function atEnd(unspecified: Layer['tiers'][number]['unspecified'], ports: PortSet): Outcome {
  if (ports.length === 0) return noOutcome;
  const open = unspecified === undefined ? noPorts : intersectPorts(ports, unspecified.ports);
  if (unspecified === undefined || open.length === 0) return { ...noOutcome, deny: ports };
  return {
    allow: noPorts,
    deny: subtractPorts(ports, open),
    maybe: [{ ports: open, condition: unspecified.condition }],
  };
}

/** Ports that the same actions await, from policies of one rank. */
interface Claim {
  readonly ports: PortSet;
  readonly actions: readonly CompiledRule['action'][];
  /** Set where only rules with a condition claim the ports. */
  readonly perhaps?: Condition;
}

/** Each policy's first matching rule, side by side: where they agree that is the answer. `ports` are those that some rule claims. */
function runGroup(
  plan: Plan,
  t: number,
  s: number,
  step: Step,
  ports: PortSet,
  absent: readonly CompiledPolicy[],
): { ports: PortSet; outcome: Outcome } {
  let claims: Claim[] = [{ ports, actions: [] }];
  for (const rank of new Set(step.map(({ policy }) => policy.rank))) {
    let left = ports;
    for (const { rule, ports: own } of step.filter(({ policy }) => policy.rank === rank)) {
      const met = intersectPorts(left, own);
      if (met.length === 0) continue;
      // A rule that may not match leaves its ports to the next one too.
      if (rule.rule.condition === undefined) left = subtractPorts(left, met);
      claims = claims.flatMap((claim) => claimed(claim, met, rule));
    }
  }
  let outcome = noOutcome;
  let taken: PortSet = noPorts;
  for (const claim of claims) {
    if (claim.actions.length === 0) continue;
    taken = unionPorts(taken, claim.ports);
    const outcomes = [...new Set(claim.actions)].map((action) => act(plan, t, action, claim.ports));
    if (claim.perhaps !== undefined) outcomes.push(run(plan, t, s + 1, claim.ports, absent));
    const joined = outcomes.reduce((a, b) => eitherOutcome(a, b, claim.ports, claim.perhaps ?? sameRank));
    outcome = joinOutcomes(outcome, joined);
  }
  return { ports: taken, outcome };
}

function claimed(claim: Claim, met: PortSet, rule: CompiledRule): Claim[] {
  const both = intersectPorts(claim.ports, met);
  if (both.length === 0) return [claim];
  const rest = subtractPorts(claim.ports, both);
  const certain = claim.actions.length > 0 && claim.perhaps === undefined;
  const more: Claim = {
    ports: both,
    actions: [...claim.actions, rule.action],
    ...(rule.condition === undefined || certain ? {} : { perhaps: rule.condition }),
  };
  return rest.length === 0 ? [more] : [{ ...claim, ports: rest }, more];
}
