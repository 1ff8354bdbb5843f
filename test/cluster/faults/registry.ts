/** Every fault of the real cluster. */
import { cniAgentStopped } from './cni-agent-stopped.ts';
import { corednsScaledToZero } from './coredns-scaled-to-zero.ts';
import type { ClusterFault } from './fault.ts';
import { ipForwardOff } from './ip-forward-off.ts';
import { kubeProxyStopped } from './kube-proxy-stopped.ts';
import { kubeletStopped } from './kubelet-stopped.ts';
import { nodeFirewallDropsTunnel } from './node-firewall-drops-tunnel.ts';
import { podMtuTooLarge } from './pod-mtu-too-large.ts';
import { policyDefaultDeny } from './policy-default-deny.ts';
import { policyEgressForgetsDns } from './policy-egress-forgets-dns.ts';
import { routeMissing } from './route-missing.ts';
import { serviceSelectorWrong } from './service-selector-wrong.ts';
import { serviceTargetPortWrong } from './service-target-port-wrong.ts';

export const clusterFaults: readonly ClusterFault[] = [
  cniAgentStopped,
  corednsScaledToZero,
  ipForwardOff,
  kubeProxyStopped,
  kubeletStopped,
  nodeFirewallDropsTunnel,
  podMtuTooLarge,
  policyDefaultDeny,
  policyEgressForgetsDns,
  routeMissing,
  serviceSelectorWrong,
  serviceTargetPortWrong,
];
