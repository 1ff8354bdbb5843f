/** `ip -j neigh`, `bridge -j fdb` and `bridge -j -d link`. */

import type { BridgePort, FdbEntry, Neighbour } from '../model/netns.ts';
import { parseAddress } from '../net/address.ts';
import { parseMac } from '../net/mac.ts';
import { asNumber, asString, asStrings, entryText, isObject, readObjects } from './json.ts';
import type { Parsed } from './result.ts';

export function parseIpNeigh(text: string, file: string): Parsed<readonly Neighbour[]> {
  return readObjects<Neighbour>(text, file, 'ip-neigh', (entry) => {
    const raw = entryText(entry);
    const address = parseAddress(asString(entry.dst) ?? '');
    const device = asString(entry.dev);
    // Proxy entries may lack a device: they then answer on every one.
    if (address === undefined || (device === undefined && !('proxy' in entry)))
      return { wrong: `a neighbour needs dst and dev: ${raw}` };
    const mac = parseMac(asString(entry.lladdr) ?? '');
    const state = entry.state;
    return {
      address,
      device: device ?? '',
      ...(mac === undefined ? {} : { mac }),
      states: typeof state === 'string' ? [state] : asStrings(state),
      proxy: 'proxy' in entry,
      source: { kind: 'file', file, text: raw },
    };
  });
}

export function parseBridgeFdb(text: string, file: string): Parsed<readonly FdbEntry[]> {
  return readObjects<FdbEntry>(text, file, 'bridge-fdb', (entry) => {
    const raw = entryText(entry);
    const mac = parseMac(asString(entry.mac) ?? '');
    const device = asString(entry.ifname) ?? asString(entry.dev);
    if (mac === undefined || device === undefined)
      return { wrong: `an fdb entry needs mac and ifname: ${raw}` };
    const master = asString(entry.master);
    const remote = parseAddress(asString(entry.dst) ?? '');
    const vni = asNumber(entry.vni);
    return {
      mac,
      device,
      ...(master === undefined ? {} : { master }),
      ...(remote === undefined ? {} : { remote }),
      ...(vni === undefined ? {} : { vni }),
      self: asStrings(entry.flags).includes('self'),
      state: asString(entry.state) ?? '',
      source: { kind: 'file', file, text: raw },
    };
  });
}

/** Bridge ports only: entries without a master (the bridge itself, offloading NICs) are left out. */
export function parseBridgeLink(text: string, file: string): Parsed<readonly BridgePort[]> {
  return readObjects<BridgePort>(text, file, 'bridge-link', (entry) => {
    const device = asString(entry.ifname);
    const bridge = asString(entry.master);
    if (device === undefined) return { wrong: `a bridge port needs ifname: ${entryText(entry)}` };
    if (bridge === undefined) return 'skip';
    return {
      device,
      bridge,
      state: asString(entry.state) ?? 'unknown',
      // Printed only with -d; the kernel's default for both is off.
      hairpin: entry.hairpin === true,
      isolated: entry.isolated === true,
    };
  });
}

/** Bridge ports as `ip -j -d link` has them. A port without its settings (no -d) is wrong: they are not known. */
export function parsePortsOfLinks(text: string, file: string): Parsed<readonly BridgePort[]> {
  return readObjects<BridgePort>(text, file, 'ip-link', (entry) => {
    const device = asString(entry.ifname);
    const bridge = asString(entry.master);
    if (device === undefined) return { wrong: `a device needs ifname: ${entryText(entry)}` };
    if (bridge === undefined) return 'skip';
    const info = isObject(entry.linkinfo) ? entry.linkinfo : undefined;
    const kind = asString(info?.info_slave_kind);
    const settings = isObject(info?.info_slave_data) ? info.info_slave_data : undefined;
    const state = asString(settings?.state);
    if (kind !== undefined && kind !== 'bridge') return 'skip';
    if (kind === undefined || state === undefined)
      return { wrong: `${device} is a port of ${bridge}, and its settings are not in the list` };
    return {
      device,
      bridge,
      state,
      hairpin: settings?.hairpin === true,
      isolated: settings?.isolated === true,
    };
  });
}
