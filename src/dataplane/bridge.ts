/** Bridges: which port a frame leaves by, and the IP hooks that br_netfilter runs on the way. */
import type { HookName } from '../model/netfilter.ts';
import type { BridgePort, Device } from '../model/netns.ts';
import { type Address, formatAddress } from '../net/address.ts';
import { overCable, vlanBytes } from './cable.ts';
import { type Cursor, cannotTell, doubt, lose, pass, type Stage, unsure, wireBytes } from './cursor.ts';
import { runHooks } from './hooks.ts';
import { resolveNeighbour } from './neighbours.ts';
import { nicPortsOf, wireStations } from './segments.ts';
import { carriesFrames } from './tunnels/kinds.ts';
import { isNic, type World } from './world.ts';

/**
 * A frame that stays on the bridge. With bridge-nf-call-iptables=1 it passes the IP hooks as well (br_netfilter),
 * which is how rules and un-NAT reach traffic between two pods of one node.
 */
export function bridged(
  world: World,
  cursor: Cursor,
  bridge: Device,
  dstMac: string,
  inPort: string,
): readonly Stage[] {
  return ownHooks(world, cursor, bridge, dstMac, inPort).flatMap((result) =>
    'at' in result ? [result] : onBridge(world, result, bridge, dstMac, inPort),
  );
}

/** The chains of nft's bridge tables, which no sysctl turns off; they run before the IP hooks here. */
function ownHooks(
  world: World,
  cursor: Cursor,
  bridge: Device,
  dstMac: string,
  inPort: string,
): readonly (Cursor | Stage)[] {
  const { nftTables } = cursor.netns;
  if (nftTables.state === 'unknown' || nftTables.value.every(({ family }) => family !== 'bridge'))
    return [cursor];
  const outPort = portTowards(world, cursor, bridge, dstMac)?.name;
  return runHooks(cursor, ['prerouting', 'forward', 'postrouting'], {
    inDevice: inPort,
    ...(outPort === undefined ? {} : { outDevice: outPort }),
    atBridge: true,
  });
}

function onBridge(
  world: World,
  cursor: Cursor,
  bridge: Device,
  dstMac: string,
  inPort: string,
): readonly Stage[] {
  const { netns, packet } = cursor;
  const key = `net.bridge.bridge-nf-call-${packet.src.family === 4 ? 'iptables' : 'ip6tables'}`;
  if (netns.sysctls.state === 'unknown') {
    const noted = doubt(cursor, 'filter', `${key} is not known: ${netns.sysctls.why}`, {
      facts: { what: `sysctls of ${netns.id}` },
    });
    // The rules could translate the packet, or undo a translation.
    return [throughBridge(world, unsure(noted), bridge, dstMac, inPort)];
  }
  // Absent without the br_netfilter module: frames then pass no IP hook.
  if (netns.sysctls.value.get(key) !== '1') return [throughBridge(world, cursor, bridge, dstMac, inPort)];
  return filteredBridge(world, cursor, bridge, dstMac, inPort, ['prerouting', 'forward', 'postrouting']);
}

function filteredBridge(
  world: World,
  cursor: Cursor,
  bridge: Device,
  dstMac: string,
  inPort: string,
  hooks: readonly HookName[],
): readonly Stage[] {
  const outPort = portTowards(world, cursor, bridge, dstMac)?.name;
  const devices = {
    inDevice: bridge.name,
    outDevice: bridge.name,
    physIn: inPort,
    isBridged: true,
    ...(outPort === undefined ? {} : { physOut: outPort }),
  };
  return runHooks(cursor, hooks, devices).map((result) =>
    'at' in result ? result : throughBridge(world, result, bridge, dstMac, inPort),
  );
}

/** br_nf_pre_routing_finish_bridge(): the new destination's MAC, then on to its port as for any bridged frame. */
export function bridgeOn(
  world: World,
  cursor: Cursor,
  bridge: Device,
  nextHop: Address,
  inPort: string,
): readonly Stage[] {
  return resolveNeighbour(world, cursor, bridge, nextHop).flatMap((found) =>
    'at' in found
      ? [found]
      : filteredBridge(world, found.cursor, bridge, found.mac, inPort, ['forward', 'postrouting']),
  );
}

function portTowards(world: World, cursor: Cursor, bridge: Device, dstMac: string): Device | undefined {
  const { netns } = cursor;
  const learned =
    netns.fdb.state === 'known'
      ? netns.fdb.value.find((e) => e.mac === dstMac && e.master === bridge.name && !e.self)
      : undefined;
  const ports = world.ports(netns, bridge.name);
  // An aged entry only means flooding: the port is then found by the address behind it.
  const found =
    ports.find((p) => p.name === learned?.device) ??
    ports.find((p) => world.peer({ netns, device: p })?.device.mac === dstMac);
  if (found !== undefined) return found;
  // Flooding also goes out on the wire, and into tunnels that are ports.
  const here = { netns, device: bridge };
  const isOnWire = wireStations(world, here).some(({ device }) => device.mac === dstMac);
  return (isOnWire ? nicPortsOf(world, here)[0] : undefined) ?? ports.find(carriesFrames);
}

