/**
 * One netfilter hook of one namespace for one packet: every base chain there in the kernel's order, connection tracking and
 * NAT between them. Accept in one table does not stop the next; drop and reject are final.
 */
import { mapKnown, orElse, unknown } from '../../model/known.ts';
import type { HookName } from '../../model/netfilter.ts';
import type { Netns } from '../../model/netns.ts';
import { type Family, sameAddress } from '../../net/address.ts';
import { lookupRoute } from '../routing-lookup.ts';
import { queryOf } from '../routing-query.ts';
import { confirm, confirmed, type Manip, notTracked } from './conntrack.ts';
import type { HookContext, HookOutcome } from './context.ts';
import { type HookProgram, programOf, type Stage, stagesIn } from './hook-program.ts';
import { setMapping, translate } from './mapping.ts';
import { bridgeChains } from './nft/frame-hooks.ts';
import { merge, outcome } from './outcomes.ts';
import { copyOf, type Next, type Run, type State, withTracking } from './state.ts';
import { natStep } from './steps.ts';
import { runTracking, startTracking } from './tracking.ts';
import { isIcmpError } from './tuples.ts';

export type { HookContext, HookOutcome } from './context.ts';

const newBudget = () => ({ doubts: 64, chances: 2_000, rules: 2_000_000 });

/** All that can become of the packet at the hook; shares add up to 1. Equal outcomes are one. */
export function traverseHook(context: HookContext): readonly HookOutcome[] {
  const { netns, hook, packet } = context;
  const unsaved = whyUnsaved(netns, packet.src.family);
  const unseenTables =
    unsaved === undefined ? mapKnown(netns.nftTables, (): readonly string[] => []) : unknown(unsaved);
  const state: State = {
    packet,
    tracking: initialTracking(context),
    connections: context.connections,
    share: 1,
    steps: [],
  };
  const program = programOf(netns, hook, packet.src.family);
  const run: Run = { context, budget: newBudget() };
  const outcomes = merge(runStages({ run, program, stages: stagesIn(program, context.window) }, 0, state));
  const { rulesets: recorded } = netns;
  const isAllSeen = unseenTables.state === 'known' && unseenTables.value.length === 0;
  if (recorded.state === 'known' && isAllSeen) return outcomes;
  return outcomes.map((entry) => {
    if (recorded.state === 'known') return { ...entry, unseenTables };
    return { ...entry, verdict: 'unknown', unknownWhy: recorded.why, alternatives: [entry], unseenTables };
  });
}

/** Why one of the family's iptables backends was not seen. */
export const whyUnsaved = ({ rulesets }: Netns, family: Family): string | undefined =>
  orElse(rulesets, []).find((one) => one.family === family && one.unseen !== undefined)?.unseen;

/** PREROUTING and OUTPUT start anew; a packet that went out by lo keeps its connection (nf_conntrack_in's `tmpl` check). */
function initialTracking(context: HookContext): State['tracking'] {
  const { hook, inDevice, connections, netns, packet } = context;
  const carried = connections.inFlight?.netns === netns.id ? connections.inFlight.tracking : undefined;
  if (hook === 'output' && connections.inFlight?.attached === true) return carried ?? notTracked;
  if (hook === 'output' && context.keepsTracking === true) return carried ?? notTracked;
  if (hook === 'output' || (hook === 'prerouting' && inDevice !== 'lo')) return notTracked;
  if (hook === 'prerouting') return carried ?? notTracked;
  return carried ?? startTracking(connections, netns, packet);
}

/**
 * What the chains of bridge tables do with a frame that a bridge handles, by its ports. Connection tracking there depends on
 * modules of its own: conditions on it are in doubt.
 */
export function traverseBridgeHook(context: HookContext): readonly HookOutcome[] {
  const { netns, hook, packet, connections } = context;
  const state: State = { packet, tracking: initialTracking(context), connections, share: 1, steps: [] };
  const run: Run = { context, budget: newBudget() };
  // Whether they are known is asked at the hooks of IP, which nearly every packet passes too.
  const chains = bridgeChains(orElse(netns.nftTables, []), hook);
  const at = (index: number, now: State): readonly HookOutcome[] => {
    const chain = chains[index];
    return chain === undefined
      ? [outcome(now, 'accept', netns.id)]
      : chain.start(run, now, (after) => at(index + 1, after));
  };
  return merge(at(0, state));
}

