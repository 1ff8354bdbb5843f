/** VXLAN: a frame becomes the payload of a UDP packet between nodes, and a frame again on the other side. */
import type { Device, FdbEntry, Netns, Vxlan } from '../model/netns.ts';
import { type Address, formatAddress, isUnspecified } from '../net/address.ts';
import type { Packet } from '../net/packet.ts';
import {
  type Cursor,
  cannotTell,
  doubt,
  lose,
  pass,
  type Stage,
  type TunnelContext,
  wireBytes,
} from './cursor.ts';
import type { World } from './world.ts';

/** Outer Ethernet, IP, UDP and VXLAN headers: 14 + 20 (40) + 8 + 8. */
const vxlanOverheadBytes = (family: 4 | 6): number => (family === 4 ? 50 : 70);

const floodMac = '00:00:00:00:00:00';

/** Wraps the packet for the node that the device's FDB names. */
export function encapsulate(world: World, cursor: Cursor, device: Device, dstMac: string): readonly Stage[] {
  const { netns } = cursor;
  const { vxlan } = device;
  if (vxlan === undefined) {
    return [
      cannotTell(cursor, 'encap', `${device.name} is a vxlan device whose parameters were not recorded`, {
        facts: { what: `ip -d link of ${netns.id}` },
        sources: [device.source],
      }),
    ];
  }
  if (netns.fdb.state === 'unknown') {
    return [
      cannotTell(cursor, 'encap', `forwarding entries of ${device.name} are not known: ${netns.fdb.why}`, {
        facts: { what: `bridge fdb of ${netns.id}` },
      }),
    ];
  }
  const entries = netns.fdb.value.filter((e) => e.device === device.name && e.remote !== undefined);
  const exact = entries.filter((e) => e.mac === dstMac);
  // Unknown MACs go to every all-zero entry, or to the device's default remote (vxlan_xmit, vxlan_find_mac).
  const used = exact.length > 0 ? exact : entries.filter((e) => e.mac === floodMac);
  const remotes = used.length > 0 ? used : defaultRemote(device);
  if (remotes.length === 0) {
    return [
      lose(cursor, 'encap', 'fdb-missing', `${device.name} has no forwarding entry for ${dstMac}`, {
        facts: { mac: dstMac, device: device.name },
      }),
    ];
  }
  return remotes.flatMap((entry) => outer(world, cursor, device, dstMac, entry));
}

function defaultRemote(device: Device): FdbEntry[] {
  const remote = device.vxlan?.remote;
  if (remote === undefined || isUnspecified(remote)) return [];
  return [
    { mac: floodMac, device: device.name, remote, self: true, state: 'default', source: device.source },
  ];
}

function outer(world: World, cursor: Cursor, device: Device, dstMac: string, entry: FdbEntry): Stage[] {
  const { vxlan } = device;
  const remote = entry.remote;
  if (vxlan === undefined || remote === undefined) return [];
  const inner = cursor.packet;
  const local = vxlan.local ?? underlayAddress(world, cursor.netns, remote);
  if (local === undefined) {
    return [
      cannotTell(cursor, 'encap', `the local tunnel address of ${device.name} is not known`, {
        facts: { what: `ip -d link of ${cursor.netns.id}` },
      }),
    ];
  }
  const packet: Packet = {
    src: local,
    dst: remote,
    protocol: 'udp',
    // A hash of the inner flow picks it from the ephemeral range (udp_flow_src_port); no rule should depend on it.
    srcPort: 49152,
    dstPort: vxlan.port,
    // The MTU counts from the outer IP header, without the outer Ethernet header.
    lengthBytes: wireBytes(cursor) + vxlanOverheadBytes(remote.family),
    df: vxlan.df === 'set' || (vxlan.df === 'inherit' && inner.df) || remote.family === 6,
    ttl: 64,
    mark: inner.mark,
    inner: { packet: inner, vni: vxlan.vni, dstMac },
  };
  const nextNode = vtepOwner(world, cursor.netns, device, dstMac) ?? world.nodeFor(inner.dst);
  const tunnel: TunnelContext = {
    device: device.name,
    fromNode: cursor.netns.node,
    dstMac,
    sources: [entry.source],
    ...(nextNode === undefined ? {} : { expectedNode: nextNode }),
    ...(cursor.fragmentBytes === undefined ? {} : { fragmentBytes: cursor.fragmentBytes }),
  };
  const text = `${device.name} VNI ${vxlan.vni}: ${dstMac} is behind ${formatAddress(remote)}, UDP ${vxlan.port}`;
  const wrapped = pass(cursor, 'encap', text, {
    sources: [entry.source],
    facts: {
      device: device.name,
      remote: formatAddress(remote),
      mac: dstMac,
      ...misdirection(world, remote, nextNode),
    },
  });
  const { fragmentBytes: _, ...whole } = wrapped;
  return [{ at: 'send', cursor: { ...whole, packet, tunnels: [...wrapped.tunnels, tunnel] } }];
}

