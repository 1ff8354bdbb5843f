/** Pods that may send to something, but not to the cluster's DNS: every name they use then fails. */
import type { NetworkPolicy, Pod } from '../model/cluster.ts';
import type { Finding } from '../model/finding.ts';
import { objectRef } from '../model/source.ts';
import { sameAddress } from '../net/address.ts';
import { formatPolicy } from '../policy/decision.ts';
import { judgePolicies } from '../policy/judge.ts';
import { type CheckContext, declared, defineCheck, podSubject } from './check.ts';
import { dnsService } from './dns.ts';

export const policyDns = defineCheck({
  id: 'policy-dns',
  title: 'Isolated pods may ask the cluster’s DNS',
  causes: ['dns/blocked-by-policy'],
  run: (context) => {
    const { cluster } = context.snapshot;
    const policies = context.need(cluster.networkPolicies) ?? [];
    const slices = context.need(cluster.endpointSlices);
    const service = dnsService(context);
    if (policies.length === 0 || slices === undefined || service === undefined) return [];
    const servers = slices
      .filter((slice) => slice.namespace === service.namespace && slice.service === service.name)
      .flatMap((slice) =>
        slice.ports
          .filter((port) => port.protocol === 'UDP')
          .flatMap((port) =>
            slice.endpoints.flatMap((e) => e.addresses.map((address) => ({ address, port: port.port }))),
          ),
      );
    const groups = new Map<string, { readonly policies: readonly NetworkPolicy[]; readonly pods: Pod[] }>();
    for (const pod of context.pods()) {
      if (pod.dnsPolicy !== 'ClusterFirst' || !asksService(context, pod)) continue;
      const blocking = blockedBy(context, pod, servers, policies);
      if (blocking === undefined) continue;
      const key = blocking.map(formatPolicy).join(' ');
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { policies: blocking, pods: [pod] });
      else group.pods.push(pod);
    }
    return [...groups.values()].flatMap((group) => toFinding(group.policies, group.pods));
  },
});

/** A recorded resolv.conf that names another server (node-local DNS) decides against the DNS Service. */
function asksService(context: CheckContext, pod: Pod): boolean {
  const resolver = context.snapshot.netns.get(`${pod.node}/${pod.namespace}_${pod.name}`)?.resolver;
  const service = dnsService(context);
  if (resolver === undefined || resolver.state === 'unknown' || service === undefined) return true;
  const { nameservers } = resolver.value;
  return (
    nameservers.length === 0 || nameservers.some((ns) => service.clusterIps.some((ip) => sameAddress(ns, ip)))
  );
}

interface Server {
  readonly address: Pod['addresses'][number];
  readonly port: number;
}

/** The policies that isolate the pod's egress, if none of the servers is allowed; undefined where DNS works or nothing is meant to. */
function blockedBy(
  { snapshot }: CheckContext,
  pod: Pod,
  servers: readonly Server[],
  policies: readonly NetworkPolicy[],
): NetworkPolicy[] | undefined {
  const [address] = pod.addresses;
  if (address === undefined || servers.length === 0) return undefined;
  const src = { kind: 'pod', namespace: pod.namespace, name: pod.name, address } as const;
  const answers = servers.map(
    (server) =>
      judgePolicies(snapshot.cluster, {
        src,
        dst: { kind: 'external', address: server.address },
        protocol: 'udp',
        dstPort: server.port,
      }).egress,
  );
  if (answers.some(({ verdict }) => verdict !== 'deny')) return undefined;
  const names = new Set(answers[0]?.isolatingPolicies.map(formatPolicy));
  const isolating = policies.filter((policy) => names.has(formatPolicy(policy)));
  // Without any egress rule the pod is meant to send nothing at all, and needs no names.
  return isolating.some((policy) => (policy.egress ?? []).length > 0) ? isolating : undefined;
}

function toFinding(policies: readonly NetworkPolicy[], pods: readonly Pod[]): Omit<Finding, 'check'>[] {
  const withRules = policies.find((policy) => (policy.egress ?? []).length > 0);
  const [first] = pods;
  if (withRules === undefined || first === undefined) return [];
  const names = policies.map(formatPolicy).join(', ');
  const others = pods.length === 1 ? '' : ` and ${pods.length - 1} more`;
  return [
    {
      cause: 'dns/blocked-by-policy',
      severity: 'error',
      subject: { kind: 'policy', name: formatPolicy(withRules) },
      concerns: [
        ...pods.map(podSubject),
        ...policies.map((policy) => ({ kind: 'policy' as const, name: formatPolicy(policy) })),
      ],
      statement: `${first.namespace}/${first.name}${others} may not ask the cluster's DNS: ${names} isolates egress and no rule admits UDP 53 to it`,
      evidence: policies.map((policy) =>
        declared(
          `${formatPolicy(policy)} isolates egress with ${(policy.egress ?? []).length} rules, none of which admits DNS`,
          objectRef('NetworkPolicy', policy.namespace, policy.name, 'spec.egress'),
        ),
      ),
    },
  ];
}
