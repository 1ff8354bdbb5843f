/** CoreDNS as kubeadm sets it up: two replicas behind the Service kube-dns. */
import { imageOf } from '../images.ts';
import { dnsClusterIp, type Plan } from '../plan.ts';
import {
  clusterRole,
  clusterRoleBinding,
  configMap,
  type KubeObject,
  onDifferentNodes,
  serviceAccount,
  system,
} from './meta.ts';

const corefile = `.:53 {
    errors
    health {
       lameduck 2s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loadbalance
}
`;
const labels = { 'k8s-app': 'kube-dns' };

export const dnsObjects = (plan: Plan): KubeObject[] => [
  serviceAccount('coredns', system),
  clusterRole('system:coredns', [
    { apiGroups: [''], resources: ['endpoints', 'services', 'pods', 'namespaces'], verbs: ['list', 'watch'] },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
  ]),
  clusterRoleBinding('system:coredns', 'system:coredns', { name: 'coredns', namespace: system }),
  configMap('coredns', system, { Corefile: corefile }),
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kube-dns', namespace: system, labels },
    spec: {
      clusterIP: dnsClusterIp,
      selector: labels,
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
        { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
        { name: 'metrics', port: 9153, protocol: 'TCP', targetPort: 9153 },
      ],
    },
  },
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'coredns', namespace: system, labels },
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName: 'coredns',
          priorityClassName: 'system-cluster-critical',
          // CoreDNS resolves with the node's resolver, or it would ask itself.
          dnsPolicy: 'Default',
          terminationGracePeriodSeconds: 3,
          topologySpreadConstraints: onDifferentNodes(labels, plan.nodes.length),
          containers: [
            {
              name: 'coredns',
              image: imageOf('coredns'),
              imagePullPolicy: 'Never',
              args: ['-conf', '/etc/coredns/Corefile'],
              ports: [
                { name: 'dns', containerPort: 53, protocol: 'UDP' },
                { name: 'dns-tcp', containerPort: 53, protocol: 'TCP' },
                { name: 'metrics', containerPort: 9153, protocol: 'TCP' },
              ],
              readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 1 },
              livenessProbe: {
                httpGet: { path: '/health', port: 8080 },
                initialDelaySeconds: 60,
                timeoutSeconds: 5,
              },
              volumeMounts: [{ name: 'config', mountPath: '/etc/coredns', readOnly: true }],
            },
          ],
          volumes: [{ name: 'config', configMap: { name: 'coredns' } }],
        },
      },
    },
  },
];
