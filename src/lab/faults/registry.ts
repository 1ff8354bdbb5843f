/** Every fault, by name. */

import { duplicatePodCidr } from './duplicate-pod-cidr.ts';
import type { Fault } from './fault.ts';
import { fdbMissing } from './fdb-missing.ts';
import { fdbWrong } from './fdb-wrong.ts';
import { foreignRuleDropsPort } from './foreign-rule-drops-port.ts';
import { forwardPolicyDrop } from './forward-policy-drop.ts';
import { icmpFragNeededFiltered } from './icmp-frag-needed-filtered.ts';
import { ipForwardOff } from './ip-forward-off.ts';
import { nodeFirewallDropsTunnel } from './node-firewall-drops-tunnel.ts';
import { podMtuTooLarge } from './pod-mtu-too-large.ts';
import { policyDefaultDeny } from './policy-default-deny.ts';
import { policyEgressForgetsDns } from './policy-egress-forgets-dns.ts';
import { policyNamespaceLabel } from './policy-namespace-label.ts';
import { routeBlackhole } from './route-blackhole.ts';
import { routeMissing } from './route-missing.ts';
import { routeWrongNextHop } from './route-wrong-next-hop.ts';
import { rpFilterAsymmetric } from './rp-filter-asymmetric.ts';
import { serverLoopbackOnly } from './server-loopback-only.ts';
import { tunnelDeviceDown } from './tunnel-device-down.ts';
import { tunnelDeviceMissing } from './tunnel-device-missing.ts';
import { vtepMacMismatch } from './vtep-mac-mismatch.ts';

export const faults: readonly Fault[] = [
  duplicatePodCidr,
  fdbMissing,
  fdbWrong,
  foreignRuleDropsPort,
  forwardPolicyDrop,
  icmpFragNeededFiltered,
  ipForwardOff,
  nodeFirewallDropsTunnel,
  podMtuTooLarge,
  policyDefaultDeny,
  policyEgressForgetsDns,
  policyNamespaceLabel,
  routeBlackhole,
  routeMissing,
  routeWrongNextHop,
  rpFilterAsymmetric,
  serverLoopbackOnly,
  tunnelDeviceDown,
  tunnelDeviceMissing,
  vtepMacMismatch,
];
