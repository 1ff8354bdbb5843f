/** NAT targets: which address and port a connection's mapping gets. */
import type { NatRange, PortRange, Target } from '../../model/netfilter.ts';
import { type Address, addressBits } from '../../net/address.ts';
import type { Packet } from '../../net/packet.ts';
import type { Prefix } from '../../net/prefix.ts';
import { lookupRoute } from '../routing-lookup.ts';
import { firstAddress, selectAddress, selectSource6 } from '../routing-source.ts';
import type { Manip } from './conntrack.ts';
import type { HookContext } from './context.ts';

export type NatTarget = Extract<Target, { kind: 'dnat' | 'snat' | 'masquerade' | 'redirect' | 'netmap' }>;

export interface Mapping {
  readonly manip: Manip;
  readonly address?: Address;
  readonly port?: number;
}

export type NatChoice =
  /** Equally likely mappings: a range of addresses is hashed over. */
  | { readonly kind: 'mappings'; readonly mappings: readonly Mapping[] }
  /** The kernel drops the packet: there is no address to masquerade with. */
  | { readonly kind: 'drop'; readonly why: string }
  | { readonly kind: 'doubt'; readonly why: string };

/** More addresses than this in one range are not walked one by one. */
const maxRange = 16n;
const maxPorts = 16;

export function chooseMapping(target: NatTarget, packet: Packet, context: HookContext): NatChoice {
  switch (target.kind) {
    case 'dnat':
      return fromRange('dst', target.range, packet);
    case 'snat':
      return fromRange('src', target.range, packet);
    case 'redirect':
      return redirect(target.ports, packet, context);
    case 'masquerade':
      return masquerade(target.ports, packet, context);
    case 'netmap':
      return one(netmap(target.prefix, packet, context));
  }
}

function fromRange(manip: Manip, range: NatRange, packet: Packet): NatChoice {
  const ports = portsFrom(manip, range.ports, manip === 'dst' ? packet.dstPort : packet.srcPort);
  const { family } = packet.src;
  if (range.from === undefined) return each(ports, { manip });
  const to = range.to ?? range.from;
  if (to - range.from >= maxRange)
    return { kind: 'doubt', why: 'the NAT range holds more than 16 addresses' };
  if (to >= 1n << BigInt(addressBits(family)))
    return { kind: 'doubt', why: 'the NAT range is of the other family' };
  const mappings: Mapping[] = [];
  for (let value = range.from; value <= to; value++)
    for (const port of ports) mappings.push({ manip, address: { family, value }, ...port });
  return { kind: 'mappings', mappings };
}

const each = (ports: readonly { readonly port?: number }[], mapping: Mapping): NatChoice => ({
  kind: 'mappings',
  mappings: ports.map((port) => ({ ...mapping, ...port })),
});

const one = (mapping: Mapping): NatChoice => ({ kind: 'mappings', mappings: [mapping] });

/**
 * get_unique_tuple: a port inside the range stays. Else of a destination range the first free one is taken, of a source range
 * any; of a long one the first stands for all.
 */
function portsFrom(
  manip: Manip,
  ports: PortRange | undefined,
  current: number,
): readonly { readonly port?: number }[] {
  if (ports === undefined) return [{}];
  if (ports.from <= current && current <= ports.to) return [{ port: current }];
  const count = ports.to - ports.from + 1;
  if (manip === 'dst' || count > maxPorts) return [{ port: ports.from }];
  return Array.from({ length: count }, (_, i) => ({ port: ports.from + i }));
}

/** nf_nat_redirect: to loopback for own packets, else to the first address of the device that the packet came by. */
function redirect(ports: PortRange | undefined, packet: Packet, context: HookContext): NatChoice {
  const choice = portsFrom('dst', ports, packet.dstPort);
  const { family } = packet.src;
  if (context.hook === 'output')
    return each(choice, { manip: 'dst', address: { family, value: family === 4 ? 0x7f000001n : 1n } });
  if (context.netns.devices.state === 'unknown') return { kind: 'doubt', why: context.netns.devices.why };
  const address = firstAddress(context.netns, context.inDevice ?? '', family);
  if (address === undefined)
    return { kind: 'drop', why: `REDIRECT finds no address on ${context.inDevice ?? 'the device'}` };
  return each(choice, { manip: 'dst', address });
}

/** nf_nat_masquerade: the address that the outgoing device would use towards the next hop. */
function masquerade(ports: PortRange | undefined, packet: Packet, context: HookContext): NatChoice {
  const { netns, outDevice } = context;
  if (outDevice === undefined) return { kind: 'doubt', why: 'MASQUERADE without an outgoing device' };
  if (netns.devices.state === 'unknown') return { kind: 'doubt', why: netns.devices.why };
  const address =
    packet.dst.family === 6
      ? selectSource6(netns, packet.dst, outDevice)
      : selectAddress(netns, outDevice, nextHop(packet, context, outDevice), 'global');
  if (address === undefined)
    return { kind: 'drop', why: `MASQUERADE finds no address to use on ${outDevice}` };
  return each(portsFrom('src', ports, packet.srcPort), { manip: 'src', address });
}

/** netmap_tg4: the destination before routing and of own packets, the source after. */
function netmap(prefix: Prefix, packet: Packet, { hook }: HookContext): Mapping {
  const manip = hook === 'prerouting' || hook === 'output' ? 'dst' : 'src';
  const { family, value } = manip === 'dst' ? packet.dst : packet.src;
  const hostBits = BigInt(addressBits(family) - prefix.length);
  const host = value & ((1n << hostBits) - 1n);
  return { manip, address: { family, value: prefix.value | host } };
}

function nextHop(packet: Packet, context: HookContext, outDevice: string): Address {
  if (context.nextHop !== undefined) return context.nextHop;
  const route = lookupRoute(context.netns, { dst: packet.dst, oif: outDevice, mark: packet.mark });
  return (route.state === 'found' ? route.nexthop.gateway : undefined) ?? packet.dst;
}
