/**
 * `podpath/policy`: the policy engine as a library.
 *
 *     import { askedPolicyFlows, clusterFromObjects, explain, policyEngine } from 'podpath/policy';
 *     const { cluster, problems } = clusterFromObjects(objects);
 *     const engine = policyEngine(cluster);
 *     const { flows } = askedPolicyFlows(cluster, { src: 'shop/web', dst: 'shop/svc/api', port: 80, namespace: 'default' });
 *     for (const flow of flows) {
 *       engine.verdict(flow);  // { verdict: 'allow' | 'deny' | 'conditional', conditions }
 *       explain(engine, flow); // what was asked in which order, what decided, and the nearest miss
 *     }
 *
 * Everything but `readManifests` is a pure function: no files, no network, no clock. Verdicts are three-valued: `conditional` says in
 * `conditions` what the objects do not tell. Invalid parts of policies are in `problems` and `policyProblems(cluster)`; answers are
 * without them. Wrong questions throw PodpathError, whose `complaint` says what, where, why and what to do.
 */
import type { Cluster, ObjectProblem } from '../model/cluster.ts';
import type { PolicySuggestion, SuggestedKind } from '../model/policy-suggestion.ts';
import type { JsonObject } from '../parse/json.ts';
import { Collection } from '../parse/kubernetes/collection.ts';
import { withPolicies } from '../parse/kubernetes/overlay.ts';
import type { AskedPolicyFlows } from '../policy/explain/ends.ts';
import { type PolicyEngine, policyEngine } from '../policy/index.ts';
import { suggestPolicy } from '../policy/suggest/suggest.ts';

export { type Manifests, readManifests } from '../collect/manifests/read.ts';
export type { Cluster, ObjectProblem } from '../model/cluster.ts';
export type { Connection, Party } from '../model/connectivity.ts';
export { PodpathError } from '../model/errors.ts';
export type { PolicyDiff } from '../model/policy-diff.ts';
export type { PolicyExplanation } from '../model/policy-explanation.ts';
export type { PolicySuggestion, SuggestedKind } from '../model/policy-suggestion.ts';
export { diffConnectivity } from '../policy/diff/diff.ts';
export type { FlowEnd, PolicyFlow } from '../policy/endpoint.ts';
export { type AskedPolicyFlows, askedPolicyFlows, type PolicyQuestion } from '../policy/explain/ends.ts';
export { explain } from '../policy/explain/explain.ts';
export {
  type ConnectivityOptions,
  connectivity,
  editedQuotient,
  editNetworkPolicy,
  type NetworkPolicyEdit,
  type Quotient,
  quotient,
} from '../policy/index.ts';
export type { PolicyReading } from '../policy/options.ts';
export { policyProblems } from '../policy/problems.ts';
export { type PolicyEngine, policyEngine };

export interface ClusterFromObjects {
  readonly cluster: Cluster;
  /** Objects, or parts of them, that the cluster lacks because they are broken or not known. */
  readonly problems: readonly ObjectProblem[];
}

/**
 * Kubernetes objects as the API or a parser of manifests gives them, in any order; lists are opened. Workloads without pods of theirs get
 * one from their template. Values that are no objects are named in `problems`; nothing is thrown.
 */
export function clusterFromObjects(objects: readonly unknown[]): ClusterFromObjects {
  const collection = new Collection();
  collection.add('objects', {
    documents: objects.map((value, index) => ({ index, value })),
    errors: [],
  });
  const { cluster, problems } = collection.build();
  return { cluster, problems };
}

/** The smallest policies of `kind` that admit the flows and open nothing else, proved by judging the cluster again with them. */
export const suggest = (
  engine: PolicyEngine,
  asked: AskedPolicyFlows,
  kind: SuggestedKind = 'network-policy',
): PolicySuggestion =>
  suggestPolicy(engine, asked, {
    kind,
    apply: (cluster, objects) => withPolicies(cluster, objects as readonly JsonObject[]),
    engineOf: (cluster) => policyEngine(cluster, engine.reading),
  });
