/** Layer 2: neighbours, veth pairs, bridges, NICs. */
import type { HookName } from '../model/netfilter.ts';
import type { BridgePort, Device, Neighbour } from '../model/netns.ts';
import { type Address, formatAddress, sameAddress } from '../net/address.ts';
import { isMulticastMac } from '../net/mac.ts';
import { contains, formatPrefix } from '../net/prefix.ts';
import {
  type Cursor,
  cannotTell,
  doubt,
  enter,
  lose,
  pass,
  remark,
  type Stage,
  step,
  wireBytes,
} from './cursor.ts';
import { runHooks } from './hooks.ts';
import { isLocal, lookupRoute, sysctl, sysctlDevice } from './routing.ts';
import { encapsulate } from './tunnel.ts';
import { isNic, type Port, type World } from './world.ts';

/** Resolves the next hop's MAC and hands the frame to the device. */
export function transmit(
  world: World,
  cursor: Cursor,
  deviceName: string,
  nextHop: Address,
  routeMtuBytes = Number.POSITIVE_INFINITY,
): readonly Stage[] {
  const device = world.device(cursor.netns, deviceName);
  if (device === undefined) {
    return [
      cannotTell(cursor, 'route', `device ${deviceName} of ${cursor.netns.id} was not recorded`, {
        facts: { what: `devices of ${cursor.netns.id}` },
      }),
    ];
  }
  if (!device.up) {
    return [
      lose(cursor, 'route', 'device-down', `device ${device.name} is down`, {
        facts: { device: device.name, deviceKind: device.kind },
        sources: [device.source],
      }),
    ];
  }
  if (device.kind === 'loopback') return [{ at: 'ip-in', cursor, device }];
  const sized = fitDevice(cursor, device, routeMtuBytes);
  if ('at' in sized) return [sized];
  return resolveNeighbour(world, sized, device, nextHop).map((found) =>
    'at' in found ? found : { at: 'frame-out', cursor: found.cursor, device, dstMac: found.mac },
  );
}

