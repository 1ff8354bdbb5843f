/** Whether a packet's source is believed where it came in. */
import type { Device } from '../model/netns.ts';
import { formatAddress } from '../net/address.ts';
import { type Cursor, doubt, lose, type Stage } from './cursor.ts';
import { type InputCheck, reversePathCheck } from './routing.ts';

/** fib_validate_source(): own addresses as source, and the reverse-path filter. */
export const checkSource = (cursor: Cursor, device: Device, outDevice?: string): Cursor | Stage =>
  judged(cursor, device, reversePathCheck(cursor.netns, cursor.packet, device.name, outDevice));

export function judged(cursor: Cursor, device: Device, result: InputCheck): Cursor | Stage {
  const { netns, packet } = cursor;
  switch (result.state) {
    case 'pass':
      return cursor;
    case 'unknown':
      return doubt(cursor, 'route', `whether ${netns.id} accepts the source cannot be told: ${result.why}`, {
        facts: { what: `rp_filter of ${netns.id}` },
      });
    case 'martian':
      return lose(cursor, 'route', 'martian-source', result.why, {
        facts: { device: device.name, src: formatAddress(packet.src) },
        sources: result.sources,
      });
    case 'fail':
      return lose(cursor, 'route', 'rp-filter', result.why, { facts: result.facts, sources: result.sources });
  }
}
