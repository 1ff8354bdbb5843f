/** Where a packet goes next, and whether the namespace believes where it came from. */
export { lookupRoute } from './routing-lookup.ts';
export {
  queryOf,
  type RouteQuery,
  type RouteResult,
  type SkippedRoute,
} from './routing-query.ts';
export { checkAddresses, type InputCheck, reversePathCheck } from './routing-rpf.ts';
export {
  deviceSetting,
  forwardsBroadcasts,
  isLocal,
  sysctl,
  sysctlDevice,
} from './routing-tables.ts';
