/** What all tunnels share: the outer packet on its way out, and the inner one when it is opened. */
import type { Device, Netns } from '../../model/netns.ts';
import type { SourceRef } from '../../model/source.ts';
import { type Address, formatAddress, sameAddress } from '../../net/address.ts';
import type { Inner, Packet, Transport } from '../../net/packet.ts';
import { type Cursor, cannotTell, lose, pass, type Stage, type TunnelContext, wireBytes } from '../cursor.ts';
import { isLocal, lookupRoute } from '../routing.ts';
import type { World } from '../world.ts';

export const headerBytes = (family: 4 | 6): number => (family === 4 ? 20 : 40);
export const udpBytes = 8;
export const ethernetBytes = 14;

/** An outer header to put on. */
export interface Outer {
  readonly inner: Inner;
  readonly remote: Address;
  /** Absent: the route's choice. */
  readonly local?: Address | undefined;
  readonly protocol: Transport;
  readonly srcPort?: number;
  readonly dstPort?: number;
  /** Bytes around the inner IP packet, the outer IP header among them. */
  readonly overheadBytes: number;
  readonly df: boolean;
  readonly mark: number;
  /** What the step says. */
  readonly text: string;
  readonly facts?: Readonly<Record<string, string>>;
  readonly sources?: readonly SourceRef[];
  /** MAC that an inner frame is addressed to. */
  readonly dstMac?: string;
  readonly expectedNode?: string | undefined;
  /**
   * What the driver does with a packet that has DF and does not fit the outer route: `icmp` answers its sender
   * (tnl_update_pmtu), `route` only notes the size on the packet's own route (skb_tunnel_check_pmtu), which a socket of
   * this node heeds and forwarding does not (ip_dst_mtu_maybe_forward).
   */
  readonly tooLarge?: 'icmp' | 'route';
}

/** The outer packet starts as any packet of the node does: routing, OUTPUT, POSTROUTING. */
export function wrap(world: World, cursor: Cursor, device: Device, outer: Outer): readonly Stage[] {
  const { netns } = cursor;
  const { remote, inner } = outer;
  const routed = lookupRoute(netns, { dst: remote, mark: outer.mark });
  if (routed.state === 'found' && routed.nexthop.device === device.name && isLocal(netns, remote) !== true) {
    // ip_tunnel_xmit() and udp_tunnel_dst_lookup() count it as a collision and drop.
    const text = `${device.name}'s own packets to ${formatAddress(remote)} are routed into ${device.name} again`;
    return [lose(cursor, 'encap', 'routing-loop', text, { sources: [routed.route.source] })];
  }
  const local =
    outer.local ??
    (routed.state === 'found' ? routed.source : undefined) ??
    underlayAddress(world, netns, remote);
  if (local === undefined) {
    const text = `the local tunnel address of ${device.name} is not known`;
    return [cannotTell(cursor, 'encap', text, { facts: { what: `ip -d link of ${netns.id}` } })];
  }
  const bytes = wireBytes(cursor);
  const facts = { device: device.name, remote: formatAddress(remote), ...outer.facts };
  const sources = outer.sources ?? [device.source];
  const wrapped = pass(cursor, 'encap', outer.text, { sources, facts });
  if (isTold(cursor, outer) && routed.state === 'found') {
    const tooBig = exceedsOuterRoute(world, wrapped, device, bytes, outer, routed);
    if (tooBig !== undefined) return [tooBig];
  }
  const packet: Packet = {
    src: local,
    dst: remote,
    protocol: outer.protocol,
    srcPort: outer.srcPort ?? 0,
    dstPort: outer.dstPort ?? 0,
    // The MTU counts from the outer IP header, without the outer Ethernet header.
    lengthBytes: bytes + outer.overheadBytes,
    df: outer.df || remote.family === 6,
    ttl: 64,
    mark: outer.mark,
    inner,
  };
  const tunnel: TunnelContext = {
    device: device.name,
    fromNode: netns.node,
    sources,
    ...(outer.dstMac === undefined ? {} : { dstMac: outer.dstMac }),
    ...(outer.expectedNode === undefined ? {} : { expectedNode: outer.expectedNode }),
    ...(cursor.fragmentBytes === undefined ? {} : { fragmentBytes: cursor.fragmentBytes }),
  };
  const { fragmentBytes: _, ...whole } = wrapped;
  return [{ at: 'send', cursor: { ...whole, packet, tunnels: [...wrapped.tunnels, tunnel] } }];
}

/** Only TCP sends the same data again, in smaller packets, when its route has learned a smaller size. */
function isTold({ inDevice }: Cursor, { tooLarge, inner: { packet } }: Outer): boolean {
  if (!packet.df || tooLarge === undefined) return false;
  return tooLarge === 'icmp' || (inDevice === undefined && packet.protocol === 'tcp');
}

