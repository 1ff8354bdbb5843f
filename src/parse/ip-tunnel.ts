/** `info_data` of `ip -d -j link`: tunnels (iproute2: iplink_vxlan.c, iplink_geneve.c, link_iptnl.c, link_ip6tnl.c, link_gre.c) and stacked devices. */
import type { Stacked } from '../model/netns.ts';
import type { Tunnel } from '../model/tunnel.ts';
import { type Address, isUnspecified, parseAddress } from '../net/address.ts';
import { asNumber, asString, asText, type JsonObject } from './json.ts';

/** Undefined for other kinds, and for a tunnel whose parameters are not there. */
export function readTunnel(kind: string, data: JsonObject): Tunnel | undefined {
  switch (kind) {
    case 'vxlan':
      return readVxlan(data);
    case 'geneve':
      return readGeneve(data);
    case 'ipip':
    case 'sit':
    case 'ip6tnl':
      return readIpTunnel(kind, data);
    case 'gre':
    case 'gretap':
    case 'ip6gre':
    case 'ip6gretap':
      return readGre(kind.endsWith('tap'), data);
    case 'wireguard':
      return { kind: 'wireguard' };
    default:
      return undefined;
  }
}

/** `any`, `0.0.0.0` and `::` are no address. */
function addressOf(value: unknown): Address | undefined {
  const address = typeof value === 'string' ? parseAddress(value) : undefined;
  return address === undefined || isUnspecified(address) ? undefined : address;
}

/** Both ends and the underlay device, as far as they are given. */
function ends(data: JsonObject): {
  readonly local?: Address;
  readonly remote?: Address;
  readonly underlay?: string;
} {
  const local = addressOf(data.local) ?? addressOf(data.local6);
  const remote =
    addressOf(data.remote) ?? addressOf(data.remote6) ?? addressOf(data.group) ?? addressOf(data.group6);
  const underlay = asText(data.link);
  return {
    ...(local === undefined ? {} : { local }),
    ...(remote === undefined ? {} : { remote }),
    ...(underlay === undefined ? {} : { underlay }),
  };
}

const isExternal = (data: JsonObject): boolean => data.external === true;

function readVxlan(data: JsonObject): Tunnel | undefined {
  const vni = asNumber(data.id);
  if (vni === undefined) return undefined;
  return {
    kind: 'vxlan',
    vni,
    // The kernel's default before IANA assigned 4789; iproute2 prints the port whenever details are shown.
    port: asNumber(data.port) ?? 8472,
    ...ends(data),
    learning: data.learning !== false,
    df: asString(data.df) ?? 'unset',
    external: isExternal(data),
  };
}

function readGeneve(data: JsonObject): Tunnel | undefined {
  const vni = asNumber(data.id) ?? asNumber(data.vni) ?? (isExternal(data) ? 0 : undefined);
  if (vni === undefined) return undefined;
  const { remote } = ends(data);
  return {
    kind: 'geneve',
    vni,
    port: asNumber(data.port) ?? 6081,
    ...(remote === undefined ? {} : { remote }),
    df: asString(data.df) ?? 'unset',
    external: isExternal(data),
  };
}

/** The protocol that the device carries, by kind where it is not printed. */
function carriedBy(kind: 'ipip' | 'sit' | 'ip6tnl', proto: string | undefined): readonly (4 | 6)[] {
  switch (proto) {
    case 'ipip':
    case 'ipip6':
      return [4];
    case 'ip6ip':
    case 'ip6ip6':
      return [6];
    case 'any':
      return [4, 6];
    default:
      return kind === 'ipip' ? [4] : [6];
  }
}

function readIpTunnel(kind: 'ipip' | 'sit' | 'ip6tnl', data: JsonObject): Tunnel {
  return {
    kind,
    ...ends(data),
    carries: carriedBy(kind, asString(data.proto)),
    pmtuDiscovery: data.pmtudisc !== false,
    external: isExternal(data),
    encapLimit: kind === 'ip6tnl' && data.ip6_tnl_f_ign_encap_limit !== true,
  };
}

function readGre(frames: boolean, data: JsonObject): Tunnel {
  const [inKey, outKey] = [asText(data.ikey), asText(data.okey)];
  const options = [outKey !== undefined, data.ocsum === true, data.oseq === true];
  return {
    kind: 'gre',
    frames,
    ...ends(data),
    ...(inKey === undefined ? {} : { inKey }),
    ...(outKey === undefined ? {} : { outKey }),
    outOptionsBytes: 4 * options.filter(Boolean).length,
    pmtuDiscovery: data.pmtudisc !== false,
    external: isExternal(data),
  };
}

/** Devices that share another one's frames (iplink_macvlan.c, iplink_ipvlan.c, iplink_vlan.c). */
export function readStacked(kind: string, data: JsonObject): Stacked | undefined {
  switch (kind) {
    case 'macvlan':
    case 'macvtap':
      return { kind: 'macvlan', mode: asString(data.mode) ?? 'vepa' };
    case 'ipvlan':
    case 'ipvtap':
      return {
        kind: 'ipvlan',
        mode: asString(data.mode) ?? 'l3',
        flag: asString(data.mode_flag) ?? asString(data.flags) ?? 'bridge',
      };
    case 'vlan': {
      const id = asNumber(data.id);
      return id === undefined ? undefined : { kind: 'vlan', id };
    }
    default:
      return undefined;
  }
}
