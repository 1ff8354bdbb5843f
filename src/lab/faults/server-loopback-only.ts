import type { Lab, ServerSpec } from '../lab.ts';
import { defineFault, everyCni } from './fault.ts';
import { across, far, near, podName, podOf, third, webToApi, webToApiUdp } from './flows.ts';

const isServer = (lab: Lab) => {
  const pod = podName(podOf(lab, 'shop', 'api', far(lab)));
  return (spec: ServerSpec) => spec.pod === pod && spec.protocol === 'tcp' && spec.port === 8080;
};

/** The default of many frameworks in development mode: it works inside the pod, and nowhere else. */
export const serverLoopbackOnly = defineFault({
  name: 'server-loopback-only',
  title: 'the server listens on 127.0.0.1 only',
  cause: 'app/loopback-only',
  cnis: everyCni,
  repair: "Have the server listen on all addresses (0.0.0.0 or ::) or on the pod's.",
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    webToApiUdp(lab, near(lab), far(lab)),
    ...across(lab, [near(lab), near(lab)], [far(lab), near(lab)], [near(lab), third(lab)]),
  ],
  capture: async (lab) => ({ address: (await lab.servers()).find(isServer(lab))?.address ?? '0.0.0.0' }),
  break: (lab) => listenOn(lab, '127.0.0.1'),
  mend: (lab, { address = '0.0.0.0' }) => listenOn(lab, address),
});

async function listenOn(lab: Lab, address: string): Promise<void> {
  const mine = isServer(lab);
  await lab.setServers((await lab.servers()).map((spec) => (mine(spec) ? { ...spec, address } : spec)));
}
