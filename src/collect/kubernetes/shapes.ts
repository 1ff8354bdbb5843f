/** The fields of each kind that are kept, beside metadata. docs/live.md lists them for people. */
import { isObject, type JsonObject } from '../../parse/json.ts';
import { redact, redactRule } from './redact.ts';
import { type Keep, pick, slimMetadata } from './slim.ts';

/** An item of a list -> what is kept of it. */
export type Slim = (item: JsonObject) => JsonObject;

/** Metadata, and of the rest the named fields. */
const only =
  (keep: { readonly [field: string]: Keep }): Slim =>
  (item) => ({ metadata: slimMetadata(item.metadata), ...(pick(item, keep) as JsonObject) });

const condition: Keep = {
  type: 'all',
  status: 'all',
  reason: 'all',
  message: 'text',
  lastTransitionTime: 'all',
};

/** Commands, arguments, environment and volumes are never kept: credentials stand there. */
const container: Keep = {
  name: 'all',
  image: 'all',
  restartPolicy: 'all',
  ports: { name: 'all', containerPort: 'all', hostPort: 'all', hostIP: 'all', protocol: 'all' },
};

const ended: Keep = { reason: 'all', exitCode: 'all', finishedAt: 'all' };

const containerStatus: Keep = {
  name: 'all',
  ready: 'all',
  started: 'all',
  restartCount: 'all',
  /** From it a node's runtime tells the network namespace. */
  containerID: 'all',
  state: { waiting: { reason: 'all', message: 'text' }, terminated: ended, running: { startedAt: 'all' } },
  lastState: { terminated: ended },
};

export const pod = only({
  spec: {
    nodeName: 'all',
    hostNetwork: 'all',
    hostname: 'all',
    subdomain: 'all',
    serviceAccountName: 'all',
    serviceAccount: 'all',
    dnsPolicy: 'all',
    dnsConfig: 'all',
    hostAliases: 'all',
    runtimeClassName: 'all',
    containers: container,
    initContainers: container,
  },
  status: {
    phase: 'all',
    reason: 'all',
    message: 'text',
    podIP: 'all',
    podIPs: 'all',
    hostIP: 'all',
    conditions: condition,
    containerStatuses: containerStatus,
    initContainerStatuses: containerStatus,
  },
});

export const node = only({
  spec: { podCIDR: 'all', podCIDRs: 'all', providerID: 'all', taints: 'all', unschedulable: 'all' },
  status: {
    addresses: 'all',
    conditions: condition,
    nodeInfo: {
      kernelVersion: 'all',
      osImage: 'all',
      containerRuntimeVersion: 'all',
      kubeletVersion: 'all',
      kubeProxyVersion: 'all',
      operatingSystem: 'all',
      architecture: 'all',
    },
  },
});

export const service = only({
  spec: 'all',
  status: { loadBalancer: 'all', conditions: condition },
});

export const endpointSlice = only({
  addressType: 'all',
  endpoints: {
    addresses: 'all',
    conditions: 'all',
    nodeName: 'all',
    zone: 'all',
    hints: 'all',
    targetRef: { kind: 'all', namespace: 'all', name: 'all' },
  },
  ports: 'all',
});

const endpointAddress: Keep = {
  ip: 'all',
  nodeName: 'all',
  targetRef: { kind: 'all', namespace: 'all', name: 'all' },
};

export const endpoints = only({
  subsets: { addresses: endpointAddress, notReadyAddresses: endpointAddress, ports: 'all' },
});

export const namespace = only({ status: { phase: 'all' } });

export const metadataOnly = only({});

const counts: Keep = {
  replicas: 'all',
  readyReplicas: 'all',
  updatedReplicas: 'all',
  availableReplicas: 'all',
  unavailableReplicas: 'all',
  desiredNumberScheduled: 'all',
  currentNumberScheduled: 'all',
  numberReady: 'all',
  numberAvailable: 'all',
  numberUnavailable: 'all',
  active: 'all',
  succeeded: 'all',
  failed: 'all',
  conditions: condition,
};

export const workload = only({
  spec: {
    replicas: 'all',
    selector: 'all',
    serviceName: 'all',
    completions: 'all',
    parallelism: 'all',
    suspend: 'all',
    template: { metadata: { labels: 'all' } },
  },
  status: counts,
});

export const event = only({
  involvedObject: { kind: 'all', namespace: 'all', name: 'all', fieldPath: 'all' },
  type: 'all',
  reason: 'all',
  message: 'text',
  count: 'all',
  firstTimestamp: 'all',
  lastTimestamp: 'all',
  eventTime: 'all',
  source: { component: 'all', host: 'all' },
});

export const lease = only({
  spec: { holderIdentity: 'all', leaseDurationSeconds: 'all', renewTime: 'all', acquireTime: 'all' },
});

/** Rules are kept whole: a field that were left out could turn a verdict. Their status says nothing about traffic and may be large. */
export const rule: Slim = (item) => ({
  metadata: slimMetadata(item.metadata),
  ...(redactRule(withoutStatus(item)) as JsonObject),
});

/** Configuration of CNIs and meshes may hold anything: each text is looked at, by name and by shape. */
export const settings: Slim = (item) => ({
  metadata: slimMetadata(item.metadata),
  ...(redact(withoutStatus(item)) as JsonObject),
});

export const settingsAndStatus: Slim = (item) => {
  const { metadata, ...rest } = item;
  return { metadata: slimMetadata(metadata), ...(redact(rest) as JsonObject) };
};

function withoutStatus(item: JsonObject): JsonObject {
  const { metadata: _, status: __, ...rest } = item;
  return rest;
}

/** ConfigMaps that are known by name. */
export const configMap: Slim = ({ metadata, data }) => ({
  metadata: slimMetadata(metadata),
  ...(isObject(data) ? { data: redact(data) } : {}),
});
