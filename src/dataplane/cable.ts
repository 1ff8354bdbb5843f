/** The two ends of a veth pair. */
import type { Device } from '../model/netns.ts';
import { type Cursor, enter, lose, type Stage, wireBytes } from './cursor.ts';
import type { Port } from './world.ts';

/** is_skb_forwardable() leaves room for a VLAN tag, whether or not there is one. */
export const vlanBytes = 4;

export function overCable(cursor: Cursor, device: Device, peer: Port, dstMac: string): Stage {
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