/** Says so where the entry's remote is no address of the node that the frame is meant for. */
function misdirection(world: World, remote: Address, expected: string | undefined): Record<string, string> {
  const own = expected === undefined ? [] : (world.node(expected)?.internalAddresses ?? []);
  const right = own.find((a) => a.family === remote.family);
  if (expected === undefined || right === undefined || right.value === remote.value) return {};
  return { expectedNode: expected, expectedRemote: formatAddress(right) };
}

/** The node for whose tunnel address the neighbour table gives this MAC. */
function vtepOwner(world: World, netns: Netns, device: Device, mac: string): string | undefined {
  if (netns.neighbours.state === 'unknown') return undefined;
  const entry = netns.neighbours.value.find((n) => n.device === device.name && n.mac === mac);
  return entry === undefined ? undefined : world.nodeByPodCidr(entry.address);
}

function underlayAddress(world: World, netns: Netns, remote: Address): Address | undefined {
  return world.underlay(netns)?.addresses.find((a) => a.address.family === remote.family)?.address;
}

/** Opens a tunnel packet that was delivered to a node's UDP port. */
export function decapsulate(cursor: Cursor): Stage {
  const { netns, packet } = cursor;
  const { inner } = packet;
  const tunnel = cursor.tunnels.at(-1);
  if (inner === undefined || tunnel === undefined) throw new TypeError('not a tunnel packet');
  if (netns.devices.state === 'unknown') {
    return cannotTell(cursor, 'decap', `devices of ${netns.id} are not known: ${netns.devices.why}`, {
      facts: { what: `devices of ${netns.id}` },
    });
  }
  const here = { node: netns.node, vni: String(inner.vni), port: String(packet.dstPort) };
  // A device has one socket, of its own addresses' family: IPv4 and IPv6 tunnels may share port and VNI (vxlan_sock_add).
  const tunnels = netns.devices.value.filter(
    (d) => d.vxlan !== undefined && tunnelFamily(d.vxlan) === packet.dst.family,
  );
  const onPort = tunnels.filter((d) => d.vxlan?.port === packet.dstPort);
  const device = onPort.find((d) => d.vxlan?.vni === inner.vni);
  if (device === undefined) {
    const other = tunnels[0];
    if (other === undefined) {
      return lose(
        cursor,
        'decap',
        'tunnel-endpoint-missing',
        `${netns.node} has no vxlan device: nothing takes UDP ${packet.dstPort}`,
        { facts: here },
      );
    }
    const has = `VNI ${other.vxlan?.vni}, UDP ${other.vxlan?.port}`;
    return lose(
      cursor,
      'decap',
      'tunnel-parameters-differ',
      `${netns.node}'s ${other.name} has ${has}; the packet has VNI ${inner.vni}, UDP ${packet.dstPort}`,
      { facts: { ...here, has }, sources: [other.source] },
    );
  }
  if (!device.up) {
    // vxlan_stop() closes the socket: the packet meets a closed port.
    return lose(cursor, 'decap', 'tunnel-endpoint-down', `${device.name} of ${netns.node} is down`, {
      facts: { ...here, device: device.name },
      sources: [device.source],
    });
  }
  const { fragmentBytes: _, ...reassembled } = cursor;
  const opened: Cursor = {
    ...pass(reassembled, 'decap', `${device.name} VNI ${inner.vni} opens the packet`, {
      sources: [device.source],
      facts: { device: device.name, by: cursor.inDevice ?? '' },
    }),
    packet: { ...inner.packet, mark: 0 },
    ...(tunnel.fragmentBytes === undefined ? {} : { fragmentBytes: tunnel.fragmentBytes }),
    tunnels: cursor.tunnels.slice(0, -1),
  };
  if (device.mac === undefined) {
    return {
      at: 'ip-in',
      cursor: doubt(opened, 'decap', `the MAC of ${device.name} was not recorded`, {
        facts: { what: `devices of ${netns.id}` },
      }),
      device,
    };
  }
  if (device.mac !== inner.dstMac) return wrongVtep(opened, device, tunnel, inner.dstMac);
  return { at: 'ip-in', cursor: { ...opened, inDevice: device.name }, device };
}

const tunnelFamily = (vxlan: Vxlan): 4 | 6 => (vxlan.local ?? vxlan.remote)?.family ?? 4;

/** The inner frame is for another MAC: either it went to the wrong node, or the sender knows an old MAC of the right one. */
function wrongVtep(cursor: Cursor, device: Device, tunnel: TunnelContext, mac: string): Stage {
  const { node } = cursor.netns;
  const misled = tunnel.expectedNode !== undefined && tunnel.expectedNode !== node;
  return lose(
    cursor,
    'decap',
    misled ? 'fdb-wrong' : 'vtep-mac-mismatch',
    misled
      ? `${tunnel.fromNode}'s ${tunnel.device} sends ${mac} to ${node}, but it belongs to ${tunnel.expectedNode}`
      : `${tunnel.fromNode} addresses ${mac}, but ${node}'s ${device.name} has ${device.mac}`,
    {
      facts: {
        mac,
        expectedMac: device.mac ?? '',
        device: tunnel.device,
        node: tunnel.fromNode,
        peer: misled ? (tunnel.expectedNode ?? node) : node,
        remoteNode: node,
      },
      sources: [...tunnel.sources, device.source],
    },
  );
}
