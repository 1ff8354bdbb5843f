/**
 * The walk's state: one packet at one place. Cursors are immutable; a rule with two possible outcomes makes two of them.
 * Stages are the places between which a packet moves; each handler turns one stage into the next ones.
 */
import type { Device, Netns } from '../model/netns.ts';
import type { SourceRef } from '../model/source.ts';
import type { Hop, NearRule, Reason, RuleVisit, Step, StepKind } from '../model/verdict.ts';
import type { Address } from '../net/address.ts';
import type { Packet } from '../net/packet.ts';
import { kernelWords } from './kernel-words.ts';
import type { Connections } from './netfilter/conntrack.ts';

/** What the walk remembers about a tunnel packet until it is opened again. */
export interface TunnelContext {
  readonly device: string;
  readonly fromNode: string;
  /** Node that should receive it: the one that owns the inner next hop. */
  readonly expectedNode?: string;
  /** MAC the inner frame is addressed to; absent where the tunnel carries IP packets. */
  readonly dstMac?: string;
  /** What led the packet here. */
  readonly sources: readonly SourceRef[];
  /** `fragmentBytes` of the packet inside. */
  readonly fragmentBytes?: number;
}

export interface Cursor {
  readonly netns: Netns;
  readonly packet: Packet;
  /** Set where the packet goes in fragments: the largest one's size. `packet` stays whole, as conntrack sees it. */
  readonly fragmentBytes?: number | undefined;
  readonly inDevice?: string | undefined;
  /** skb->ipvs_property: IPVS has had its turn with the packet in this namespace. */
  readonly byIpvs?: true | undefined;
  /** Cilium's programs have had their turn with the packet in this namespace. */
  readonly byCilium?: true | undefined;
  /** Set at OUTPUT where the packet is routed again, with this mark. */
  readonly routeMark?: number | undefined;
  /** Somebody wants to read how it went: rules that match and near misses are kept. */
  readonly explain?: true | undefined;
  readonly steps: readonly Step[];
  /** With `explain`: the rules that matched in this namespace. */
  readonly rules?: readonly RuleVisit[] | undefined;
  readonly hops: readonly Hop[];
  readonly connections: Connections;
  /** Probability of this variant, 0..1. */
  readonly share: number;
  /** A doubt that left more than one packet or connection possible: only one of them is walked, so its loss is not certain. */
  readonly unsure?: Step | undefined;
  /** Steps whose outcome could not be told; if the packet survives, the answer is unknown because of them. */
  readonly doubts: readonly Step[];
  /** True remarks that do not decide. */
  readonly remarks: readonly Step[];
  readonly tunnels: readonly TunnelContext[];
  /** The socket that sent the flow's first packet: it takes the answer without listening. */
  readonly client?: { readonly netnsId: string; readonly port: number } | undefined;
}

export type Stage =
  /** Sent by a process of the namespace (or by its kernel): routing, OUTPUT, POSTROUTING. */
  | { readonly at: 'send'; readonly cursor: Cursor }
  /** Routed and filtered: give it to a device. nextHop is the address to resolve. */
  | {
      readonly at: 'transmit';
      readonly cursor: Cursor;
      readonly device: string;
      readonly nextHop: Address;
      /** The route's own MTU. */
      readonly mtuBytes?: number;
    }
  /** A frame that its bridge sends on to another address than it came for: DNAT in the bridge's own PREROUTING. */
  | {
      readonly at: 'bridge-on';
      readonly cursor: Cursor;
      readonly device: Device;
      readonly nextHop: Address;
      readonly inPort: string;
    }
  /** A frame to put on a device whose link-layer address is known. */
  | { readonly at: 'frame-out'; readonly cursor: Cursor; readonly device: Device; readonly dstMac: string }
  /** A frame that arrives on a device. */
  | { readonly at: 'frame-in'; readonly cursor: Cursor; readonly device: Device; readonly dstMac: string }
  /** An IP packet taken up from a device: PREROUTING and the routing decision. physIn is the bridge port it came by. */
  | { readonly at: 'ip-in'; readonly cursor: Cursor; readonly device: Device; readonly physIn?: string }
  /** Addressed to this namespace and accepted by INPUT. */
  | { readonly at: 'deliver'; readonly cursor: Cursor; readonly device: string }
  | { readonly at: 'end'; readonly cursor: Cursor; readonly end: End };

export type End =
  | { readonly kind: 'delivered' }
  | { readonly kind: 'lost'; readonly step: Step }
  | { readonly kind: 'unknown'; readonly step: Step };

export interface StepDetail {
  readonly sources?: readonly SourceRef[];
  readonly facts?: Readonly<Record<string, string>>;
  readonly nearest?: readonly NearRule[];
}

export const step = (
  kind: StepKind,
  action: Step['action'],
  text: string,
  detail: StepDetail = {},
): Step => ({
  kind,
  action,
  text,
  ...detail,
});

type Writable<T> = { -readonly [K in keyof Required<T>]: T[K] };

