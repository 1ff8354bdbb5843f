/** Where a new policy has to stand so that it is asked in time, and what to do where none can. */
import { orElse } from '../../model/known.ts';
import type { DirectionExplanation, PolicyPlace } from '../../model/policy-explanation.ts';
import { placeTitle } from '../../model/policy-explanation.ts';
import type { SuggestedKind } from '../../model/policy-suggestion.ts';
import type { PolicyFlow } from '../endpoint.ts';
import { endText } from '../explain/explain.ts';
import type { PolicyEngine } from '../index.ts';
import type { Wanted } from './objects.ts';

type Placement = Pick<Wanted, 'rank' | 'tier' | 'pinPods' | 'adminApi'>;

/** The rule that decides now, or the first that isolates. */
function decisive({ reason, decidedBy }: DirectionExplanation): PolicyPlace | undefined {
  return decidedBy === 'rule' ? reason.place : undefined;
}

export function placeBefore(
  { world }: PolicyEngine,
  _: PolicyFlow,
  explanation: DirectionExplanation,
  kind: SuggestedKind,
): Placement | { readonly why: string } {
  const { cluster } = world;
  const admins = orElse(cluster.adminPolicies, []);
  const adminApi = admins.some((one) => one.kind === 'ClusterNetworkPolicy') ? 'v1alpha2' : 'v1alpha1';
  const by = decisive(explanation);
  if (kind === 'admin') {
    const ranks = admins.filter(({ tier }) => tier === 'admin').map(({ rank }) => rank);
    const found = admins.find((one) => one.kind === by?.kind && one.name === by.name && one.tier === 'admin');
    const limit = found === undefined || typeof found.rank !== 'number' ? 1001 : found.rank;
    for (let rank = limit - 1; rank >= 0; rank--) if (!ranks.includes(rank)) return { adminApi, rank };
    return limit > 0
      ? { adminApi, rank: limit - 1 }
      : {
          why: `nothing comes before ${by === undefined ? 'it' : placeTitle(by)}, which has priority 0: edit it`,
        };
  }
  if (kind === 'calico') {
    const policies = orElse(cluster.calico, undefined)?.policies ?? [];
    const found = policies.find(
      (one) => one.kind === by?.kind && one.name === by.name && one.namespace === by.namespace,
    );
    const tier =
      found?.tier ??
      explanation.tiers.find(({ ends, end }) => ends && end === 'deny')?.name.replace(/^tier /, '');
    const order = found?.order;
    return {
      adminApi,
      pinPods: (orElse(cluster.calico, undefined)?.networkSets ?? []).length > 0,
      ...(tier === undefined ? {} : { tier }),
      ...(order === undefined ? {} : { rank: Number.isFinite(order) ? order - 1 : 1000 }),
    };
  }
  return { adminApi };
}

const kindNames: Readonly<Record<SuggestedKind, string>> = {
  'network-policy': 'a NetworkPolicy',
  admin: 'an admin policy',
  calico: 'a Calico NetworkPolicy',
  cilium: 'a CiliumNetworkPolicy',
  istio: 'an AuthorizationPolicy',
};

/** Why an object of the kind does not help against what denies the flow, and what would. */
export function adviceOn(
  { world }: PolicyEngine,
  flow: PolicyFlow,
  kind: SuggestedKind,
  directions: readonly { readonly layer: string; readonly explanation: DirectionExplanation }[],
): readonly string[] {
  return directions.map(({ layer, explanation }) => {
    const { direction, reason, verdict, conditions } = explanation;
    const side =
      direction === 'egress' ? `egress of ${endText(flow.src)}` : `ingress of ${endText(flow.dst)}`;
    if (verdict === 'conditional')
      return `${side} stays conditional, ${kindNames[kind]} does not make it certain: ${conditions.join('; ')}`;
    const by = decisive(explanation);
    const other = by === undefined ? undefined : kindThatHelps(by, world.reading.dialect);
    if (layer !== 'network' && kind !== 'istio')
      return `${side} is denied in the layer ${layer}: ${reason.text}; ${kindNames[kind]} does not reach there${layer === 'istio' ? ': try --kind istio' : ', edit its policies'}`;
    const { dialect } = world.reading;
    if ((kind === 'calico' || kind === 'cilium') && dialect !== kind)
      return `${side}: ${reason.text}; the policies are read as ${dialect}, where ${kindNames[kind]} means nothing (--dialect ${kind} reads them so)`;
    if (by === undefined) return `${side}: ${reason.text}, and ${kindNames[kind]} does not change that`;
    const remedy =
      other === undefined || other === kind ? 'edit that rule' : `try --kind ${other}, or edit that rule`;
    return `${side}: ${reason.text}${by.field === undefined ? '' : ` (${by.field})`}, and ${kindNames[kind]} is not asked before it: ${remedy}`;
  });
}

/** The kind whose rules can come before the one that denies. Deny beats every allow in Cilium and Istio. */
function kindThatHelps({ kind }: PolicyPlace, dialect: string): SuggestedKind | undefined {
  if (dialect === 'cilium' || kind.startsWith('Cilium') || kind === 'AuthorizationPolicy') return undefined;
  if (
    kind === 'AdminNetworkPolicy' ||
    kind === 'ClusterNetworkPolicy' ||
    kind === 'BaselineAdminNetworkPolicy'
  )
    return 'admin';
  return dialect === 'calico' ? 'calico' : undefined;
}
