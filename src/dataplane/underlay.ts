/** The network between the nodes. */
import type { Device } from '../model/netns.ts';
import { formatAddress } from '../net/address.ts';
import {
  type Cursor,
  cannotTell,
  doubt,
  enter,
  lose,
  remark,
  type Stage,
  step,
  wireBytes,
} from './cursor.ts';
import { leavesCluster } from './neighbours.ts';
import { lowerOf, nicPortsOf, wireStations } from './segments.ts';
import type { Port, World } from './world.ts';

/** Between nodes: the snapshot does not show the fabric, so it is taken to deliver to whoever has the MAC. */
export function overUnderlay(world: World, cursor: Cursor, device: Device, dstMac: string): Stage {
  const stations = wireStations(world, { netns: cursor.netns, device });
  const target = stations.find((station) => station.device.mac === dstMac);
  if (target === undefined) {
    const unseen = world.unseenNode();
    if (unseen !== undefined) {
      const text = `the packet leaves by ${device.name} to ${dstMac}; whose that is, is not known: ${unseen}`;
      return cannotTell(cursor, 'neighbour', text, { facts: { what: 'devices of all nodes', left: dstMac } });
    }
    const owner = stations.find((station) => world.carries(station.netns, cursor.packet.dst));
    if (owner !== undefined) {
      return lose(
        cursor,
        'neighbour',
        'neighbour-wrong-mac',
        `the frame is addressed to ${dstMac}, but ${owner.netns.id} has ${owner.device.mac ?? 'no MAC'}`,
        {
          facts: {
            mac: dstMac,
            expectedMac: owner.device.mac ?? '',
            nextHop: formatAddress(cursor.packet.dst),
            device: device.name,
          },
          sources: [owner.device.source],
        },
      );
    }
    const astray = leavesCluster(world, cursor, device, dstMac);
    if (astray !== undefined) return astray;
    return cannotTell(
      cursor,
      'neighbour',
      `the packet leaves by ${device.name} to ${dstMac}, which is no node of the cluster`,
      { facts: { what: 'the network outside the cluster', left: dstMac } },
    );
  }
  const whole = cursor.fragmentBytes === undefined ? cursor : fragmentsLeave(cursor, device);
  const entry = entryOf(world, target);
  const entered = enter(whole, entry.netns, entry.device.name, device.name);
  if (wireBytes(entered) > entry.device.mtuBytes) {
    return {
      at: 'frame-in',
      cursor: doubt(
        entered,
        'mtu',
        `${wireBytes(entered)} bytes arrive at ${entry.device.name} (MTU ${entry.device.mtuBytes}): a NIC may drop them`,
        { facts: { device: entry.device.name, mtu: String(entry.device.mtuBytes) } },
      ),
      device: entry.device,
      dstMac,
    };
  }
  return { at: 'frame-in', cursor: entered, device: entry.device, dstMac };
}

/** The device of a station's node that takes frames off the wire for it. */
function entryOf(world: World, station: Port): Port {
  const { netns, device } = station;
  const lower = lowerOf(world, station);
  if (lower !== undefined)
    return device.stacked?.kind === 'vlan' && lower.device.up ? station : entryOf(world, lower);
  const nic = device.kind === 'bridge' ? nicPortsOf(world, station)[0] : undefined;
  if (nic !== undefined) return { netns, device: nic };
  const port = world.peer(station);
  const bridge = port?.device.master === undefined ? undefined : world.device(port.netns, port.device.master);
  return port === undefined || bridge === undefined
    ? station
    : entryOf(world, { netns: port.netns, device: bridge });
}

/** Many networks between machines drop fragments; whether this one does no snapshot shows. */
const fragmentsLeave = (cursor: Cursor, device: Device): Cursor =>
  remark(cursor, {
    ...step(
      'mtu',
      'unknown',
      `${cursor.packet.inner === undefined ? 'the packet' : 'the tunnel packet'} of ${cursor.packet.lengthBytes} bytes leaves by ${device.name} in fragments (MTU ${cursor.fragmentBytes}), which the network between the nodes may drop`,
      {
        facts: {
          device: device.name,
          mtu: String(cursor.fragmentBytes),
          size: String(cursor.packet.lengthBytes),
        },
        sources: [device.source],
      },
    ),
    reason: 'fragment-lost',
  });
