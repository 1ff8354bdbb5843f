/** Deployments with their ReplicaSets, and DaemonSets, of the planned applications: all replicas ready. Pure. */
import type { RawObject } from './lab.ts';
import { objectMeta, templateHash } from './object-meta.ts';
import type { PlannedApp } from './plan.ts';
import type { LabState } from './state.ts';

export interface WorkloadObjects {
  readonly 'deployments.apps': readonly RawObject[];
  readonly 'replicasets.apps': readonly RawObject[];
  readonly 'daemonsets.apps': readonly RawObject[];
}

export function workloadObjects(state: LabState, apps: readonly PlannedApp[]): WorkloadObjects {
  const deployed = apps.filter((app) => app.controller === 'Deployment');
  return {
    'deployments.apps': deployed.map((app) => deployment(state, app)),
    'replicasets.apps': deployed.map((app) => replicaSet(state, app)),
    'daemonsets.apps': apps
      .filter((app) => app.controller === 'DaemonSet')
      .map((app) => daemonSet(state, app)),
  };
}

const podTemplate = (app: PlannedApp, labels: Readonly<Record<string, string>>) => ({
  metadata: { labels },
  spec: {
    containers: [
      {
        name: app.name,
        image: `podpath.dev/lab/${app.name}:1`,
        ports: app.ports.map(({ name, port, protocol }) => ({ name, containerPort: port, protocol })),
      },
    ],
  },
});

function deployment(state: LabState, app: PlannedApp): RawObject {
  const replicas = app.replicaNodes.length;
  const { namespace, name, labels } = app;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: objectMeta(state, 'Deployment', { namespace, name, labels }),
    spec: { replicas, selector: { matchLabels: labels }, template: podTemplate(app, labels) },
    status: {
      observedGeneration: 1,
      replicas,
      updatedReplicas: replicas,
      readyReplicas: replicas,
      availableReplicas: replicas,
      conditions: [
        {
          type: 'Available',
          status: 'True',
          reason: 'MinimumReplicasAvailable',
          lastUpdateTime: state.createdAt,
        },
      ],
    },
  };
}

function replicaSet(state: LabState, app: PlannedApp): RawObject {
  const replicas = app.replicaNodes.length;
  const { namespace, name } = app;
  const hash = templateHash(app);
  const labels = { ...app.labels, 'pod-template-hash': hash };
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: objectMeta(state, 'ReplicaSet', {
      namespace,
      name: `${name}-${hash}`,
      labels,
      owner: { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name },
    }),
    spec: { replicas, selector: { matchLabels: labels }, template: podTemplate(app, labels) },
    status: { observedGeneration: 1, replicas, readyReplicas: replicas, availableReplicas: replicas },
  };
}

function daemonSet(state: LabState, app: PlannedApp): RawObject {
  const count = app.replicaNodes.length;
  const { namespace, name, labels } = app;
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: objectMeta(state, 'DaemonSet', { namespace, name, labels }),
    spec: { selector: { matchLabels: labels }, template: podTemplate(app, labels) },
    status: {
      observedGeneration: 1,
      desiredNumberScheduled: count,
      currentNumberScheduled: count,
      updatedNumberScheduled: count,
      numberReady: count,
      numberAvailable: count,
      numberMisscheduled: 0,
    },
  };
}
