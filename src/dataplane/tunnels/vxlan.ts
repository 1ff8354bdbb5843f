/** VXLAN: a frame becomes the payload of a UDP packet between nodes, and a frame again on the other side. */
import type { Device, FdbEntry, Netns } from '../../model/netns.ts';
import { type Vxlan, vxlanOf } from '../../model/tunnel.ts';
import { formatAddress } from '../../net/address.ts';
import { type Cursor, cannotTell, lose, type Stage } from '../cursor.ts';
import type { World } from '../world.ts';
import { takeFrame } from './frame.ts';
import {
  directedElsewhere,
  endpointDown,
  ethernetBytes,
  headerBytes,
  misdirection,
  nobodyOpens,
  open,
  parametersDiffer,
  udpBytes,
  wrap,
} from './wrap.ts';

const vxlanBytes = 8;
const floodMac = '00:00:00:00:00:00';

/** Wraps the frame for the node that the device's FDB names. */
export function encapsulate(
  world: World,
  cursor: Cursor,
  device: Device,
  vxlan: Vxlan,
  dstMac: string,
): readonly Stage[] {
  const { netns } = cursor;
  if (vxlan.external) return [directedElsewhere(cursor, 'encap', device)];
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
  const remotes = used.length > 0 ? used : defaultRemote(device, vxlan);
  if (remotes.length === 0) {
    return [
      lose(cursor, 'encap', 'fdb-missing', `${device.name} has no forwarding entry for ${dstMac}`, {
        facts: { mac: dstMac, device: device.name },
      }),
    ];
  }
  return remotes.flatMap((entry) => towards(world, cursor, device, vxlan, dstMac, entry));
}

function defaultRemote(device: Device, { remote }: Vxlan): FdbEntry[] {
  if (remote === undefined) return [];
  return [
    { mac: floodMac, device: device.name, remote, self: true, state: 'default', source: device.source },
  ];
}

function towards(
  world: World,
  cursor: Cursor,
  device: Device,
  vxlan: Vxlan,
  dstMac: string,
  { remote, source }: FdbEntry,
): readonly Stage[] {
  if (remote === undefined) return [];
  const { packet } = cursor;
  const expectedNode = vtepOwner(world, cursor.netns, device, dstMac) ?? world.nodeFor(packet.dst);
  return wrap(world, cursor, device, {
    inner: { kind: 'vxlan', packet, vni: vxlan.vni, dstMac },
    remote,
    local: vxlan.local,
    protocol: 'udp',
    // A hash of the inner flow picks it from the ephemeral range (udp_flow_src_port); no rule should depend on it.
    srcPort: 49152,
    dstPort: vxlan.port,
    overheadBytes: headerBytes(remote.family) + udpBytes + vxlanBytes + ethernetBytes,
    df: vxlan.df === 'set' || (vxlan.df === 'inherit' && packet.df),
    mark: packet.mark,
    text: `${device.name} VNI ${vxlan.vni}: ${dstMac} is behind ${formatAddress(remote)}, UDP ${vxlan.port}`,
    facts: { mac: dstMac, ...misdirection(world, remote, expectedNode) },
    sources: [source],
    dstMac,
    expectedNode,
    // skb_tunnel_check_pmtu() answers for ports of a bridge; others only note the size on the sender's route.
    tooLarge: device.master === undefined ? 'route' : 'icmp',
  });
}

/** The node for whose tunnel address the neighbour table gives this MAC. */
function vtepOwner(world: World, netns: Netns, device: Device, mac: string): string | undefined {
  if (netns.neighbours.state === 'unknown') return undefined;
  const entry = netns.neighbours.value.find((n) => n.device === device.name && n.mac === mac);
  return entry === undefined ? undefined : world.nodeByPodCidr(entry.address);
}

/** A device has one socket, of its own addresses' family: IPv4 and IPv6 tunnels may share port and VNI (vxlan_sock_add). */
const familyOf = (vxlan: Vxlan): 4 | 6 => (vxlan.local ?? vxlan.remote)?.family ?? 4;

/** vxlan_rcv(): the device with the packet's port and VNI takes the frame. */
export function decapsulate(
  cursor: Cursor,
  devices: readonly Device[],
  inner: { readonly vni: number; readonly dstMac: string },
): Stage {
  const { packet, netns } = cursor;
  const tunnels = devices.flatMap((device) => {
    const vxlan = vxlanOf(device);
    return vxlan === undefined || familyOf(vxlan) !== packet.dst.family ? [] : [{ device, vxlan }];
  });
  const facts = { vni: String(inner.vni), port: String(packet.dstPort) };
  const onPort = tunnels.filter(({ vxlan }) => vxlan.port === packet.dstPort);
  const external = onPort.find(({ vxlan }) => vxlan.external);
  if (external !== undefined) return directedElsewhere(cursor, 'decap', external.device);
  const found = onPort.find(({ vxlan }) => vxlan.vni === inner.vni);
  if (found === undefined) {
    const [other] = tunnels;
    if (other === undefined)
      return nobodyOpens(cursor, `vxlan device: nothing takes UDP ${packet.dstPort}`, facts);
    const has = `VNI ${other.vxlan.vni}, UDP ${other.vxlan.port}`;
    const text = `${netns.node}'s ${other.device.name} has ${has}; the packet has VNI ${inner.vni}, UDP ${packet.dstPort}`;
    return parametersDiffer(cursor, other.device, text, { ...facts, has });
  }
  // vxlan_stop() closes the socket: the packet meets a closed port.
  if (!found.device.up) return endpointDown(cursor, found.device, facts);
  const tunnel = cursor.tunnels.at(-1);
  const opened = open(cursor, found.device, `${found.device.name} VNI ${inner.vni} opens the packet`);
  return takeFrame(opened, found.device, tunnel, inner.dstMac);
}
