/**
 * One direction of a flow as Calico decides it: "Tiers are evaluated in order; in a tier the policies that apply to the endpoint, in
 * order; the first rule that matches decides, Pass goes on to the next tier; a tier of which some policy applies ends with its default
 * action"; after the last tier come the endpoint's profiles.
 */
import type { Cluster, NetworkPolicy, Pod } from '../../model/cluster.ts';
import { known } from '../../model/known.ts';
import type { CalicoObjects, CalicoPolicy, CalicoRule } from '../../model/policies/calico.ts';
import type { PolicyFlow } from '../endpoint.ts';
import type { Direction } from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import { adminOutcome, exempt } from './admin.ts';
import { podLabels, ruleMatches, selectorMatches } from './calico-match.ts';
import { type DirectedFlow, directed, either, type Outcome } from './contract.ts';
import { ownNetworkPod } from './match.ts';
import { networkPolicyAdmits } from './network-policy.ts';
import { type Tri, triAll } from './tri.ts';

export interface CalicoReferenceOptions {
  /** Staged policies as if they were enforced. */
  readonly includeStaged?: boolean;
}

export function calicoNetwork(
  world: PolicyWorld,
  flow: PolicyFlow,
  direction: Direction,
  { includeStaged = false }: CalicoReferenceOptions = {},
): Outcome {
  const at = directed(flow, direction);
  const pod = ownNetworkPod(at.subject);
  if (pod === undefined || exempt(at)) return 'allow';
  const { calico } = world.cluster;
  if (calico.state === 'unknown') return 'conditional';
  const effective = includeStaged ? withStaged(world, calico.value) : { world, calico: calico.value };
  const asked: Asked = { world: effective.world, calico: effective.calico, at, pod };
  return decideFrom(asked, tiersOf(effective.world, effective.calico), 0);
}

interface Asked {
  readonly world: PolicyWorld;
  readonly calico: CalicoObjects;
  readonly at: DirectedFlow;
  readonly pod: Pod;
}

interface ReferenceTier {
  readonly name: string;
  readonly order: number;
  readonly exists: boolean;
  readonly defaultAction: 'Deny' | 'Pass';
  readonly policies: readonly ReferencePolicy[];
  /** The admin and baseline policies of Kubernetes, which come first in the tiers that Calico has for them. */
  readonly admin?: 'admin' | 'baseline';
}

interface ReferencePolicy {
  readonly order: number;
  readonly name: string;
  readonly namespace: string;
  readonly kind: string;
  readonly policy:
    | { readonly of: 'calico'; readonly policy: CalicoPolicy }
    /** A world in which it is the only NetworkPolicy. */
    | { readonly of: 'kubernetes'; readonly alone: PolicyWorld };
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
/** Infinity less itself is no number, and equal here. */
const byOrder = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);

const orderings = new WeakMap<PolicyWorld, readonly ReferenceTier[]>();

function tiersOf(world: PolicyWorld, calico: CalicoObjects): readonly ReferenceTier[] {
  const made = orderings.get(world);
  if (made !== undefined) return made;
  const policies = calico.policies.filter(({ hostOnly }) => hostOnly === undefined);
  const tiers = new Map<string, ReferenceTier>();
  for (const { name, order, defaultAction } of calico.tiers)
    tiers.set(name, { name, order, defaultAction, exists: true, policies: [] });
  for (const { tier } of policies)
    if (!tiers.has(tier))
      tiers.set(tier, {
        name: tier,
        order: Number.POSITIVE_INFINITY,
        defaultAction: 'Deny',
        exists: false,
        policies: [],
      });
  const fixed = { exists: true, policies: [] };
  tiers.set('kube-admin', {
    ...fixed,
    name: 'kube-admin',
    order: 1e3,
    defaultAction: 'Pass',
    admin: 'admin',
  });
  tiers.set('default', { ...fixed, name: 'default', order: 1e6, defaultAction: 'Deny' });
  tiers.set('kube-baseline', {
    ...fixed,
    name: 'kube-baseline',
    order: 1e7,
    defaultAction: 'Pass',
    admin: 'baseline',
  });
  const ordered = [...tiers.values()]
    .map((tier) => ({
      ...tier,
      policies: [
        ...policies.filter((policy) => policy.tier === tier.name).map(calicoPolicy),
        ...(tier.name === 'default' ? kubernetesPolicies(world) : []),
      ].sort(
        (a, b) =>
          byOrder(a.order, b.order) ||
          byText(a.name, b.name) ||
          byText(a.namespace, b.namespace) ||
          byText(a.kind, b.kind),
      ),
    }))
    .sort(
      (a, b) => Number(b.exists) - Number(a.exists) || byOrder(a.order, b.order) || byText(a.name, b.name),
    );
  orderings.set(world, ordered);
  return ordered;
}

