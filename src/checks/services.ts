/** Services whose selector, endpoints or target port lead nowhere. */
import type { EndpointSlice, Pod, Service } from '../model/cluster.ts';
import type { CauseId, Finding } from '../model/finding.ts';
import { objectRef } from '../model/source.ts';
import { namedPorts } from '../policy/endpoint.ts';
import { matchesSelector, unmetRequirements } from '../policy/selector.ts';
import { type CheckContext, declared, defineCheck, observed, podSubject } from './check.ts';
import { dnsService } from './dns.ts';
import { listeners, reachableFromOutside } from './listeners.ts';

export const services = defineCheck({
  id: 'services',
  title: 'Services lead to pods that answer',
  causes: [
    'service/no-endpoints',
    'service/selector-mismatch',
    'service/not-ready',
    'service/target-port-wrong',
  ],
  run: (context) => {
    const { cluster } = context.snapshot;
    const all = context.need(cluster.services);
    const pods = context.need(cluster.pods);
    const slices = context.need(cluster.endpointSlices);
    if (all === undefined || pods === undefined || slices === undefined) return [];
    const live = pods.filter((pod) => pod.phase !== 'Succeeded' && pod.phase !== 'Failed');
    const dns = dnsService(context);
    // The DNS Service has a check of its own. ExternalName is a name, not a set of pods.
    return all
      .filter((service) => service.type !== 'ExternalName' && service !== dns)
      .flatMap((service) => checkService(context, service, live, slices));
  },
});

export const serviceId = ({ namespace, name }: Service): string => `${namespace}/${name}`;

export const podsBehind = (service: Service, pods: readonly Pod[]): Pod[] =>
  Object.keys(service.selector).length === 0
    ? []
    : pods.filter(
        (pod) =>
          pod.namespace === service.namespace &&
          matchesSelector({ matchLabels: service.selector, matchExpressions: [] }, pod.labels),
      );

function make(
  service: Service,
  cause: CauseId,
  severity: Finding['severity'],
  statement: string,
  field: string,
  concerns: readonly Pod[],
  more: Finding['evidence'] = [],
): Omit<Finding, 'check'> {
  const source = objectRef('Service', service.namespace, service.name, field);
  return {
    cause,
    severity,
    subject: { kind: 'service', name: serviceId(service) },
    concerns: concerns.map(podSubject),
    statement,
    evidence: [declared(statement, source), ...more],
  };
}

function checkService(
  context: CheckContext,
  service: Service,
  pods: readonly Pod[],
  slices: readonly EndpointSlice[],
): Omit<Finding, 'check'>[] {
  const mine = slices.filter(
    (slice) => slice.namespace === service.namespace && slice.service === service.name,
  );
  const ready = mine.some((slice) => slice.endpoints.some((endpoint) => endpoint.ready));
  const id = serviceId(service);
  if (Object.keys(service.selector).length === 0) {
    return ready
      ? []
      : [
          make(
            service,
            'service/no-endpoints',
            'warning',
            `Service ${id} has no selector, and nobody has given it endpoints`,
            'spec.selector',
            [],
          ),
        ];
  }
  const behind = podsBehind(service, pods);
  if (behind.length === 0) return ready ? [] : [nobodySelected(service, pods)];
  const unnamed = service.ports.filter(
    ({ targetPort, protocol }) =>
      typeof targetPort === 'string' &&
      behind.every((pod) => namedPorts(pod, targetPort, protocol).length === 0),
  );
  if (unnamed.length > 0) return unnamed.flatMap((port) => checkTargetPort(context, service, port, behind));
  if (!ready) {
    const able = behind.filter((pod) => pod.ready && !pod.terminating);
    return [able.length > 0 ? notListed(service, able) : notReady(service, behind)];
  }
  return service.ports.flatMap((port) => checkTargetPort(context, service, port, behind));
}

const formatLabels = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');

function nobodySelected(service: Service, pods: readonly Pod[]): Omit<Finding, 'check'> {
  const id = serviceId(service);
  const wants = formatLabels(service.selector);
  const near = nearest(service, pods);
  if (near === undefined) {
    return make(
      service,
      'service/no-endpoints',
      'warning',
      `Service ${id} selects ${wants}, and no pod of ${service.namespace} has that`,
      'spec.selector',
      [],
    );
  }
  const [unmet] = unmetRequirements({ matchLabels: service.selector, matchExpressions: [] }, near.labels);
  return make(
    service,
    'service/selector-mismatch',
    'error',
    `Service ${id} selects ${wants}, and no pod has that; ${near.namespace}/${near.name} ${unmet?.has ?? ''}`,
    'spec.selector',
    pods.filter(
      (pod) => pod.namespace === near.namespace && formatLabels(pod.labels) === formatLabels(near.labels),
    ),
    [
      declared(
        `${near.namespace}/${near.name} has ${formatLabels(near.labels)}`,
        objectRef('Pod', near.namespace, near.name, 'metadata.labels'),
      ),
    ],
  );
}

