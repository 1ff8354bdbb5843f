/** The cluster's DNS: its pods and its Service's endpoints. */
import type { Service } from '../model/cluster.ts';
import { objectRef } from '../model/source.ts';
import { matchesSelector } from '../policy/selector.ts';
import { type CheckContext, declared, defineCheck, podSubject } from './check.ts';

/** kubeadm, and nearly everybody after it, keeps this name; without it nothing is claimed. */
export const dnsService = ({ snapshot, need }: CheckContext): Service | undefined =>
  need(snapshot.cluster.services)?.find(
    (service) => service.namespace === 'kube-system' && service.name === 'kube-dns',
  );

export const dns = defineCheck({
  id: 'dns',
  title: 'The cluster’s DNS has running servers',
  causes: ['dns/coredns-down', 'dns/no-endpoints'],
  run: (context) => {
    const service = dnsService(context);
    const { cluster } = context.snapshot;
    const slices = context.need(cluster.endpointSlices);
    const all = context.need(cluster.pods);
    if (service === undefined || slices === undefined || all === undefined) return [];
    const pods = all.filter(
      (pod) =>
        pod.namespace === service.namespace &&
        Object.keys(service.selector).length > 0 &&
        matchesSelector({ matchLabels: service.selector, matchExpressions: [] }, pod.labels),
    );
    const subject = { kind: 'service' as const, name: `${service.namespace}/${service.name}` };
    const base = { severity: 'error' as const, subject, concerns: pods.map(podSubject) };
    if (pods.length > 0 && pods.every((pod) => !pod.ready)) {
      return [
        {
          ...base,
          cause: 'dns/coredns-down' as const,
          statement: `none of the ${pods.length} DNS pods is ready`,
          evidence: pods.map((pod) => {
            const waiting = pod.containers.find((container) => container.waiting !== undefined)?.waiting;
            return declared(
              `${pod.namespace}/${pod.name} is ${pod.phase}, not ready${waiting === undefined ? '' : ` (${waiting})`}`,
              objectRef('Pod', pod.namespace, pod.name, 'status'),
            );
          }),
        },
      ];
    }
    const serving = slices
      .filter((slice) => slice.namespace === service.namespace && slice.service === service.name)
      .some((slice) => slice.endpoints.some((endpoint) => endpoint.ready));
    if (serving) return [];
    return [
      {
        ...base,
        cause: 'dns/no-endpoints' as const,
        statement: `the DNS Service ${subject.name} has no ready endpoint`,
        evidence: [
          declared(
            'its EndpointSlices hold no ready address',
            objectRef('Service', service.namespace, service.name),
          ),
        ],
      },
    ];
  },
});
