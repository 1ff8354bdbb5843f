/** Frames: from the routing decision onto a device, and off the device on the other side. */
import type { Device } from '../model/netns.ts';
import type { Address } from '../net/address.ts';
import { isMulticastMac } from '../net/mac.ts';
import { bridged, isOwnMac, notForwarding, portOf, portsSeen, throughBridge } from './bridge.ts';
import { overCable } from './cable.ts';
import { type Cursor, cannotTell, lose, remark, type Stage, step, wireBytes } from './cursor.ts';
import { resolveNeighbour } from './neighbours.ts';
import { handedUp, leaveStacked } from './stacked.ts';
import { encapsulateFrame, encapsulatePacket } from './tunnel.ts';
import { carriesFrames, carriesPackets } from './tunnels/kinds.ts';
import { overUnderlay } from './underlay.ts';
import { isNic, type World } from './world.ts';

/** Resolves the next hop's MAC and hands the frame to the device. */
export function transmit(
  world: World,
  cursor: Cursor,
  deviceName: string,
  nextHop: Address,
  routeMtuBytes = Number.POSITIVE_INFINITY,
): readonly Stage[] {
  const given = giveTo(world, cursor, deviceName, routeMtuBytes);
  if ('at' in given) return [given];
  const { device } = given;
  if (device.kind === 'loopback') return [{ at: 'ip-in', cursor, device }];
  if (carriesPackets(device)) return encapsulatePacket(world, given.cursor, device, nextHop);
  return resolveNeighbour(world, given.cursor, device, nextHop).map((found) =>
    'at' in found ? found : { at: 'frame-out', cursor: found.cursor, device, dstMac: found.mac },
  );
}

/** The device takes the packet, whole or in fragments: it is there, it is up, and the size fits. */
export function giveTo(
  world: World,
  cursor: Cursor,
  deviceName: string,
  routeMtuBytes = Number.POSITIVE_INFINITY,
): { readonly cursor: Cursor; readonly device: Device } | Stage {
  const device = world.device(cursor.netns, deviceName);
  if (device === undefined) {
    return cannotTell(cursor, 'route', `device ${deviceName} of ${cursor.netns.id} was not recorded`, {
      facts: { what: `devices of ${cursor.netns.id}` },
    });
  }
  if (!device.up) {
    return lose(cursor, 'route', 'device-down', `device ${device.name} is down`, {
      facts: { device: device.name, deviceKind: device.kind },
      sources: [device.source],
    });
  }
  if (device.kind === 'loopback') return { cursor, device };
  const sized = fitDevice(cursor, device, routeMtuBytes);
  return 'at' in sized ? sized : { cursor: sized, device };
}

/** A packet larger than the device: sent in fragments where that is allowed, else it should have been refused before. */
function fitDevice(cursor: Cursor, device: Device, routeMtuBytes: number): Cursor | Stage {
  // A router's IPv4 minds the route's MTU alone where there is one (ip_dst_mtu_maybe_forward).
  const isRouted = cursor.inDevice !== undefined && cursor.packet.src.family === 4;
  const onDevice = isRouted && Number.isFinite(routeMtuBytes) ? routeMtuBytes : device.mtuBytes;
  const mtu = Math.min(onDevice, routeMtuBytes);
  const bytes = wireBytes(cursor);
  if (bytes <= mtu) return cursor;
  const facts = { device: device.name, mtu: String(mtu), size: String(bytes) };
  const text = `${bytes} bytes do not fit ${device.name} (MTU ${mtu})`;
  if (!mayFragment(cursor)) {
    // A tunnel driver that sets DF on the outer header reports the error to its own node only; the inner sender hears nothing.
    // A router that may not fragment IPv6 does tell (ip6_fragment).
    const tells = cursor.packet.src.family === 6 && cursor.packet.inner === undefined;
    const told = tells && cursor.inDevice !== undefined ? { answers: 'icmp', node: cursor.netns.node } : {};
    return lose(cursor, 'mtu', 'mtu-exceeded', text, {
      facts: { ...facts, ...told },
      sources: [device.source],
    });
  }
  const what = cursor.packet.inner === undefined ? 'the packet' : 'the tunnel packet';
  const noted = step('mtu', 'pass', `${text}: ${what} is sent in fragments`, {
    facts,
    sources: [device.source],
  });
  return remark({ ...cursor, fragmentBytes: mtu }, noted);
}

/** Routers fragment IPv4 without DF; senders also IPv6, and UDP that is larger than its first device (IP_PMTUDISC_WANT). */
function mayFragment({ packet, inDevice }: Cursor): boolean {
  const isSender = inDevice === undefined && packet.inner === undefined;
  if (isSender) return !packet.df || packet.protocol === 'udp';
  return !packet.df && packet.src.family === 4;
}

