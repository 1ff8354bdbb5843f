/** macvlan, ipvlan and VLAN devices: frames that leave by a lower device, and frames that it hands up. ipvlan and VLANs are unverified: see docs/simulate.md. */
import type { Device } from '../model/netns.ts';
import { sameAddress } from '../net/address.ts';
import { vlanBytes } from './cable.ts';
import { type Cursor, cannotTell, enter, lose, pass, type Stage, wireBytes } from './cursor.ts';
import { lowerOf, sharers, siblings } from './segments.ts';
import type { Port, World } from './world.ts';

/** What a frame of a stacked device does: it is with a sibling, or it is to leave by the lower device. */
export type Onward = Stage | { readonly cursor: Cursor; readonly lower: Port };

export function leaveStacked(world: World, cursor: Cursor, device: Device, dstMac: string): Onward {
  const { stacked } = device;
  const port: Port = { netns: cursor.netns, device };
  const lower = lowerOf(world, port);
  if (lower === undefined) {
    return cannotTell(cursor, 'receive', `the device below ${device.name} was not recorded`, {
      facts: { what: `the device below ${device.name} of ${cursor.netns.id}` },
      sources: [device.source],
    });
  }
  if (stacked?.kind === 'ipvlan' && stacked.mode !== 'l2') {
    const text = `${device.name} (ipvlan ${stacked.mode}) is routed by ${lower.netns.id}, which is not followed`;
    return cannotTell(cursor, 'receive', text, {
      facts: { what: `ipvlan mode ${stacked.mode}` },
      sources: [device.source],
    });
  }
  if (!lower.device.up) {
    return lose(cursor, 'receive', 'device-down', `${lower.device.name} below ${device.name} is down`, {
      facts: { device: lower.device.name, deviceKind: lower.device.kind, netns: lower.netns.id },
      sources: [lower.device.source],
    });
  }
  const sibling = siblings(world, port).find((other) => takes(other.device, cursor, dstMac));
  if (sibling !== undefined) return toSibling(cursor, device, lower, sibling, dstMac);
  const own = sharers(world, lower).find((other) => takes(other.device, cursor, dstMac));
  if (own !== undefined || lower.device.mac === dstMac) {
    const who =
      own === undefined
        ? `${lower.device.name} of ${lower.netns.id}`
        : `${own.device.name} of ${own.netns.id}`;
    const how = stacked?.kind === 'macvlan' ? `macvlan ${stacked.mode}` : device.kind;
    // The frame goes out, and no switch sends it back where it came from.
    return lose(
      cursor,
      'bridge',
      'hairpin-off',
      `${device.name} (${how}) does not reach ${who} on its own host`,
      {
        facts: { device: device.name, lower: lower.device.name },
        sources: [device.source],
      },
    );
  }
  const text = `${device.name} (${device.kind}) sends by ${lower.device.name}`;
  const moved = pass(cursor, 'bridge', text, { sources: [device.source] });
  return {
    lower,
    cursor:
      lower.netns.id === cursor.netns.id ? moved : enter(moved, lower.netns, lower.device.name, device.name),
  };
}

/** An ipvlan device has its lower one's MAC: the address decides (ipvlan_addr_lookup). */
function takes(device: Device, { packet }: Cursor, dstMac: string): boolean {
  if (device.mac !== dstMac) return false;
  return (
    device.stacked?.kind !== 'ipvlan' || device.addresses.some((own) => sameAddress(own.address, packet.dst))
  );
}

/** dev_forward_skb() by way of the lower device, whose MTU counts. */
function toSibling(cursor: Cursor, device: Device, lower: Port, sibling: Port, dstMac: string): Stage {
  const limit = lower.device.mtuBytes;
  if (wireBytes(cursor) > limit + vlanBytes) {
    const text = `${wireBytes(cursor)} bytes do not fit ${lower.device.name} (MTU ${limit})`;
    return lose(cursor, 'mtu', 'mtu-exceeded', text, {
      facts: {
        device: lower.device.name,
        mtu: String(limit),
        size: String(wireBytes(cursor)),
        icmp: 'none: a macvlan device drops silently',
      },
      sources: [lower.device.source],
    });
  }
  const text = `${device.name} (${device.kind}) and ${sibling.device.name} of ${sibling.netns.id} are both on ${lower.device.name}`;
  return {
    at: 'frame-in',
    cursor: enter(pass(cursor, 'bridge', text), sibling.netns, sibling.device.name, device.name),
    device: sibling.device,
    dstMac,
  };
}

/** macvlan_handle_frame(), ipvlan_handle_mode_l2(): the device over `lower` that takes the frame. */
export function handedUp(world: World, cursor: Cursor, lower: Device, dstMac: string): Stage | undefined {
  const owner = sharers(world, { netns: cursor.netns, device: lower }).find((other) =>
    takes(other.device, cursor, dstMac),
  );
  if (owner === undefined) return undefined;
  const { netns, device } = owner;
  const text = `${lower.name} hands it to ${device.name} (${device.kind}) of ${netns.id}`;
  const passed = pass(cursor, 'bridge', text, { sources: [device.source] });
  const moved =
    netns.id === cursor.netns.id
      ? { ...passed, inDevice: device.name }
      : enter(passed, netns, device.name, lower.name);
  return { at: 'frame-in', cursor: moved, device, dstMac };
}
