/** The part of an object that podpath reads; a hundred thousand pods must fit into memory, and what is not kept cannot leak. */
import { isObject, type JsonObject } from '../../parse/json.ts';
import { redactText } from './redact.ts';

/** What to keep: all of it, text with credentials taken out, or of an object (of each object of a list) the named fields. */
export type Keep = 'all' | 'text' | { readonly [field: string]: Keep };

export function pick(value: unknown, keep: Keep): unknown {
  if (keep === 'all') return value;
  if (keep === 'text') return typeof value === 'string' ? redactText(value) : value;
  if (Array.isArray(value)) return value.map((item: unknown) => pick(item, keep));
  if (!isObject(value)) return value;
  const kept: Record<string, unknown> = {};
  for (const field in keep) {
    const inner = value[field];
    // Null is as good as absent, as in the API server's decoding.
    if (inner !== undefined && inner !== null) kept[field] = pick(inner, keep[field] ?? 'all');
  }
  return kept;
}

/**
 * Annotations by which meshes, CNIs, load balancers and Kubernetes itself steer traffic. Others are dropped: they are free text,
 * `kubectl.kubernetes.io/last-applied-configuration` with all of the object's environment among them.
 */
const trafficAnnotations =
  /(^|[./-])(istio\.io|linkerd\.io|cilium\.io|projectcalico\.org|flannel\.alpha\.coreos\.com|kube-router\.io|ovn\.org|ovn\.kubernetes\.io|cni\.cncf\.io|antrea\.io|weave\.works|networking\.gke\.io|cloud\.google\.com|vpc\.amazonaws\.com|k8s\.aws|metallb\.(io|universe\.tf)|multus\.openshift\.io|network\.openshift\.io)\/|^(kubernetes\.io\/(ingress-bandwidth|egress-bandwidth|ingress\.class|config\.mirror)|(service|endpoints|node|topology|endpointslice|networking|ingress|ingressclass|csr)\.(alpha\.|beta\.)?kubernetes\.io\/|net\.beta\.kubernetes\.io\/|service\.alpha\.|scheduler\.alpha|deployment\.kubernetes\.io\/revision|openshift\.io\/host)/;

/** The names of hidden places for credentials, among the annotations above. */
const neverAnnotations = /last-applied|sidecar\.istio\.io\/status|\/(?:.*-)?(?:token|password|secret)$/i;

function keepAnnotations(annotations: unknown): JsonObject | undefined {
  if (!isObject(annotations)) return undefined;
  const kept: Record<string, unknown> = {};
  let some = false;
  for (const [name, value] of Object.entries(annotations)) {
    if (!trafficAnnotations.test(name) || neverAnnotations.test(name)) continue;
    kept[name] = typeof value === 'string' ? redactText(value) : value;
    some = true;
  }
  return some ? kept : undefined;
}

const metaFields: Keep = {
  name: 'all',
  namespace: 'all',
  uid: 'all',
  labels: 'all',
  creationTimestamp: 'all',
  deletionTimestamp: 'all',
  generation: 'all',
  ownerReferences: { apiVersion: 'all', kind: 'all', name: 'all', controller: 'all' },
};

/** managedFields, selfLink, finalizers and most annotations go. */
export function slimMetadata(metadata: unknown): JsonObject {
  const kept = pick(metadata, metaFields) as JsonObject;
  const annotations = keepAnnotations(isObject(metadata) ? metadata.annotations : undefined);
  return annotations === undefined ? kept : { ...kept, annotations };
}
