/** What is read from a cluster, what for, and how much of it is kept. The minimal ClusterRole is made from this list too. */
import * as shapes from './shapes.ts';

export interface CollectedKind {
  /** Empty for the core group. */
  readonly group: string;
  readonly plural: string;
  readonly slim: shapes.Slim;
  /** What an answer lacks without it, for people. */
  readonly lost: string;
  /**
   * `decides`: engines read it, and a list that is there but cannot be read makes its facts unknown.
   * `informs`: it helps to explain; without it there is a gap and nothing else.
   */
  readonly use: 'decides' | 'informs';
  /** Only in this namespace. */
  readonly namespace?: string;
  /** `type!=Normal` */
  readonly fieldSelector?: string;
  /** No more than this many: it is about what happened lately, not about all of it. */
  readonly most?: number;
  /** The same objects in another API group: read only where that one cannot be. */
  readonly sameAs?: string;
}

type Rest = Omit<CollectedKind, 'group' | 'plural'>;

const kinds = (group: string, plurals: string, rest: Rest): readonly CollectedKind[] =>
  plurals.split(' ').map((plural) => ({ group, plural, ...rest }));

const decides = 'decides';
const informs = 'informs';
const policies = 'no answer about policies is sure';

const core: readonly CollectedKind[] = [
  ...kinds('', 'pods', { slim: shapes.pod, use: decides, lost: 'no flow can be judged' }),
  ...kinds('', 'nodes', { slim: shapes.node, use: decides, lost: 'no path can be followed' }),
  ...kinds('', 'namespaces', { slim: shapes.namespace, use: decides, lost: policies }),
  ...kinds('', 'services', { slim: shapes.service, use: decides, lost: 'no Service can be resolved' }),
  ...kinds('discovery.k8s.io', 'endpointslices', {
    slim: shapes.endpointSlice,
    use: decides,
    lost: 'the backends of Services are not known',
  }),
  ...kinds('networking.k8s.io', 'networkpolicies', { slim: shapes.rule, use: decides, lost: policies }),
  ...kinds('', 'serviceaccounts', {
    slim: shapes.metadataOnly,
    use: decides,
    lost: 'policies that select by the labels of service accounts cannot be judged',
  }),
  ...kinds('apps', 'deployments replicasets daemonsets statefulsets', {
    slim: shapes.workload,
    use: informs,
    lost: 'pods are not named by their workload, and workloads that are down are not seen',
  }),
  ...kinds('batch', 'jobs', {
    slim: shapes.workload,
    use: informs,
    lost: 'pods of jobs are not named by their job',
  }),
  ...kinds('', 'endpoints', {
    slim: shapes.endpoints,
    use: informs,
    lost: 'Endpoints made by hand are not compared with their slices',
  }),
  ...kinds('', 'events', {
    slim: shapes.event,
    use: informs,
    fieldSelector: 'type!=Normal',
    most: 10_000,
    lost: 'what the cluster complained about lately is not shown',
  }),
  ...kinds('coordination.k8s.io', 'leases', {
    slim: shapes.lease,
    use: informs,
    namespace: 'kube-node-lease',
    lost: 'when each kubelet was last heard of is not known',
  }),
  ...kinds('networking.k8s.io', 'ingresses ingressclasses servicecidrs', {
    slim: shapes.rule,
    use: informs,
    lost: 'entries from outside are not followed',
  }),
  ...kinds(
    'gateway.networking.k8s.io',
    'gateways gatewayclasses tcproutes tlsroutes udproutes referencegrants',
    {
      slim: shapes.settingsAndStatus,
      use: informs,
      lost: 'entries through gateways are not followed',
    },
  ),
];

const calicoRules =
  'networkpolicies globalnetworkpolicies stagednetworkpolicies stagedglobalnetworkpolicies stagedkubernetesnetworkpolicies tiers networksets globalnetworksets profiles hostendpoints';
const calicoSettings = 'ippools felixconfigurations bgpconfigurations bgppeers clusterinformations';