/** A bridge takes up frames for any of its ports' own addresses too: they are local entries of its FDB. */
export const isOwnMac = (world: World, cursor: Cursor, bridge: Device, mac: string): boolean =>
  world.ports(cursor.netns, bridge.name).some((port) => port.mac === mac);

/** Forwards a frame inside a bridge to the port whose far end has the MAC. */
export function throughBridge(
  world: World,
  cursor: Cursor,
  bridge: Device,
  dstMac: string,
  inPort: string | undefined,
): Stage {
  const { netns } = cursor;
  const out = portTowards(world, cursor, bridge, dstMac);
  if (out === undefined) {
    return lose(cursor, 'bridge', 'neighbour-wrong-mac', `no port of ${bridge.name} leads to ${dstMac}`, {
      facts: { mac: dstMac, device: bridge.name, nextHop: formatAddress(cursor.packet.dst) },
    });
  }
  if (!out.up) {
    return lose(cursor, 'bridge', 'device-down', `bridge port ${out.name} is down`, {
      facts: { device: out.name, deviceKind: out.kind },
      sources: [out.source],
    });
  }
  const state = portOf(cursor, out.name)?.state;
  if (state !== undefined && state !== 'forwarding') return notForwarding(cursor, out, state);
  if (inPort !== undefined && portOf(cursor, inPort)?.isolated && portOf(cursor, out.name)?.isolated) {
    // br_skb_isolated(): two isolated ports do not hear each other.
    return blockedPort(cursor, out, `bridge ports ${inPort} and ${out.name} are isolated from each other`);
  }
  if (out.name === inPort && !hairpin(cursor, out.name)) {
    return lose(cursor, 'bridge', 'hairpin-off', `${out.name} does not send frames back (hairpin off)`, {
      facts: { device: out.name },
      sources: [out.source],
    });
  }
  if (wireBytes(cursor) > out.mtuBytes + vlanBytes) {
    return lose(
      cursor,
      'mtu',
      'mtu-exceeded',
      `${wireBytes(cursor)} bytes do not fit bridge port ${out.name} (MTU ${out.mtuBytes})`,
      {
        facts: {
          device: out.name,
          mtu: String(out.mtuBytes),
          size: String(wireBytes(cursor)),
          icmp: 'none: a bridge drops silently',
        },
        sources: [out.source],
      },
    );
  }
  const passed = portsSeen(pass(cursor, 'bridge', `${bridge.name} port ${out.name}`), bridge);
  const moved =
    bridge.vlanFiltering === true
      ? doubt(passed, 'bridge', `${bridge.name} filters VLANs, and its ports' VLANs were not recorded`, {
          facts: { what: `bridge vlan show of ${netns.id}` },
          sources: [bridge.source],
        })
      : passed;
  const peer = world.peer({ netns, device: out });
  if (carriesFrames(out) || (peer === undefined && isNic(out)))
    return { at: 'frame-out', cursor: moved, device: out, dstMac };
  if (peer === undefined) {
    return cannotTell(moved, 'bridge', `the far end of ${out.name} was not recorded`, {
      facts: { what: `the namespace behind ${netns.id} ${out.name}` },
    });
  }
  return overCable(moved, out, peer, dstMac);
}

export const portOf = (cursor: Cursor, device: string): BridgePort | undefined =>
  cursor.netns.bridgePorts.state === 'known'
    ? cursor.netns.bridgePorts.value.find((port) => port.device === device)
    : undefined;

/** A port may be blocked, isolated, or without hairpin. */
export function portsSeen(cursor: Cursor, bridge: Device): Cursor {
  const { bridgePorts, id } = cursor.netns;
  if (bridgePorts.state === 'known') return cursor;
  const text = `settings of the ports of ${bridge.name} are not known: ${bridgePorts.why}`;
  return doubt(cursor, 'bridge', text, { facts: { what: `bridge ports of ${id}` } });
}

export const notForwarding = (cursor: Cursor, port: Device, state: string): Stage =>
  blockedPort(cursor, port, `bridge port ${port.name} is in state ${state}`);

const blockedPort = (cursor: Cursor, port: Device, text: string): Stage =>
  lose(cursor, 'bridge', 'device-down', text, {
    facts: { device: port.name, deviceKind: port.kind },
    sources: [port.source],
  });

const hairpin = (cursor: Cursor, port: string): boolean =>
  cursor.netns.bridgePorts.state === 'unknown' ||
  cursor.netns.bridgePorts.value.some((p) => p.device === port && p.hairpin);
