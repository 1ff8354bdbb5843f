import type { Lab } from '../lab.ts';
import { defineFault, tunnelCnis } from './fault.ts';
import { across, far, near, third, webToApi, within } from './flows.ts';
import { insertRule, type Rule, removeRule, tunnelOf } from './kernel.ts';

const rule = (lab: Lab): Rule => [
  'INPUT',
  '-p',
  'udp',
  '-m',
  'udp',
  '--dport',
  `${tunnelOf(lab).udpPort}`,
  '-j',
  'DROP',
];

/** A hardened node image, or a firewall service that knows nothing of the overlay: packets leave and never arrive. */
export const nodeFirewallDropsTunnel = defineFault({
  name: 'node-firewall-drops-tunnel',
  title: "a node's firewall drops the tunnel's UDP port",
  cause: 'overlay/port-blocked',
  cnis: tunnelCnis,
  repair:
    "Open the tunnel's UDP port (8472 for flannel, 4789 for Calico) between the nodes and remove the rule.",
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, near(lab)),
    ...within(lab, far(lab)),
    ...across(lab, [near(lab), third(lab)]),
  ],
  break: (lab) => insertRule(far(lab), rule(lab)),
  mend: (lab) => removeRule(far(lab), rule(lab)),
});
