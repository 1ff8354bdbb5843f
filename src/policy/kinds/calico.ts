/**
 * Everything that Calico enforces at pods, as one layer: its tiers with its own policies, in which the policies of Kubernetes have fixed
 * places, and after them the profiles. Host endpoints are peers only: what policies do at them is not evaluated.
 */
import type { NetworkPolicy } from '../../model/cluster.ts';
import { known } from '../../model/known.ts';
import {
  type CalicoObjects,
  type CalicoPolicy,
  type CalicoProfile,
  noCalicoObjects,
} from '../../model/policies/calico.ts';
import {
  type Condition,
  type EndpointExpr,
  kinds,
  type Layer,
  type LoweredPolicy,
  type PolicyId,
  type PolicyProgramNote,
  type Tier,
} from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import { unknownPolicies } from '../unknown.ts';
import { lowerAdminTier, lowerBaselineTier } from './admin.ts';
import { type RuleLowering, ruleLowering } from './calico-rules.ts';
import {
  allBounds,
  type Bounds,
  exactly,
  isExact,
  joinAll,
  negate,
  type SelectorLowering,
  selectorLowering,
} from './calico-selector.ts';
import { lowerNetworkPolicies } from './network-policy.ts';

export interface CalicoOptions {
  /** Staged policies as if they were enforced, for what-if questions. */
  readonly includeStaged?: boolean;
}

/**
 * `exemptsSelfAndOwnNode` is not quite Calico's way: what a pod sends to its own node passes the pod's egress policy
 * (cali-wl-to-host), and then meets DefaultEndpointToHostAction, which the operator sets to Accept. From the node to the pod all passes.
 */
export function calicoLayer(world: PolicyWorld, { includeStaged = false }: CalicoOptions = {}): Layer {
  const { calico } = world.cluster;
  const tiers =
    calico.state === 'unknown'
      ? [{ name: 'Calico', groups: [[unknownPolicies('Calico', calico.why)]], otherwise: 'pass' as const }]
      : tiersOf(includeStaged ? enforceStaged(world, calico.value) : world);
  // kns.<namespace>, the profile of every pod, allows all; profile objects that say otherwise are the last tier.
  return { name: 'network', tiers, finally: 'allow', rewrites: [], exemptsSelfAndOwnNode: true };
}

interface Ranked {
  readonly order: number;
  /** Breaks ties: name, namespace, kind (felix/calc/policy_sorter.go PolKVLess). */
  readonly key: readonly [name: string, namespace: string, kind: string];
  readonly policies: readonly LoweredPolicy[];
}

interface TierPlan {
  readonly name: string;
  readonly order: number;
  readonly otherwise: 'deny' | 'pass';
  /** A tier without an object comes after all others (TierLess). */
  readonly missing?: true;
  /** Tiers of Kubernetes' own policies that stand where this one stands, before its Calico policies. */
  readonly before?: Tier | undefined;
}

function tiersOf(world: PolicyWorld): readonly Tier[] {
  const calico = world.cluster.calico.state === 'known' ? world.cluster.calico.value : noCalicoObjects;
  const selectors = selectorLowering(world);
  const rules = ruleLowering(world, selectors);
  const byTier = new Map<string, Ranked[]>();
  const add = (tier: string, ranked: Ranked) => {
    const list = byTier.get(tier);
    if (list === undefined) byTier.set(tier, [ranked]);
    else list.push(ranked);
  };
  for (const policy of calico.policies)
    if (policy.hostOnly === undefined)
      add(policy.tier, {
        order: policy.order,
        key: [`${policy.tier}.${policy.name}`, policy.namespace ?? '', policy.kind],
        policies: lowerCalicoPolicy(policy, selectors, rules),
      });
  // K8sNetworkPolicyToCalico gives all of them order 1000.
  for (const policy of lowerNetworkPolicies(world))
    add('default', {
      order: 1000,
      key: [
        policy.condition === undefined ? `knp.default.${policy.id.name}` : 'knp.default.',
        policy.id.namespace ?? '',
        'KubernetesNetworkPolicy',
      ],
      policies: [policy],
    });
  const tiers = plans(world, calico, [...byTier.keys()]).flatMap((plan) => {
    const own = (byTier.get(plan.name) ?? []).sort(inOrder).flatMap(({ policies }) => policies);
    const { name, otherwise, before } = plan;
    return [
      ...(before === undefined ? [] : [{ ...before, name: `tier ${name}` }]),
      ...(own.length === 0
        ? []
        : [{ name: `tier ${name}`, groups: own.map((policy) => [policy]), otherwise }]),
    ];
  });
  return [...tiers, ...profileTier(calico.profiles, rules)];
}

const ascending = <T extends number | string>(a: T, b: T): number => (a === b ? 0 : a < b ? -1 : 1);

const inOrder = (a: Ranked, b: Ranked): number =>
  ascending(a.order, b.order) ||
  ascending(a.key[0], b.key[0]) ||
  ascending(a.key[1], b.key[1]) ||
  ascending(a.key[2], b.key[2]);

