/** VRF devices: packets by their ports are routed by a table of their own. */
import type { Device, Netns } from '../model/netns.ts';
import type { RouteQuery } from './routing-query.ts';
import { findDevice } from './routing-tables.ts';

/**
 * The table of the VRF that the packet goes to or came by (l3mdev_update_flow, l3mdev_fib_rule_match): of the device itself
 * or of the one it is a port of. Undefined where neither is in a VRF.
 */
export function vrfTableOf(netns: Netns, query: RouteQuery): string | undefined | 'unknown' {
  return vrfTable(netns, query.oif) ?? vrfTable(netns, query.iif);
}

function vrfTable(netns: Netns, name: string | undefined): string | undefined | 'unknown' {
  if (name === undefined) return undefined;
  if (netns.devices.state === 'unknown') return 'unknown';
  const find = (wanted: string) => findDevice(orNone(netns), wanted);
  const device = find(name);
  if (device?.kind === 'vrf') return device.vrfTable ?? 'unknown';
  const master = device?.master === undefined ? undefined : find(device.master);
  return master?.kind === 'vrf' ? (master.vrfTable ?? 'unknown') : undefined;
}

/** A packet bound to a VRF device may leave by each of its ports: flowi_oif is then no device to insist on. */
export function isVrf(netns: Netns, name: string | undefined): boolean {
  return name !== undefined && findDevice(orNone(netns), name)?.kind === 'vrf';
}

const none: readonly Device[] = [];
const orNone = (netns: Netns) => (netns.devices.state === 'known' ? netns.devices.value : none);
