/** Weave Net (archived): one bridge over all nodes, carried by its own datapath on UDP 6784. */
import { defineCni } from './cni.ts';
import { findDaemonSet, findNodeDevice } from './look.ts';

export const weave = defineCni({
  name: 'weave',
  detect: (snapshot) => {
    const found = findNodeDevice(snapshot, (device) => device.name === 'weave' && device.kind === 'bridge');
    if (found !== undefined) return `${found.node} has the bridge weave`;
    return findDaemonSet(snapshot, /^weave-net$/);
  },
  tunnel: () => ({ kind: 'vxlan', device: 'vxlan-6784', port: 6784 }),
  isAgent: (pod) => pod.labels.name === 'weave-net',
  usesNodePodCidrs: false,
  // The overlay is an Open vSwitch datapath: neighbours and routes of the host do not describe it.
  bypassesKernelRoutes: true,
});
