/** One packet through one namespace with our engine: hooks and routing in the kernel's order, nothing else of the walk. */
import type { Connections } from '../../src/dataplane/netfilter/conntrack.ts';
import { type HookContext, type HookOutcome, traverseHook } from '../../src/dataplane/netfilter/evaluate.ts';
import { visitsOf } from '../../src/dataplane/netfilter/path.ts';
import { isLocal, lookupRoute, reversePathCheck } from '../../src/dataplane/routing.ts';
import type { Netns } from '../../src/model/netns.ts';
import type { RuleVisit } from '../../src/model/verdict.ts';
import { sameAddress } from '../../src/net/address.ts';
import type { Packet } from '../../src/net/packet.ts';

export type Fate =
  | { readonly kind: 'forwarded'; readonly device: string; readonly packet: Packet }
  | { readonly kind: 'local'; readonly packet: Packet }
  | { readonly kind: 'rejected'; readonly how: string }
  | { readonly kind: 'lost'; readonly why: string }
  /** Only where a rule asks for a port that the kernel made up. */
  | { readonly kind: 'undecided'; readonly why: string };

export interface Simulated {
  readonly fate: Fate;
  readonly connections: Connections;
  /** Steps of all hooks, for the message of a disagreement. */
  readonly trail: readonly string[];
  /** Every rule that matched, in order. */
  readonly visits: readonly RuleVisit[];
}

interface Passing {
  readonly packet: Packet;
  readonly connections: Connections;
  readonly trail: readonly string[];
  readonly visits: readonly RuleVisit[];
}

type Devices = Pick<HookContext, 'inDevice' | 'outDevice' | 'nextHop'>;

/** `via` is the device that it arrives by, or `out` for a packet of the namespace itself. */
export function simulate(netns: Netns, connections: Connections, via: string, packet: Packet): Simulated {
  const start: Passing = { packet, connections, trail: [], visits: [] };
  return via === 'out' ? sendOut(netns, start) : arrive(netns, start, via);
}

function hook(netns: Netns, at: HookContext['hook'], from: Passing, devices: Devices): Passing | Simulated {
  const { packet, connections, trail } = from;
  const outcomes = traverseHook({ netns, hook: at, packet, connections, record: true, ...devices });
  const outcome = outcomes[0] as HookOutcome;
  const steps = [...trail, `${at}: ${outcome.verdict}`, ...outcome.steps.map((step) => `  ${step.text}`)];
  const visits = [...from.visits, ...visitsOf(outcome.path, outcome.packet)];
  const ended = (fate: Fate): Simulated => ({ fate, connections: outcome.connections, trail: steps, visits });
  const isMadeUp = /the kernel made up|not every bit of it is known/.test(outcome.unknownWhy ?? '');
  if (outcomes.length === 1 && isMadeUp && outcome.packet.madeUp !== undefined)
    return ended({ kind: 'undecided', why: outcome.unknownWhy ?? '' });
  // A hash of such a port may be any.
  if (outcomes.length > 1 && outcomes.every(({ packet }) => packet.madeUp !== undefined))
    return ended({ kind: 'undecided', why: 'a choice by a port that the kernel made up' });
  if (outcomes.length !== 1 || outcome.verdict === 'unknown')
    throw new Error(`not decided: ${outcome.unknownWhy} ${steps.join('\n')}`);
  if (outcome.verdict === 'drop') return ended({ kind: 'lost', why: `dropped at ${at}` });
  if (outcome.verdict === 'reject') return ended({ kind: 'rejected', how: outcome.rejectWith ?? '' });
  return { packet: outcome.packet, connections: outcome.connections, trail: steps, visits };
}

function arrive(netns: Netns, from: Passing, device: string): Simulated {
  const routed = hook(netns, 'prerouting', from, { inDevice: device });
  if ('fate' in routed) return routed;
  const lost = (why: string): Simulated => ({ ...routed, fate: { kind: 'lost', why } });
  const source = reversePathCheck(netns, routed.packet, device);
  if (source.state === 'unknown') return { ...routed, fate: { kind: 'undecided', why: source.why } };
  if (source.state !== 'pass') return lost('martian');
  if (isLocal(netns, routed.packet.dst) === true) return deliver(netns, routed, device);
  const { src, dst, mark } = routed.packet;
  const route = lookupRoute(netns, { dst, src, mark, iif: device });
  if (route.state !== 'found' || route.route.type !== 'unicast') return lost('no route');
  const outDevice = route.nexthop.device ?? '';
  const forwarded = hook(netns, 'forward', routed, { inDevice: device, outDevice });
  return 'fate' in forwarded ? forwarded : leave(netns, forwarded, { outDevice, inDevice: device });
}

function deliver(netns: Netns, from: Passing, device: string): Simulated {
  const taken = hook(netns, 'input', from, { inDevice: device });
  return 'fate' in taken ? taken : { ...taken, fate: { kind: 'local', packet: taken.packet } };
}

function leave(netns: Netns, from: Passing, devices: Devices): Simulated {
  const left = hook(netns, 'postrouting', from, devices);
  if ('fate' in left) return left;
  return { ...left, fate: { kind: 'forwarded', device: devices.outDevice ?? '', packet: left.packet } };
}

function sendOut(netns: Netns, from: Passing): Simulated {
  const first = outDeviceFor(netns, from.packet);
  const sent = hook(netns, 'output', from, { outDevice: first });
  if ('fate' in sent) return sent;
  const again = !sameAddress(sent.packet.dst, from.packet.dst) || sent.packet.mark !== from.packet.mark;
  const outDevice = again ? outDeviceFor(netns, sent.packet) : first;
  const left = leave(netns, sent, { outDevice });
  if (left.fate.kind !== 'forwarded' || outDevice !== 'lo') return left;
  // Around by the loopback device: the packet keeps its connection.
  const around = { ...left, packet: left.fate.packet };
  return arrive(netns, around, 'lo');
}

function outDeviceFor(netns: Netns, packet: Packet): string {
  const route = lookupRoute(netns, { dst: packet.dst, src: packet.src, mark: packet.mark });
  if (route.state !== 'found') return '';
  return route.route.type === 'local' ? 'lo' : (route.nexthop.device ?? '');
}
