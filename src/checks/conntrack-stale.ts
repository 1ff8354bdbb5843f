/** UDP connections that still lead to a server that the Service does not have any more. */
import type { Service } from '../model/cluster.ts';
import type { Finding } from '../model/finding.ts';
import { orElse } from '../model/known.ts';
import type { ConntrackEntry } from '../model/netns.ts';
import { formatAddress, sameAddress } from '../net/address.ts';
import { type CheckContext, defineCheck, type NodeView, nodeSubject, observed, podSubject } from './check.ts';
import { serviceId } from './services.ts';

export const conntrackStale = defineCheck({
  id: 'conntrack-stale',
  title: 'UDP connections lead to endpoints that exist',
  causes: ['conntrack/stale-entry'],
  run: (context) =>
    context.nodes().flatMap((view) => {
      const entries = context.need(view.netns.conntrack) ?? [];
      return entries
        .filter(({ protocol }) => protocol === 'udp')
        .flatMap((entry) => checkEntry(context, view, entry));
    }),
});

function checkEntry(context: CheckContext, view: NodeView, entry: ConntrackEntry): Omit<Finding, 'check'>[] {
  const { original, reply } = entry;
  const service = context.world.service(original.dst);
  // An answered entry led somewhere; the Service's own address as answerer is an entry made before any rule.
  if (service === undefined || !entry.flags.includes('UNREPLIED') || sameAddress(reply.src, original.dst))
    return [];
  if (service.ports.every((port) => port.protocol !== 'UDP' || port.port !== original.dstPort)) return [];
  const slices = context.need(context.snapshot.cluster.endpointSlices);
  if (slices === undefined || isEndpoint(context, service, entry)) return [];
  const client = orElse(context.snapshot.cluster.pods, []).find(
    (pod) => !pod.hostNetwork && pod.addresses.some((own) => sameAddress(own, original.src)),
  );
  return [
    {
      cause: 'conntrack/stale-entry',
      severity: 'error',
      subject: nodeSubject(view.name),
      concerns: [
        ...(client === undefined ? [] : [podSubject(client)]),
        { kind: 'service', name: serviceId(service) },
      ],
      statement: `a connection entry of ${view.name} leads UDP of ${formatAddress(original.src)}:${original.srcPort} for Service ${serviceId(service)} to ${formatAddress(reply.src)}, which is no endpoint of it`,
      evidence: [observed('this entry was never answered', entry.source)],
    },
  ];
}

const isEndpoint = (
  { snapshot }: CheckContext,
  { namespace, name }: Service,
  { reply }: ConntrackEntry,
): boolean =>
  orElse(snapshot.cluster.endpointSlices, []).some(
    (slice) =>
      slice.namespace === namespace &&
      slice.service === name &&
      slice.endpoints.some(({ addresses }) => addresses.some((a) => sameAddress(a, reply.src))),
  );
