/**
 * One netfilter hook of one namespace for one packet: every base chain there in the kernel's order, connection tracking and
 * NAT between them. Accept in one table does not stop the next; drop and reject are final.
 */
import { type Known, mapKnown } from '../../model/known.ts';
import type { HookName, Ruleset, TableName } from '../../model/netfilter.ts';
import type { Netns } from '../../model/netns.ts';
import type { Packet } from '../../net/packet.ts';
import { sysctl } from '../routing-tables.ts';
import {
  type Connections,
  confirm,
  type Manip,
  notTracked,
  setMapping,
  track,
  translate,
} from './conntrack.ts';
import type { HookContext, HookOutcome } from './context.ts';
import { runBase } from './interpret.ts';
import { merge, outcome } from './outcomes.ts';
import type { Base, Run, State } from './state.ts';
import { invalidStep, natStep } from './steps.ts';

export type { Decisive, HookContext, HookOutcome } from './context.ts';

type Stage =
  | { readonly kind: 'table'; readonly table: TableName }
  | { readonly kind: 'track' }
  | { readonly kind: 'nat'; readonly manip: Manip }
  | { readonly kind: 'confirm' };

const table = (name: TableName): Stage => ({ kind: 'table', table: name });
const trackStage: Stage = { kind: 'track' };
const confirmStage: Stage = { kind: 'confirm' };
const nat = (manip: Manip): Stage => ({ kind: 'nat', manip });

/** enum nf_ip_hook_priorities: raw -300, conntrack -200, mangle -150, dnat -100, filter 0, security 50, snat 100, confirm last. */
const stagesOf: Readonly<Record<HookName, readonly Stage[]>> = {
  prerouting: [table('raw'), trackStage, table('mangle'), nat('dst')],
  input: [table('mangle'), table('filter'), table('security'), nat('src'), confirmStage],
  forward: [table('mangle'), table('filter'), table('security')],
  output: [table('raw'), trackStage, table('mangle'), nat('dst'), table('filter'), table('security')],
  postrouting: [table('mangle'), nat('src'), confirmStage],
};

const newBudget = () => ({ doubts: 64, chances: 2_000, rules: 2_000_000 });

/** All that can become of the packet at the hook; shares add up to 1. Equal outcomes are one. */
export function traverseHook(context: HookContext): readonly HookOutcome[] {
  const { netns, hook, packet } = context;
  const unseenTables = nativeTables(netns, hook, packet.src.family);
  const state: State = {
    packet,
    tracking: initialTracking(context),
    connections: context.connections,
    share: 1,
    steps: [],
  };
  const rulesets = netns.rulesets.state === 'known' ? netns.rulesets.value : [];
  const bases = basesOf(rulesets, hook, packet.src.family);
  const hasNat = rulesets.some(
    (ruleset) => ruleset.family === packet.src.family && ruleset.tables.some(({ name }) => name === 'nat'),
  );
  const run: Run = { context, budget: newBudget() };
  const outcomes = merge(runStages({ run, bases, hasNat, stages: stagesOf[hook] }, 0, state));
  const { rulesets: recorded } = netns;
  return outcomes.map((entry) => {
    if (recorded.state === 'known') return { ...entry, unseenTables };
    return { ...entry, verdict: 'unknown', unknownWhy: recorded.why, alternatives: [entry], unseenTables };
  });
}

/** PREROUTING and OUTPUT start anew; a packet that went out by lo keeps its connection (nf_conntrack_in's `tmpl` check). */
function initialTracking(context: HookContext): State['tracking'] {
  const { hook, inDevice, connections, netns, packet } = context;
  const carried = connections.inFlight?.netns === netns.id ? connections.inFlight.tracking : undefined;
  if (hook === 'output' || (hook === 'prerouting' && inDevice !== 'lo')) return notTracked;
  if (hook === 'prerouting') return carried ?? notTracked;
  return carried ?? startTracking(connections, netns, packet);
}

function startTracking(connections: Connections, netns: Netns, packet: Packet): State['tracking'] {
  const loose = sysctl(netns, 'net.netfilter.nf_conntrack_tcp_loose') !== '0';
  return track(connections, netns.id, packet, loose);
}

