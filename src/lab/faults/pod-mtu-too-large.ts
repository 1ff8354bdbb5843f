import { defineFault, tunnelCnis } from './fault.ts';
import { far, large, near, webToApi, within } from './flows.ts';
import { tunnelOf } from './kernel.ts';
import { captureMtus, raiseTunnel, restoreMtus, setPodMtus } from './mtu.ts';

/** Nobody took the tunnel's overhead off: full-size packets become two fragments on the underlay, which drops fragments. */
export const podMtuTooLarge = defineFault({
  name: 'pod-mtu-too-large',
  title: "pods' and tunnels' MTU is the underlay's, without room for the tunnel's headers",
  cause: 'mtu/too-large-for-overlay',
  cnis: tunnelCnis,
  repair:
    "Set the network's MTU to the underlay's less the overhead (VXLAN: 50 bytes), restart its agents and recreate the pods.",
  flow: (lab) => large(webToApi(lab, near(lab), far(lab))),
  works: (lab) => [
    webToApi(lab, near(lab), far(lab)),
    ...within(lab, near(lab)).map(large),
    ...within(lab, far(lab)).map(large),
  ],
  capture: captureMtus,
  async break(lab) {
    const { underlayMtuBytes, nodes } = lab.state;
    await setPodMtus(lab, underlayMtuBytes);
    for (const node of nodes) await raiseTunnel(node, tunnelOf(lab).device, underlayMtuBytes);
  },
  mend: restoreMtus,
});
