/** A cluster with some more policies, as if somebody had applied them. */
import type { Cluster } from '../../model/cluster.ts';
import { type Known, known } from '../../model/known.ts';
import type { JsonObject } from '../json.ts';
import { parsed } from '../result.ts';
import { clusterOf } from './cluster.ts';
import { pluralOf } from './kinds.ts';

/** Policy objects only, of any kind that is understood. Lists that are not known stay so. */
export function withPolicies(cluster: Cluster, objects: readonly JsonObject[]): Cluster {
  const lists = new Map<string, JsonObject[]>();
  for (const object of objects) {
    const plural = pluralOf(String(object.apiVersion), String(object.kind));
    lists.set(plural, [...(lists.get(plural) ?? []), object]);
  }
  const more = clusterOf((plural) => ({
    where: 'the new policies',
    objects: parsed((lists.get(plural) ?? []).map((object) => ({ object }))),
  }));
  return {
    pods: cluster.pods,
    nodes: cluster.nodes,
    namespaces: cluster.namespaces,
    services: cluster.services,
    endpointSlices: cluster.endpointSlices,
    networkPolicies: both(cluster.networkPolicies, more.networkPolicies, (a, b) => [...a, ...b]),
    workloads: cluster.workloads,
    configMaps: cluster.configMaps,
    serviceAccounts: cluster.serviceAccounts,
    adminPolicies: both(cluster.adminPolicies, more.adminPolicies, (a, b) => [...a, ...b]),
    calico: both(cluster.calico, more.calico, (a, b) => ({ ...a, policies: [...a.policies, ...b.policies] })),
    cilium: both(cluster.cilium, more.cilium, (a, b) => ({ ...a, policies: [...a.policies, ...b.policies] })),
    istio: both(cluster.istio, more.istio, (a, b) => ({
      ...a,
      authorizationPolicies: [...a.authorizationPolicies, ...b.authorizationPolicies],
    })),
    linkerd: cluster.linkerd,
    problems: [...cluster.problems, ...more.problems],
  };
}

function both<T>(old: Known<T>, more: Known<T>, join: (a: T, b: T) => T): Known<T> {
  if (old.state === 'unknown') return old;
  return more.state === 'unknown' ? more : known(join(old.value, more.value));
}
