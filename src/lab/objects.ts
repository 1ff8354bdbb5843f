/** The Kubernetes objects of a fresh lab, as the API would return them. Pure. */
import { cnis } from './cni/cnis.ts';
import type { Plural, RawObject, ServerSpec } from './lab.ts';
import { objectMeta, templateHash } from './object-meta.ts';
import { hostOf, type Plan, type PlannedApp } from './plan.ts';
import type { LabNode, LabPod, LabState } from './state.ts';
import { workloadObjects } from './workloads.ts';

/** What the pods listen on: every declared port, on all addresses. */
export function defaultServers(plan: Plan): ServerSpec[] {
  const address = plan.state.families.includes(6) ? '::' : '0.0.0.0';
  return plan.apps.flatMap((app) =>
    podsOf(plan.state, app).flatMap((pod) =>
      app.ports.map(({ port, protocol, kind }) => ({
        pod: `${pod.namespace}/${pod.name}`,
        protocol: protocol === 'TCP' ? ('tcp' as const) : ('udp' as const),
        address,
        port,
        kind,
      })),
    ),
  );
}

const podsOf = (state: LabState, app: PlannedApp): readonly LabPod[] =>
  app.replicaNodes.flatMap((_, replica) =>
    state.pods.filter((pod) => pod.namespace === app.namespace && pod.name === `${app.name}-${replica + 1}`),
  );

export function defaultObjects(plan: Plan): Readonly<Record<Plural, readonly RawObject[]>> {
  const { state, apps } = plan;
  const services = serviceObjects(plan);
  return {
    ...workloadObjects(state, apps),
    namespaces: namespaceObjects(state, apps),
    nodes: state.nodes.map((node) => nodeObject(state, node)),
    pods: apps.flatMap((app) => podsOf(state, app).map((pod) => podObject(state, app, pod))),
    services: services.map(({ service }) => service),
    'endpointslices.discovery.k8s.io': services.flatMap(({ slices }) => slices),
    'networkpolicies.networking.k8s.io': policyObjects(state),
    configmaps: configMapObjects(state),
  };
}

function namespaceObjects(state: LabState, apps: readonly PlannedApp[]): RawObject[] {
  const system = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];
  const config = cnis[state.cni].configMap?.(state);
  const names = new Set([
    ...system,
    ...apps.map((app) => app.namespace),
    ...(config ? [config.namespace] : []),
  ]);
  return [...names].map((name) => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: objectMeta(state, 'Namespace', { name, labels: { 'kubernetes.io/metadata.name': name } }),
    spec: { finalizers: ['kubernetes'] },
    status: { phase: 'Active' },
  }));
}

