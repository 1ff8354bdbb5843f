/** Who has an address on a segment: the neighbour table, and where that is silent, ARP as the other stations would answer it. */
import type { Device, Neighbour } from '../model/netns.ts';
import { type Address, formatAddress, sameAddress } from '../net/address.ts';
import { contains, formatPrefix } from '../net/prefix.ts';
import { type Cursor, cannotTell, doubt, lose, pass, type Stage, unsure } from './cursor.ts';
import { deviceSetting, isLocal, lookupRoute } from './routing.ts';
import { addressKey } from './routing-tables.ts';
import { behind, lowerOf, nicPortsOf, sharers, siblings, wireStations } from './segments.ts';
import { carriesFrames } from './tunnels/kinds.ts';
import { isNic, type Port, type World } from './world.ts';

export type Resolved = { readonly cursor: Cursor; readonly mac: string } | Stage;

export function resolveNeighbour(
  world: World,
  cursor: Cursor,
  device: Device,
  nextHop: Address,
): readonly Resolved[] {
  const { netns } = cursor;
  if (netns.neighbours.state === 'unknown' && !carriesFrames(device)) {
    // A live kernel would ask the network, and so does the walk; a permanent entry would be believed without asking.
    const text = `neighbours of ${netns.id} are not known: ${netns.neighbours.why}`;
    const noted = doubt(cursor, 'neighbour', text, { facts: { what: `neighbours of ${netns.id}` } });
    return askNetwork(world, unsure(noted), device, nextHop, undefined);
  }
  const entries = netns.neighbours.state === 'known' ? netns.neighbours.value : [];
  const entry = neighbourAt(entries, device.name, nextHop);
  if (entry?.mac !== undefined && !isDead(entry)) {
    const text = `${formatAddress(nextHop)} is at ${entry.mac}`;
    return [{ mac: entry.mac, cursor: pass(cursor, 'neighbour', text, { sources: [entry.source] }) }];
  }
  if (carriesFrames(device) && floodedTo(world, { netns, device }).length === 0) {
    if (netns.neighbours.state === 'unknown') {
      const text = `neighbours of ${netns.id} are not known: ${netns.neighbours.why}`;
      return [cannotTell(cursor, 'neighbour', text, { facts: { what: `neighbours of ${netns.id}` } })];
    }
    return [unresolved(cursor, device, nextHop, entry)];
  }
  return askNetwork(world, cursor, device, nextHop, entry);
}

type NeighbourIndex = ReadonlyMap<string, ReadonlyMap<number | bigint, Neighbour>>;

/** By the list itself: a node has a neighbour for each of its pods. */
const neighbourIndexes = new WeakMap<readonly Neighbour[], NeighbourIndex>();

