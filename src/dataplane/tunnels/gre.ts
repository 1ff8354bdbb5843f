/** GRE, with IP packets or (gretap) whole frames inside. Unverified: see docs/simulate.md. */
import type { Device } from '../../model/netns.ts';
import type { Gre } from '../../model/tunnel.ts';
import { type Address, formatAddress } from '../../net/address.ts';
import type { Packet } from '../../net/packet.ts';
import { type Cursor, lose, type Stage } from '../cursor.ts';
import type { World } from '../world.ts';
import { chooseByEnds } from './ends.ts';
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
  takeUp,
  wrap,
} from './wrap.ts';

const greBytes = 4;

type Handed = { readonly nextHop: Address } | { readonly dstMac: string };

/** ipgre_xmit(), gre_tap_xmit() */
export function encapsulate(
  world: World,
  cursor: Cursor,
  device: Device,
  gre: Gre,
  handed: Handed,
): readonly Stage[] {
  if (gre.external) return [directedElsewhere(cursor, 'encap', device)];
  const { packet } = cursor;
  const remote = gre.remote ?? ('nextHop' in handed ? handed.nextHop : undefined);
  if (remote === undefined) {
    const text = `${device.name} has no remote address to send to`;
    return [lose(cursor, 'encap', 'fdb-missing', text, { facts: { device: device.name } })];
  }
  const dstMac = 'dstMac' in handed ? handed.dstMac : undefined;
  const expectedNode = world.nodeFor(packet.dst);
  return wrap(world, cursor, device, {
    inner: {
      kind: 'gre',
      packet,
      ...(gre.outKey === undefined ? {} : { key: gre.outKey }),
      ...(dstMac === undefined ? {} : { dstMac }),
    },
    remote,
    local: gre.local,
    protocol: 'gre',
    overheadBytes:
      headerBytes(remote.family) +
      greBytes +
      gre.outOptionsBytes +
      (dstMac === undefined ? 0 : ethernetBytes),
    df: gre.pmtuDiscovery || (packet.df && packet.src.family === 4),
    mark: packet.mark,
    text: `${device.name} (GRE${gre.outKey === undefined ? '' : ` key ${gre.outKey}`}) leads to ${formatAddress(remote)}`,
    facts: misdirection(world, remote, expectedNode),
    expectedNode,
    tooLarge: 'icmp',
    ...(dstMac === undefined ? {} : { dstMac }),
  });
}

/** ipgre_rcv(): ends, key and what is inside decide. */
export function decapsulate(
  cursor: Cursor,
  devices: readonly Device[],
  inner: { readonly packet: Packet; readonly key?: string; readonly dstMac?: string },
): Stage {
  const { packet, netns } = cursor;
  const all = devices.flatMap((device) =>
    device.tunnel?.kind === 'gre' ? [{ device, tunnel: device.tunnel }] : [],
  );
  const facts = { protocol: 'gre', from: formatAddress(packet.src) };
  const external = all.find(({ tunnel }) => tunnel.external);
  if (external !== undefined) return directedElsewhere(cursor, 'decap', external.device);
  const fitting = all.filter(
    ({ tunnel }) => tunnel.inKey === inner.key && tunnel.frames === (inner.dstMac !== undefined),
  );
  const chosen = chooseByEnds(fitting, packet);
  if (chosen === undefined) {
    const [other] = all;
    if (other === undefined) return nobodyOpens(cursor, 'gre device that opens the packet', facts);
    const has = `key ${other.tunnel.inKey ?? 'none'}, remote ${other.tunnel.remote === undefined ? 'any' : formatAddress(other.tunnel.remote)}`;
    const text = `${netns.node}'s ${other.device.name} has ${has}; the packet has key ${inner.key ?? 'none'} and comes from ${formatAddress(packet.src)}`;
    return parametersDiffer(cursor, other.device, text, { ...facts, has });
  }
  const { device } = chosen;
  if (!device.up) return endpointDown(cursor, device, facts);
  const tunnel = cursor.tunnels.at(-1);
  const opened = open(cursor, device, `${device.name} (GRE) opens the packet`);
  return inner.dstMac === undefined
    ? takeUp(opened, device)
    : takeFrame(opened, device, tunnel, inner.dstMac);
}
