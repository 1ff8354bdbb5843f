/** WireGuard: the peer is the one whose allowed-ips hold the destination; the other side checks the source by the same list. Unverified: see docs/simulate.md. */
import type { Device } from '../../model/netns.ts';
import type { WireGuardDevice, WireGuardPeer } from '../../model/tunnel.ts';
import { type Address, formatAddress } from '../../net/address.ts';
import { contains, formatPrefix, type Prefix } from '../../net/prefix.ts';
import { type Cursor, cannotTell, lose, pass, type Stage, wireBytes } from '../cursor.ts';
import type { World } from '../world.ts';
import {
  endpointDown,
  headerBytes,
  misdirection,
  nobodyOpens,
  open,
  parametersDiffer,
  takeUp,
  udpBytes,
  wrap,
} from './wrap.ts';

/** Type, receiver, counter and authentication tag: 4 + 4 + 8 + 16. */
const messageBytes = 32;
/** Payload is padded to this, but not beyond the device's MTU (calculate_skb_padding). */
const paddingBytes = 16;

/** wg_xmit() */
export function encapsulate(world: World, cursor: Cursor, device: Device): readonly Stage[] {
  const found = deviceOf(cursor, device.name, 'encap');
  if ('at' in found) return [found];
  const { packet } = cursor;
  const peer = peerFor(found.peers, packet.dst);
  if (peer === undefined) {
    const text = `no peer of ${device.name} has ${formatAddress(packet.dst)} among its allowed IPs (Required key not available)`;
    return [
      lose(cursor, 'encap', 'fdb-missing', text, {
        facts: {
          destination: formatAddress(packet.dst),
          device: device.name,
          deviceKind: device.kind,
        },
        sources: [found.source],
      }),
    ];
  }
  if (peer.endpoint === undefined) {
    const text = `the peer of ${device.name} for ${formatAddress(packet.dst)} has no endpoint: one is learned when it speaks first`;
    const facts = { what: `the endpoint of peer ${peer.publicKey}`, device: device.name };
    return [cannotTell(cursor, 'encap', text, { facts, sources: [peer.source] })];
  }
  const { address: remote, port } = peer.endpoint;
  const expectedNode = world.nodeFor(packet.dst);
  const bytes = wireBytes(cursor);
  const padded = Math.max(bytes, Math.min(device.mtuBytes, Math.ceil(bytes / paddingBytes) * paddingBytes));
  const handshake = peer.latestHandshake === 0 ? '; no handshake with it ever succeeded' : '';
  return wrap(world, cursor, device, {
    inner: { kind: 'wireguard', packet, from: found.publicKey ?? '', to: peer.publicKey },
    remote,
    protocol: 'udp',
    srcPort: found.listenPort ?? 51820,
    dstPort: port,
    overheadBytes: headerBytes(remote.family) + udpBytes + messageBytes + padded - bytes,
    // udp_tunnel_xmit_skb() without DF; skb->ignore_df lets the node send fragments.
    df: false,
    mark: found.fwmark,
    text: `${device.name}: ${formatAddress(packet.dst)} is behind ${formatAddress(remote)}, UDP ${port}${handshake}`,
    facts: {
      ...misdirection(world, remote, expectedNode),
      ...(peer.latestHandshake === undefined ? {} : { latestHandshake: String(peer.latestHandshake) }),
    },
    sources: [peer.source],
    expectedNode,
  });
}

/** wg_packet_receive(): the port, the two keys of the handshake, then the inner source. */
export function decapsulate(cursor: Cursor, inner: { readonly from: string; readonly to: string }): Stage {
  const { netns, packet } = cursor;
  if (netns.wireguard.state === 'unknown') return notKnown(cursor, 'decap', netns.wireguard.why);
  const facts = { port: String(packet.dstPort) };
  const found = netns.wireguard.value.find((one) => one.listenPort === packet.dstPort);
  const device =
    netns.devices.state === 'known' ? netns.devices.value.find((d) => d.name === found?.device) : undefined;
  if (found === undefined || device === undefined)
    return nobodyOpens(cursor, `WireGuard device that listens on UDP ${packet.dstPort}`, facts);
  if (!device.up) return endpointDown(cursor, device, facts);
  if (found.publicKey !== undefined && found.publicKey !== inner.to) {
    const text = `${netns.node}'s ${device.name} has another key than the sender expects: no handshake`;
    return parametersDiffer(cursor, device, text, { ...facts, expectedKey: inner.to });
  }
  const peer = found.peers.find((one) => one.publicKey === inner.from);
  if (peer === undefined && inner.from !== '') {
    const text = `${netns.node}'s ${device.name} does not know the sender's key: no handshake`;
    return parametersDiffer(cursor, device, text, { ...facts, senderKey: inner.from });
  }
  const opened = open(cursor, device, `${device.name} (WireGuard) opens the packet`);
  const { src } = opened.packet;
  if (peer === undefined || peerFor(found.peers, src) !== peer) {
    // wg_packet_consume_data_done(): "Packet has unallowed src IP".
    const text = `${netns.node}'s ${device.name} drops it: ${formatAddress(src)} is not among the allowed IPs of the peer that sent it`;
    return parametersDiffer(opened, device, text, {
      ...facts,
      allowed: (peer?.allowedIps ?? []).map(formatPrefix).join(' '),
    });
  }
  return takeUp(pass(opened, 'decap', `${formatAddress(src)} is an allowed IP of its peer`), device);
}

function deviceOf(cursor: Cursor, name: string, kind: 'encap' | 'decap'): WireGuardDevice | Stage {
  const { wireguard } = cursor.netns;
  if (wireguard.state === 'unknown') return notKnown(cursor, kind, wireguard.why);
  return (
    wireguard.value.find((one) => one.device === name) ??
    notKnown(cursor, kind, `${name} is not in the output of wg show`)
  );
}

const notKnown = (cursor: Cursor, kind: 'encap' | 'decap', why: string): Stage =>
  cannotTell(cursor, kind, `WireGuard peers of ${cursor.netns.id} are not known: ${why}`, {
    facts: { what: `wg show all allowed-ips of ${cursor.netns.id}` },
  });

/** wg_allowedips_lookup_dst(): the longest prefix over all peers. */
function peerFor(peers: readonly WireGuardPeer[], address: Address): WireGuardPeer | undefined {
  let best: { readonly peer: WireGuardPeer; readonly prefix: Prefix } | undefined;
  for (const peer of peers)
    for (const prefix of peer.allowedIps)
      if (contains(prefix, address) && (best === undefined || prefix.length > best.prefix.length))
        best = { peer, prefix };
  return best?.peer;
}
