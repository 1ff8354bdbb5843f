/** Every check, in the order in which a person would look: nodes first, then roads, then gates, then the applications. */
import { bridgeNf } from './bridge-nf.ts';
import type { Check } from './check.ts';
import { cniAgent } from './cni-agent.ts';
import { conntrackFull } from './conntrack-full.ts';
import { conntrackStale } from './conntrack-stale.ts';
import { dns } from './dns.ts';
import { fdb } from './fdb.ts';
import { foreignDrop } from './foreign-drop.ts';
import { forwardChain } from './forward-chain.ts';
import { ipForward } from './ip-forward.ts';
import { listening } from './listening.ts';
import { mixedBackends } from './mixed-backends.ts';
import { mtu } from './mtu.ts';
import { neighbours } from './neighbours.ts';
import { nodeRoutes } from './node-routes.ts';
import { nodes } from './nodes.ts';
import { podCidr } from './pod-cidr.ts';
import { podWiring } from './pod-wiring.ts';
import { policyDns } from './policy-dns.ts';
import { policySelectors } from './policy-selectors.ts';
import { proxyArp } from './proxy-arp.ts';
import { rpFilter } from './rp-filter.ts';
import { serviceRules } from './service-rules.ts';
import { services } from './services.ts';
import { tunnelDevice } from './tunnel-device.ts';
import { tunnelPortFirewall } from './tunnel-port-firewall.ts';
import { vtepMac } from './vtep-mac.ts';
import { wrongInterface } from './wrong-interface.ts';

export const checks: readonly Check[] = [
  nodes,
  cniAgent,
  podCidr,
  podWiring,
  tunnelDevice,
  wrongInterface,
  tunnelPortFirewall,
  vtepMac,
  fdb,
  nodeRoutes,
  ipForward,
  rpFilter,
  neighbours,
  proxyArp,
  forwardChain,
  foreignDrop,
  mixedBackends,
  bridgeNf,
  mtu,
  conntrackFull,
  conntrackStale,
  policySelectors,
  policyDns,
  dns,
  services,
  serviceRules,
  listening,
];