/** The built-in chains of a hook, legacy and nft alike: both are in force where both are loaded. */
function basesOf(rulesets: readonly Ruleset[], hook: HookName, family: 4 | 6): readonly Base[] {
  const bases: Base[] = [];
  for (const ruleset of rulesets) {
    if (ruleset.family !== family) continue;
    const { backend, file } = ruleset;
    for (const owner of ruleset.tables) {
      const chain = owner.chains.get(hook.toUpperCase());
      if (chain !== undefined) bases.push({ backend, file, hook, table: owner, chain });
    }
  }
  return bases;
}

/** Names of native nftables tables that also decide at the hook. */
function nativeTables(netns: Netns, hook: HookName, family: 4 | 6): Known<readonly string[]> {
  const families = ['inet', family === 4 ? 'ip' : 'ip6'];
  return mapKnown(netns.nftTables, (tables) =>
    tables
      .filter(
        (entry) => families.includes(entry.family) && entry.baseChains.some((base) => base.hook === hook),
      )
      .map((entry) => `${entry.family} ${entry.name}`),
  );
}

interface Program {
  readonly run: Run;
  readonly bases: readonly Base[];
  readonly hasNat: boolean;
  readonly stages: readonly Stage[];
}

function runStages(program: Program, index: number, state: State): readonly HookOutcome[] {
  const { run, bases } = program;
  const stage = program.stages[index];
  if (stage === undefined) return [outcome(state, 'accept', run.context.netns.id)];
  const next = (after: State) => runStages(program, index + 1, after);
  switch (stage.kind) {
    case 'table':
      return runTables(
        run,
        bases.filter((base) => base.table.name === stage.table),
        state,
        next,
      );
    case 'track':
      return next(trackState(run.context, bases.length > 0, state));
    case 'nat':
      return program.hasNat ? runNat(program, stage.manip, state, next) : next(state);
    case 'confirm':
      return next({ ...state, connections: confirm(state.connections, state.tracking) });
  }
}

function runTables(
  run: Run,
  bases: readonly Base[],
  state: State,
  next: (state: State) => readonly HookOutcome[],
): readonly HookOutcome[] {
  const [first, ...rest] = bases;
  if (first === undefined) return next(state);
  return runBase(run, first, state, (after) => runTables(run, rest, after, next));
}

function trackState(context: HookContext, hasRules: boolean, state: State): State {
  const { tracking, connections, packet } = state;
  if (tracking.connection !== undefined || tracking.state === 'UNTRACKED') return state;
  const tracked = startTracking(connections, context.netns, packet);
  if (tracked.state !== 'INVALID' || !hasRules) return { ...state, tracking: tracked };
  return { ...state, tracking: tracked, steps: [...state.steps, invalidStep(packet)] };
}

/** nf_nat_inet_fn: the table is asked once for a connection and side; after that its mapping translates every packet. */
function runNat(
  program: Program,
  manip: Manip,
  state: State,
  next: (state: State) => readonly HookOutcome[],
): readonly HookOutcome[] {
  const { connection } = state.tracking;
  if (connection === undefined) return next(state);
  const { hook } = program.run.context;
  if (state.tracking.state !== 'NEW' || connection.natDone[manip])
    return next(translated(state, manip, hook));
  const bases = program.bases.filter((base) => base.table.name === 'nat');
  const ask = (index: number, asked: State): readonly HookOutcome[] => {
    const current = asked.tracking.connection;
    const base = bases[index];
    if (current === undefined || current.natDone[manip]) return next(translated(asked, manip, hook));
    if (base !== undefined) return runBase(program.run, base, asked, (after) => ask(index + 1, after));
    // nf_nat_alloc_null_binding: no rule wanted it, and none will be asked again.
    const connectionDone = setMapping(current, manip, {});
    return next({ ...asked, tracking: { ...asked.tracking, connection: connectionDone } });
  };
  return ask(0, state);
}

function translated(state: State, manip: Manip, hook: HookName): State {
  const { natStep: by, ...rest } = state;
  const packet = translate(state.tracking, manip, state.packet);
  if (packet === state.packet) return rest;
  return { ...rest, packet, steps: [...state.steps, natStep(manip, state.packet, packet, hook, by)] };
}
