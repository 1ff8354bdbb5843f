import { defineFault, tunnelCnis } from './fault.ts';
import { across, far, near, third, webToApi, within } from './flows.ts';
import { ipv4Of, onNode, peerMac, setFdb, tunnelOf } from './kernel.ts';

/** Without learning, a VXLAN device drops frames for a MAC that its forwarding database does not place. */
export const fdbMissing = defineFault({
  name: 'fdb-missing',
  title: "a node's VXLAN device does not know where a peer's MAC is",
  cause: 'overlay/fdb-missing',
  cnis: tunnelCnis,
  repair:
    'Restart the network agent of the node, or add the entry: bridge fdb append MAC dev DEVICE dst NODE.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, near(lab)),
    ...within(lab, far(lab)),
    ...across(lab, [near(lab), third(lab)], [third(lab), far(lab)]),
  ],
  capture: async (lab) => ({ mac: await peerMac(near(lab), tunnelOf(lab).device, far(lab)) }),
  async break(lab, { mac = '' }) {
    await onNode(
      near(lab),
      'bridge',
      'fdb',
      'del',
      mac,
      'dev',
      tunnelOf(lab).device,
      'dst',
      ipv4Of(far(lab)).address,
      'self',
    );
  },
  async mend(lab, { mac = '' }) {
    await setFdb(near(lab), tunnelOf(lab).device, mac, ipv4Of(far(lab)).address);
  },
});