interface Passage {
  readonly run: Run;
  readonly program: HookProgram;
  readonly stages: readonly Stage[];
}

function runStages(passage: Passage, index: number, state: State): readonly HookOutcome[] {
  const { run, program } = passage;
  const stage = passage.stages[index];
  if (stage === undefined) return [outcome(state, 'accept', run.context.netns.id)];
  const next = (after: State) => runStages(passage, index + 1, after);
  switch (stage.kind) {
    case 'chain':
      return stage.entry.start(
        run,
        state,
        hookOf(run) === 'output' && stage.entry.reroutes ? rerouting(run, state, next) : next,
      );
    case 'track':
      return runTracking(run, program.hasChains, state, next);
    case 'nat':
      return program.hasNat ? runNat(passage, stage.manip, state, next) : next(state);
    case 'confirm':
      return next(inTable(state));
  }
}

function inTable(state: State): State {
  const next = copyOf(state);
  next.connections = confirm(state.connections, state.tracking);
  next.tracking = confirmed(state.tracking);
  return next;
}

const hookOf = (run: Run): HookName => run.context.hook;

/**
 * A mark set in any other table stays without effect on the route. ip_route_me_harder() asks at once: where there is no way,
 * no later chain sees the packet, and no translation saves it. Who reads the outcome asks the routes for the reason.
 */
const rerouting =
  (run: Run, before: State, next: Next): Next =>
  (after) => {
    const { mark } = after.packet;
    if (mark === before.packet.mark) return next(after);
    const routed = { ...after, routeMark: mark };
    const { netns } = run.context;
    const { state: way } = lookupRoute(netns, queryOf(after.packet, undefined, mark));
    return way === 'none' || way === 'refused' ? [outcome(routed, 'drop', netns.id)] : next(routed);
  };

/** nf_nat_inet_fn: the table is asked once for a connection and side; after that its mapping translates every packet. */
function runNat(
  { run, program }: Passage,
  manip: Manip,
  state: State,
  next: (state: State) => readonly HookOutcome[],
): readonly HookOutcome[] {
  const { connection } = state.tracking;
  if (connection === undefined) return next(state);
  const { hook } = run.context;
  // Of what is RELATED only errors have their mapping settled: a reset for a new connection asks the table like that itself.
  const isOpen =
    state.tracking.state === 'NEW' || (state.tracking.state === 'RELATED' && !isIcmpError(state.packet));
  if (!isOpen || connection.natDone[manip]) return next(translated(state, manip, hook));
  const ask = (index: number, asked: State): readonly HookOutcome[] => {
    const current = asked.tracking.connection;
    const chain = program.nat[index];
    if (current === undefined || current.natDone[manip]) return next(translated(asked, manip, hook));
    if (chain !== undefined) return chain.start(run, asked, (after) => ask(index + 1, after));
    // nf_nat_alloc_null_binding: no rule wanted it, and none will be asked again.
    const connectionDone = setMapping(current, manip, {});
    const bound = withTracking(asked, { ...asked.tracking, connection: connectionDone });
    // A reset goes the other way: what is bound here is not what is translated here.
    return next(translated(bound, manip, hook));
  };
  return ask(0, state);
}

function translated(state: State, manip: Manip, hook: HookName): State {
  const packet = translate(state.tracking, manip, state.packet);
  const { natStep: by } = state;
  if (packet === state.packet && by === undefined) return state;
  const next = copyOf(state);
  next.natStep = undefined;
  if (packet === state.packet) return next;
  // nf_nat_ipv4_local_fn() routes again where the destination is another.
  const isRerouted = hook === 'output' && !sameAddress(packet.dst, state.packet.dst);
  if (isRerouted) next.routeMark = packet.mark;
  next.packet = packet;
  next.steps = [...state.steps, natStep(manip, state.packet, packet, hook, by)];
  return next;
}
