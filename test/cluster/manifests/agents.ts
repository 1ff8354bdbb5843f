/** kube-proxy, flannel and kube-router: what makes the nodes a cluster. */
import { imageOf } from '../images.ts';
import { apiServerUrl, type ClusterProxy, type Plan, podCidr, serviceCidr, tunnelPort } from '../plan.ts';
import {
  agent,
  clusterRole,
  clusterRoleBinding,
  configMap,
  hostPath,
  type KubeObject,
  namespace,
  serviceAccount,
  system,
} from './meta.ts';

/** Agents reach the API server by its address: the Service that stands for it is made by one of them. */
const apiServerEnv = (plan: Plan): object[] => [
  { name: 'KUBERNETES_SERVICE_HOST', value: plan.controlPlane.address },
  { name: 'KUBERNETES_SERVICE_PORT', value: '6443' },
];
const nodeName = { name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } };
const podName = { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } };
const podNamespace = { name: 'POD_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } };

const xtablesLock = hostPath('xtables-lock', '/run/xtables.lock', 'FileOrCreate');
const lockMount = { name: 'xtables-lock', mountPath: '/run/xtables.lock' };

export const agentObjects = (plan: Plan): KubeObject[] => [
  ...kubeProxy(plan),
  ...flannel(plan),
  ...kubeRouter(plan),
];

/** As kubeadm sets it up: configuration and kubeconfig from a ConfigMap, the token of its service account. */
function kubeProxy(plan: Plan): KubeObject[] {
  const account = { name: 'kube-proxy', namespace: system };
  const config = {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: plan.proxy,
    clusterCIDR: podCidr,
    clientConnection: { kubeconfig: '/var/lib/kube-proxy/kubeconfig.conf' },
    // Zero leaves the kernel's own limit, which is the whole machine's.
    conntrack: { maxPerCore: 0, min: 0 },
  };
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'default',
        cluster: {
          server: apiServerUrl(plan),
          'certificate-authority': '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
        },
      },
    ],
    users: [{ name: 'default', user: { tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token' } }],
    contexts: [{ name: 'default', context: { cluster: 'default', user: 'default' } }],
    'current-context': 'default',
  };
  return [
    serviceAccount(account.name, system),
    clusterRoleBinding('podpath-test:kube-proxy', 'system:node-proxier', account),
    configMap('kube-proxy', system, {
      'config.conf': JSON.stringify(config, null, 2),
      'kubeconfig.conf': JSON.stringify(kubeconfig, null, 2),
    }),
    agent('kube-proxy', system, {
      containers: [
        {
          name: 'kube-proxy',
          image: imageOf('kube-proxy'),
          imagePullPolicy: 'Never',
          command: [
            '/usr/local/bin/kube-proxy',
            '--config=/var/lib/kube-proxy/config.conf',
            '--hostname-override=$(NODE_NAME)',
          ],
          env: [nodeName],
          securityContext: { privileged: true },
          volumeMounts: [{ name: 'config', mountPath: '/var/lib/kube-proxy' }, lockMount],
        },
      ],
      volumes: [{ name: 'config', configMap: { name: 'kube-proxy' } }, xtablesLock],
    }),
  ];
}

function flannel(plan: Plan): KubeObject[] {
  const account = { name: 'flannel', namespace: 'kube-flannel' };
  const backend = plan.cni === 'flannel-vxlan' ? { Type: 'vxlan', Port: tunnelPort } : { Type: 'host-gw' };
  return [
    namespace(account.namespace),
    serviceAccount(account.name, account.namespace),
    clusterRole('flannel', [
      { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
      { apiGroups: [''], resources: ['nodes'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: [''], resources: ['nodes/status'], verbs: ['patch'] },
    ]),
    clusterRoleBinding('flannel', 'flannel', account),
    configMap('kube-flannel-cfg', account.namespace, {
      'net-conf.json': JSON.stringify({ Network: podCidr, EnableNFTables: false, Backend: backend }, null, 2),
    }),
    agent('flannel', account.namespace, {
      containers: [
        {
          name: 'kube-flannel',
          image: imageOf('flannel'),
          imagePullPolicy: 'Never',
          command: ['/usr/local/bin/flanneld', '-cni-config-file=/etc/cni/net.d/10-flannel.conflist'],
          env: [...apiServerEnv(plan), nodeName, podName, podNamespace],
          securityContext: { privileged: true },
          volumeMounts: [
            { name: 'run', mountPath: '/run/flannel' },
            { name: 'cni', mountPath: '/etc/cni/net.d' },
            { name: 'config', mountPath: '/etc/kube-flannel' },
            lockMount,
          ],
        },
      ],
      volumes: [
        hostPath('run', '/run/flannel'),
        hostPath('cni', '/etc/cni/net.d'),
        { name: 'config', configMap: { name: 'kube-flannel-cfg' } },
        xtablesLock,
      ],
    }),
  ];
}

/** True on a node once kube-proxy has written its first rules. */
const proxyHasWritten: Readonly<Record<ClusterProxy, string>> = {
  iptables: 'iptables-save -t nat | grep -q -- "-A KUBE-SERVICES .*-j KUBE-SVC"',
  nftables: 'nft list map ip kube-proxy service-ips | grep -q goto',
};

/**
 * Only its policy controller: flannel routes, kube-proxy does Services. It starts after kube-proxy, since it saves and restores the
 * whole filter table: a chain that kube-proxy makes in between is lost, and kube-proxy (Proxier.forceSyncProxyRules of 1.36) does not
 * try a failed first sync again.
 */
function kubeRouter(plan: Plan): KubeObject[] {
  const account = { name: 'kube-router', namespace: system };
  const read = ['get', 'list', 'watch'];
  return [
    serviceAccount(account.name, system),
    clusterRole('kube-router', [
      { apiGroups: [''], resources: ['namespaces', 'pods', 'services', 'nodes', 'endpoints'], verbs: read },
      { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs: read },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: read },
    ]),
    clusterRoleBinding('kube-router', 'kube-router', account),
    agent('kube-router', system, {
      initContainers: [
        {
          name: 'after-kube-proxy',
          image: imageOf('kube-router'),
          imagePullPolicy: 'Never',
          command: ['/bin/sh', '-c', `until ${proxyHasWritten[plan.proxy]}; do sleep 0.2; done`],
          securityContext: { privileged: true },
          volumeMounts: [lockMount],
        },
      ],
      containers: [
        {
          name: 'kube-router',
          image: imageOf('kube-router'),
          imagePullPolicy: 'Never',
          command: [
            '/usr/local/bin/kube-router',
            '--run-firewall=true',
            '--run-router=false',
            '--run-service-proxy=false',
            '--run-loadbalancer=false',
            `--service-cluster-ip-range=${serviceCidr}`,
            '--hostname-override=$(NODE_NAME)',
          ],
          env: [...apiServerEnv(plan), nodeName],
          securityContext: { privileged: true },
          volumeMounts: [lockMount],
        },
      ],
      volumes: [xtablesLock],
    }),
  ];
}
