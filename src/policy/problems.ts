/** Invalid parts of the policies of every kind, as one list: what an answer is without. */
import type { Cluster, ObjectOrigin, ObjectProblem, PolicyProblem } from '../model/cluster.ts';
import type { Known } from '../model/known.ts';

/** Policies that are partly invalid; objects that were left out as a whole are in `cluster.problems`. */
export function policyProblems(cluster: Cluster): readonly ObjectProblem[] {
  const { networkPolicies, adminPolicies, calico, cilium, istio, linkerd } = cluster;
  return [
    ...problemsIn(networkPolicies, 'NetworkPolicy'),
    ...problemsIn(adminPolicies, 'AdminNetworkPolicy'),
    ...[calico, cilium, istio, linkerd].flatMap((group: Known<object>) =>
      group.state === 'unknown'
        ? []
        : Object.entries(group.value).flatMap(([list, items]) =>
            Array.isArray(items) ? items.flatMap((item) => problemsOf(item, kindOf(list))) : [],
          ),
    ),
  ];
}

const problemsIn = (list: Known<readonly object[]>, kind: string): readonly ObjectProblem[] =>
  list.state === 'unknown' ? [] : list.value.flatMap((item) => problemsOf(item, kind));

interface PolicyLike {
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly problems?: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

function problemsOf(item: PolicyLike, fallback: string): readonly ObjectProblem[] {
  const { kind = fallback, namespace, name = '(without a name)', problems = [], origin } = item;
  const title = `${kind} ${namespace === undefined || namespace === '' ? name : `${namespace}/${name}`}`;
  return problems.map(({ field, why }) => ({
    text: `${title}: ${field} ${why}`,
    field,
    ...(origin === undefined ? {} : { origin }),
  }));
}

/** `authorizationPolicies` -> `AuthorizationPolicy`. */
function kindOf(list: string): string {
  const one = list.endsWith('ies') ? `${list.slice(0, -3)}y` : list.replace(/s$/, '');
  return one.charAt(0).toUpperCase() + one.slice(1);
}
