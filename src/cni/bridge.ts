/** The reference bridge plugin (or kubenet): a bridge a node, pod CIDRs by host routes or by the network around. */
import { orElse } from '../model/known.ts';
import { contains } from '../net/prefix.ts';
import { defineCni } from './cni.ts';
import { findNodeDevice, nodesOf } from './look.ts';

export const bridge = defineCni({
  name: 'bridge',
  detect: (snapshot) => {
    for (const node of nodesOf(snapshot)) {
      const netns = snapshot.netns.get(node.name);
      const device = orElse(netns?.devices ?? { state: 'known', value: [] }, []).find(
        (d) =>
          d.kind === 'bridge' &&
          d.addresses.some((own) => node.podCidrs.some((cidr) => contains(cidr, own.address))),
      );
      if (device !== undefined)
        return `the bridge ${device.name} of ${node.name} has an address of its pod CIDR`;
    }
    const found = findNodeDevice(snapshot, (device) => device.name === 'cni0' || device.name === 'cbr0');
    return found === undefined ? undefined : `${found.node} has the bridge ${found.device.name}`;
  },
  tunnel: () => undefined,
  isAgent: () => false,
  usesNodePodCidrs: true,
  bypassesKernelRoutes: false,
});
