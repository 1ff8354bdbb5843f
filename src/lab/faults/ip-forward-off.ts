import { defineFault, everyCni } from './fault.ts';
import { across, far, near, third, webToApi, within } from './flows.ts';
import { onNode } from './kernel.ts';

/** A sysctl file that some hardening guide recommends, applied after the cluster was set up. */
export const ipForwardOff = defineFault({
  name: 'ip-forward-off',
  title: 'a node does not forward packets',
  cause: 'route/ip-forward-off',
  cnis: everyCni,
  repair: 'sysctl -w net.ipv4.ip_forward=1 on the node, and persist it in /etc/sysctl.d.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, near(lab)),
    // Pods of one bridge reach each other without forwarding; Calico's are routed.
    ...(lab.state.cni.startsWith('calico') ? [] : within(lab, far(lab))),
    ...across(lab, [near(lab), third(lab)]),
  ],
  capture: async (lab) => ({
    before: (await onNode(far(lab), 'sysctl', '-n', 'net.ipv4.ip_forward')).trim(),
  }),
  async break(lab) {
    await onNode(far(lab), 'sysctl', '-q', '-w', 'net.ipv4.ip_forward=0');
  },
  async mend(lab, { before = '1' }) {
    await onNode(far(lab), 'sysctl', '-q', '-w', `net.ipv4.ip_forward=${before}`);
  },
});
