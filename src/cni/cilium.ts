/** Cilium: eBPF on lxc* devices; VXLAN (cilium_vxlan, UDP 8472), Geneve (UDP 6081) or native routing. */
import type { Snapshot } from '../model/snapshot.ts';
import { defineCni, type Tunnel } from './cni.ts';
import { configMapValue, findDaemonSet, findNodeDevice } from './look.ts';

function tunnel(snapshot: Snapshot): Tunnel | undefined {
  const device = findNodeDevice(snapshot, (d) => /^cilium_(vxlan|geneve)$/.test(d.name))?.device.name;
  const protocol =
    configMapValue(snapshot, 'cilium-config', 'tunnel-protocol') ?? device?.slice('cilium_'.length);
  if (configMapValue(snapshot, 'cilium-config', 'routing-mode') === 'native') return undefined;
  if (protocol !== 'vxlan' && protocol !== 'geneve') return undefined;
  const configured = Number(configMapValue(snapshot, 'cilium-config', 'tunnel-port') ?? '0');
  // The device is in collect_md mode: it has no VNI of its own, eBPF sets one a packet.
  return {
    kind: protocol,
    device: `cilium_${protocol}`,
    port: configured > 0 ? configured : protocol === 'vxlan' ? 8472 : 6081,
  };
}

export const cilium = defineCni({
  name: 'cilium',
  detect: (snapshot) => {
    const found = findNodeDevice(snapshot, (device) => /^cilium_(host|net|vxlan)$/.test(device.name));
    if (found !== undefined) return `${found.node} has the device ${found.device.name}`;
    return findDaemonSet(snapshot, /^cilium$/);
  },
  tunnel,
  isAgent: (pod) => pod.labels['k8s-app'] === 'cilium',
  usesNodePodCidrs: false,
  bypassesKernelRoutes: true,
});
