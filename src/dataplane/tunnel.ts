/** Tunnels: a packet becomes the payload of another one between nodes. Each kind has a file of its own in tunnels/. */
import type { Device } from '../model/netns.ts';
import type { Address } from '../net/address.ts';
import { type Cursor, cannotTell, type Stage } from './cursor.ts';
import * as geneve from './tunnels/geneve.ts';
import * as gre from './tunnels/gre.ts';
import * as ipip from './tunnels/ipip.ts';
import * as vxlan from './tunnels/vxlan.ts';
import * as wireguard from './tunnels/wireguard.ts';
import type { World } from './world.ts';

/** Wraps a frame whose destination is known. */
export function encapsulateFrame(
  world: World,
  cursor: Cursor,
  device: Device,
  dstMac: string,
): readonly Stage[] {
  const { tunnel } = device;
  switch (tunnel?.kind) {
    case 'vxlan':
      return vxlan.encapsulate(world, cursor, device, tunnel, dstMac);
    case 'geneve':
      return geneve.encapsulate(world, cursor, device, tunnel, dstMac);
    case 'gre':
      return gre.encapsulate(world, cursor, device, tunnel, { dstMac });
    default:
      return [notRecorded(cursor, device)];
  }
}

/** Wraps an IP packet that is routed to `nextHop` by the device. */
export function encapsulatePacket(
  world: World,
  cursor: Cursor,
  device: Device,
  nextHop: Address,
): readonly Stage[] {
  const { tunnel } = device;
  switch (tunnel?.kind) {
    case 'ipip':
    case 'sit':
    case 'ip6tnl':
      return ipip.encapsulate(world, cursor, device, tunnel, nextHop);
    case 'gre':
      return gre.encapsulate(world, cursor, device, tunnel, { nextHop });
    case 'wireguard':
      return wireguard.encapsulate(world, cursor, device);
    default:
      return [notRecorded(cursor, device)];
  }
}

const notRecorded = (cursor: Cursor, device: Device): Stage =>
  cannotTell(
    cursor,
    'encap',
    `${device.name} is a ${device.kind} device whose parameters were not recorded`,
    {
      facts: { what: `ip -d link of ${cursor.netns.id}` },
      sources: [device.source],
    },
  );

/** Opens a tunnel packet that INPUT of its node accepted. */
export function decapsulate(cursor: Cursor): Stage {
  const { netns, packet } = cursor;
  const { inner } = packet;
  if (inner === undefined) throw new TypeError('not a tunnel packet');
  if (netns.devices.state === 'unknown') {
    return cannotTell(cursor, 'decap', `devices of ${netns.id} are not known: ${netns.devices.why}`, {
      facts: { what: `devices of ${netns.id}` },
    });
  }
  const devices = netns.devices.value;
  switch (inner.kind) {
    case 'vxlan':
      return vxlan.decapsulate(cursor, devices, inner);
    case 'geneve':
      return geneve.decapsulate(cursor, devices, inner);
    case 'ip':
      return ipip.decapsulate(cursor, devices);
    case 'gre':
      return gre.decapsulate(cursor, devices, inner);
    case 'wireguard':
      return wireguard.decapsulate(cursor, inner);
  }
}
