/** One packet through one namespace, with every fate that our engine holds possible: real rules have chance and rate in them. */
import type { Connections } from '../../src/dataplane/netfilter/conntrack.ts';
import { type HookContext, type HookOutcome, traverseHook } from '../../src/dataplane/netfilter/evaluate.ts';
import { isLocal, lookupRoute, reversePathCheck } from '../../src/dataplane/routing.ts';
import type { Netns } from '../../src/model/netns.ts';
import { isMulticast, sameAddress } from '../../src/net/address.ts';
import type { Packet } from '../../src/net/packet.ts';

export type Fate =
  | { readonly kind: 'forwarded'; readonly device: string; readonly packet: Packet }
  | { readonly kind: 'local'; readonly packet: Packet }
  | { readonly kind: 'rejected'; readonly how: string }
  | { readonly kind: 'lost'; readonly why: string }
  /** Our engine does not say. */
  | { readonly kind: 'any'; readonly why: string };

export interface Ending {
  readonly fate: Fate;
  readonly connections: Connections;
  readonly trail: readonly string[];
}

interface Passing {
  readonly packet: Packet;
  readonly connections: Connections;
  readonly trail: readonly string[];
}

type Devices = Pick<HookContext, 'inDevice' | 'outDevice'>;
type Way = Passing | Ending;

/** `via` is the device that it arrives by, or `out` for a packet of the namespace itself. */
export const endings = (
  netns: Netns,
  connections: Connections,
  via: string,
  packet: Packet,
): readonly Ending[] => {
  const start: Passing = { packet, connections, trail: [] };
  return via === 'out' ? sendOut(netns, start) : arrive(netns, start, via);
};

function hook(
  netns: Netns,
  at: HookContext['hook'],
  from: Passing,
  devices: Devices,
  next: (passing: Passing) => readonly Ending[],
): readonly Ending[] {
  const { packet, connections, trail } = from;
  const outcomes = traverseHook({ netns, hook: at, packet, connections, ...devices });
  return outcomes.flatMap(possible).flatMap((outcome) => {
    const way = follow(outcome, at, trail);
    return 'fate' in way ? [way] : next(way);
  });
}

const possible = (outcome: HookOutcome): readonly HookOutcome[] =>
  outcome.verdict === 'unknown' && (outcome.alternatives?.length ?? 0) > 0
    ? (outcome.alternatives ?? [])
    : [outcome];

function follow(outcome: HookOutcome, at: string, trail: readonly string[]): Way {
  const { connections, packet, verdict } = outcome;
  const steps = [...trail, `${at}: ${verdict}`, ...outcome.steps.map((step) => `  ${step.text}`)];
  const end = (fate: Fate): Ending => ({ fate, connections, trail: steps });
  switch (verdict) {
    case 'accept':
      return { packet, connections, trail: steps };
    case 'drop':
      return end({ kind: 'lost', why: `dropped at ${at}` });
    case 'reject':
      return end({ kind: 'rejected', how: outcome.rejectWith ?? '' });
    case 'unknown':
      return end({ kind: 'any', why: outcome.unknownWhy ?? '' });
  }
}

/** ip_route_input_slow: nobody to nobody is taken like a broadcast. */
const isBroadcast = ({ src, dst }: Packet): boolean =>
  dst.value === 0xffffffffn || (src.value === 0n && dst.value === 0n);

function arrive(netns: Netns, from: Passing, device: string): readonly Ending[] {
  return hook(netns, 'prerouting', from, { inDevice: device }, (routed) => {
    const lost = (why: string): readonly Ending[] => [{ ...routed, fate: { kind: 'lost', why } }];
    const { src, dst, mark, ttl } = routed.packet;
    // No socket here joins a group but all hosts', and nobody routes multicast.
    if (isMulticast(dst))
      return dst.value === 0xe0000001n ? deliver(netns, routed, device) : lost('no group');
    const source = reversePathCheck(netns, routed.packet, device);
    if (source.state === 'unknown') return [{ ...routed, fate: { kind: 'any', why: source.why } }];
    if (source.state !== 'pass') return lost('martian');
    if (isBroadcast(routed.packet) || isLocal(netns, dst) === true) return deliver(netns, routed, device);
    const route = lookupRoute(netns, { dst, src, mark, iif: device });
    if (route.state !== 'found') return lost('no route');
    if (route.route.type === 'broadcast') return deliver(netns, routed, device);
    if (route.route.type !== 'unicast') return lost(route.route.type);
    const outDevice = route.nexthop.device ?? '';
    if (ttl <= 1) return [{ ...routed, fate: { kind: 'rejected', how: 'time-exceeded' } }];
    const aged = { ...routed, packet: { ...routed.packet, ttl: ttl - 1 } };
    return hook(netns, 'forward', aged, { inDevice: device, outDevice }, (forwarded) =>
      leave(netns, forwarded, { inDevice: device, outDevice }),
    );
  });
}

const deliver = (netns: Netns, from: Passing, device: string): readonly Ending[] =>
  hook(netns, 'input', from, { inDevice: device }, (taken) => [
    { ...taken, fate: { kind: 'local', packet: taken.packet } },
  ]);

const leave = (netns: Netns, from: Passing, devices: Devices): readonly Ending[] =>
  hook(netns, 'postrouting', from, devices, (left) => {
    // Around by the loopback device: the packet keeps its connection.
    if (devices.outDevice === 'lo') return arrive(netns, left, 'lo');
    return [{ ...left, fate: { kind: 'forwarded', device: devices.outDevice ?? '', packet: left.packet } }];
  });

function sendOut(netns: Netns, from: Passing): readonly Ending[] {
  const first = outDeviceFor(netns, from.packet);
  return hook(netns, 'output', from, { outDevice: first }, (sent) => {
    const again = !sameAddress(sent.packet.dst, from.packet.dst) || sent.packet.mark !== from.packet.mark;
    return leave(netns, sent, { outDevice: again ? outDeviceFor(netns, sent.packet) : first });
  });
}

function outDeviceFor(netns: Netns, packet: Packet): string {
  const route = lookupRoute(netns, { dst: packet.dst, src: packet.src, mark: packet.mark });
  if (route.state !== 'found') return '';
  return route.route.type === 'local' ? 'lo' : (route.nexthop.device ?? '');
}
