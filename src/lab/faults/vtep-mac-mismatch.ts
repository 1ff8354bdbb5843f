import { ipBatch } from '../run.ts';
import { captureDevice, restoreDevice } from './device.ts';
import { defineFault, tunnelCnis } from './fault.ts';
import { across, far, near, third, webToApi, within } from './flows.ts';
import { tunnelOf } from './kernel.ts';

/** The device was made anew with another MAC, and the Node's annotation and the peers kept the old one. */
export const vtepMacMismatch = defineFault({
  name: 'vtep-mac-mismatch',
  title: 'the VXLAN device of a node has another MAC than its peers believe',
  cause: 'overlay/vtep-mac-mismatch',
  cnis: tunnelCnis,
  repair: "Restart the network agent of the node: it announces the device's MAC again.",
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, near(lab)),
    ...within(lab, far(lab)),
    ...across(lab, [near(lab), third(lab)]),
  ],
  capture: (lab) => captureDevice(far(lab), tunnelOf(lab).device),
  async break(lab, args) {
    const { device } = tunnelOf(lab);
    // The kernel flushes the device's neighbours with its MAC; an agent that made the device had filled them in.
    const rest = (args.ip ?? '').split('\n').filter((line) => line !== '');
    await ipBatch(far(lab).netns, [`link set ${device} address ${otherMac(args.mac ?? '')}`, ...rest]);
  },
  mend: (lab, args) => restoreDevice(far(lab), tunnelOf(lab).device, args),
});

/** The same MAC with its last byte inverted. */
const otherMac = (mac: string): string =>
  `${mac.slice(0, 15)}${(Number.parseInt(mac.slice(15), 16) ^ 0xff).toString(16).padStart(2, '0')}`;
