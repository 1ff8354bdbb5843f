/** What faults change in the objects of the API, and in the rules that agents make of them. */
import type { PodObject, PolicyObject, Recorded } from './mutations-support.ts';

export const node = (n: number) => `nodes/node${n}`;
export const byName = (at: Recorded, n = 1) => ({
  src: at.id('web', n),
  dst: 'api.shop.svc.cluster.local',
  port: 80,
});

export const unready = (pod: PodObject, phase = 'Running', reason?: string): void => {
  pod.status.phase = phase;
  for (const condition of pod.status.conditions ?? [])
    if (condition.type === 'Ready' || condition.type === 'ContainersReady') condition.status = 'False';
  for (const container of pod.status.containerStatuses ?? []) {
    container.ready = false;
    if (reason !== undefined) {
      container.restartCount = 12;
      container.state = { waiting: { reason } };
    }
  }
};
export const emptySlices = (at: Recorded, service: string): void =>
  at.objects('endpointslices.discovery.k8s.io', (slice) => {
    if (slice.metadata.labels?.['kubernetes.io/service-name'] === service) slice.endpoints = [];
  });
export const unreadySlices = (at: Recorded, service: string): void =>
  at.objects('endpointslices.discovery.k8s.io', (slice) => {
    if (slice.metadata.labels?.['kubernetes.io/service-name'] !== service) return;
    for (const endpoint of slice.endpoints) endpoint.conditions = { ready: false, serving: false };
  });
/** kube-proxy's rules for a Service without endpoints: a reject in filter, nothing in nat. */
export const rejected = (at: Recorded, name: string, ip: string): void => {
  for (const n of [1, 2, 3]) {
    const nat = at.files.get(`${node(n)}/iptables-save.txt`) ?? '';
    const entries = nat
      .split('\n')
      .filter((line) => line.includes('-A KUBE-SERVICES') && line.includes(`-d ${ip}/32`));
    for (const entry of entries) {
      const protocol = / -p (\w+)/.exec(entry)?.[1] ?? 'tcp';
      const port = / --dport (\d+)/.exec(entry)?.[1] ?? '';
      at.rule(
        node(n),
        'filter',
        `-A KUBE-SERVICES -d ${ip}/32 -p ${protocol} -m comment --comment "${name} has no endpoints" -m ${protocol} --dport ${port} -j REJECT --reject-with icmp-port-unreachable`,
      );
    }
    at.table(node(n), 'nat', (lines) => lines.filter((line) => !line.includes(`"${name}`)));
    at.table(node(n), 'nat', (lines) => lines.filter((line) => !entries.includes(line)));
  }
};
export const apiIp = (at: Recorded) =>
  /-d (\S+)\/32 [^\n]*"shop\/api:http cluster IP"/.exec(
    at.files.get(`${node(1)}/iptables-save.txt`) ?? '',
  )?.[1] ?? '';

export const policy = (namespace: string, name: string, spec: Record<string, unknown>): PolicyObject => ({
  metadata: { namespace, name },
  spec,
});
/** What kube-router makes of a policy that admits nothing for a pod: its chain without the accepting default. */
export const denies = (at: Recorded, app: string, n: number, direction: 'ingress' | 'egress'): void => {
  const id = at.id(app, n);
  at.table(node(n), 'filter', (lines) => {
    const chain = lines
      .map((line) => line.match(/-A (KUBE-POD-FW-\S+) .*--comment "(\S+) reject"/))
      .find((m) => m?.[2] === id)?.[1];
    return lines.filter(
      (line) =>
        !(chain !== undefined && line.includes(`-A ${chain} `) && line.includes(`"default ${direction}"`)),
    );
  });
};