/** tnl_update_pmtu(): the inner sender is told what is left of the outer route's MTU. */
function exceedsOuterRoute(
  world: World,
  cursor: Cursor,
  device: Device,
  bytes: number,
  outer: Outer,
  routed: Extract<ReturnType<typeof lookupRoute>, { state: 'found' }>,
): Stage | undefined {
  const underlay = world.device(cursor.netns, routed.nexthop.device ?? '');
  const mtu = routed.route.mtuBytes ?? underlay?.mtuBytes;
  if (mtu === undefined || bytes + outer.overheadBytes <= mtu) return undefined;
  const left = mtu - outer.overheadBytes;
  const text = `${bytes} bytes and ${outer.overheadBytes} of ${device.name} do not fit ${underlay?.name ?? 'the route'} (MTU ${mtu})`;
  return lose(cursor, 'mtu', 'mtu-exceeded', text, {
    facts: {
      device: device.name,
      mtu: String(left),
      size: String(bytes),
      answers: outer.tooLarge ?? 'icmp',
      node: cursor.netns.node,
    },
    sources: [device.source, ...(underlay === undefined ? [] : [underlay.source])],
  });
}

function underlayAddress(world: World, netns: Netns, remote: Address): Address | undefined {
  return world.underlay(netns)?.addresses.find((a) => a.address.family === remote.family)?.address;
}

/** Says so where the tunnel leads to an address that is not the node's for which the packet is meant. */
export function misdirection(
  world: World,
  remote: Address,
  expected: string | undefined,
): Record<string, string> {
  const own = expected === undefined ? [] : (world.node(expected)?.internalAddresses ?? []);
  const right = own.find((a) => a.family === remote.family);
  if (expected === undefined || right === undefined || sameAddress(right, remote)) return {};
  return { expectedNode: expected, expectedRemote: formatAddress(right) };
}

/** The packet inside, in the hands of the device that opened it. */
export function open(cursor: Cursor, device: Device, text: string): Cursor {
  const { inner } = cursor.packet;
  const tunnel = cursor.tunnels.at(-1);
  if (inner === undefined || tunnel === undefined) throw new TypeError('not a tunnel packet');
  const { fragmentBytes: _, ...reassembled } = cursor;
  return {
    ...pass(reassembled, 'decap', text, {
      sources: [device.source],
      facts: { device: device.name, by: cursor.inDevice ?? '' },
    }),
    packet: { ...inner.packet, mark: 0 },
    ...(tunnel.fragmentBytes === undefined ? {} : { fragmentBytes: tunnel.fragmentBytes }),
    tunnels: cursor.tunnels.slice(0, -1),
  };
}

/** Takes up the opened packet from the tunnel's device. */
export const takeUp = (opened: Cursor, device: Device): Stage => ({
  at: 'ip-in',
  cursor: { ...opened, inDevice: device.name },
  device,
});

/** A device whose packets another program directs: without that program's tables nothing can be said. */
export function directedElsewhere(cursor: Cursor, kind: 'encap' | 'decap', device: Device): Stage {
  const isCilium = device.name.startsWith('cilium');
  const command = isCilium
    ? 'cilium-dbg bpf tunnel list'
    : 'ovs-appctl dpctl/dump-flows, or the tables of the program that uses it';
  const text = `${device.name} takes its tunnel parameters from ${isCilium ? 'Cilium’s eBPF programs' : 'another program'}, which was not recorded`;
  return cannotTell(cursor, kind, text, {
    facts: { what: `where ${device.name} of ${cursor.netns.id} sends (${command})` },
    sources: [device.source],
  });
}

/** Nothing of this kind is on the node that the tunnel packet came to. */
export function nobodyOpens(cursor: Cursor, what: string, facts: Readonly<Record<string, string>>): Stage {
  const { node } = cursor.netns;
  return lose(cursor, 'decap', 'tunnel-endpoint-missing', `${node} has no ${what}`, {
    facts: { node, ...facts },
  });
}

/** A driver that is down hears nothing: its socket is closed, or the lookup passes it over. */
export const endpointDown = (
  cursor: Cursor,
  device: Device,
  facts: Readonly<Record<string, string>>,
): Stage =>
  lose(cursor, 'decap', 'tunnel-endpoint-down', `${device.name} of ${cursor.netns.node} is down`, {
    facts: { node: cursor.netns.node, device: device.name, ...facts },
    sources: [device.source],
  });

export const parametersDiffer = (
  cursor: Cursor,
  device: Device,
  text: string,
  facts: Readonly<Record<string, string>>,
): Stage =>
  lose(cursor, 'decap', 'tunnel-parameters-differ', text, {
    facts: { node: cursor.netns.node, device: device.name, ...facts },
    sources: [device.source],
  });
