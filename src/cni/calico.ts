/** Calico: BGP routes, IPIP (tunl0) or VXLAN (vxlan.calico, VNI 4096, UDP 4789); blocks of its own IPAM, not spec.podCIDRs. */
import type { Snapshot } from '../model/snapshot.ts';
import { vxlanOf } from '../model/tunnel.ts';
import { defineCni, type Tunnel } from './cni.ts';
import { findAnnotation, findDaemonSet, findNodeDevice } from './look.ts';

function tunnel(snapshot: Snapshot): Tunnel | undefined {
  const found = findNodeDevice(snapshot, (device) => device.name === 'vxlan.calico');
  const vxlan = found === undefined ? undefined : vxlanOf(found.device);
  if (
    vxlan !== undefined ||
    findAnnotation(snapshot, 'projectcalico.org/IPv4VXLANTunnelAddr') !== undefined
  ) {
    // FelixConfiguration's defaults; the device shows other values where they are set.
    return { kind: 'vxlan', device: 'vxlan.calico', port: vxlan?.port ?? 4789, vni: vxlan?.vni ?? 4096 };
  }
  // tunl0 exists wherever the ipip module is loaded: only an address or an announcement makes it Calico's.
  const ipip = findNodeDevice(snapshot, (device) => device.name === 'tunl0' && device.addresses.length > 0);
  return ipip !== undefined || findAnnotation(snapshot, 'projectcalico.org/IPv4IPIPTunnelAddr') !== undefined
    ? { kind: 'ipip', device: 'tunl0' }
    : undefined;
}

export const calico = defineCni({
  name: 'calico',
  detect: (snapshot) => {
    const found = findNodeDevice(
      snapshot,
      (device) =>
        device.name === 'vxlan.calico' || (device.name.startsWith('cali') && device.kind === 'veth'),
    );
    if (found !== undefined) return `${found.node} has the device ${found.device.name}`;
    const announced = findAnnotation(snapshot, 'projectcalico.org/IPv4Address');
    if (announced !== undefined) return `node ${announced.node} announces a Calico address`;
    return findDaemonSet(snapshot, /^calico-node$/);
  },
  tunnel,
  isAgent: (pod) => pod.labels['k8s-app'] === 'calico-node',
  usesNodePodCidrs: false,
  bypassesKernelRoutes: false,
});