function nodeObject(state: LabState, node: LabNode): RawObject {
  const condition = (type: string, status: string, reason: string, message: string) => ({
    type,
    status,
    reason,
    message,
    lastHeartbeatTime: state.createdAt,
    lastTransitionTime: state.createdAt,
  });
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: objectMeta(state, 'Node', {
      name: node.name,
      labels: {
        'kubernetes.io/arch': process.arch === 'arm64' ? 'arm64' : 'amd64',
        'kubernetes.io/hostname': node.name,
        'kubernetes.io/os': 'linux',
      },
      annotations: cnis[state.cni].nodeAnnotations(state, node),
    }),
    spec: { podCIDR: node.podCidrs[0], podCIDRs: node.podCidrs },
    status: {
      addresses: [
        ...node.addresses.map((address) => ({ type: 'InternalIP', address })),
        { type: 'Hostname', address: node.name },
      ],
      capacity: { cpu: '2', memory: '4Gi', pods: '250' },
      allocatable: { cpu: '2', memory: '4Gi', pods: '250' },
      conditions: [
        condition(
          'MemoryPressure',
          'False',
          'KubeletHasSufficientMemory',
          'kubelet has sufficient memory available',
        ),
        condition('DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
        condition('PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
        condition('Ready', 'True', 'KubeletReady', 'kubelet is posting ready status'),
      ],
    },
  };
}

function podObject(state: LabState, app: PlannedApp, pod: LabPod): RawObject {
  const node = state.nodes.find((candidate) => candidate.name === pod.node);
  const image = `podpath.dev/lab/${app.name}:1`;
  const hash = templateHash(app);
  const owner =
    app.controller === 'DaemonSet'
      ? { kind: 'DaemonSet', name: app.name }
      : { kind: 'ReplicaSet', name: `${app.name}-${hash}` };
  const isTrue = (type: string) => ({ type, status: 'True', lastTransitionTime: state.createdAt });
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: objectMeta(state, 'Pod', {
      namespace: pod.namespace,
      name: pod.name,
      labels: {
        ...app.labels,
        ...(app.controller === 'DaemonSet'
          ? { 'controller-revision-hash': hash }
          : { 'pod-template-hash': hash }),
      },
      owner: { ...owner, apiVersion: 'apps/v1', namespace: pod.namespace },
    }),
    spec: {
      nodeName: pod.node,
      // CoreDNS resolves with the node's resolver, as its Deployment says in real clusters.
      dnsPolicy: app.name === 'coredns' ? 'Default' : 'ClusterFirst',
      restartPolicy: 'Always',
      serviceAccountName: 'default',
      containers: [
        {
          name: app.name,
          image,
          ports: app.ports.map(({ name, port, protocol }) => ({ name, containerPort: port, protocol })),
          resources: {},
        },
      ],
    },
    status: {
      phase: 'Running',
      startTime: state.createdAt,
      hostIP: node?.addresses[0],
      hostIPs: (node?.addresses ?? []).map((ip) => ({ ip })),
      podIP: pod.addresses[0],
      podIPs: pod.addresses.map((ip) => ({ ip })),
      conditions: [
        'PodReadyToStartContainers',
        'Initialized',
        'Ready',
        'ContainersReady',
        'PodScheduled',
      ].map(isTrue),
      containerStatuses: [
        {
          name: app.name,
          image,
          imageID: '',
          ready: true,
          started: true,
          restartCount: 0,
          state: { running: { startedAt: state.createdAt } },
          lastState: {},
        },
      ],
      qosClass: 'BestEffort',
    },
  };
}

interface PlannedService {
  readonly namespace: string;
  readonly name: string;
  /** Place in the Service prefix. */
  readonly offset: number;
  readonly app: string;
  readonly ports: readonly {
    readonly name?: string;
    readonly port: number;
    readonly protocol: 'TCP' | 'UDP';
    readonly target: number | string;
    readonly endpointPort: number;
  }[];
}

const plannedServices: readonly PlannedService[] = [
  {
    namespace: 'kube-system',
    name: 'kube-dns',
    offset: 10,
    app: 'coredns',
    ports: [
      { name: 'dns', port: 53, protocol: 'UDP', target: 53, endpointPort: 53 },
      { name: 'dns-tcp', port: 53, protocol: 'TCP', target: 53, endpointPort: 53 },
    ],
  },
  {
    namespace: 'shop',
    name: 'api',
    offset: 101,
    app: 'api',
    ports: [
      { name: 'http', port: 80, protocol: 'TCP', target: 'http', endpointPort: 8080 },
      { name: 'ping', port: 81, protocol: 'UDP', target: 8081, endpointPort: 8081 },
    ],
  },
  {
    namespace: 'shop',
    name: 'db',
    offset: 102,
    app: 'db',
    ports: [{ port: 5432, protocol: 'TCP', target: 5432, endpointPort: 5432 }],
  },
  {
    namespace: 'payments',
    name: 'ledger',
    offset: 103,
    app: 'ledger',
    ports: [{ port: 9000, protocol: 'TCP', target: 9000, endpointPort: 9000 }],
  },
];