/** A copy to change. Field by field: spreading objects of so many fields is what most of a walk's time went to. */
export function copyOf(cursor: Cursor): Writable<Cursor> {
  return {
    netns: cursor.netns,
    packet: cursor.packet,
    fragmentBytes: cursor.fragmentBytes,
    inDevice: cursor.inDevice,
    byIpvs: cursor.byIpvs,
    byCilium: cursor.byCilium,
    routeMark: cursor.routeMark,
    explain: cursor.explain,
    steps: cursor.steps,
    rules: cursor.rules,
    hops: cursor.hops,
    connections: cursor.connections,
    share: cursor.share,
    unsure: cursor.unsure,
    doubts: cursor.doubts,
    remarks: cursor.remarks,
    tunnels: cursor.tunnels,
    client: cursor.client,
  };
}

/** The cursor with one more step that the packet passed. */
export const pass = (cursor: Cursor, kind: StepKind, text: string, detail: StepDetail = {}): Cursor =>
  addSteps(cursor, [step(kind, 'pass', text, detail)]);

export function addSteps(cursor: Cursor, steps: readonly Step[]): Cursor {
  if (steps.length === 0) return cursor;
  const next = copyOf(cursor);
  next.steps = [...cursor.steps, ...steps];
  return next;
}

/** Ends the walk: the packet is lost here. */
export function lose(
  cursor: Cursor,
  kind: StepKind,
  reason: Reason,
  text: string,
  detail: StepDetail = {},
): Stage {
  const lost: Step = { ...step(kind, 'lost', text, detail), reason };
  const { packet, inDevice } = cursor;
  const kernel = kernelWords({ packet, step: lost, isForeign: inDevice !== undefined });
  const counted = countedOf(cursor, kernel?.counter);
  const last: Step =
    kernel === undefined
      ? lost
      : { ...lost, kernel: { ...kernel, ...(counted === undefined ? {} : { counted }) } };
  const closed = closeHop(addSteps(cursor, [last]));
  if (cursor.unsure !== undefined)
    return { at: 'end', cursor: closed, end: { kind: 'unknown', step: cursor.unsure } };
  return { at: 'end', cursor: closed, end: { kind: 'lost', step: last } };
}

/** What the counter stood at when the snapshot was taken. */
const countedOf = ({ netns: { counters } }: Cursor, name: string | undefined): number | undefined =>
  name === undefined || counters.state === 'unknown' ? undefined : counters.value.get(name);

/** Ends the walk: what happens here cannot be told. */
export function cannotTell(cursor: Cursor, kind: StepKind, text: string, detail: StepDetail = {}): Stage {
  const last: Step = { ...step(kind, 'unknown', text, detail), reason: 'unknown-state' };
  return { at: 'end', cursor: closeHop(addSteps(cursor, [last])), end: { kind: 'unknown', step: last } };
}

/** Notes a doubt and walks on: a later loss is still certain, a delivery is not. */
export function doubt(cursor: Cursor, kind: StepKind, text: string, detail: StepDetail = {}): Cursor {
  const doubtful: Step = { ...step(kind, 'unknown', text, detail), reason: 'unknown-state' };
  return { ...addSteps(cursor, [doubtful]), doubts: [...cursor.doubts, doubtful] };
}

/** After a doubt that may have changed the packet or its way: a later loss is not certain either. */
export function unsure(cursor: Cursor): Cursor {
  const latest = cursor.doubts.at(-1);
  return latest === undefined ? cursor : { ...cursor, unsure: latest };
}

export function remark(cursor: Cursor, noted: Step): Cursor {
  return { ...addSteps(cursor, [noted]), remarks: [...cursor.remarks, noted] };
}

/** Bytes of the largest IP packet that is on the wire. */
export const wireBytes = ({ packet, fragmentBytes }: Cursor): number =>
  Math.min(packet.lengthBytes, fragmentBytes ?? Number.POSITIVE_INFINITY);

/** Files the current stay as a hop. */
export function closeHop(cursor: Cursor, outDevice?: string): Cursor {
  const { netns } = cursor;
  const hop: Hop = {
    netns: netns.id,
    node: netns.node,
    packet: cursor.packet,
    steps: cursor.steps,
    ...(cursor.rules === undefined ? {} : { rules: cursor.rules }),
    ...(netns.pod === undefined ? {} : { pod: `${netns.pod.namespace}/${netns.pod.name}` }),
    ...(cursor.inDevice === undefined ? {} : { inDevice: cursor.inDevice }),
    ...(outDevice === undefined ? {} : { outDevice }),
  };
  const next = copyOf(cursor);
  next.rules = undefined;
  next.hops = [...cursor.hops, hop];
  next.steps = [];
  return next;
}

/** Moves the packet to another namespace. skb->mark does not cross: skb_scrub_packet() clears it between namespaces. */
export function enter(cursor: Cursor, netns: Netns, inDevice: string, outDevice: string): Cursor {
  const next = copyOf(closeHop(cursor, outDevice));
  // skb_scrub_packet() and nf_reset_ct() also clear ipvs_property.
  next.byIpvs = undefined;
  next.byCilium = undefined;
  next.netns = netns;
  next.inDevice = inDevice;
  next.packet = scrubbed(cursor.packet);
  return next;
}

function scrubbed(packet: Packet): Packet {
  if (packet.proxied === undefined) return packet.mark === 0 ? packet : { ...packet, mark: 0 };
  const { proxied: _, ...rest } = packet;
  return { ...rest, mark: 0 };
}
