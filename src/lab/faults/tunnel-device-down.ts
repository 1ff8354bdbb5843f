import { captureDevice, restoreDevice } from './device.ts';
import { defineFault, tunnelCnis } from './fault.ts';
import { across, far, near, third, webToApi, within } from './flows.ts';
import { onNode, tunnelOf } from './kernel.ts';

/** The kernel drops the device's routes with it; the agent does not look again until it restarts. */
export const tunnelDeviceDown = defineFault({
  name: 'tunnel-device-down',
  title: 'the VXLAN device of a node is down',
  cause: 'overlay/device-down',
  cnis: tunnelCnis,
  repair: 'Restart the network agent of the node: it brings the device up and its routes back.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, near(lab)),
    ...within(lab, far(lab)),
    ...across(lab, [near(lab), third(lab)]),
  ],
  capture: (lab) => captureDevice(far(lab), tunnelOf(lab).device),
  async break(lab) {
    await onNode(far(lab), 'ip', 'link', 'set', tunnelOf(lab).device, 'down');
  },
  mend: (lab, args) => restoreDevice(far(lab), tunnelOf(lab).device, args),
});
