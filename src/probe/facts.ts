/** What the probe plan reads from a snapshot: who sends from where, how large a packet may be, who answers. Pure. */
import type { Endpoint } from '../model/flow.ts';
import { orElse } from '../model/known.ts';
import type { Netns } from '../model/netns.ts';
import { type Backend, backendsOf as readyBackends, servicePort } from '../model/services.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { type Address, sameAddress } from '../net/address.ts';
import { contains } from '../net/prefix.ts';

/** `shop/web-1`, a node's name, or undefined for what has no place in the cluster to send from. */
export function labelOf(endpoint: Endpoint): string | undefined {
  switch (endpoint.kind) {
    case 'pod':
    case 'service':
      return `${endpoint.namespace}/${endpoint.name}`;
    case 'node':
      return endpoint.name;
    case 'external':
      return undefined;
  }
}

/** The network namespace that an endpoint sends from; a hostNetwork pod sends from its node's. */
export function netnsOf(snapshot: Snapshot, endpoint: Endpoint): Netns | undefined {
  if (endpoint.kind === 'node') return snapshot.netns.get(endpoint.name);
  if (endpoint.kind !== 'pod') return undefined;
  for (const id of snapshot.netns.keys())
    if (id.endsWith(`/${endpoint.namespace}_${endpoint.name}`)) return snapshot.netns.get(id);
  const pod = orElse(snapshot.cluster.pods, []).find(
    (one) => one.namespace === endpoint.namespace && one.name === endpoint.name,
  );
  return pod?.hostNetwork === true ? snapshot.netns.get(pod.node) : undefined;
}

/**
 * Largest packet in bytes that the namespace sends towards `dst`: the MTU of the device that its route leaves by (that
 * of the own address where no route is known), or the route's own MTU where that is lower (Cilium lowers the route).
 * Undefined where the devices are not known.
 */
export function sendMtuBytes(netns: Netns, own: Address, dst: Address): number | undefined {
  const routes = orElse(own.family === 4 ? netns.routes : netns.routes6, []);
  const best = routes
    .filter((route) => route.table === 'main' && contains(route.dst, dst))
    .toSorted((a, b) => b.dst.length - a.dst.length || a.metric - b.metric)[0];
  const name = best?.nexthops[0]?.device;
  const device = orElse(netns.devices, []).find((one) =>
    name === undefined ? one.addresses.some((entry) => sameAddress(entry.address, own)) : one.name === name,
  );
  if (device === undefined) return undefined;
  return Math.min(device.mtuBytes, best?.mtuBytes ?? device.mtuBytes);
}

/** An address of the node that others reach it by, of the wanted family. */
export function nodeAddress(
  snapshot: Snapshot,
  name: string,
  family: Address['family'],
): Address | undefined {
  const node = orElse(snapshot.cluster.nodes, []).find((one) => one.name === name);
  return node?.internalAddresses.find((one) => one.family === family);
}

/** The pod that has an address, as an endpoint. */
export function podAt(snapshot: Snapshot, at: Address): (Endpoint & { kind: 'pod' }) | undefined {
  const pod = orElse(snapshot.cluster.pods, []).find(
    (one) =>
      !one.hostNetwork &&
      one.phase !== 'Succeeded' &&
      one.phase !== 'Failed' &&
      one.addresses.some((own) => sameAddress(own, at)),
  );
  return pod && { kind: 'pod', namespace: pod.namespace, name: pod.name, address: at };
}

/** Where connections to a Service's address and port end: its ready endpoints of the same family. */
export function backendsOf(
  snapshot: Snapshot,
  { namespace, name, address }: Endpoint & { kind: 'service' },
  protocol: string,
  dstPort: number,
): readonly Backend[] {
  const services = orElse(snapshot.cluster.services, []);
  const service = services.find((one) => one.namespace === namespace && one.name === name);
  const port = service === undefined ? undefined : servicePort(service, dstPort, protocol);
  if (service === undefined || port === undefined) return [];
  return readyBackends(snapshot.cluster, service, port, address.family);
}

/** Service addresses that lead to this backend, with the Service's port. */
export function servicesFor(snapshot: Snapshot, backend: Backend, protocol: string): Backend[] {
  return orElse(snapshot.cluster.services, []).flatMap((service) => {
    const clusterIp = service.clusterIps.find((one) => one.family === backend.address.family);
    if (clusterIp === undefined) return [];
    const endpoint = {
      kind: 'service',
      namespace: service.namespace,
      name: service.name,
      address: clusterIp,
    } as const;
    return service.ports
      .filter((port) => port.protocol === protocol)
      .filter((port) =>
        backendsOf(snapshot, endpoint, protocol, port.port).some(
          (one) => one.port === backend.port && sameAddress(one.address, backend.address),
        ),
      )
      .map((port) => ({ address: clusterIp, port: port.port }));
  });
}
