/** The tunnel endpoints (VTEPs) of a VXLAN pod network, and what each node believes about the others. */
import { orElse } from '../model/known.ts';
import type { Device, Neighbour } from '../model/netns.ts';
import { type Vxlan, vxlanOf } from '../model/tunnel.ts';
import { type Address, sameAddress } from '../net/address.ts';
import { contains } from '../net/prefix.ts';
import { type CheckContext, type NodeView, sharesCidr } from './check.ts';

export interface Vtep {
  readonly view: NodeView;
  readonly device: Device;
  readonly vxlan: Vxlan;
  readonly mac: string;
}

/** Nodes whose VXLAN device is there and has a MAC. Empty for other kinds of tunnels and for CNIs that need no entries. */
export function vteps(context: CheckContext): Vtep[] {
  const detected = context.need(context.cni);
  if (detected?.tunnel?.kind !== 'vxlan' || detected.cni.bypassesKernelRoutes) return [];
  const { device: name } = detected.tunnel;
  const views = context.nodes();
  // Where two nodes share a pod CIDR, peers can only know one of them by its addresses: the sharing is the cause (pod-cidr).
  const own = views.filter((view) => !views.some((other) => other !== view && sharesCidr(other, view)));
  return own.flatMap((view) => {
    if (context.need(view.netns.devices) === undefined) return [];
    const device = context.world.device(view.netns, name);
    const vxlan = device === undefined ? undefined : vxlanOf(device);
    return device?.mac === undefined || vxlan === undefined ? [] : [{ view, device, vxlan, mac: device.mac }];
  });
}

/** The neighbour entries by which one node reaches another's VTEP: for an address of the device, else one of its pod CIDR. */
export function neighboursOf(from: Vtep, to: Vtep): Neighbour[] {
  return orElse(from.view.netns.neighbours, []).filter(
    (neighbour) => neighbour.device === from.device.name && isVtepAddress(to, neighbour.address),
  );
}

function isVtepAddress({ view, device }: Vtep, address: Address): boolean {
  const own = device.addresses.filter((a) => a.address.family === address.family && a.scope !== 'link');
  return own.length > 0
    ? own.some((a) => sameAddress(a.address, address))
    : view.node.podCidrs.some((cidr) => contains(cidr, address));
}

/** Underlay addresses by which peers send to a VTEP. */
export const endpointAddresses = ({ view, vxlan }: Vtep): Address[] => [
  ...(vxlan.local === undefined ? [] : [vxlan.local]),
  ...view.node.internalAddresses,
];
