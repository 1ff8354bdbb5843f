/** NAT targets: which address and port a connection's mapping gets. */
import type { NatRange, PortRange, Target } from '../../model/netfilter.ts';
import { type Address, addressBits } from '../../net/address.ts';
import type { MadeUpPort } from '../../net/made-up.ts';
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
  /** The kernel makes up a port, or an ICMP id, in this range. */
  readonly made?: PortRange;
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
  const choice = mappingsOf(target, packet, context);
  if (choice.kind !== 'mappings' || packet.icmp !== undefined) return choice;
  const anywhere = choice.mappings.some(({ manip, made }) => manip === 'dst' && made !== undefined);
  return anywhere ? { kind: 'doubt', why: 'the kernel picks any of more than 16 destination ports' } : choice;
}

function mappingsOf(target: NatTarget, packet: Packet, context: HookContext): NatChoice {
  switch (target.kind) {
    case 'dnat':
      return fromRange('dst', target.range, packet);
    case 'snat':
      return fromRange('src', target.range, packet);
    case 'redirect':
      return redirect(target, packet, context);
    case 'masquerade':
      return masquerade(target, packet, context);
    case 'netmap':
      return one(netmap(target.prefix, packet, context));
  }
}

function fromRange(manip: Manip, range: NatRange, packet: Packet): NatChoice {
  const ports = portsFrom(manip, range, packet);
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

const each = (ports: readonly PortChoice[], mapping: Mapping): NatChoice => ({
  kind: 'mappings',
  mappings: ports.map((port) => ({ ...mapping, ...port })),
});

const one = (mapping: Mapping): NatChoice => ({ kind: 'mappings', mappings: [mapping] });

type ToPorts = Pick<NatRange, 'ports' | 'random'>;
type PortChoice = Pick<Mapping, 'port' | 'made'>;

const keeps: readonly PortChoice[] = [{}];

/**
 * get_unique_tuple: a port inside the range stays, unless --random asks for another. Else of a destination range the first free
 * one is taken, of a source range any (nf_nat_l4proto_unique_tuple).
 */
function portsFrom(manip: Manip, { ports, random }: ToPorts, packet: Packet): readonly PortChoice[] {
  const { protocol } = packet;
  if (protocol === 'icmp' || protocol === 'icmpv6') {
    if (random !== true || packet.icmp?.id === undefined) return keeps;
    return [{ made: ports ?? { from: 0, to: 65_535 } }];
  }
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') return keeps;
  const own = ownPort(manip, packet);
  if (ports === undefined) return random === true && manip === 'src' ? [{ made: alike(own) }] : keeps;
  if (random !== true && ports.from <= own.from && own.to <= ports.to) return keeps;
  const count = ports.to - ports.from + 1;
  if (count === 1 || (manip === 'dst' && random !== true)) return [{ port: ports.from }];
  // A made-up port may be in the range, and then stays: which of both is not told apart.
  if (count > maxPorts || own.from !== own.to) return [{ made: ports }];
  return Array.from({ length: count }, (_, i) => ({ port: ports.from + i }));
}

function ownPort(manip: Manip, { srcPort, dstPort, madeUp }: Packet): PortRange {
  const made: MadeUpPort | undefined = madeUp?.[manip];
  const port = manip === 'src' ? srcPort : dstPort;
  return made ?? { from: port, to: port };
}

/** Well-known ports stay well-known: nf_nat_l4proto_unique_tuple() has three kinds. */
function alike({ from, to }: PortRange): PortRange {
  if (to < 512) return { from: 1, to: 511 };
  if (from >= 1024) return { from: 1024, to: 65_535 };
  return to < 1024 && from >= 512 ? { from: 600, to: 1023 } : { from: 1, to: 65_535 };
}

/** nf_nat_redirect: to loopback for own packets, else to the first address of the device that the packet came by. */
function redirect(to: ToPorts, packet: Packet, context: HookContext): NatChoice {
  const choice = portsFrom('dst', to, packet);
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
function masquerade(to: ToPorts, packet: Packet, context: HookContext): NatChoice {
  const { netns, outDevice } = context;
  if (outDevice === undefined) return { kind: 'doubt', why: 'MASQUERADE without an outgoing device' };
  if (netns.devices.state === 'unknown') return { kind: 'doubt', why: netns.devices.why };
  const address =
    packet.dst.family === 6
      ? selectSource6(netns, packet.dst, outDevice)
      : selectAddress(netns, outDevice, nextHop(packet, context, outDevice), 'global');
  if (address === undefined)
    return { kind: 'drop', why: `MASQUERADE finds no address to use on ${outDevice}` };
  return each(portsFrom('src', to, packet), { manip: 'src', address });
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
