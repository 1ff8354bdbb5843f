/** A frame that came out of a tunnel: for the device itself, for its bridge, or for nobody here. */
import type { Device } from '../../model/netns.ts';
import { isMulticastMac } from '../../net/mac.ts';
import { type Cursor, doubt, lose, type Stage, type TunnelContext } from '../cursor.ts';
import { takeUp } from './wrap.ts';

export function takeFrame(
  opened: Cursor,
  device: Device,
  tunnel: TunnelContext | undefined,
  dstMac: string,
): Stage {
  // A port hands every frame to its bridge (br_handle_frame).
  if (device.master !== undefined)
    return { at: 'frame-in', cursor: { ...opened, inDevice: device.name }, device, dstMac };
  if (device.mac === undefined) {
    return {
      at: 'ip-in',
      cursor: doubt(opened, 'decap', `the MAC of ${device.name} was not recorded`, {
        facts: { what: `devices of ${opened.netns.id}` },
      }),
      device,
    };
  }
  if (device.mac === dstMac || isMulticastMac(dstMac)) return takeUp(opened, device);
  return wrongMac(opened, device, tunnel, dstMac);
}

/** The inner frame is for another MAC: either it went to the wrong node, or the sender knows an old MAC of the right one. */
function wrongMac(cursor: Cursor, device: Device, tunnel: TunnelContext | undefined, mac: string): Stage {
  const { node } = cursor.netns;
  const from = tunnel?.fromNode ?? 'the sender';
  const expected = tunnel?.expectedNode;
  const isMisled = expected !== undefined && expected !== node;
  return lose(
    cursor,
    'decap',
    isMisled ? 'fdb-wrong' : 'vtep-mac-mismatch',
    isMisled
      ? `${from}'s ${tunnel?.device} sends ${mac} to ${node}, but it belongs to ${expected}`
      : `${from} addresses ${mac}, but ${node}'s ${device.name} has ${device.mac}`,
    {
      facts: {
        mac,
        expectedMac: device.mac ?? '',
        device: tunnel?.device ?? '',
        node: from,
        peer: isMisled ? expected : node,
        remoteNode: node,
      },
      sources: [...(tunnel?.sources ?? []), device.source],
    },
  );
}
