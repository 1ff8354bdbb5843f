/** Sends packets that matter through a node's recorded packet filter, by the same engine that the walk uses. */
import { type Connections, emptyConnections } from '../dataplane/netfilter/conntrack.ts';
import type { Decisive, HookOutcome } from '../dataplane/netfilter/context.ts';
import { traverseHook } from '../dataplane/netfilter/evaluate.ts';
import type { HookName } from '../model/netfilter.ts';
import type { Netns } from '../model/netns.ts';
import type { SourceRef } from '../model/source.ts';
import type { Address } from '../net/address.ts';
import type { Packet, Transport } from '../net/packet.ts';
import type { CheckContext, NodeView } from './check.ts';
import { localPod } from './paths.ts';

export type Passage =
  | { readonly state: 'passed'; readonly connections: Connections; readonly packet: Packet }
  | {
      readonly state: 'lost';
      readonly verdict: 'drop' | 'reject';
      readonly hook: HookName;
      readonly decisive?: Decisive;
    }
  | { readonly state: 'unknown'; readonly why: string };

export interface Crossing {
  readonly inDevice?: string;
  readonly outDevice?: string;
}

/** Lost only if every outcome is a loss: what a `statistic` rule drops now and then is another matter. */
export function passHooks(
  netns: Netns,
  hooks: readonly HookName[],
  packet: Packet,
  crossing: Crossing,
  connections: Connections = emptyConnections(),
): Passage {
  let at = { packet, connections };
  for (const hook of hooks) {
    const devices = {
      // PREROUTING has no outgoing device yet, POSTROUTING no incoming one any more.
      ...(hook === 'output' || hook === 'postrouting' ? {} : { inDevice: crossing.inDevice }),
      ...(hook === 'prerouting' || hook === 'input' ? {} : { outDevice: crossing.outDevice }),
    };
    const outcomes = traverseHook({
      netns,
      hook,
      packet: at.packet,
      connections: at.connections,
      ...devices,
    });
    const passed = outcomes.find((outcome) => outcome.verdict === 'accept');
    if (passed === undefined) return endOf(outcomes, hook);
    at = { packet: passed.packet, connections: passed.connections };
  }
  return { state: 'passed', ...at };
}

function endOf(outcomes: readonly HookOutcome[], hook: HookName): Passage {
  const settled = outcomes.flatMap((outcome) =>
    outcome.verdict === 'unknown' ? (outcome.alternatives ?? [outcome]) : [outcome],
  );
  const open = settled.find((outcome) => outcome.verdict === 'accept' || outcome.verdict === 'unknown');
  const first = settled[0];
  if (first === undefined || open !== undefined)
    return { state: 'unknown', why: outcomes[0]?.unknownWhy ?? `the rules at ${hook} are not understood` };
  return {
    state: 'lost',
    verdict: first.verdict === 'reject' ? 'reject' : 'drop',
    hook,
    ...(first.decisive === undefined ? {} : { decisive: first.decisive }),
  };
}

/** A connection's first packet, as small as they come. */
export const firstPacket = (
  src: Address,
  dst: Address,
  protocol: Transport,
  dstPort: number,
  lengthBytes = 60,
): Packet => ({
  src,
  dst,
  protocol,
  srcPort: protocol === 'tcp' || protocol === 'udp' || protocol === 'sctp' ? 40_000 : 0,
  dstPort,
  ...(protocol === 'tcp' ? { flags: { syn: true } } : {}),
  lengthBytes,
  df: true,
  ttl: 63,
  mark: 0,
});

/** Where the decision stands: the rule, or the base chain's policy line. */
export function decisiveSource(netns: Netns, decisive: Decisive | undefined): SourceRef | undefined {
  if (decisive === undefined) return undefined;
  if (decisive.rule !== undefined) return decisive.rule.source;
  if (netns.rulesets.state === 'unknown') return undefined;
  for (const ruleset of netns.rulesets.value) {
    if (ruleset.file !== decisive.file) continue;
    const table = ruleset.tables.find(({ name }) => name === decisive.table);
    const chain = table?.chains.get(decisive.chainStack[0] ?? '');
    if (chain !== undefined) return chain.source;
  }
  return undefined;
}

/**
 * The rule by which the node drops its own answer "fragmentation needed" (ICMP 3/4) to a local pod's too large packet; undefined
 * if the answer gets out or that cannot be told.
 */
export function dropsFragmentationNeeded(context: CheckContext, view: NodeView): SourceRef | undefined {
  const local = localPod(context, view, 4);
  const remote = context
    .pods()
    .filter((pod) => pod.node !== view.name)
    .flatMap((pod) => pod.addresses)
    .find((address) => address.family === 4);
  const own = view.node.internalAddresses.find((address) => address.family === 4);
  if (local === undefined || remote === undefined || own === undefined) return undefined;
  const tooLarge = firstPacket(local.address, remote, 'tcp', 80, 1500);
  const entered = passHooks(view.netns, ['prerouting'], tooLarge, { inDevice: local.device });
  const answer: Packet = {
    ...firstPacket(own, local.address, 'icmp', 0, 576),
    icmp: { type: 3, code: 4 },
    df: false,
    quoted: tooLarge,
  };
  const connections = entered.state === 'passed' ? entered.connections : emptyConnections();
  const { inFlight: _, ...table } = connections;
  const left = passHooks(view.netns, ['output', 'postrouting'], answer, { outDevice: local.device }, table);
  return left.state === 'lost' ? decisiveSource(view.netns, left.decisive) : undefined;
}
