/** Every check, in the order in which a person would look: nodes first, then roads, then gates, then the applications. */
import type { Check } from './check.ts';
import { ipForward } from './ip-forward.ts';
import { nodeRoutes } from './node-routes.ts';
import { rpFilter } from './rp-filter.ts';

export const checks: readonly Check[] = [nodeRoutes, ipForward, rpFilter];
