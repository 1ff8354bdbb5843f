/** Numbers, ports, addresses and marks as iptables writes them. Everything is undefined for text that is not understood. */

import type { PortRange } from '../../model/netfilter.ts';
import { type Family, parseAddress } from '../../net/address.ts';
import { makePrefix, type Prefix, parsePrefix } from '../../net/prefix.ts';

/** Decimal or 0x hexadecimal, 32 bits. */
export function readU32(text: string | undefined): number | undefined {
  if (text === undefined || !/^(0x[0-9a-f]{1,8}|[0-9]{1,10})$/i.test(text)) return undefined;
  const value = Number(text);
  return value <= 0xffffffff ? value : undefined;
}

/** `V`, `V/M`. Undefined mask where none is given: its default depends on the option. */
export function readValueMask(
  text: string | undefined,
): { value: number; mask: number | undefined } | undefined {
  const parts = (text ?? '').split('/');
  const value = readU32(parts[0]);
  const mask = parts.length === 2 ? readU32(parts[1]) : undefined;
  if (value === undefined || parts.length > 2 || (parts.length === 2 && mask === undefined)) return undefined;
  return { value, mask };
}

function readPort(text: string): number | undefined {
  if (!/^\d{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65535 ? port : undefined;
}

/** `80`, `80:90`, `:90`, `80:`; with `-` as separator for NAT targets. */
export function readPortRange(text: string, separator: ':' | '-' = ':'): PortRange | undefined {
  const at = text.indexOf(separator);
  if (at < 0) {
    const port = readPort(text);
    return port === undefined ? undefined : { from: port, to: port };
  }
  const from = at === 0 ? 0 : readPort(text.slice(0, at));
  const to = at === text.length - 1 ? 65535 : readPort(text.slice(at + 1));
  return from === undefined || to === undefined || from > to ? undefined : { from, to };
}

/** `80,443,8000:8010`. */
export function readPortList(text: string): readonly PortRange[] | undefined {
  const ranges: PortRange[] = [];
  for (const part of text.split(',')) {
    const range = readPortRange(part);
    if (range === undefined) return undefined;
    ranges.push(range);
  }
  return ranges;
}

/** An address, a prefix, or address/netmask; the mask must be contiguous. */
export function readNetwork(text: string, family: Family): Prefix | undefined {
  const direct = parsePrefix(text);
  if (direct !== undefined) return direct.family === family ? direct : undefined;
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const base = parseAddress(text.slice(0, slash));
  const mask = parseAddress(text.slice(slash + 1));
  if (base === undefined || mask === undefined || base.family !== family || mask.family !== family)
    return undefined;
  const bits = mask.value.toString(2).padStart(family === 4 ? 32 : 128, '0');
  if (!/^1*0*$/.test(bits)) return undefined;
  const zero = bits.indexOf('0');
  return makePrefix(base, zero < 0 ? bits.length : zero);
}

/** Names that iptables prints or people write for `-p` (/etc/protocols). 0 is `all`. */
const protocolNumbers = new Map<string, number>([
  ['all', 0],
  ['icmp', 1],
  ['igmp', 2],
  ['ipencap', 4],
  ['ipip', 4],
  ['ipv4', 4],
  ['tcp', 6],
  ['udp', 17],
  ['dccp', 33],
  ['ipv6', 41],
  ['gre', 47],
  ['esp', 50],
  ['ah', 51],
  ['ipv6-icmp', 58],
  ['icmpv6', 58],
  ['ospf', 89],
  ['pim', 103],
  ['vrrp', 112],
  ['sctp', 132],
  ['udplite', 136],
]);

export function readProtocol(text: string): number | undefined {
  const name = protocolNumbers.get(text.toLowerCase());
  if (name !== undefined) return name;
  return /^\d{1,3}$/.test(text) && Number(text) <= 255 ? Number(text) : undefined;
}

/** Protocols that are always spelled by name in the normal form; the rest are numbers. */
export const protocolText = (protocol: number): string => {
  for (const [name, number] of protocolNumbers)
    if (number === protocol && namedInOutput.has(name)) return name;
  return String(protocol);
};
const namedInOutput: ReadonlySet<string> = new Set([
  'icmp',
  'tcp',
  'udp',
  'sctp',
  'ipv6-icmp',
  'udplite',
  'dccp',
]);

/** `-A - B` of iprange and NAT targets: both ends, or one address twice. */
export function readAddressRange(text: string, family: Family): { from: bigint; to: bigint } | undefined {
  const dash = text.indexOf('-');
  const from = parseAddress(dash < 0 ? text : text.slice(0, dash));
  const to = dash < 0 ? from : parseAddress(text.slice(dash + 1));
  if (from === undefined || to === undefined || from.family !== family || to.family !== family)
    return undefined;
  return from.value <= to.value ? { from: from.value, to: to.value } : undefined;
}
