/** Which of its own addresses a namespace uses as source: inet_select_addr for IPv4, RFC 6724 as far as recorded state tells for IPv6. */
import type { Device, DeviceAddress, Netns, NextHop, Route } from '../model/netns.ts';
import { type Address, isLinkLocal, isLoopback, isMulticast } from '../net/address.ts';
import { contains, samePrefix } from '../net/prefix.ts';
import { findDevice } from './routing-tables.ts';

/** rt_scope_t by iproute2's names; smaller is wider. */
const scopeValue: Readonly<Record<string, number>> = {
  global: 0,
  universe: 0,
  site: 200,
  link: 253,
  host: 254,
  nowhere: 255,
};

const scopeOf = (text: string): number => scopeValue[text] ?? (Number(text) || 0);

/** An IPv4 address is secondary if an earlier one of the device has the same network (IFA_F_SECONDARY). */
function primaries(device: Device): readonly DeviceAddress[] {
  const out: DeviceAddress[] = [];
  for (const entry of device.addresses) {
    if (entry.address.family !== 4) continue;
    if (out.some((other) => samePrefix(other.prefix, entry.prefix))) continue;
    out.push(entry);
  }
  return out;
}

/**
 * inet_select_addr: the device's primary address on the gateway's network, else its first one of the scope or wider,
 * else any such address of another device. Undefined if there is none, or devices were not recorded.
 */
export function selectAddress(
  netns: Netns,
  deviceName: string,
  gateway: Address | undefined,
  scope: string,
): Address | undefined {
  if (netns.devices.state === 'unknown') return undefined;
  const limit = scopeOf(scope);
  const device = findDevice(netns.devices.value, deviceName);
  const own = device === undefined ? [] : primaries(device).filter((entry) => scopeOf(entry.scope) <= limit);
  const onNetwork = gateway && own.find((entry) => contains(entry.prefix, gateway));
  const best = onNetwork ?? own[0];
  if (best !== undefined) return best.address;
  for (const other of netns.devices.value) {
    const usable = primaries(other).find((entry) => entry.scope !== 'link' && scopeOf(entry.scope) <= limit);
    if (usable !== undefined) return usable.address;
  }
  return undefined;
}

/** First address of a device as `ifa_list` has it: what REDIRECT takes. */
export function firstAddress(netns: Netns, deviceName: string, family: 4 | 6): Address | undefined {
  if (netns.devices.state === 'unknown') return undefined;
  const device = findDevice(netns.devices.value, deviceName);
  if (device === undefined) return undefined;
  if (family === 4) return primaries(device)[0]?.address;
  return device.addresses.find((entry) => entry.address.family === 6 && !isLinkLocal(entry.address))?.address;
}

/** RFC 6724 rules 1, 2, 5 and 8: the same address, a fitting scope, the outgoing device, the longest common prefix. */
export function selectSource6(
  netns: Netns,
  dst: Address,
  deviceName: string | undefined,
): Address | undefined {
  if (netns.devices.state === 'unknown') return undefined;
  let best: { readonly address: Address; readonly score: readonly number[] } | undefined;
  for (const device of netns.devices.value)
    for (const { address } of device.addresses) {
      if (address.family !== 6) continue;
      // Link-local sources are only good on their own device.
      if (isLinkLocal(address) && device.name !== deviceName) continue;
      const score = [
        address.value === dst.value ? 1 : 0,
        scopeFit(scope6(address), scope6(dst)),
        device.name === deviceName ? 1 : 0,
        commonBits(address, dst),
      ];
      if (best === undefined || compare(score, best.score) > 0) best = { address, score };
    }
  return best?.address;
}

/** Of two source scopes the smallest that is not below the destination's wins; below it, the widest. */
const scopeFit = (source: number, wanted: number): number => (source >= wanted ? 100 - source : source - 100);

function scope6(address: Address): number {
  if (isMulticast(address)) return Number((address.value >> 112n) & 15n);
  if (isLoopback(address)) return 1;
  return isLinkLocal(address) ? 2 : 14;
}

function commonBits(a: Address, b: Address): number {
  const difference = a.value ^ b.value;
  return difference === 0n ? 128 : 128 - difference.toString(2).length;
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** fib_result_prefsrc(), and the destination itself for local routes. */
export function routeSource(netns: Netns, dst: Address, route: Route, hop: NextHop): Address | undefined {
  if (route.prefsrc !== undefined) return route.prefsrc;
  if (dst.family === 6) return selectSource6(netns, dst, hop.device);
  if (route.type === 'local') return dst;
  if (hop.device === undefined) return undefined;
  const gateway = hop.gateway?.family === 4 ? hop.gateway : undefined;
  return selectAddress(netns, hop.device, gateway, route.scope);
}