const calicoPolicy = (policy: CalicoPolicy): ReferencePolicy => ({
  order: policy.order,
  name: `${policy.tier}.${policy.name}`,
  namespace: policy.namespace ?? '',
  kind: policy.kind,
  policy: { of: 'calico', policy },
});

/** "We insert all the NetworkPolicy policies at order 1000.0" (K8sNetworkPolicyToCalico). */
function kubernetesPolicies(world: PolicyWorld): readonly ReferencePolicy[] {
  const { networkPolicies } = world.cluster;
  const alone = (policies: Cluster['networkPolicies']): ReferencePolicy['policy'] => ({
    of: 'kubernetes',
    alone: { ...world, cluster: { ...world.cluster, networkPolicies: policies } },
  });
  const one = (name: string, namespace: string, policies: Cluster['networkPolicies']): ReferencePolicy => ({
    order: 1000,
    name: `knp.default.${name}`,
    namespace,
    kind: 'KubernetesNetworkPolicy',
    policy: alone(policies),
  });
  if (networkPolicies.state === 'unknown') return [one('', '', networkPolicies)];
  return networkPolicies.value.map((policy) => one(policy.name, policy.namespace, known([policy])));
}

/** The outcome from a tier on. */
function decideFrom(asked: Asked, tiers: readonly ReferenceTier[], t: number): Outcome {
  const tier = tiers[t];
  if (tier === undefined) return decideByProfiles(asked);
  const pass = () => decideFrom(asked, tiers, t + 1);
  const calico = () => decideByTier(asked, tier, pass);
  if (tier.admin === undefined) return calico();
  return adminOutcome(asked.world, asked.at, tier.admin)
    .map((one): Outcome => (one === 'pass' ? calico() : one))
    .reduce(either);
}

/** What the policies of a tier may do with the flow, in order. */
interface Step {
  readonly matches: Tri;
  readonly action: 'Allow' | 'Deny' | 'Pass';
}

function decideByTier({ world, at, pod }: Asked, tier: ReferenceTier, pass: () => Outcome): Outcome {
  const said = tier.policies.map(({ policy }) =>
    policy.of === 'calico' ? calicoSteps(world, at, pod, policy.policy) : kubernetesSteps(policy.alone, at),
  );
  const end = (applies: boolean): Outcome => (applies && tier.defaultAction === 'Deny' ? 'deny' : pass());
  const from = (i: number, applies: boolean): Outcome => {
    const policy = said[i];
    if (policy === undefined) return end(applies);
    const without = () => from(i + 1, applies);
    if (policy.selected === 'no') return without();
    const applied = firstMatch(policy.said, pass, () => from(i + 1, true));
    // A policy that may not apply counts whole or not at all.
    return policy.selected === 'yes' ? applied : either(applied, without());
  };
  return from(0, false);
}

function firstMatch(steps: readonly Step[], pass: () => Outcome, end: () => Outcome): Outcome {
  const [step, ...rest] = steps;
  if (step === undefined) return end();
  const otherwise = () => firstMatch(rest, pass, end);
  if (step.matches === 'no') return otherwise();
  const taken = step.action === 'Pass' ? pass() : step.action === 'Allow' ? 'allow' : 'deny';
  return step.matches === 'yes' ? taken : either(taken, otherwise());
}

interface Said {
  /** Whether the policy applies to the pod for the direction. */
  readonly selected: Tri;
  readonly said: readonly Step[];
}

