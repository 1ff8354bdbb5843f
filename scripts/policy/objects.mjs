// One object of a made-up cluster.

export function makePod({ namespace, name, labels, owner, ports, at, hostNetwork, random }) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      uid: random.uid(),
      labels,
      ownerReferences: [{ apiVersion: 'apps/v1', ...owner, uid: random.uid(), controller: true }],
    },
    spec: {
      nodeName: at.node,
      serviceAccountName: 'default',
      ...(hostNetwork ? { hostNetwork } : {}),
      containers: [
        {
          name: 'main',
          image: `registry.example/${namespace}/${labels.app ?? name}:1.0`,
          ports,
          resources: { requests: { cpu: '100m', memory: '128Mi' } },
        },
      ],
      dnsPolicy: 'ClusterFirst',
    },
    status: {
      phase: 'Running',
      conditions: [{ type: 'Ready', status: 'True' }],
      hostIP: at.host,
      podIP: at.ip,
      podIPs: [{ ip: at.ip }],
      containerStatuses: [{ name: 'main', ready: true, restartCount: 0, state: { running: {} } }],
    },
  };
}

export const policyOf = (namespace, name, spec) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace: namespace.name },
  spec,
});