/** A pod that the selector misses by one label: a value off by a slip of the pen, or one label of several. */
function nearest(service: Service, pods: readonly Pod[]): Pod | undefined {
  const entries = Object.entries(service.selector);
  return pods.find((pod) => {
    if (pod.namespace !== service.namespace) return false;
    const missed = entries.filter(([key, value]) => pod.labels[key] !== value);
    const [only] = missed;
    if (only === undefined || missed.length > 1) return false;
    const [key, wanted] = only;
    const has = pod.labels[key];
    if (entries.length > 1) return true;
    if (has !== undefined) return isSlip(wanted, has);
    // The right value under another key: `k8s-app: api` where the pods have `app: api`.
    return Object.values(pod.labels).includes(wanted);
  });
}

/** At most two edits, and fewer than half of the word: `apii` and `api`, `Web` and `web`, not `db` and `web`. */
function isSlip(a: string, b: string): boolean {
  const distance = editDistance(a, b);
  return distance <= 2 && distance * 2 < Math.max(a.length, b.length);
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

const notListed = (service: Service, able: readonly Pod[]): Omit<Finding, 'check'> =>
  make(
    service,
    'service/no-endpoints',
    'error',
    `Service ${serviceId(service)} has ${able.length} ready pods and no ready endpoint`,
    'spec.selector',
    able,
    able.map((pod) =>
      declared(`${pod.namespace}/${pod.name} is ready`, objectRef('Pod', pod.namespace, pod.name, 'status')),
    ),
  );

const notReady = (service: Service, behind: readonly Pod[]): Omit<Finding, 'check'> =>
  make(
    service,
    'service/not-ready',
    'error',
    `Service ${serviceId(service)} has no ready endpoint: none of its ${behind.length} pods is ready`,
    'spec.selector',
    behind,
    behind.map((pod) => {
      const waiting = pod.containers.find((container) => container.waiting !== undefined)?.waiting;
      return declared(
        `${pod.namespace}/${pod.name} is ${pod.phase}, not ready${waiting === undefined ? '' : ` (${waiting})`}`,
        objectRef('Pod', pod.namespace, pod.name, 'status'),
      );
    }),
  );

function checkTargetPort(
  context: CheckContext,
  service: Service,
  port: Service['ports'][number],
  behind: readonly Pod[],
): Omit<Finding, 'check'>[] {
  const { targetPort, protocol } = port;
  const target = `${targetPort}/${protocol}`;
  const id = serviceId(service);
  if (typeof targetPort === 'string') {
    if (behind.some((pod) => namedPorts(pod, targetPort, protocol).length > 0)) return [];
    return [
      make(
        service,
        'service/target-port-wrong',
        'error',
        `Service ${id} leads to the port ${target}, which no container of its pods declares`,
        'spec.ports',
        behind,
      ),
    ];
  }
  // A declared port that nobody serves is the application's fault (the check `listening`), not the Service's.
  const isDeclared = (pod: Pod) =>
    pod.containers.some((c) => c.ports.some((p) => p.port === targetPort && p.protocol === protocol));
  if (behind.some(isDeclared)) return [];
  const seen = behind.filter((pod) => pod.ready).flatMap((pod) => listeners(context, pod) ?? []);
  const same = seen.filter((socket) => socket.protocol === protocol.toLowerCase());
  if (same.length === 0 || same.some((socket) => socket.port === targetPort)) return [];
  const others = same.filter(reachableFromOutside);
  if (others.length === 0) return [];
  const found = [...new Set(others.map((socket) => socket.port))].join(', ');
  return [
    make(
      service,
      'service/target-port-wrong',
      'error',
      `Service ${id} leads to port ${target}, where its pods do not listen: they listen on ${found}`,
      'spec.ports',
      behind,
      others.slice(0, 3).map((socket) => observed(`a process listens on ${socket.port}`, socket.source)),
    ),
  ];
}
