/** Ports that a pod declares or a Service leads to must be served on an address that others can reach. */
import { formatSocket } from '../dataplane/sockets.ts';
import type { ContainerPort, Pod, Service } from '../model/cluster.ts';
import type { Finding } from '../model/finding.ts';
import { orElse } from '../model/known.ts';
import { objectRef } from '../model/source.ts';
import { namedPorts } from '../policy/endpoint.ts';
import { type CheckContext, declared, defineCheck, observed, podSubject } from './check.ts';
import { listeners, reachableFromOutside } from './listeners.ts';
import { podsBehind, serviceId } from './services.ts';

export const listening = defineCheck({
  id: 'listening',
  title: 'Pods listen where they should',
  causes: ['app/loopback-only', 'app/not-listening'],
  run: (context) => {
    const services = orElse(context.snapshot.cluster.services, []);
    // A pod that is not ready may be starting: its silence says nothing yet.
    return context
      .pods()
      .filter((pod) => pod.phase === 'Running' && pod.ready && !pod.terminating)
      .flatMap((pod) => wantedPorts(pod, services).flatMap((wanted) => checkPort(context, pod, wanted)));
  },
});

interface Wanted {
  readonly port: number;
  readonly protocol: ContainerPort['protocol'];
  readonly isDeclared: boolean;
  /** A Service that leads there. */
  readonly service?: Service;
}

function wantedPorts(pod: Pod, services: readonly Service[]): Wanted[] {
  const wanted = new Map<string, Wanted>();
  for (const { port, protocol } of pod.containers.flatMap((container) => container.ports))
    wanted.set(`${port} ${protocol}`, { port, protocol, isDeclared: true });
  for (const service of services) {
    if (podsBehind(service, [pod]).length === 0) continue;
    for (const { targetPort, protocol } of service.ports) {
      const targets = typeof targetPort === 'number' ? [targetPort] : namedPorts(pod, targetPort, protocol);
      for (const port of targets) {
        const key = `${port} ${protocol}`;
        wanted.set(key, { port, protocol, isDeclared: wanted.get(key)?.isDeclared ?? false, service });
      }
    }
  }
  return [...wanted.values()];
}

function checkPort(context: CheckContext, pod: Pod, wanted: Wanted): Omit<Finding, 'check'>[] {
  const all = listeners(context, pod);
  // ss is asked for TCP and UDP only.
  if (all === undefined || wanted.protocol === 'SCTP') return [];
  const protocol = wanted.protocol.toLowerCase();
  const onPort = all.filter((socket) => socket.port === wanted.port && socket.protocol === protocol);
  if (onPort.some(reachableFromOutside)) return [];
  const port = `${wanted.port}/${wanted.protocol}`;
  const id = `${pod.namespace}/${pod.name}`;
  const { service } = wanted;
  const base = {
    subject: podSubject(pod),
    concerns: service === undefined ? [] : [{ kind: 'service' as const, name: serviceId(service) }],
  };
  const why = wantedBecause(pod, wanted);
  if (onPort.length > 0) {
    return [
      {
        ...base,
        cause: 'app/loopback-only',
        severity: 'error',
        statement: `${id} listens on ${onPort.map(formatSocket).join(', ')} only: nobody outside the pod reaches port ${port}`,
        evidence: [
          ...onPort.map((socket) => observed('this socket is bound to the loopback', socket.source)),
          why,
        ],
      },
    ];
  }
  // Undeclared: the Service may be wrong instead, which its own check says.
  if (!wanted.isDeclared) return [];
  const others = all.filter((socket) => socket.protocol === protocol).map(formatSocket);
  return [
    {
      ...base,
      cause: 'app/not-listening',
      severity: service === undefined ? 'warning' : 'error',
      statement: `nothing listens on port ${port} of ${id}`,
      evidence: [
        observed(
          others.length === 0
            ? `${id} has no ${wanted.protocol} listener at all`
            : `${id} listens on ${others.join(', ')}`,
        ),
        why,
      ],
    },
  ];
}

const wantedBecause = (pod: Pod, { port, service }: Wanted): Finding['evidence'][number] =>
  service === undefined
    ? declared(
        `a container declares port ${port}`,
        objectRef('Pod', pod.namespace, pod.name, 'spec.containers'),
      )
    : declared(
        `Service ${serviceId(service)} leads to port ${port}`,
        objectRef('Service', service.namespace, service.name, 'spec.ports'),
      );