/** A packet larger than the device: sent in fragments where that is allowed, else it should have been refused before. */
function fitDevice(cursor: Cursor, device: Device, routeMtuBytes: number): Cursor | Stage {
  const mtu = Math.min(device.mtuBytes, routeMtuBytes);
  const bytes = wireBytes(cursor);
  if (bytes <= mtu) return cursor;
  const facts = { device: device.name, mtu: String(mtu), size: String(bytes) };
  const text = `${bytes} bytes do not fit ${device.name} (MTU ${mtu})`;
  if (!mayFragment(cursor)) {
    // A tunnel driver that sets DF on the outer header reports the error to its own node only; the inner sender hears nothing.
    return lose(cursor, 'mtu', 'mtu-exceeded', text, { facts, sources: [device.source] });
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

type Resolved = { readonly cursor: Cursor; readonly mac: string } | Stage;

function resolveNeighbour(
  world: World,
  cursor: Cursor,
  device: Device,
  nextHop: Address,
): readonly Resolved[] {
  const { netns } = cursor;
  if (netns.neighbours.state === 'unknown' && device.kind !== 'vxlan') {
    // A live kernel would ask the network; so does the walk.
    return askNetwork(world, cursor, device, nextHop, undefined);
  }
  const entries = netns.neighbours.state === 'known' ? netns.neighbours.value : [];
  const entry = entries.find((n) => n.device === device.name && !n.proxy && sameAddress(n.address, nextHop));
  if (entry?.mac !== undefined && !isDead(entry)) {
    const text = `${formatAddress(nextHop)} is at ${entry.mac}`;
    return [{ mac: entry.mac, cursor: pass(cursor, 'neighbour', text, { sources: [entry.source] }) }];
  }
  if (device.kind === 'vxlan') {
    if (netns.neighbours.state === 'unknown') {
      const text = `neighbours of ${netns.id} are not known: ${netns.neighbours.why}`;
      return [cannotTell(cursor, 'neighbour', text, { facts: { what: `neighbours of ${netns.id}` } })];
    }
    return [unresolved(cursor, device, nextHop, entry)];
  }
  return askNetwork(world, cursor, device, nextHop, entry);
}

const isDead = (entry: Neighbour | undefined): boolean =>
  entry !== undefined && (entry.states.includes('FAILED') || entry.states.includes('INCOMPLETE'));

function unresolved(cursor: Cursor, device: Device, nextHop: Address, entry: Neighbour | undefined): Stage {
  const state = entry?.states.join(',') ?? 'no entry';
  return lose(
    cursor,
    'neighbour',
    'neighbour-unresolved',
    `no link-layer address for ${formatAddress(nextHop)} on ${device.name} (${state})`,
    {
      facts: { nextHop: formatAddress(nextHop), device: device.name, deviceKind: device.kind, state },
      sources: entry === undefined ? [] : [entry.source],
    },
  );
}

/**
 * ARP or neighbour discovery on the device's segment, answered from what the snapshot shows of the other stations. Where
 * several answer, chance decides whose answer is kept.
 */
function askNetwork(
  world: World,
  cursor: Cursor,
  device: Device,
  nextHop: Address,
  entry: Neighbour | undefined,
): readonly Resolved[] {
  const stations = stationsOn(world, { netns: cursor.netns, device });
  const asker = askersAddress(cursor, device);
  const answers = new Map<string, string>();
  for (const station of stations) {
    const { mac } = station.device;
    if (mac === undefined || !station.device.up || answers.has(mac)) continue;
    const how = answersFor(world, station, nextHop, asker);
    if (how !== undefined) answers.set(mac, `${station.netns.id} ${station.device.name} ${how}`);
  }
  if (answers.size > 0)
    return [...answers].map(([mac, who]) => ({
      mac,
      cursor: {
        ...pass(cursor, 'neighbour', `${formatAddress(nextHop)} is at ${mac}: ${who}`),
        share: cursor.share / answers.size,
      },
    }));
  return [noAnswer(world, cursor, device, nextHop, entry, stations)];
}

function noAnswer(
  world: World,
  cursor: Cursor,
  device: Device,
  nextHop: Address,
  entry: Neighbour | undefined,
  stations: readonly Port[],
): Stage {
  if (stations.some((station) => station.netns.devices.state === 'unknown')) {
    return cannotTell(
      cursor,
      'neighbour',
      `who has ${formatAddress(nextHop)} on ${device.name} cannot be told`,
      {
        facts: { what: `devices on the segment of ${cursor.netns.id} ${device.name}` },
      },
    );
  }
  const owner = world.owners(nextHop)[0];
  if (owner !== undefined && world.netns(owner.netnsId) === undefined) {
    return cannotTell(
      cursor,
      'neighbour',
      `the network namespace of ${owner.netnsId}, which should answer for ${formatAddress(nextHop)}, was not recorded`,
      { facts: { what: `network namespace ${owner.netnsId}` } },
    );
  }
  const leaves = isNic(device) && world.peer({ netns: cursor.netns, device }) === undefined;
  if (leaves && owner === undefined && !isDead(entry)) {
    const astray = leavesCluster(world, cursor, device, formatAddress(nextHop));
    if (astray !== undefined) return astray;
    return cannotTell(
      cursor,
      'neighbour',
      `the packet leaves by ${device.name} towards ${formatAddress(nextHop)}, which is no node of the cluster`,
      { facts: { what: `the network beyond ${formatAddress(nextHop)}`, left: formatAddress(nextHop) } },
    );
  }
  if (isDead(entry)) return unresolved(cursor, device, nextHop, entry);
  return lose(
    cursor,
    'neighbour',
    'no-host-for-address',
    `nobody on ${device.name} has ${formatAddress(nextHop)}`,
    { facts: { nextHop: formatAddress(nextHop), device: device.name, deviceKind: device.kind } },
  );
}

/** arp_solicit(): the packet's source where it is the asker's own, else an address of the device. */
function askersAddress(cursor: Cursor, device: Device): Address | undefined {
  const { netns, packet } = cursor;
  if (isLocal(netns, packet.src) === true) return packet.src;
  return device.addresses.find((own) => own.address.family === packet.src.family)?.address;
}

/** arp_process(): whether the station answers a question for the address, and as what. */
function answersFor(
  world: World,
  station: Port,
  wanted: Address,
  asker: Address | undefined,
): string | undefined {
  if (wanted.family === 6) return world.carries(station.netns, wanted) ? 'has it' : undefined;
  // A reverse-path filter may refuse the question, but the station's own questions teach its address as well: the packet
  // itself is judged where it arrives.
  if (isLocal(station.netns, wanted) === true) {
    if (!ignoresArp(world, station, wanted)) return 'has it';
    return undefined;
  }
  return proxies(station, wanted, asker) ? 'answers for it (proxy_arp)' : undefined;
}

const arpSetting = (station: Port, key: string): number => {
  const get = (device: string) =>
    Number(sysctl(station.netns, `net.ipv4.conf.${sysctlDevice(device)}.${key}`) ?? 0);
  return Math.max(get('all'), get(station.device.name));
};

/** arp_ignore(): 1 answers only for addresses of the asked device, 2 also wants the asker in their network, 8 never. */
function ignoresArp(world: World, station: Port, wanted: Address): boolean {
  const mode = arpSetting(station, 'arp_ignore');
  if (mode === 0) return false;
  const own = world.device(station.netns, station.device.name)?.addresses ?? [];
  return mode === 8 || !own.some((entry) => sameAddress(entry.address, wanted));
}

/** arp_fwd_proxy(): only a device with proxy_arp that forwards, for what is routed out of another device. */
function proxies(station: Port, wanted: Address, asker: Address | undefined): boolean {
  if (arpSetting(station, 'proxy_arp') === 0) return false;
  const { netns, device } = station;
  if (sysctl(netns, `net.ipv4.conf.${sysctlDevice(device.name)}.forwarding`) === '0') return false;
  const routed = lookupRoute(netns, { dst: wanted, src: asker, iif: device.name });
  if (routed.state === 'unknown') return true;
  return routed.state === 'found' && routed.route.type === 'unicast' && routed.nexthop.device !== device.name;
}

/** Devices that a broadcast sent on `port` reaches. */
function stationsOn(world: World, port: Port): readonly Port[] {
  if (port.device.kind === 'bridge') return behindBridge(world, port, undefined);
  const peer = world.peer(port);
  if (peer !== undefined) return acrossCable(world, peer);
  return isNic(port.device) ? world.underlayStations(port.netns) : [];
}

/** The far end of a veth: itself, or, where it is a bridge port, the bridge and all that is behind its other ports. */
function acrossCable(world: World, peer: Port): readonly Port[] {
  if (peer.device.master === undefined) return [peer];
  const bridge = world.device(peer.netns, peer.device.master);
  if (bridge === undefined) return [];
  const bridgePort = { netns: peer.netns, device: bridge };
  return [bridgePort, ...behindBridge(world, bridgePort, peer.device.name)];
}

function behindBridge(world: World, bridge: Port, except: string | undefined): readonly Port[] {
  const stations: Port[] = [];
  for (const device of world.devices(bridge.netns).values()) {
    if (device.master !== bridge.device.name || device.name === except || !device.up) continue;
    const peer = world.peer({ netns: bridge.netns, device });
    if (peer !== undefined) stations.push(peer);
  }
  return stations;
}

/** Puts a frame on a device. */
export function frameOut(world: World, cursor: Cursor, device: Device, dstMac: string): readonly Stage[] {
  if (device.kind === 'vxlan') return encapsulate(world, cursor, device, dstMac);
  if (device.kind === 'bridge') return [throughBridge(world, cursor, device, dstMac, undefined)];
  const peer = world.peer({ netns: cursor.netns, device });
  if (peer !== undefined) return [overCable(cursor, device, peer, dstMac)];
  if (isNic(device)) return [overUnderlay(world, cursor, device, dstMac)];
  return [
    cannotTell(
      cursor,
      'receive',
      `device ${device.name} is of kind ${device.kind}, which is not understood yet`,
      {
        facts: { what: `devices of kind ${device.kind}` },
        sources: [device.source],
      },
    ),
  ];
}

/** is_skb_forwardable() leaves room for a VLAN tag, whether or not there is one. */
const vlanBytes = 4;

function overCable(cursor: Cursor, device: Device, peer: Port, dstMac: string): Stage {
  if (!peer.device.up) {
    return lose(cursor, 'receive', 'device-down', `${peer.device.name} of ${peer.netns.id} is down`, {
      facts: { device: peer.device.name, deviceKind: peer.device.kind, netns: peer.netns.id },
      sources: [peer.device.source],
    });
  }
  if (wireBytes(cursor) > peer.device.mtuBytes + vlanBytes) {
    // is_skb_forwardable(): a veth drops what is larger than its own MTU, without a word.
    return lose(
      cursor,
      'mtu',
      'mtu-exceeded',
      `${wireBytes(cursor)} bytes do not fit ${peer.device.name} of ${peer.netns.id} (MTU ${peer.device.mtuBytes})`,
      {
        facts: {
          device: peer.device.name,
          mtu: String(peer.device.mtuBytes),
          size: String(wireBytes(cursor)),
          icmp: 'none: a veth drops silently',
        },
        sources: [peer.device.source],
      },
    );
  }
  return {
    at: 'frame-in',
    cursor: enter(cursor, peer.netns, peer.device.name, device.name),
    device: peer.device,
    dstMac,
  };
}

/** Between nodes: the snapshot does not show the fabric, so it is taken to deliver to whoever has the MAC. */
function overUnderlay(world: World, cursor: Cursor, device: Device, dstMac: string): Stage {
  const stations = world.underlayStations(cursor.netns);
  const target = stations.find((station) => station.device.mac === dstMac);
  if (target === undefined) {
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
  const entered = enter(whole, target.netns, target.device.name, device.name);
  if (wireBytes(entered) > target.device.mtuBytes) {
    return {
      at: 'frame-in',
      cursor: doubt(
        entered,
        'mtu',
        `${wireBytes(entered)} bytes arrive at ${target.device.name} (MTU ${target.device.mtuBytes}): a NIC may drop them`,
        { facts: { device: target.device.name, mtu: String(target.device.mtuBytes) } },
      ),
      device: target.device,
      dstMac,
    };
  }
  return { at: 'frame-in', cursor: entered, device: target.device, dstMac };
}

/** A packet for a pod that leaves the cluster although the nodes route pods themselves: the specific route is missing. */
function leavesCluster(world: World, cursor: Cursor, device: Device, to: string): Stage | undefined {
  const { packet, netns } = cursor;
  const home = world.owners(packet.dst)[0];
  if (home?.pod === undefined || home.node === netns.node || !world.routesOnNodes(packet.dst.family))
    return undefined;
  const cidr = world.node(home.node)?.podCidrs.find((c) => contains(c, packet.dst));
  const what = cidr === undefined ? formatAddress(packet.dst) : `${formatPrefix(cidr)} (${home.node})`;
  const route = cursor.steps.findLast((s) => s.kind === 'route');
  return lose(
    cursor,
    'route',
    'no-route',
    `${netns.node} has no route to ${what}: packets leave the cluster by ${device.name} to ${to}`,
    {
      facts: { destination: formatAddress(packet.dst), owner: home.node },
      ...(route?.sources === undefined ? {} : { sources: route.sources }),
    },
  );
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
      return [{ at: 'ip-in', cursor, device: bridge, physIn: device.name }];
    return bridged(world, cursor, bridge, dstMac, device.name);
  }
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

/**
 * A frame that stays on the bridge. With bridge-nf-call-iptables=1 it passes the IP hooks as well (br_netfilter),
 * which is how rules and un-NAT reach traffic between two pods of one node.
 */
function bridged(
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
    return [throughBridge(world, noted, bridge, dstMac, inPort)];
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
  const ports = [...world.devices(netns).values()].filter((d) => d.master === bridge.name);
  // An aged entry only means flooding: the port is then found by the address behind it.
  return (
    ports.find((p) => p.name === learned?.device) ??
    ports.find((p) => world.peer({ netns, device: p })?.device.mac === dstMac)
  );
}

/** A bridge takes up frames for any of its ports' own addresses too: they are local entries of its FDB. */
const isOwnMac = (world: World, cursor: Cursor, bridge: Device, mac: string): boolean =>
  [...world.devices(cursor.netns).values()].some((d) => d.master === bridge.name && d.mac === mac);

/** Forwards a frame inside a bridge to the port whose far end has the MAC. */
function throughBridge(
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
  const moved = pass(cursor, 'bridge', `${bridge.name} port ${out.name}`);
  const peer = world.peer({ netns, device: out });
  if (peer === undefined) {
    return cannotTell(moved, 'bridge', `the far end of ${out.name} was not recorded`, {
      facts: { what: `the namespace behind ${netns.id} ${out.name}` },
    });
  }
  return overCable(moved, out, peer, dstMac);
}

const portOf = (cursor: Cursor, device: string): BridgePort | undefined =>
  cursor.netns.bridgePorts.state === 'known'
    ? cursor.netns.bridgePorts.value.find((port) => port.device === device)
    : undefined;

const notForwarding = (cursor: Cursor, port: Device, state: string): Stage =>
  blockedPort(cursor, port, `bridge port ${port.name} is in state ${state}`);

const blockedPort = (cursor: Cursor, port: Device, text: string): Stage =>
  lose(cursor, 'bridge', 'device-down', text, {
    facts: { device: port.name, deviceKind: port.kind },
    sources: [port.source],
  });

const hairpin = (cursor: Cursor, port: string): boolean =>
  cursor.netns.bridgePorts.state === 'unknown' ||
  cursor.netns.bridgePorts.value.some((p) => p.device === port && p.hairpin);
