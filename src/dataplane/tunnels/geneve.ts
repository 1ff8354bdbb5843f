/** Geneve: like VXLAN, but each device leads to one remote, and packets are told apart by it as well. Unverified: see docs/simulate.md. */
import type { Device } from '../../model/netns.ts';
import type { Geneve } from '../../model/tunnel.ts';
import { formatAddress, sameAddress } from '../../net/address.ts';
import { type Cursor, lose, type Stage } from '../cursor.ts';
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

/** Without options: devices that another program directs are the only ones that send some. */
const geneveBytes = 8;

/** geneve_xmit_skb() */
export function encapsulate(
  world: World,
  cursor: Cursor,
  device: Device,
  geneve: Geneve,
  dstMac: string,
): readonly Stage[] {
  if (geneve.external) return [directedElsewhere(cursor, 'encap', device)];
  const { remote } = geneve;
  if (remote === undefined) {
    const text = `${device.name} has no remote address to send to`;
    return [lose(cursor, 'encap', 'fdb-missing', text, { facts: { mac: dstMac, device: device.name } })];
  }
  const { packet } = cursor;
  const expectedNode = world.nodeFor(packet.dst);
  return wrap(world, cursor, device, {
    inner: { kind: 'geneve', packet, vni: geneve.vni, dstMac },
    remote,
    protocol: 'udp',
    srcPort: 49152,
    dstPort: geneve.port,
    overheadBytes: headerBytes(remote.family) + udpBytes + geneveBytes + ethernetBytes,
    df: geneve.df === 'set' || (geneve.df === 'inherit' && packet.df),
    mark: packet.mark,
    text: `${device.name} VNI ${geneve.vni} leads to ${formatAddress(remote)}, UDP ${geneve.port}`,
    facts: { mac: dstMac, ...misdirection(world, remote, expectedNode) },
    dstMac,
    expectedNode,
    tooLarge: device.master === undefined ? 'route' : 'icmp',
  });
}

/** geneve_rx(), geneve_lookup(): port, VNI and the sender's address. */
export function decapsulate(
  cursor: Cursor,
  devices: readonly Device[],
  inner: { readonly vni: number; readonly dstMac: string },
): Stage {
  const { packet, netns } = cursor;
  const tunnels = devices.flatMap((device) =>
    device.tunnel?.kind === 'geneve' ? [{ device, geneve: device.tunnel }] : [],
  );
  const facts = { vni: String(inner.vni), port: String(packet.dstPort) };
  const onPort = tunnels.filter(({ geneve }) => geneve.port === packet.dstPort);
  const external = onPort.find(({ geneve }) => geneve.external);
  if (external !== undefined) return directedElsewhere(cursor, 'decap', external.device);
  const found = onPort.find(
    ({ geneve }) =>
      geneve.vni === inner.vni && geneve.remote !== undefined && sameAddress(geneve.remote, packet.src),
  );
  if (found === undefined) {
    const other = onPort[0] ?? tunnels[0];
    if (other === undefined)
      return nobodyOpens(cursor, `geneve device: nothing takes UDP ${packet.dstPort}`, facts);
    const { geneve, device } = other;
    const has = `VNI ${geneve.vni}, UDP ${geneve.port}${geneve.remote === undefined ? '' : `, remote ${formatAddress(geneve.remote)}`}`;
    const text = `${netns.node}'s ${device.name} has ${has}; the packet has VNI ${inner.vni}, UDP ${packet.dstPort} and comes from ${formatAddress(packet.src)}`;
    return parametersDiffer(cursor, device, text, { ...facts, has });
  }
  if (!found.device.up) return endpointDown(cursor, found.device, facts);
  const tunnel = cursor.tunnels.at(-1);
  const opened = open(cursor, found.device, `${found.device.name} VNI ${inner.vni} opens the packet`);
  return takeFrame(opened, found.device, tunnel, inner.dstMac);
}
