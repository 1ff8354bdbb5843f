/** Where a packet goes next, and whether the namespace believes where it came from. */
export { lookupRoute, type RouteQuery, type RouteResult, type SkippedRoute } from './routing-lookup.ts';
export { checkAddresses, type InputCheck, reversePathCheck } from './routing-rpf.ts';
export { isLocal, sysctl, sysctlDevice } from './routing-tables.ts';
