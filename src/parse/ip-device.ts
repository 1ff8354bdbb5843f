/** `ip -j -d link` and `ip -j addr` -> devices with their addresses. */

import type { Device, DeviceAddress } from '../model/netns.ts';
import { type Address, parseAddress } from '../net/address.ts';
import { parseMac } from '../net/mac.ts';
import { makePrefix } from '../net/prefix.ts';
import { readStacked, readTunnel } from './ip-tunnel.ts';
import {
  asNumber,
  asString,
  asStrings,
  asText,
  entryText,
  isObject,
  type JsonObject,
  readObjects,
} from './json.ts';
import { type Parsed, type ParseNote, parsed } from './result.ts';

const format = 'ip-link';

/** Devices of `ip -j -d link`, without addresses. */
export function parseIpLink(text: string, file: string): Parsed<readonly Device[]> {
  const entries = readObjects<JsonObject>(text, file, format, (entry) => entry);
  if (!entries.ok) return entries;
  const indexes = new Map<string, number>();
  const names = new Map<number, string>();
  for (const entry of entries.value) {
    const name = asString(entry.ifname);
    const index = asNumber(entry.ifindex);
    if (name === undefined || index === undefined) continue;
    indexes.set(name, index);
    names.set(index, name);
  }
  const devices = readObjects<Device>(text, file, format, (entry) => readDevice(entry, file, indexes, names));
  return devices;
}

function readDevice(
  entry: JsonObject,
  file: string,
  indexes: ReadonlyMap<string, number>,
  names: ReadonlyMap<number, string>,
): Device | { wrong: string } {
  const index = asNumber(entry.ifindex);
  const name = asString(entry.ifname);
  const mtuBytes = asNumber(entry.mtu);
  if (index === undefined || name === undefined || mtuBytes === undefined)
    return { wrong: 'a device needs ifindex, ifname and mtu' };
  const info = isObject(entry.linkinfo) ? entry.linkinfo : {};
  const data = isObject(info.info_data) ? info.info_data : {};
  const kind = asString(info.info_kind) ?? asString(entry.link_type) ?? 'ether';
  const flags = asStrings(entry.flags);
  const mac = parseMac(asString(entry.address) ?? '');
  const master = asString(entry.master);
  const group = entry.group === undefined || entry.group === 'default' ? 0 : asNumber(entry.group);
  const vrfTable = kind === 'vrf' ? asText(data.table) : undefined;
  const tunnel = readTunnel(kind, data);
  if (kind === 'vxlan' && tunnel === undefined) return { wrong: `${name}: a vxlan device needs an id` };
  const stacked = readStacked(kind, data);
  const activeSlave = kind === 'bond' ? asString(data.active_slave) : undefined;
  const peerIndex = peerOf(entry, indexes);
  const lower = kind === 'veth' ? undefined : lowerOf(entry, data, names);
  return {
    index,
    name,
    kind,
    up: flags.includes('UP'),
    carrier: flags.includes('LOWER_UP'),
    mtuBytes,
    ...(mac === undefined ? {} : { mac }),
    ...(master === undefined ? {} : { master }),
    ...(group === undefined ? {} : { group }),
    ...(vrfTable === undefined ? {} : { vrfTable }),
    ...(peerIndex === undefined ? {} : { peerIndex }),
    ...(lower === undefined ? {} : { lower }),
    addresses: [],
    ...(tunnel === undefined ? {} : { tunnel }),
    ...(stacked === undefined ? {} : { stacked }),
    ...(kind === 'bridge' && data.vlan_filtering === 1 ? { vlanFiltering: true } : {}),
    ...(activeSlave === undefined ? {} : { activeSlave }),
    source: { kind: 'file', file, text: deviceText(name, kind, flags, mtuBytes, master, mac) },
  };
}

/** The entry is two kilobytes of JSON; this is what a person looks for in it, in the words of `ip link`. */
const deviceText = (
  name: string,
  kind: string,
  flags: readonly string[],
  mtuBytes: number,
  master: string | undefined,
  mac: string | undefined,
): string =>
  `${name}: <${flags.join(',')}> mtu ${mtuBytes}${master === undefined ? '' : ` master ${master}`} ${kind}${mac === undefined ? '' : ` ${mac}`}`;

/** `link_index` is the number where the other device is in another namespace, `link` its name where it is in this one. */
function peerOf(entry: JsonObject, indexes: ReadonlyMap<string, number>): number | undefined {
  const index = asNumber(entry.link_index);
  if (index !== undefined) return index;
  const link = asString(entry.link);
  return link === undefined ? undefined : indexes.get(link);
}

function lowerOf(
  entry: JsonObject,
  data: JsonObject,
  names: ReadonlyMap<number, string>,
): string | undefined {
  const link = asString(entry.link) ?? asString(data.link);
  if (link !== undefined) return link;
  const index = asNumber(entry.link_index);
  // With link_netnsid the index counts in another namespace.
  return index === undefined || entry.link_netnsid !== undefined ? undefined : names.get(index);
}

const addressOf = (value: unknown): Address | undefined =>
  typeof value === 'string' ? parseAddress(value) : undefined;

/** Addresses of `ip -j addr` by device name. */
export function parseIpAddr(
  text: string,
  file: string,
): Parsed<ReadonlyMap<string, readonly DeviceAddress[]>> {
  const notes: ParseNote[] = [];
  const entries = readObjects<[string, readonly DeviceAddress[]]>(text, file, 'ip-addr', (entry) => {
    const name = asString(entry.ifname);
    if (name === undefined) return { wrong: 'a device needs ifname' };
    const list = entry.addr_info;
    if (list !== undefined && !Array.isArray(list)) return { wrong: `${name}: addr_info is no list` };
    const addresses: DeviceAddress[] = [];
    for (const item of (list ?? []) as unknown[]) {
      // iproute2 leaves an empty object for an address that its filter removed.
      if (isObject(item) && Object.keys(item).length === 0) continue;
      const address = isObject(item) ? readAddress(item) : undefined;
      if (address !== undefined) addresses.push(address);
      else
        notes.push({
          code: 'ip-addr/address',
          file,
          message: `${name}: not an address: ${entryText(item)}`,
        });
    }
    return [name, addresses];
  });
  return entries.ok ? parsed(new Map(entries.value), [...entries.notes, ...notes]) : entries;
}

function readAddress(item: JsonObject): DeviceAddress | undefined {
  const address = addressOf(item.local);
  const length = asNumber(item.prefixlen);
  if (address === undefined || length === undefined || length > (address.family === 4 ? 32 : 128))
    return undefined;
  return { address, prefix: makePrefix(address, length), scope: asText(item.scope) ?? 'global' };
}

/** Both files together. Every device of the first keeps its place; devices without an entry in the second have no address. */
export function parseDevices(
  link: { readonly text: string; readonly file: string },
  addr: { readonly text: string; readonly file: string },
): Parsed<readonly Device[]> {
  const devices = parseIpLink(link.text, link.file);
  if (!devices.ok) return devices;
  const addresses = parseIpAddr(addr.text, addr.file);
  if (!addresses.ok) return addresses;
  const value = devices.value.map((device) => ({
    ...device,
    addresses: addresses.value.get(device.name) ?? [],
  }));
  return parsed(value, [...devices.notes, ...addresses.notes]);
}
