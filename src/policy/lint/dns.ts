/** Pods that may reach others, but not the cluster's DNS: they cannot find out any address. */
import type { Pod, Service } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import { hasPort, intersectPorts, linePoint, unionPorts, wholeProtocol } from '../../net/port-set.ts';
import { resolveNamedPort } from '../endpoint.ts';
import type { Cell } from '../engine/cell.ts';
import type { CompiledPolicy } from '../engine/compile.ts';
import { cellAt, type Row } from '../engine/rows.ts';
import type { EndpointClass } from '../engine/universe.ts';
import type { LoweredPolicy } from '../ir.ts';
import { defineRule, type Found, foundIn, type LintContext, listText, podText } from './rule.ts';

export const dnsForgotten = defineRule({
  id: 'dns-forgotten',
  title: 'pods that may reach other pods may ask the cluster DNS',
  needsPods: true,
  run: (context) => {
    const { engine, pods } = context;
    const servers = dnsServers(context);
    // A cache on every node takes the question first, at an address of the node.
    const cached = pods.some(({ labels }) => labels['k8s-app'] === 'node-local-dns');
    const groups = new Map<string, { readonly policy: LoweredPolicy; readonly pods: Pod[] }>();
    for (let id = 0; id < engine.universe.podsTo; id++) {
      const { members } = engine.universe.classes[id] as EndpointClass;
      const asking = members.flatMap((end) => (end.kind === 'pod' && asksCluster(end.pod) ? [end.pod] : []));
      if (asking.length === 0) continue;
      const isolating = engine.layers.flatMap(({ rows }) =>
        rows.egress
          .policiesOf(id)
          .filter(({ isolates, policy }) => isolates && policy.condition === undefined),
      );
      const named =
        isolating.find(({ rules }) => rules.some(({ action }) => action === 'allow')) ?? isolating[0];
      if (named === undefined) continue;
      const rows = engine.layers.map((layer) => layer.rows.egress.of(id));
      if (!reachesPods(context, rows)) continue;
      if (servers.length === 0 ? isolating.some(namesDns) : asksDns(context, rows, servers, cached)) continue;
      const key = isolating.map(({ rank }) => rank).join();
      const group = groups.get(key) ?? { policy: named.policy, pods: [] };
      groups.set(key, group);
      group.pods.push(...asking);
    }
    return [...groups.values()].map((group) => finding(group, servers));
  },
});

function finding(
  { policy, pods }: { readonly policy: LoweredPolicy; readonly pods: readonly Pod[] },
  servers: readonly Server[],
): Found {
  const [server] = servers;
  const where = server === undefined ? 'to anybody' : `to ${podText(server.pod)} of the cluster DNS`;
  return foundIn(
    policy,
    'warning',
    'spec.egress',
    `${listText(pods.map(podText))} may reach other pods by address only: no egress rule admits UDP ${server?.port ?? 53} ${where}`,
    'add an egress rule with ports 53/UDP and 53/TCP to the pods of the cluster DNS, in namespace kube-system',
  );
}

interface Server {
  readonly pod: Pod;
  readonly port: number;
}

/** The pods behind kube-dns, and the port on which they answer UDP. */
function dnsServers({ cluster, pods }: LintContext): readonly Server[] {
  const services = orElse(cluster.services, []).filter(isDns);
  return services.flatMap((service) =>
    service.ports.flatMap(({ port, protocol, targetPort }) =>
      port !== 53 || protocol !== 'UDP'
        ? []
        : pods
            .filter((pod) => pod.namespace === service.namespace && behind(service, pod))
            .flatMap((pod) =>
              typeof targetPort === 'number'
                ? [{ pod, port: targetPort }]
                : resolveNamedPort({ kind: 'pod', pod }, targetPort, 'UDP').map((number) => ({
                    pod,
                    port: number,
                  })),
            ),
    ),
  );
}

const isDns = ({ namespace, name, labels }: Service): boolean =>
  labels?.['k8s-app'] === 'kube-dns' ||
  (namespace === 'kube-system' && /(^|-)(kube-dns|coredns)$/.test(name)) ||
  (namespace === 'openshift-dns' && name === 'dns-default');

const behind = ({ selector }: Service, { labels }: Pod): boolean => {
  const wanted = Object.entries(selector);
  return wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
};

/** Pods on the node's network, and those that were given another resolver, do not ask the cluster. */
const asksCluster = (pod: Pod): boolean => !pod.hostNetwork && pod.dnsPolicy === 'ClusterFirst';

/** Where DNS is not among the objects: a rule for its port, whomever it names. OpenShift's pods answer on 5353. */
const namesDns = ({ policy }: CompiledPolicy): boolean =>
  (policy.egress?.rules ?? []).some(
    ({ action, ports }) =>
      action !== 'deny' &&
      (hasPort(ports.set, linePoint('UDP', 53)) ||
        hasPort(ports.set, linePoint('UDP', 5353)) ||
        ports.named.some(({ name }) => name.includes('dns'))),
  );

const carriers = unionPorts(wholeProtocol('TCP'), wholeProtocol('UDP'));
const passes = (cells: readonly Cell[], point: number): boolean =>
  cells.every(({ allow, maybe }) => hasPort(allow, point) || hasPort(maybe, point));

function reachesPods({ engine }: LintContext, rows: readonly Row[]): boolean {
  for (const row of rows) {
    const some = row.cells.some(
      ({ allow }, i) =>
        (row.starts[i] as number) < engine.universe.podsTo && intersectPorts(allow, carriers).length > 0,
    );
    if (!some) return false;
  }
  return rows.length > 0;
}

function asksDns(
  { engine }: LintContext,
  rows: readonly Row[],
  servers: readonly Server[],
  cached: boolean,
): boolean {
  if (cached) return rows.every((row) => row.cells.some((cell) => passes([cell], linePoint('UDP', 53))));
  return servers.some(({ pod, port }) => {
    const id = engine.universe.classOf({ kind: 'pod', pod });
    return (
      id !== undefined &&
      passes(
        rows.map((row) => cellAt(row, id)),
        linePoint('UDP', port),
      )
    );
  });
}
