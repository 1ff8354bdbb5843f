/** The applications, as in the labs: web and api on every node, a database, a ledger that policies guard, a toolbox. */
import { labPolicies } from '../../../src/lab/objects.ts';
import { type ImageName, imageOf } from '../images.ts';
import type { Plan } from '../plan.ts';
import { type KubeObject, namespace, onDifferentNodes } from './meta.ts';

interface Port {
  readonly name: string;
  readonly kind: 'http' | 'tcp' | 'udp';
  readonly port: number;
}

interface App {
  readonly namespace: string;
  readonly name: string;
  /** A number of replicas, or one on every node. */
  readonly replicas: number | 'every-node';
  /** `server` has neither shell nor tools. */
  readonly image: ImageName & ('server' | 'toolbox');
  readonly ports: readonly Port[];
  readonly service?: readonly { readonly name: string; readonly port: number; readonly target: string }[];
  /** Node names by replica, in turn; absent: the scheduler's choice. */
  readonly on?: string;
}

const apps: readonly App[] = [
  {
    namespace: 'shop',
    name: 'web',
    replicas: 'every-node',
    image: 'toolbox',
    ports: [{ name: 'http', kind: 'http', port: 8080 }],
  },
  {
    namespace: 'shop',
    name: 'api',
    replicas: 'every-node',
    image: 'server',
    ports: [
      { name: 'http', kind: 'http', port: 8080 },
      { name: 'ping', kind: 'udp', port: 8081 },
    ],
    service: [
      { name: 'http', port: 80, target: 'http' },
      { name: 'ping', port: 81, target: 'ping' },
    ],
  },
  {
    namespace: 'shop',
    name: 'db',
    replicas: 1,
    image: 'server',
    ports: [{ name: 'postgres', kind: 'tcp', port: 5432 }],
    service: [{ name: 'postgres', port: 5432, target: 'postgres' }],
    on: 'node2',
  },
  {
    namespace: 'payments',
    name: 'ledger',
    replicas: 2,
    image: 'server',
    ports: [{ name: 'ledger', kind: 'tcp', port: 9000 }],
    service: [{ name: 'ledger', port: 9000, target: 'ledger' }],
  },
  { namespace: 'ops', name: 'toolbox', replicas: 1, image: 'toolbox', ports: [], on: 'node3' },
];

export const workloadObjects = (plan: Plan): KubeObject[] => [
  ...[...new Set(apps.map((app) => app.namespace))].map(namespace),
  ...apps.flatMap((app) => [workload(plan, app), ...service(app)]),
  ...policies(),
];

function workload(plan: Plan, app: App): KubeObject {
  const labels = { app: app.name };
  const kind = app.replicas === 'every-node' ? 'DaemonSet' : 'Deployment';
  const pinned = plan.nodes.some(({ name }) => name === app.on);
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name: app.name, namespace: app.namespace, labels },
    spec: {
      ...(app.replicas === 'every-node' ? {} : { replicas: app.replicas }),
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          terminationGracePeriodSeconds: 1,
          automountServiceAccountToken: false,
          ...(pinned ? { nodeSelector: { 'kubernetes.io/hostname': app.on } } : {}),
          ...(kind === 'Deployment' && !pinned
            ? { topologySpreadConstraints: onDifferentNodes(labels, plan.nodes.length) }
            : {}),
          containers: [
            {
              name: app.name,
              image: imageOf(app.image),
              imagePullPolicy: 'Never',
              ...(app.ports.length === 0
                ? {}
                : { command: ['/bin/tool', 'serve', ...app.ports.map((one) => `${one.kind}:${one.port}`)] }),
              ports: app.ports.map(({ name, port, kind: k }) => ({
                name,
                containerPort: port,
                protocol: k === 'udp' ? 'UDP' : 'TCP',
              })),
            },
          ],
        },
      },
    },
  };
}

function service(app: App): KubeObject[] {
  if (app.service === undefined) return [];
  const protocolOf = (target: string) =>
    app.ports.find(({ name }) => name === target)?.kind === 'udp' ? 'UDP' : 'TCP';
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: app.name, namespace: app.namespace },
      spec: {
        selector: { app: app.name },
        ports: app.service.map(({ name, port, target }) => ({
          name,
          port,
          protocol: protocolOf(target),
          targetPort: target,
        })),
      },
    },
  ];
}

const policies = (): KubeObject[] =>
  labPolicies.map(({ namespace: inNamespace, name, spec }) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace: inNamespace },
    spec,
  }));