const systems: readonly CollectedKind[] = [
  ...kinds(
    'policy.networking.k8s.io',
    'adminnetworkpolicies baselineadminnetworkpolicies clusternetworkpolicies',
    { slim: shapes.rule, use: decides, lost: policies },
  ),
  ...kinds('projectcalico.org', calicoRules, { slim: shapes.rule, use: decides, lost: policies }),
  ...kinds('projectcalico.org', calicoSettings, {
    slim: shapes.settings,
    use: informs,
    lost: "Calico's pools and peers are not known",
  }),
  // Calico's own API server shows the same objects under projectcalico.org.
  ...kinds('crd.projectcalico.org', calicoRules, {
    slim: shapes.rule,
    use: decides,
    sameAs: 'projectcalico.org',
    lost: policies,
  }),
  ...kinds('crd.projectcalico.org', calicoSettings, {
    slim: shapes.settings,
    use: informs,
    sameAs: 'projectcalico.org',
    lost: "Calico's pools and peers are not known",
  }),
  ...kinds('crd.projectcalico.org', 'blockaffinities', {
    slim: shapes.settings,
    use: informs,
    lost: 'which node has which addresses is not known',
  }),
  ...kinds('cilium.io', 'ciliumnetworkpolicies ciliumclusterwidenetworkpolicies ciliumcidrgroups', {
    slim: shapes.rule,
    use: decides,
    lost: policies,
  }),
  ...kinds(
    'cilium.io',
    'ciliumnodes ciliumlocalredirectpolicies ciliumegressgatewaypolicies ciliumloadbalancerippools ciliumpodippools',
    { slim: shapes.settings, use: informs, lost: "Cilium's nodes and redirections are not known" },
  ),
  ...kinds('security.istio.io', 'authorizationpolicies peerauthentications requestauthentications', {
    slim: shapes.rule,
    use: decides,
    lost: policies,
  }),
  ...kinds('networking.istio.io', 'destinationrules', { slim: shapes.rule, use: decides, lost: policies }),
  ...kinds(
    'networking.istio.io',
    'virtualservices serviceentries sidecars gateways workloadentries workloadgroups',
    { slim: shapes.settings, use: informs, lost: 'what the mesh does with requests is not followed' },
  ),
  ...kinds(
    'policy.linkerd.io',
    'servers serverauthorizations authorizationpolicies meshtlsauthentications networkauthentications httproutes',
    { slim: shapes.rule, use: decides, lost: policies },
  ),
  ...kinds('gateway.networking.k8s.io', 'httproutes grpcroutes', {
    slim: shapes.rule,
    use: decides,
    lost: policies,
  }),
  ...kinds('linkerd.io', 'serviceprofiles', {
    slim: shapes.settings,
    use: informs,
    lost: 'what the mesh does with requests is not followed',
  }),
  ...kinds('crd.antrea.io', 'networkpolicies clusternetworkpolicies tiers groups clustergroups', {
    slim: shapes.rule,
    use: informs,
    lost: "Antrea's policies are not known",
  }),
  ...kinds('k8s.ovn.org', 'egressfirewalls egressips', {
    slim: shapes.rule,
    use: informs,
    lost: "OVN's egress rules are not known",
  }),
  ...kinds('k8s.cni.cncf.io', 'network-attachment-definitions', {
    slim: shapes.settings,
    use: informs,
    lost: 'further networks of pods are not known',
  }),
  ...kinds('route.openshift.io', 'routes', {
    slim: shapes.settings,
    use: informs,
    lost: 'entries from outside are not followed',
  }),
];

/** The core kinds first: what no flow can be judged without. */
export const collectedKinds: readonly CollectedKind[] = [...core, ...systems];

/** `networkpolicies.networking.k8s.io`: as the snapshot names the list, and kubectl the kind. */
export const listName = ({ group, plural }: Pick<CollectedKind, 'group' | 'plural'>): string =>
  group === '' ? plural : `${plural}.${group}`;

export const listFile = (kind: Pick<CollectedKind, 'group' | 'plural'>): string =>
  `cluster/${listName(kind)}.json`;

/** ConfigMaps are read by name, nothing else of them: applications keep all sorts of text there. */
export interface KnownConfigMap {
  readonly name: string;
  /** Where it usually stands. */
  readonly namespaces: readonly string[];
  /** DaemonSet or Deployment of the same system: where that stands, it stands too. */
  readonly beside: string;
}

export const knownConfigMaps: readonly KnownConfigMap[] = [
  { name: 'kube-proxy', namespaces: ['kube-system'], beside: 'kube-proxy' },
  { name: 'coredns', namespaces: ['kube-system'], beside: 'coredns' },
  { name: 'coredns-custom', namespaces: ['kube-system'], beside: 'coredns' },
  { name: 'node-local-dns', namespaces: ['kube-system'], beside: 'node-local-dns' },
  { name: 'kubeadm-config', namespaces: ['kube-system'], beside: 'kube-proxy' },
  { name: 'kube-flannel-cfg', namespaces: ['kube-flannel', 'kube-system'], beside: 'kube-flannel-ds' },
  { name: 'calico-config', namespaces: ['kube-system'], beside: 'calico-node' },
  { name: 'canal-config', namespaces: ['kube-system'], beside: 'canal' },
  { name: 'cilium-config', namespaces: ['kube-system', 'cilium'], beside: 'cilium' },
  { name: 'kube-router-cfg', namespaces: ['kube-system'], beside: 'kube-router' },
  { name: 'amazon-vpc-cni', namespaces: ['kube-system'], beside: 'aws-node' },
  { name: 'antrea-config', namespaces: ['kube-system'], beside: 'antrea-agent' },
  { name: 'istio', namespaces: ['istio-system'], beside: 'istiod' },
  { name: 'istio-cni-config', namespaces: ['istio-system', 'kube-system'], beside: 'istio-cni-node' },
  { name: 'linkerd-config', namespaces: ['linkerd'], beside: 'linkerd-destination' },
];
