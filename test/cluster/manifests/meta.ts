/** Short forms of what most objects of the cluster share. */

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

export const system = 'kube-system';

export const namespace = (name: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name },
});

export const serviceAccount = (name: string, inNamespace: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: { name, namespace: inNamespace },
});

export const configMap = (
  name: string,
  inNamespace: string,
  data: Readonly<Record<string, string>>,
): KubeObject => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: inNamespace }, data });

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

export const clusterRole = (name: string, rules: readonly Rule[]): KubeObject => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  metadata: { name },
  rules,
});

/** Gives a ClusterRole to a service account. */
export const clusterRoleBinding = (
  name: string,
  role: string,
  account: { readonly name: string; readonly namespace: string },
): KubeObject => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRoleBinding',
  metadata: { name },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
  subjects: [{ kind: 'ServiceAccount', ...account }],
});

/** Label of a node that, set to `off`, keeps the agent away from it: how faults stop one on one node. */
export const agentSwitch = (agent: string): string => `podpath.test/${agent}`;

/** A DaemonSet on every node, in the node's own network, as the agents of a cluster run. */
export function agent(
  name: string,
  inNamespace: string,
  pod: {
    readonly initContainers?: readonly object[];
    readonly containers: readonly object[];
    readonly volumes: readonly object[];
  },
): KubeObject {
  const labels = { 'k8s-app': name };
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name, namespace: inNamespace, labels },
    spec: {
      selector: { matchLabels: labels },
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '100%' } },
      template: {
        metadata: { labels },
        spec: {
          hostNetwork: true,
          priorityClassName: 'system-node-critical',
          serviceAccountName: name,
          tolerations: [{ operator: 'Exists' }],
          affinity: {
            nodeAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: {
                nodeSelectorTerms: [
                  { matchExpressions: [{ key: agentSwitch(name), operator: 'NotIn', values: ['off'] }] },
                ],
              },
            },
          },
          terminationGracePeriodSeconds: 2,
          ...pod,
        },
      },
    },
  };
}

export const hostPath = (name: string, path: string, type = 'DirectoryOrCreate'): object => ({
  name,
  hostPath: { path, type },
});

/** Replicas on different nodes. They wait for a second node, or the first one that is ready would get them all. */
export const onDifferentNodes = (
  labels: Readonly<Record<string, string>>,
  nodes: number,
): readonly object[] => [
  {
    maxSkew: 1,
    topologyKey: 'kubernetes.io/hostname',
    labelSelector: { matchLabels: labels },
    ...(nodes > 1
      ? { whenUnsatisfiable: 'DoNotSchedule', minDomains: 2 }
      : { whenUnsatisfiable: 'ScheduleAnyway' }),
  },
];