function calicoSteps(world: PolicyWorld, at: DirectedFlow, pod: Pod, policy: CalicoPolicy): Said {
  const rules = policy[at.direction];
  if (rules === undefined) return { selected: 'no', said: [] };
  const { namespace, selector, serviceAccountSelector, namespaceSelector } = policy;
  if (namespace !== undefined && namespace !== pod.namespace) return { selected: 'no', said: [] };
  const labels = podLabels(world, pod);
  const selected = triAll([
    selectorMatches(selector, labels, 'endpoint'),
    serviceAccountSelector === undefined
      ? 'yes'
      : selectorMatches(serviceAccountSelector, labels, 'service-account'),
    namespaceSelector === undefined ? 'yes' : selectorMatches(namespaceSelector, labels, 'namespace'),
  ]);
  return { selected, said: selected === 'no' ? [] : rulesSay(world, at, rules, namespace) };
}

/** Log says nothing about what becomes of the flow. */
const rulesSay = (
  world: PolicyWorld,
  at: DirectedFlow,
  rules: readonly CalicoRule[],
  home: string | undefined,
): Step[] =>
  rules.flatMap((rule) =>
    rule.action === 'Log' ? [] : [{ action: rule.action, matches: ruleMatches(world, at.flow, rule, home) }],
  );

/** Its rules only ever allow. What NetworkPolicy leaves open for ICMP Calico denies like everything that no rule matches. */
function kubernetesSteps(alone: PolicyWorld, at: DirectedFlow): Said {
  if (alone.cluster.networkPolicies.state === 'unknown')
    return {
      selected: 'maybe',
      said: [
        { action: 'Allow', matches: 'maybe' },
        { action: 'Deny', matches: 'maybe' },
      ],
    };
  const matches = networkPolicyAdmits(alone, at);
  if (matches === 'none') return { selected: 'no', said: [] };
  return { selected: 'yes', said: [{ action: 'Allow', matches }] };
}

/** A pod has the profile of its namespace, which allows everything unless an object says otherwise, and that of its service account. */
function decideByProfiles({ world, calico, at, pod }: Asked): Outcome {
  const profile = (name: string) => calico.profiles.find((one) => one.name === name);
  const own = profile(`kns.${pod.namespace}`);
  if (own === undefined) return 'allow';
  const account = profile(`ksa.${pod.namespace}.${pod.serviceAccount}`);
  const steps = [own, ...(account === undefined ? [] : [account])].flatMap((one) =>
    rulesSay(world, at, one[at.direction], undefined),
  );
  const deny = (): Outcome => 'deny';
  return firstMatch(steps, deny, deny);
}

const staging = new WeakMap<PolicyWorld, { readonly world: PolicyWorld; readonly calico: CalicoObjects }>();

/** Staged policies take the place of the enforced ones of their name, or take them away. Learn and Ignore change nothing. */
function withStaged(
  world: PolicyWorld,
  calico: CalicoObjects,
): { readonly world: PolicyWorld; readonly calico: CalicoObjects } {
  const made = staging.get(world);
  if (made !== undefined) return made;
  let policies: readonly CalicoPolicy[] = calico.policies;
  for (const staged of calico.stagedPolicies) {
    if (staged.stagedAction !== 'Set' && staged.stagedAction !== 'Delete') continue;
    const kind = staged.namespace === undefined ? 'GlobalNetworkPolicy' : 'NetworkPolicy';
    policies = policies.filter(
      (one) =>
        !(
          one.kind === kind &&
          one.namespace === staged.namespace &&
          one.tier === staged.tier &&
          one.name === staged.name
        ),
    );
    if (staged.stagedAction === 'Set') policies = [...policies, { ...staged, kind }];
  }
  const { networkPolicies } = world.cluster;
  let kubernetes: readonly NetworkPolicy[] = networkPolicies.state === 'known' ? networkPolicies.value : [];
  for (const { action, policy } of calico.stagedKubernetesPolicies) {
    if (action !== 'Set' && action !== 'Delete') continue;
    kubernetes = kubernetes.filter(
      (one) => !(one.namespace === policy.namespace && one.name === policy.name),
    );
    if (action === 'Set') kubernetes = [...kubernetes, policy];
  }
  const effective = { ...calico, policies };
  const cluster: Cluster = {
    ...world.cluster,
    calico: known(effective),
    ...(networkPolicies.state === 'known' ? { networkPolicies: known(kubernetes) } : {}),
  };
  const result = { world: { ...world, cluster }, calico: effective };
  staging.set(world, result);
  return result;
}
