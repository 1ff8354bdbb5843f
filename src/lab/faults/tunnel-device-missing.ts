import { captureDevice, restoreDevice } from './device.ts';
import { defineFault, tunnelCnis } from './fault.ts';
import { across, far, near, third, webToApi, within } from './flows.ts';
import { onNode, tunnelOf } from './kernel.ts';

/** What a network manager, or a person cleaning up, leaves behind: no device, no routes, and an agent that believes all is well. */
export const tunnelDeviceMissing = defineFault({
  name: 'tunnel-device-missing',
  title: 'the VXLAN device of a node is gone',
  cause: 'overlay/device-missing',
  cnis: tunnelCnis,
  repair: 'Restart the network agent of the node, and keep network managers away from its devices.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, near(lab)),
    ...within(lab, far(lab)),
    ...across(lab, [near(lab), third(lab)]),
  ],
  capture: (lab) => captureDevice(far(lab), tunnelOf(lab).device),
  async break(lab) {
    await onNode(far(lab), 'ip', 'link', 'del', tunnelOf(lab).device);
  },
  mend: (lab, args) => restoreDevice(far(lab), tunnelOf(lab).device, args),
});
