/** Which list an object belongs to, from its apiVersion and kind: `networkpolicies.networking.k8s.io`. */

/** `plural.group`; the core group has none. */
export function pluralOf(apiVersion: string, kind: string): string {
  const group = groupOf(apiVersion);
  const plural = pluralise(kind.toLowerCase());
  if (workloads.has(plural) && legacyGroups.has(group)) return `${plural}.apps`;
  return group === '' ? plural : `${plural}.${group}`;
}

const groupOf = (apiVersion: string): string =>
  apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';

/** As the API server names the lists of its kinds and of custom resources by custom: policy -> policies, ingress -> ingresses. */
function pluralise(kind: string): string {
  if (/[^aeiou]y$/.test(kind)) return `${kind.slice(0, -1)}ies`;
  return /(s|x|ch|sh)$/.test(kind) ? `${kind}es` : `${kind}s`;
}

/** Groups in which apps/v1 workloads were served before Kubernetes 1.16. */
const legacyGroups = new Set(['extensions']);
const workloads = new Set(['deployments', 'daemonsets', 'replicasets', 'statefulsets']);

/** Kinds whose objects nobody mistakes for another group's: read without their apiVersion too, as in the items of old dumps. */
const unmistakable: Readonly<Record<string, string>> = {
  Pod: 'v1',
  Namespace: 'v1',
  Node: 'v1',
  Service: 'v1',
  ServiceAccount: 'v1',
  ConfigMap: 'v1',
  ReplicationController: 'v1',
  Deployment: 'apps/v1',
  ReplicaSet: 'apps/v1',
  StatefulSet: 'apps/v1',
  DaemonSet: 'apps/v1',
};

export const assumedVersion = (kind: string): string | undefined =>
  Object.hasOwn(unmistakable, kind) ? unmistakable[kind] : undefined;

/** Kinds of the policy systems' groups that no verdict depends on. */
const harmless: Readonly<Record<string, RegExp>> = {
  'networking.k8s.io': /^(Ingress|IngressClass|IPAddress|ServiceCIDR)$/,
  'projectcalico.org':
    /^(IPPool|IPReservation|BGP.*|FelixConfiguration|ClusterInformation|IPAM.*|BlockAffinity|CalicoNodeStatus|KubeControllersConfiguration|Node)$/,
  'cilium.io':
    /^Cilium(Node|NodeConfig|Identity|Endpoint|EndpointSlice|ExternalWorkload|LoadBalancerIPPool|PodIPPool|BGP.*|L2AnnouncementPolicy)$/,
  'policy.networking.k8s.io': /^$/,
  'security.istio.io': /^$/,
  'policy.linkerd.io': /^$/,
};

/** Whether the object could change a verdict by its kind, so that leaving it out must be said. */
export function mayDecideTraffic(apiVersion: string, kind: string): boolean {
  const group = groupOf(apiVersion).replace(/^crd\./, '');
  const known = Object.hasOwn(harmless, group) ? harmless[group] : undefined;
  if (known !== undefined) return !known.test(kind);
  return /network-?polic(y|ies)|authorization-?polic|peerauthentication|egressfirewall/i.test(kind);
}
