/** Where a node's kernel sends packets for another node's pods. */
import { lookupRoute, type RouteQuery, type RouteResult } from '../dataplane/routing.ts';
import type { World } from '../dataplane/world.ts';
import type { Pod } from '../model/cluster.ts';
import { orElse } from '../model/known.ts';
import type { Device, Netns } from '../model/netns.ts';
import type { Address } from '../net/address.ts';
import { contains } from '../net/prefix.ts';
import type { CheckContext, NodeView } from './check.ts';

/** Lookup as for a packet that one of the node's pods sends: rules on source and incoming device count. */
export function routeFromPods(context: CheckContext, view: NodeView, dst: Address): RouteResult {
  return lookupRoute(view.netns, queryFromPods(context, view, dst));
}

/** What the node's kernel looks up for a packet of one of its pods. */
export function queryFromPods(context: CheckContext, view: NodeView, dst: Address): RouteQuery {
  const from = localPod(context, view, dst.family);
  return from === undefined ? { dst } : { dst, src: from.address, iif: from.device };
}

/** A pod of the node, and the node's device that its packets arrive by. */
export function localPod(
  { world, snapshot }: CheckContext,
  view: NodeView,
  family: 4 | 6,
): { readonly pod: Pod; readonly address: Address; readonly device: string } | undefined {
  for (const pod of orElse(snapshot.cluster.pods, [])) {
    if (pod.node !== view.name || pod.hostNetwork) continue;
    const address = pod.addresses.find((a) => a.family === family);
    const device = address === undefined ? undefined : podDevice(view.netns, address);
    if (address !== undefined && device !== undefined && world.device(view.netns, device) !== undefined)
      return { pod, address, device };
  }
  return undefined;
}

/** The device that the node delivers a local pod's packets by: the bridge, or the pod's own host-side device. */
export function podDevice(netns: Netns, address: Address): string | undefined {
  const result = lookupRoute(netns, { dst: address });
  if (result.state !== 'found' || result.nexthop.gateway !== undefined) return undefined;
  return result.nexthop.device;
}

/** The node that a next hop's address leads to: the one that has it, else the one whose pod CIDR it lies in. */
export function nodeOfGateway(world: World, gateway: Address): string | undefined {
  const owner = world.nodeFor(gateway);
  if (owner !== undefined) return owner;
  return orElse(world.snapshot.cluster.nodes, []).find((node) =>
    node.podCidrs.some((cidr) => contains(cidr, gateway)),
  )?.name;
}

const tunnelKinds = new Set(['vxlan', 'geneve', 'ipip', 'wireguard', 'gre', 'tun']);
const isTunnel = (device: Device): boolean => tunnelKinds.has(device.kind);

/** The device by which `peer`'s packets for this node's pods arrive: derived from the peer's own route here. */
export function arrivalDevice(
  context: CheckContext,
  view: NodeView,
  peer: NodeView,
  podAddress: Address,
): string | undefined {
  const { world } = context;
  const out = routeFromPods(context, peer, podAddress);
  if (out.state !== 'found' || out.nexthop.device === undefined) return undefined;
  const outDevice = world.device(peer.netns, out.nexthop.device);
  if (outDevice === undefined) return undefined;
  if (isTunnel(outDevice)) return world.device(view.netns, outDevice.name)?.name;
  const { gateway } = out.nexthop;
  if (gateway === undefined) return world.underlay(view.netns)?.name;
  return [...world.devices(view.netns).values()].find((device) =>
    device.addresses.some(
      (own) => own.address.value === gateway.value && own.address.family === gateway.family,
    ),
  )?.name;
}
