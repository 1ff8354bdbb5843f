/** The VXLAN mesh that flannel and Calico both build: one device a family, every peer known beforehand. */
import type { LabNode, LabState } from '../state.ts';
import { networkOf, nodeIn, otherNodes, stableMac, vxlanOverheadBytes } from './cni.ts';

export interface VxlanStyle {
  readonly device: (family: 4 | 6) => string;
  readonly vni: number;
  readonly udpPort: number;
  /** Appended to routes, `proto 80`. */
  readonly routeSuffix: string;
}

export const vtepMac = (state: LabState, node: LabNode, family: 4 | 6): string =>
  stableMac('vtep', state.name, node.name, String(family));

export const vxlanMtuBytes = (state: LabState, family: 4 | 6): number =>
  state.underlayMtuBytes - vxlanOverheadBytes(family);

/** Device, own address, and for each peer a permanent neighbour and a route through it. */
export function vxlanLines(state: LabState, node: LabNode, style: VxlanStyle): string[] {
  return state.families.flatMap((family) => {
    const own = nodeIn(node, family);
    if (own === undefined) return [];
    const device = style.device(family);
    const bits = family === 4 ? 32 : 128;
    return [
      `link add ${device} address ${vtepMac(state, node, family)} mtu ${vxlanMtuBytes(state, family)} type vxlan id ${style.vni} local ${own.address} dev eth0 dstport ${style.udpPort} nolearning`,
      `addr add ${networkOf(own.podCidr)}/${bits} dev ${device}${family === 6 ? ' nodad' : ''}`,
      `link set ${device} up`,
      ...otherNodes(state, node).flatMap((peer) => {
        const far = nodeIn(peer, family);
        if (far === undefined) return [];
        const vtep = networkOf(far.podCidr);
        return [
          `neigh replace ${vtep} lladdr ${vtepMac(state, peer, family)} dev ${device} nud permanent`,
          `route add ${far.podCidr} via ${vtep} dev ${device} onlink${style.routeSuffix}`,
        ];
      }),
    ];
  });
}

/** Where each peer's VTEP MAC is: without it the device would drop the frame, as it does not learn. */
export function vxlanFdbLines(state: LabState, node: LabNode, style: VxlanStyle): string[] {
  return state.families.flatMap((family) =>
    otherNodes(state, node).flatMap((peer) => {
      const far = nodeIn(peer, family);
      return far === undefined
        ? []
        : [
            `fdb replace ${vtepMac(state, peer, family)} dev ${style.device(family)} dst ${far.address} self permanent`,
          ];
    }),
  );
}