/** The first entry that is no proxy's. */
function neighbourAt(entries: readonly Neighbour[], device: string, address: Address): Neighbour | undefined {
  let index = neighbourIndexes.get(entries);
  if (index === undefined) {
    const made = new Map<string, Map<number | bigint, Neighbour>>();
    for (const entry of entries) {
      if (entry.proxy) continue;
      const own = made.get(entry.device) ?? new Map<number | bigint, Neighbour>();
      made.set(entry.device, own);
      const key = addressKey(entry.address);
      if (!own.has(key)) own.set(key, entry);
    }
    index = made;
    neighbourIndexes.set(entries, index);
  }
  return index.get(device)?.get(addressKey(address));
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
  // ndisc_recv_na() does not believe an advertisement of an address that its own device has.
  if (nextHop.family === 6 && device.addresses.some((own) => sameAddress(own.address, nextHop)))
    return [unresolved(cursor, device, nextHop, entry)];
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
  const unseen = world.unseenFarEnd({ netns: cursor.netns, device });
  if (unseen !== undefined) {
    const text = `what ${device.name} leads to is not known: ${unseen}`;
    return cannotTell(cursor, 'neighbour', text, { facts: { what: `devices of ${cursor.netns.node}` } });
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
  const hidden = besideOnHost(world, { netns: cursor.netns, device }, nextHop);
  if (hidden !== undefined && !isDead(entry)) {
    const text = `nobody on ${device.name} has ${formatAddress(nextHop)}: ${hidden.device.name} of ${hidden.netns.id} is on the same host's ${lowerName(world, { netns: cursor.netns, device })}, and they do not hear each other`;
    return lose(cursor, 'neighbour', 'no-host-for-address', text, {
      facts: { nextHop: formatAddress(nextHop), device: device.name, deviceKind: device.kind },
      sources: [device.source, hidden.device.source],
    });
  }
  const leaves =
    (isNic(device) && world.peer({ netns: cursor.netns, device }) === undefined) ||
    device.stacked !== undefined;
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

/** Who has the address beside the device on its own host: over the same lower device, under it, or over it. */
function besideOnHost(world: World, port: Port, wanted: Address): Port | undefined {
  const lower = lowerOf(world, port) ?? port;
  const beside = [...(lower === port ? [] : [lower]), ...sharers(world, lower)];
  return beside.find((other) => other.device.addresses.some((own) => sameAddress(own.address, wanted)));
}

const lowerName = (world: World, port: Port): string => (lowerOf(world, port) ?? port).device.name;

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
  const get = (device: string) => Number(deviceSetting(station.netns, device, key) ?? 0);
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
  if (deviceSetting(netns, device.name, 'forwarding') === '0') return false;
  const routed = lookupRoute(netns, { dst: wanted, src: asker, iif: device.name });
  if (routed.state === 'unknown') return true;
  return routed.state === 'found' && routed.route.type === 'unicast' && routed.nexthop.device !== device.name;
}

/** Devices that a broadcast sent on `port` reaches. */
function stationsOn(world: World, port: Port): readonly Port[] {
  if (port.device.kind === 'bridge') return onBridge(world, port, undefined);
  if (carriesFrames(port.device)) return floodedTo(world, port);
  if (port.device.stacked !== undefined) return [...siblings(world, port), ...beyondLower(world, port)];
  const peer = world.peer(port);
  if (peer !== undefined) return acrossCable(world, peer);
  return isNic(port.device) ? wireStations(world, port) : [];
}

/** What a stacked device reaches by its lower one; never that device itself. */
function beyondLower(world: World, port: Port): readonly Port[] {
  const lower = lowerOf(world, port);
  if (lower === undefined || !lower.device.up) return [];
  return port.device.stacked?.kind === 'vlan' ? wireStations(world, port) : stationsOn(world, lower);
}

/** The far end of a veth: itself with what is stacked on it, or, as a bridge port, the bridge and all behind its other ports. */
function acrossCable(world: World, peer: Port): readonly Port[] {
  if (peer.device.master === undefined) return [peer, ...sharers(world, peer)];
  const bridge = world.device(peer.netns, peer.device.master);
  if (bridge === undefined) return [];
  const bridgePort = { netns: peer.netns, device: bridge };
  return [bridgePort, ...onBridge(world, bridgePort, peer.device.name)];
}

/** All behind a bridge's ports, the wire among them where one is a NIC. */
const onBridge = (world: World, bridge: Port, except: string | undefined): readonly Port[] => [
  ...behind(world, bridge, except),
  ...(nicPortsOf(world, bridge).length > 0 ? wireStations(world, bridge) : []),
];

/** The tunnel devices that get a frame for everybody: behind the FDB's all-zero entries, or the device's own remote. */
function floodedTo(world: World, { netns, device }: Port): readonly Port[] {
  const { tunnel } = device;
  if (tunnel?.kind !== 'vxlan' && tunnel?.kind !== 'geneve') return [];
  if (tunnel.external || netns.fdb.state === 'unknown') return [];
  const entries = netns.fdb.value.filter((e) => e.device === device.name && e.mac === '00:00:00:00:00:00');
  const own = tunnel.remote === undefined ? [] : [tunnel.remote];
  const remotes = [...entries.flatMap(({ remote }) => (remote === undefined ? [] : [remote])), ...own];
  return world
    .nodeNamespaces()
    .filter((other) => other.id !== netns.id && remotes.some((remote) => world.carries(other, remote)))
    .flatMap((other) =>
      [...world.devices(other).values()]
        .filter(
          ({ tunnel: far }) =>
            far?.kind === tunnel.kind && far.vni === tunnel.vni && far.port === tunnel.port,
        )
        .map((far) => ({ netns: other, device: far })),
    );
}

/** A packet for a pod that leaves the cluster although the nodes route pods themselves: the specific route is missing. */
export function leavesCluster(world: World, cursor: Cursor, device: Device, to: string): Stage | undefined {
  const { packet, netns } = cursor;
  const home = world.owners(packet.dst)[0];
  if (home?.pod === undefined || home.node === netns.node || !world.routesOnNodes(packet.dst.family))
    return undefined;
  // Of a node whose devices were not recorded nobody knows the MAC: the packet may well be on its way there.
  if (world.unseenNode() !== undefined) return undefined;
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
