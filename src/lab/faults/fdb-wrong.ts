import { defineFault, tunnelCnis } from './fault.ts';
import { across, far, near, nodeAt, webToApi, within } from './flows.ts';
import { ipv4Of, peerMac, setFdb, tunnelOf } from './kernel.ts';

/** A stale entry after node addresses changed: the frame reaches a node whose VTEP has another MAC, and is dropped there. */
export const fdbWrong = defineFault({
  name: 'fdb-wrong',
  title: "a node's VXLAN device sends a peer's frames to another node",
  cause: 'overlay/fdb-wrong',
  cnis: tunnelCnis,
  minNodes: 3,
  repair:
    'Restart the network agent of the node, or correct the entry: bridge fdb replace MAC dev DEVICE dst NODE.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, far(lab)),
    ...across(lab, [near(lab), nodeAt(lab, 2)], [nodeAt(lab, 2), far(lab)]),
  ],
  capture: async (lab) => ({ mac: await peerMac(near(lab), tunnelOf(lab).device, far(lab)) }),
  async break(lab, { mac = '' }) {
    await setFdb(near(lab), tunnelOf(lab).device, mac, ipv4Of(nodeAt(lab, 2)).address);
  },
  async mend(lab, { mac = '' }) {
    await setFdb(near(lab), tunnelOf(lab).device, mac, ipv4Of(far(lab)).address);
  },
});