/** Orders of api/tier.go: KubeAdminTierOrder, DefaultTierOrder, KubeBaselineTierOrder. */
function plans(world: PolicyWorld, { tiers }: CalicoObjects, used: readonly string[]): readonly TierPlan[] {
  const found = new Map<string, TierPlan>();
  for (const name of used)
    found.set(name, { name, order: Number.POSITIVE_INFINITY, otherwise: 'deny', missing: true });
  for (const { name, order, defaultAction } of tiers)
    found.set(name, { name, order, otherwise: defaultAction === 'Pass' ? 'pass' : 'deny' });
  const fixed: readonly TierPlan[] = [
    { name: 'kube-admin', order: 1_000, otherwise: 'pass', before: lowerAdminTier(world) },
    { name: 'default', order: 1_000_000, otherwise: 'deny' },
    { name: 'kube-baseline', order: 10_000_000, otherwise: 'pass', before: lowerBaselineTier(world) },
  ];
  for (const plan of fixed) found.set(plan.name, plan);
  return [...found.values()].sort(
    (a, b) =>
      ascending(Number(a.missing ?? false), Number(b.missing ?? false)) ||
      ascending(a.order, b.order) ||
      ascending(a.name, b.name),
  );
}

/** The kind as kubectl spells it where Kubernetes has one of the same name. */
const idOf = ({ kind, namespace, name, tier }: CalicoPolicy): PolicyId => ({
  kind: kind === 'NetworkPolicy' ? 'NetworkPolicy.projectcalico.org' : kind,
  ...(namespace === undefined ? {} : { namespace }),
  name: tier === 'default' ? name : `${tier}.${name}`,
});

const originOf = <T extends { readonly origin?: LoweredPolicy['origin'] }>({ origin }: T) =>
  origin === undefined ? {} : { origin };

function lowerCalicoPolicy(
  policy: CalicoPolicy,
  selectors: SelectorLowering,
  rules: RuleLowering,
): readonly LoweredPolicy[] {
  const { namespace, ingress, egress } = policy;
  const common = {
    id: idOf(policy),
    ...originOf(policy),
    ...(ingress === undefined ? {} : { ingress: rules.lower(ingress, 'ingress', namespace) }),
    ...(egress === undefined ? {} : { egress: rules.lower(egress, 'egress', namespace) }),
  };
  const { sure, possible } = subjectOf(policy, selectors);
  if (sure === possible) return [{ ...common, subject: sure }];
  const condition: Condition = {
    code: 'not-collected',
    text: `${policy.kind} ${policy.name} selects by labels of namespaces or service accounts that are not known`,
  };
  return [
    { ...common, subject: sure },
    { ...common, subject: joinAll([possible, negate(sure)]), condition },
  ];
}

/** hostNetwork pods are no workload endpoints: nothing selects them. */
function subjectOf(
  { namespace, selector, serviceAccountSelector, namespaceSelector }: CalicoPolicy,
  selectors: SelectorLowering,
): Bounds {
  const own: EndpointExpr[] = [
    kinds('pod'),
    ...(namespace === undefined ? [] : [{ is: 'namespace' as const, names: [namespace] }]),
  ];
  const bounds = allBounds(
    exactly(joinAll(own)),
    selectors.pods(selector, 'endpoint'),
    ...(serviceAccountSelector === undefined ? [] : [selectors.pods(serviceAccountSelector, 'account')]),
    ...(namespaceSelector === undefined ? [] : [selectors.pods(namespaceSelector, 'namespace')]),
  );
  return isExact(bounds) ? exactly(bounds.sure) : bounds;
}

/** A pod's namespace's profile and then its service account's; what neither allows is denied. */
function profileTier(profiles: readonly CalicoProfile[], rules: RuleLowering): readonly Tier[] {
  const restricting = profiles.filter((profile) => profile.name.startsWith('kns.') && !allowsAll(profile));
  if (restricting.length === 0) return [];
  const lower = (profile: CalicoProfile, subject: EndpointExpr): LoweredPolicy => ({
    id: { kind: 'Profile', name: profile.name },
    ...originOf(profile),
    subject: joinAll([kinds('pod'), subject]),
    ingress: rules.lower(profile.ingress, 'ingress', undefined),
    egress: rules.lower(profile.egress, 'egress', undefined),
  });
  const groups = restricting.flatMap((profile) => {
    const namespace = profile.name.slice('kns.'.length);
    const accounts = profiles.filter(({ name }) => name.startsWith(`ksa.${namespace}.`));
    return [
      [lower(profile, { is: 'namespace', names: [namespace] })],
      ...accounts.map((account) => {
        const name = account.name.slice(`ksa.${namespace}.`.length);
        return [lower(account, { is: 'service-account', names: [`${namespace}/${name}`] })];
      }),
    ];
  });
  return [{ name: 'profiles', groups, otherwise: 'deny' }];
}