/** Puts a frame on a device. */
export function frameOut(world: World, cursor: Cursor, device: Device, dstMac: string): readonly Stage[] {
  if (carriesFrames(device)) return encapsulateFrame(world, cursor, device, dstMac);
  if (device.kind === 'bridge') return [throughBridge(world, cursor, device, dstMac, undefined)];
  if (device.stacked !== undefined) {
    const onward = leaveStacked(world, cursor, device, dstMac);
    if ('at' in onward) return [onward];
    return device.stacked.kind === 'vlan'
      ? [overUnderlay(world, onward.cursor, device, dstMac)]
      : frameOut(world, onward.cursor, onward.lower.device, dstMac);
  }
  const peer = world.peer({ netns: cursor.netns, device });
  if (peer !== undefined) return [overCable(cursor, device, peer, dstMac)];
  const unseen = world.unseenFarEnd({ netns: cursor.netns, device });
  if (unseen !== undefined) {
    const text = `what ${device.name} leads to is not known: ${unseen}`;
    return [cannotTell(cursor, 'receive', text, { facts: { what: `devices of ${cursor.netns.node}` } })];
  }
  if (isNic(device)) return [overUnderlay(world, cursor, device, dstMac)];
  return [
    cannotTell(
      cursor,
      'receive',
      `device ${device.name} is of kind ${device.kind}, which is not understood yet`,
      {
        facts: { what: `devices of kind ${device.kind}`, ...openVswitch(device) },
        sources: [device.source],
      },
    ),
  ];
}

/** Open vSwitch keeps its flows to itself: nothing that was recorded shows them. */
const openVswitch = ({ name, kind }: Device): { readonly todo?: string } =>
  kind === 'openvswitch'
    ? {
        todo: `on the node: \`ovs-appctl ofproto/trace ${name} FLOW\` follows one packet, \`ovs-ofctl dump-flows ${name}\` lists the flows`,
      }
    : {};

/** A frame arrives: bridge ports hand it to their bridge, other devices take only what is addressed to them. */
export function frameIn(world: World, cursor: Cursor, device: Device, dstMac: string): readonly Stage[] {
  if (!device.up) {
    return [
      lose(cursor, 'receive', 'device-down', `device ${device.name} is down`, {
        facts: { device: device.name, deviceKind: device.kind },
        sources: [device.source],
      }),
    ];
  }
  if (device.master !== undefined) {
    const bridge = world.device(cursor.netns, device.master);
    if (bridge !== undefined && bridge.kind !== 'bridge') return [ofMaster(cursor, device, bridge, dstMac)];
    if (bridge === undefined) {
      return [
        cannotTell(cursor, 'bridge', `${device.name} is a port of ${device.master}, which was not recorded`, {
          facts: { what: `device ${device.master}` },
        }),
      ];
    }
    if (!bridge.up) {
      return [
        lose(cursor, 'bridge', 'device-down', `bridge ${bridge.name} is down`, {
          facts: { device: bridge.name, deviceKind: 'bridge' },
          sources: [bridge.source],
        }),
      ];
    }
    const state = portOf(cursor, device.name)?.state;
    // br_handle_frame() and br_handle_frame_finish() drop in every other state.
    if (state !== undefined && state !== 'forwarding') return [notForwarding(cursor, device, state)];
    if (dstMac === bridge.mac || isOwnMac(world, cursor, bridge, dstMac))
      return [{ at: 'ip-in', cursor: portsSeen(cursor, bridge), device: bridge, physIn: device.name }];
    return bridged(world, cursor, bridge, dstMac, device.name);
  }
  const stacked = handedUp(world, cursor, device, dstMac);
  if (stacked !== undefined) return [stacked];
  if (device.mac !== undefined && device.mac !== dstMac && !isMulticastMac(dstMac)) {
    return [
      lose(
        cursor,
        'receive',
        'neighbour-wrong-mac',
        `the frame is addressed to ${dstMac}, but ${device.name} has ${device.mac}`,
        { facts: { mac: dstMac, expectedMac: device.mac, device: device.name }, sources: [device.source] },
      ),
    ];
  }
  return [{ at: 'ip-in', cursor, device }];
}

/** A port of something else than a bridge: a VRF leaves the packet its device, a bond takes it as its own. */
function ofMaster(cursor: Cursor, device: Device, master: Device, dstMac: string): Stage {
  switch (master.kind) {
    case 'vrf':
      return { at: 'ip-in', cursor, device };
    case 'bond':
    case 'team':
      return { at: 'frame-in', cursor: { ...cursor, inDevice: master.name }, device: master, dstMac };
    default:
      return cannotTell(
        cursor,
        'bridge',
        `${device.name} is a port of ${master.name} (${master.kind}), whose forwarding was not recorded`,
        { facts: { what: `the flows of ${master.name} of ${cursor.netns.id}` }, sources: [master.source] },
      );
  }
}
