/** Which devices share a wire: stacked devices (macvlan, ipvlan, VLANs) over their lower ones, and nodes' NICs on the underlay. */
import type { Device, Netns } from '../model/netns.ts';
import { isNic, type Port, type World } from './world.ts';

/** The device that a stacked one sends by: in its own namespace, or its node's where it was moved into a pod. */
export function lowerOf(world: World, { netns, device }: Port): Port | undefined {
  if (device.stacked === undefined) return undefined;
  if (device.lower !== undefined) {
    const lower = world.device(netns, device.lower);
    return lower === undefined ? undefined : { netns, device: lower };
  }
  const node = netns.pod === undefined ? undefined : world.netns(netns.node);
  if (node === undefined) return undefined;
  const lower = [...world.devices(node).values()].find(({ index }) => index === device.peerIndex);
  return lower === undefined ? undefined : { netns: node, device: lower };
}

/** The stacked devices over one: in its namespace, and, of a node, in its pods'. */
const stackedOn = (world: World, lower: Port): readonly Port[] =>
  world.stations(`stacked on ${lower.netns.id} ${lower.device.name}`, () => findStacked(world, lower));

function findStacked(world: World, lower: Port): readonly Port[] {
  const { netns, device } = lower;
  const own = [...world.devices(netns).values()].filter(
    (one) => one.stacked !== undefined && one.lower === device.name,
  );
  const found: Port[] = own.map((one) => ({ netns, device: one }));
  if (netns.pod !== undefined) return found;
  for (const pod of world.podNamespaces(netns.node))
    for (const one of world.devices(pod).values())
      if (one.stacked !== undefined && one.lower === undefined && one.peerIndex === device.index)
        found.push({ netns: pod, device: one });
  return found;
}

/** macvlan and ipvlan: devices that take frames of their lower one for addresses of their own. */
export const sharers = (world: World, lower: Port): readonly Port[] =>
  stackedOn(world, lower).filter(({ device }) => device.stacked?.kind !== 'vlan');

/** The VLAN that a device's frames are tagged with on the wire: 0 for none. */
function vlanOf(world: World, port: Port): number {
  const { stacked } = port.device;
  if (stacked === undefined) return 0;
  if (stacked.kind === 'vlan') return stacked.id;
  const lower = lowerOf(world, port);
  return lower === undefined ? 0 : vlanOf(world, lower);
}

/** A device of a node whose frames go out on the underlay: a NIC, a VLAN of one, or a bridge with one as its port. */
const isOnWire = (world: World, port: Port): boolean =>
  (port.device.master === undefined && isNic(port.device) && world.peer(port) === undefined) ||
  (port.device.stacked?.kind === 'vlan' && lowerIsOnWire(world, port)) ||
  (port.device.kind === 'bridge' && nicPortsOf(world, port).length > 0);

function lowerIsOnWire(world: World, port: Port): boolean {
  const lower = lowerOf(world, port);
  return lower !== undefined && isOnWire(world, lower);
}

/** NICs that are ports of a bridge. */
export const nicPortsOf = (world: World, { netns, device }: Port): readonly Device[] =>
  world
    .ports(netns, device.name)
    .filter((port) => isNic(port) && world.peer({ netns, device: port }) === undefined);

/**
 * Everybody on the underlay who hears a frame that `from` puts on the wire: the other nodes' devices of the same VLAN and
 * what is stacked on them. Nodes are taken to share one network.
 */
export function wireStations(world: World, from: Port): readonly Port[] {
  const vlan = vlanOf(world, from);
  return world.stations(`wire ${vlan} but ${from.netns.id}`, () => findOnWire(world, vlan, from.netns));
}

const findOnWire = (world: World, vlan: number, except: Netns): readonly Port[] =>
  world
    .nodeNamespaces()
    .filter((netns) => netns.id !== except.id)
    .flatMap((netns) => [...world.devices(netns).values()].map((device) => ({ netns, device })))
    .filter((port) => isOnWire(world, port) && vlanOf(world, port) === vlan)
    .flatMap((port) => [
      port,
      ...sharers(world, port),
      ...(port.device.kind === 'bridge' ? behind(world, port) : []),
    ]);

/** The far ends of a bridge's veth ports. */
export function behind(world: World, bridge: Port, except?: string): readonly Port[] {
  const stations: Port[] = [];
  for (const device of world.ports(bridge.netns, bridge.device.name)) {
    if (device.name === except || !device.up) continue;
    const peer = world.peer({ netns: bridge.netns, device });
    if (peer !== undefined) stations.push(peer);
  }
  return stations;
}

/** macvlan_queue_xmit(), ipvlan_xmit_mode_l2(): devices over the same lower one that hear each other without the wire. */
export function siblings(world: World, port: Port): readonly Port[] {
  const lower = lowerOf(world, port);
  if (lower === undefined || !bridges(port.device)) return [];
  return sharers(world, lower).filter(
    (other) =>
      (other.netns.id !== port.netns.id || other.device.name !== port.device.name) && bridges(other.device),
  );
}

function bridges({ stacked }: Device): boolean {
  switch (stacked?.kind) {
    case 'macvlan':
      return stacked.mode === 'bridge';
    case 'ipvlan':
      return stacked.mode === 'l2' && stacked.flag === 'bridge';
    default:
      return false;
  }
}
