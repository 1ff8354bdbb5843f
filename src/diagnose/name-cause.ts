/** Flows that end at their name: it does not exist, or the pod asks somebody who does not know it. */
import type { World } from '../dataplane/world.ts';
import type { Cause } from '../model/finding.ts';
import type { Flow } from '../model/flow.ts';
import { orElse } from '../model/known.ts';
import { nearestNames } from '../model/nearest.ts';
import { objectRef } from '../model/source.ts';
import { type Address, formatAddress, isLinkLocal, isLoopback, sameAddress } from '../net/address.ts';
import { formatEndpoint } from './endpoint.ts';
import { repairOf } from './repair.ts';
import { resolverOf } from './resolver.ts';

/** A host name that the cluster's DNS does not know. */
export function nameNotFound(world: World, flow: Flow, asked: readonly string[]): readonly Cause[] {
  const name = flow.hostName ?? asked[0] ?? '';
  const [first = ''] = name.split('.');
  const elsewhere = orElse(world.snapshot.cluster.services, []).filter((s) => s.name === first);
  const own = flow.src.kind === 'pod' ? flow.src.namespace : '';
  const other = elsewhere.find((s) => s.namespace !== own);
  const close = nearestNames(
    name,
    orElse(world.snapshot.cluster.services, []).map((s) => `${s.name}.${s.namespace}`),
  );
  const isShort = !name.includes('.') && other !== undefined;
  return [
    {
      id: isShort ? 'namespace/short-name' : 'dns/name-wrong',
      title: isShort
        ? `"${name}" is looked for in namespace ${own}, but the Service is in ${other.namespace}`
        : `no Service answers to "${name}"${close.length === 0 ? '' : `; there is ${close.join(', ')}`}`,
      score: 0.9,
      subject:
        flow.src.kind === 'pod'
          ? { kind: 'pod', name: formatEndpoint(flow.src) }
          : { kind: 'cluster', name: 'dns' },
      evidence: asked.map((fqdn) => ({
        how: 'declared' as const,
        statement: `${fqdn} is no Service of the cluster`,
      })),
      contradictedBy: [],
      repair: elsewhere.map(
        (s) => `call ${s.name}.${s.namespace}${s.namespace === own ? '' : '.svc.cluster.local'}`,
      ),
    },
  ];
}

/** A pod that asks none of the cluster's nameservers for one of the cluster's names. Undefined where it asks one, or that is not known. */
export function wrongNameserver(world: World, flow: Flow): Cause | undefined {
  const { src, dst } = flow;
  if (flow.hostName === undefined || src.kind !== 'pod' || dst.kind === 'external') return undefined;
  const resolver = resolverOf(world.snapshot, src);
  if (resolver.state === 'unknown') return undefined;
  const { nameservers } = resolver.value;
  const servers = clusterServers(world);
  if (servers.length === 0 || nameservers.length === 0) return undefined;
  // A node-local cache listens on a link-local address, or the node's own.
  if (
    nameservers.some((asked) => isLocalCache(world, asked) || servers.some((own) => sameAddress(own, asked)))
  )
    return undefined;
  const asked = nameservers.map(formatAddress).join(', ');
  return {
    id: 'dns/pod-config-wrong',
    title: `${formatEndpoint(src)} asks ${asked} for names, which is not the cluster's DNS (${servers.map(formatAddress).join(', ')})`,
    score: 0.9,
    subject: { kind: 'pod', name: formatEndpoint(src) },
    evidence: [
      {
        how: 'declared',
        statement: `its nameserver is ${asked}, and ${flow.hostName} is a name of the cluster`,
        source: objectRef('Pod', src.namespace, src.name, 'spec.dnsPolicy'),
      },
    ],
    contradictedBy: [],
    repair: repairOf('dns/pod-config-wrong', world, undefined, formatEndpoint(src)),
  };
}

/** Addresses of the DNS Service and of its pods. Empty where the cluster has no Service of that name. */
function clusterServers({ snapshot }: World): Address[] {
  const service = orElse(snapshot.cluster.services, []).find(
    (s) => s.namespace === 'kube-system' && s.name === 'kube-dns',
  );
  if (service === undefined) return [];
  const wanted = Object.entries(service.selector);
  const pods = orElse(snapshot.cluster.pods, []).filter(
    (pod) =>
      pod.namespace === 'kube-system' &&
      wanted.length > 0 &&
      wanted.every(([key, value]) => pod.labels[key] === value),
  );
  return [...service.clusterIps, ...pods.flatMap((pod) => pod.addresses)];
}

const isLocalCache = (world: World, asked: Address): boolean =>
  isLinkLocal(asked) || isLoopback(asked) || endIsNode(world, asked);

const endIsNode = ({ snapshot }: World, asked: Address): boolean =>
  orElse(snapshot.cluster.nodes, []).some((node) =>
    node.internalAddresses.some((own) => sameAddress(own, asked)),
  );