function serviceObjects(plan: Plan): { service: RawObject; slices: RawObject[] }[] {
  return plannedServices.flatMap((planned) => {
    const app = plan.apps.find(
      ({ namespace, name }) => namespace === planned.namespace && name === planned.app,
    );
    return app === undefined
      ? []
      : [
          {
            service: serviceObject(plan.state, planned, app),
            slices: plan.state.families.map((family) => sliceObject(plan.state, planned, app, family)),
          },
        ];
  });
}

function serviceObject(state: LabState, planned: PlannedService, app: PlannedApp): RawObject {
  const clusterIPs = state.serviceCidrs.map((cidr) => hostOf(cidr, planned.offset));
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: objectMeta(state, 'Service', {
      namespace: planned.namespace,
      name: planned.name,
      ...(planned.name === 'kube-dns' ? { labels: { 'k8s-app': 'kube-dns' } } : {}),
    }),
    spec: {
      type: 'ClusterIP',
      clusterIP: clusterIPs[0],
      clusterIPs,
      ipFamilies: state.families.map((family) => `IPv${family}`),
      ipFamilyPolicy: state.families.length > 1 ? 'PreferDualStack' : 'SingleStack',
      internalTrafficPolicy: 'Cluster',
      sessionAffinity: 'None',
      selector: app.labels,
      ports: planned.ports.map(({ name, port, protocol, target }) => ({
        ...(name === undefined ? {} : { name }),
        port,
        protocol,
        targetPort: target,
      })),
    },
    status: { loadBalancer: {} },
  };
}

function sliceObject(state: LabState, planned: PlannedService, app: PlannedApp, family: 4 | 6): RawObject {
  const { namespace, name } = planned;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: objectMeta(state, 'EndpointSlice', {
      namespace,
      name: `${name}-ipv${family}`,
      labels: {
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        'kubernetes.io/service-name': name,
      },
      owner: { apiVersion: 'v1', kind: 'Service', name, namespace },
    }),
    addressType: `IPv${family}`,
    endpoints: podsOf(state, app).map((pod) => ({
      addresses: pod.addresses.filter((address) => address.includes(':') === (family === 6)),
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: pod.node,
      targetRef: { kind: 'Pod', namespace, name: pod.name },
    })),
    ports: planned.ports.map(({ name: portName, protocol, endpointPort }) => ({
      name: portName ?? '',
      port: endpointPort,
      protocol,
    })),
  };
}

/** The policies that every lab and test cluster has: what they deny on purpose is the healthy state. */
export const labPolicies: readonly {
  readonly namespace: string;
  readonly name: string;
  readonly spec: object;
}[] = [
  { namespace: 'payments', name: 'default-deny', spec: { podSelector: {}, policyTypes: ['Ingress'] } },
  {
    namespace: 'payments',
    name: 'ledger-from-shop',
    spec: {
      podSelector: { matchLabels: { app: 'ledger' } },
      policyTypes: ['Ingress'],
      ingress: [
        {
          from: [
            {
              namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'shop' } },
              podSelector: { matchLabels: { app: 'web' } },
            },
          ],
          ports: [{ protocol: 'TCP', port: 9000 }],
        },
      ],
    },
  },
  {
    namespace: 'shop',
    name: 'db-from-api',
    spec: {
      podSelector: { matchLabels: { app: 'db' } },
      policyTypes: ['Ingress'],
      ingress: [
        {
          from: [{ podSelector: { matchLabels: { app: 'api' } } }],
          ports: [{ protocol: 'TCP', port: 5432 }],
        },
      ],
    },
  },
];

const policyObjects = (state: LabState): RawObject[] =>
  labPolicies.map(({ namespace, name, spec }) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: objectMeta(state, 'NetworkPolicy', { namespace, name }),
    spec,
  }));

function configMapObjects(state: LabState): RawObject[] {
  const config = cnis[state.cni].configMap?.(state);
  if (config === undefined) return [];
  const { data, ...named } = config;
  return [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: objectMeta(state, 'ConfigMap', named), data }];
}