/** As the profile that Calico makes of a namespace: `- action: Allow` in both directions. */
const allowsAll = ({ ingress, egress }: CalicoProfile): boolean =>
  [ingress, egress].every(([first]) => {
    if (first === undefined || first.action !== 'Allow') return false;
    const { action: _action, field: _field, source, destination, ...more } = first;
    return [more, source, destination].every((part) => Object.keys(part).length === 0);
  });

/** The world in which the staged policies are enforced. Set replaces the policy of the same name, Delete takes it away. */
function enforceStaged(world: PolicyWorld, calico: CalicoObjects): PolicyWorld {
  const idText = ({ namespace, tier, name }: CalicoPolicy) => `${namespace ?? ''}/${tier}/${name}`;
  const policies = new Map(calico.policies.map((policy) => [idText(policy), policy]));
  for (const staged of calico.stagedPolicies) {
    const { stagedAction, ...policy } = staged;
    const id = idText(staged);
    if (stagedAction === 'Set' || stagedAction === 'Delete') policies.delete(id);
    if (stagedAction === 'Set')
      policies.set(id, {
        ...policy,
        kind: policy.namespace === undefined ? 'GlobalNetworkPolicy' : 'NetworkPolicy',
      });
  }
  const { networkPolicies } = world.cluster;
  const kubernetes = new Map<string, NetworkPolicy>(
    (networkPolicies.state === 'known' ? networkPolicies.value : []).map((policy) => [
      `${policy.namespace}/${policy.name}`,
      policy,
    ]),
  );
  for (const { action, policy, origin } of calico.stagedKubernetesPolicies) {
    const id = `${policy.namespace}/${policy.name}`;
    if (action === 'Set' || action === 'Delete') kubernetes.delete(id);
    if (action === 'Set') kubernetes.set(id, { ...policy, ...(origin === undefined ? {} : { origin }) });
  }
  return {
    ...world,
    cluster: {
      ...world.cluster,
      calico: known({ ...calico, policies: [...policies.values()] }),
      ...(networkPolicies.state === 'known' ? { networkPolicies: known([...kubernetes.values()]) } : {}),
    },
  };
}

/** What was left out or could not be judged. */
export function calicoNotes({ cluster }: PolicyWorld): readonly PolicyProgramNote[] {
  if (cluster.calico.state === 'unknown') return [];
  const { policies, stagedPolicies, tiers, networkSets, profiles, hostEndpoints } = cluster.calico.value;
  const notes: PolicyProgramNote[] = [];
  const exists = new Set(['default', 'kube-admin', 'kube-baseline', ...tiers.map(({ name }) => name)]);
  for (const policy of [...policies, ...stagedPolicies]) {
    const at = { policy: idOf(policy), ...originOf(policy) };
    for (const { field, why } of policy.problems) notes.push({ ...at, field, text: `${field} ${why}` });
    if (policy.hostOnly !== undefined)
      notes.push({
        ...at,
        field: `spec.${policy.hostOnly}`,
        text: `${policy.hostOnly} policies are for host endpoints: not evaluated`,
      });
    if (!exists.has(policy.tier))
      notes.push({
        ...at,
        field: 'spec.tier',
        text: `the tier ${policy.tier} is not among the objects: it is asked after all others, with the default action Deny`,
      });
  }
  const others = [
    ...tiers.map((one) => ['Tier', one] as const),
    ...networkSets.map(
      (one) => [one.namespace === undefined ? 'GlobalNetworkSet' : 'NetworkSet', one] as const,
    ),
    ...profiles.map((one) => ['Profile', one] as const),
    ...hostEndpoints.map((one) => ['HostEndpoint', one] as const),
  ];
  for (const [kind, one] of others)
    for (const { field, why } of one.problems)
      notes.push({ policy: { kind, name: one.name }, ...originOf(one), field, text: `${field} ${why}` });
  for (const endpoint of hostEndpoints)
    notes.push({
      policy: { kind: 'HostEndpoint', name: endpoint.name },
      ...originOf(endpoint),
      text: 'is matched as a peer by its expectedIPs and labels; what policies and its profiles do at the host itself is not evaluated',
    });
  for (const profile of profiles) {
    const known = (key: string) => key.startsWith('pcns.') || key.startsWith('pcsa.');
    const isDerived = profile.name.startsWith('kns.') || profile.name.startsWith('ksa.');
    if (isDerived && Object.keys(profile.labelsToApply).some((key) => !known(key)))
      notes.push({
        policy: { kind: 'Profile', name: profile.name },
        ...originOf(profile),
        field: 'spec.labelsToApply',
        text: 'labels that are not those of the namespace or service account are not applied to pods',
      });
  }
  return notes;
}

/** Staged policies are written down and not enforced. */
export function stagedNotes({ cluster }: PolicyWorld): readonly PolicyProgramNote[] {
  if (cluster.calico.state === 'unknown') return [];
  const { stagedPolicies, stagedKubernetesPolicies } = cluster.calico.value;
  const count = stagedPolicies.length + stagedKubernetesPolicies.length;
  if (count === 0) return [];
  const are = count === 1 ? '1 staged policy is' : `${count} staged policies are`;
  return [{ text: `${are} not enforced and left out; --staged judges as if they were` }];
}
