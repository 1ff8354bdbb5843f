/** Every check, in the order in which a person would look: nodes first, then roads, then gates, then the applications. */
import type { Check } from './check.ts';
import { fdb } from './fdb.ts';
import { foreignDrop } from './foreign-drop.ts';
import { forwardChain } from './forward-chain.ts';
import { ipForward } from './ip-forward.ts';
import { mixedBackends } from './mixed-backends.ts';
import { mtu } from './mtu.ts';
import { neighbours } from './neighbours.ts';
import { nodeRoutes } from './node-routes.ts';
import { proxyArp } from './proxy-arp.ts';
import { rpFilter } from './rp-filter.ts';
import { tunnelDevice } from './tunnel-device.ts';
import { tunnelPortFirewall } from './tunnel-port-firewall.ts';
import { vtepMac } from './vtep-mac.ts';

export const checks: readonly Check[] = [
  tunnelDevice,
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
  mtu,
];
