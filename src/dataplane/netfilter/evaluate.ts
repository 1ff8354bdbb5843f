/**
 * One netfilter hook of one namespace for one packet: every base chain there in the kernel's order, connection tracking and
 * NAT between them. Accept in one table does not stop the next; drop and reject are final.
 */
import { mapKnown } from '../../model/known.ts';
import type { HookName, Ruleset, TableName } from '../../model/netfilter.ts';
import type { NftTable } from '../../model/nft.ts';
import { type Family, sameAddress } from '../../net/address.ts';
import { confirm, isIcmpError, type Manip, notTracked, setMapping, translate } from './conntrack.ts';
import type { HookContext, HookOutcome } from './context.ts';
import { runBase } from './interpret.ts';
import { type NftBase, runNftBase } from './nft/interpret.ts';
import { merge, outcome } from './outcomes.ts';
import type { Base, Next, Run, State } from './state.ts';
import { natStep } from './steps.ts';
import { runTracking, startTracking } from './tracking.ts';

export type { HookContext, HookOutcome } from './context.ts';

/** A base chain of either tool, ready to run. */
interface Entry {
  readonly kind: 'filter' | 'nat';
  readonly priority: number;
  /** mangle and nft's route chains: a changed mark asks for the route anew (ipt_mangle_out, nf_route_table_hook4). */
  readonly reroutes: boolean;
  readonly age: readonly [table: number, chain: number];
  readonly start: (run: Run, state: State, next: Next) => readonly HookOutcome[];
}

type Stage =
  | { readonly kind: 'chain'; readonly entry: Entry }
  | { readonly kind: 'track' }
  | { readonly kind: 'nat'; readonly manip: Manip }
  | { readonly kind: 'confirm' };

/** enum nf_ip_hook_priorities. All nat chains run in one place, whatever their own priority (nf_nat_register_fn). */
const trackPriority = -200;
const natPriority: Readonly<Record<Manip, number>> = { dst: -100, src: 100 };
const tablePriority: Readonly<Record<TableName, number>> = {
  raw: -300,
  mangle: -150,
  nat: 0,
  filter: 0,
  security: 50,
};

/** What runs at a hook between and after the chains. */
function ownStages(hook: HookName): readonly (readonly [priority: number, stage: Stage])[] {
  const track = [trackPriority, { kind: 'track' }] as const;
  const nat = (manip: Manip) => [natPriority[manip], { kind: 'nat', manip }] as const;
  const confirmed = [Number.POSITIVE_INFINITY, { kind: 'confirm' }] as const;
  switch (hook) {
    case 'prerouting':
    case 'output':
      return [track, nat('dst')];
    case 'input':
    case 'postrouting':
      return [nat('src'), confirmed];
    case 'forward':
      return [];
  }
}

/** By priority; among equals the one registered last runs first (nf_hook_entries_grow). */
function stagesOf(
  hook: HookName,
  entries: readonly Entry[],
  window: HookContext['window'] = {},
): readonly Stage[] {
  const chains = entries
    .filter(({ kind }) => kind === 'filter')
    .map((entry) => [entry.priority, { kind: 'chain', entry }] as const);
  const { from = Number.NEGATIVE_INFINITY, to } = window;
  return [...ownStages(hook), ...chains]
    .filter(([priority]) => priority >= from && (to === undefined || priority < to))
    .sort(([a], [b]) => a - b)
    .map(([, stage]) => stage);
}

const inOrder = (a: Entry, b: Entry): number =>
  a.priority - b.priority || b.age[0] - a.age[0] || b.age[1] - a.age[1];

const newBudget = () => ({ doubts: 64, chances: 2_000, rules: 2_000_000 });

/** All that can become of the packet at the hook; shares add up to 1. Equal outcomes are one. */
export function traverseHook(context: HookContext): readonly HookOutcome[] {
  const { netns, hook, packet } = context;
  const unseenTables = mapKnown(netns.nftTables, (tables) => unevaluated(tables, context));
  const state: State = {
    packet,
    tracking: initialTracking(context),
    connections: context.connections,
    share: 1,
    steps: [],
  };
  const rulesets = netns.rulesets.state === 'known' ? netns.rulesets.value : [];
  const { family } = packet.src;
  const nftTables = netns.nftTables.state === 'known' ? netns.nftTables.value : [];
  const native = nftTables.filter((table) => isInForce(table, family, rulesets));
  const entries = [...iptablesEntries(rulesets, nftTables, hook, family), ...nftEntries(native, hook)].sort(
    inOrder,
  );
  const hasNat =
    rulesets.some((one) => one.family === family && one.tables.some(({ name }) => name === 'nat')) ||
    native.some((table) => table.baseChains.some(({ type }) => type === 'nat'));
  const run: Run = { context, budget: newBudget() };
  const outcomes = merge(
    runStages({ run, entries, hasNat, stages: stagesOf(hook, entries, context.window) }, 0, state),
  );
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
  if (hook === 'output' && connections.inFlight?.attached === true) return carried ?? notTracked;
  if (hook === 'output' && context.keepsTracking === true) return carried ?? notTracked;
  if (hook === 'output' || (hook === 'prerouting' && inDevice !== 'lo')) return notTracked;
  if (hook === 'prerouting') return carried ?? notTracked;
  return carried ?? startTracking(connections, netns, packet);
}

/** The built-in chains of a hook, legacy and nft alike: both are in force where both are loaded. */
function iptablesEntries(
  rulesets: readonly Ruleset[],
  nftTables: readonly NftTable[],
  hook: HookName,
  family: Family,
): readonly Entry[] {
  const entries: Entry[] = [];
  for (const ruleset of rulesets) {
    if (ruleset.family !== family) continue;
    const { backend, file } = ruleset;
    for (const table of ruleset.tables) {
      const chain = table.chains.get(hook.toUpperCase());
      if (chain === undefined) continue;
      const base: Base = { backend, file, hook, table, chain };
      const shown =
        backend === 'nft'
          ? nftTables.find((one) => one.family === nftFamily(family) && one.name === table.name)
          : undefined;
      const definition = shown?.baseChains.find(({ name }) => name === chain.name);
      entries.push({
        kind: table.name === 'nat' ? 'nat' : 'filter',
        priority: table.name === 'nat' ? natPriorityAt(hook) : tablePriority[table.name],
        reroutes: table.name === 'mangle',
        age: [shown?.handle ?? 0, definition?.handle ?? 0],
        start: (run, state, next) => runBase(run, base, state, next),
      });
    }
  }
  return entries;
}

const nftFamily = (family: Family): string => (family === 4 ? 'ip' : 'ip6');
const natPriorityAt = (hook: HookName): number =>
  natPriority[hook === 'prerouting' || hook === 'output' ? 'dst' : 'src'];

/** Tables that iptables-nft made are evaluated once: from iptables-save where that shows them. */
const isInForce = (table: NftTable, family: Family, rulesets: readonly Ruleset[]): boolean =>
  table.family === 'inet' ||
  (table.family === nftFamily(family) &&
    !rulesets.some(
      (ruleset) =>
        ruleset.backend === 'nft' &&
        ruleset.family === family &&
        ruleset.tables.some(({ name }) => name === table.name) &&
        madeByIptables(table),
    ));

/** Upper-case base chains, or none: another tool may take a name like `filter` for a table of its own. */
const madeByIptables = (table: NftTable): boolean =>
  table.baseChains.every(({ name, hook }) => name === hook.toUpperCase());

function nftEntries(tables: readonly NftTable[], hook: HookName): readonly Entry[] {
  return tables.flatMap((nft) =>
    nft.baseChains
      .filter((definition) => definition.hook === hook)
      .flatMap((definition): Entry[] => {
        const chain = nft.chains.get(definition.name);
        if (chain === undefined) return [];
        const table = { name: `${nft.family} ${nft.name}` };
        const base: NftBase = { backend: 'nftables', file: nft.file, hook, table, chain, definition, nft };
        return [
          {
            kind: definition.type === 'nat' ? 'nat' : 'filter',
            priority: definition.priority,
            reroutes: definition.type === 'route',
            age: [nft.handle, definition.handle],
            start: (run, state, next) => runNftBase(run, base, state, next),
          },
        ];
      }),
  );
}

/** Tables of hooks below IP that the packet passes here: those of its bridge, and of devices that it comes or leaves by. */
function unevaluated(tables: readonly NftTable[], context: HookContext): readonly string[] {
  const { hook, inDevice, outDevice, physIn, physOut } = context;
  const at = hook === 'prerouting' ? 'ingress' : hook === 'postrouting' ? 'egress' : undefined;
  const devices = at === 'ingress' ? [inDevice, physIn] : [outDevice, physOut];
  return tables
    .filter((table) =>
      table.baseChains.some((base) => {
        if ((table.chains.get(base.name)?.rules.length ?? 0) === 0 && base.policy === 'accept') return false;
        if (table.family === 'bridge') return base.hook === hook && (physIn ?? physOut) !== undefined;
        return base.hook === at && devices.some((name) => name !== undefined && base.devices.includes(name));
      }),
    )
    .map((table) => `${table.family} ${table.name}`);
}

interface Program {
  readonly run: Run;
  readonly entries: readonly Entry[];
  readonly hasNat: boolean;
  readonly stages: readonly Stage[];
}

function runStages(program: Program, index: number, state: State): readonly HookOutcome[] {
  const { run, entries } = program;
  const stage = program.stages[index];
  if (stage === undefined) return [outcome(state, 'accept', run.context.netns.id)];
  const next = (after: State) => runStages(program, index + 1, after);
  switch (stage.kind) {
    case 'chain':
      return stage.entry.start(
        run,
        state,
        hookOf(run) === 'output' && stage.entry.reroutes ? rerouting(state, next) : next,
      );
    case 'track':
      return runTracking(run, entries.length > 0, state, next);
    case 'nat':
      return program.hasNat ? runNat(program, stage.manip, state, next) : next(state);
    case 'confirm':
      return next({ ...state, connections: confirm(state.connections, state.tracking) });
  }
}

const hookOf = (run: Run): HookName => run.context.hook;

/** A mark set in any other table stays without effect on the route. */
const rerouting =
  (before: State, next: Next): Next =>
  (after) =>
    next(after.packet.mark === before.packet.mark ? after : { ...after, routeMark: after.packet.mark });

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
  // Of what is RELATED only errors have their mapping settled: a reset for a new connection asks the table like that itself.
  const isOpen =
    state.tracking.state === 'NEW' || (state.tracking.state === 'RELATED' && !isIcmpError(state.packet));
  if (!isOpen || connection.natDone[manip]) return next(translated(state, manip, hook));
  const chains = program.entries.filter(({ kind }) => kind === 'nat');
  const ask = (index: number, asked: State): readonly HookOutcome[] => {
    const current = asked.tracking.connection;
    const chain = chains[index];
    if (current === undefined || current.natDone[manip]) return next(translated(asked, manip, hook));
    if (chain !== undefined) return chain.start(program.run, asked, (after) => ask(index + 1, after));
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
  // nf_nat_ipv4_local_fn() routes again where the destination is another.
  const isRerouted = hook === 'output' && !sameAddress(packet.dst, state.packet.dst);
  return {
    ...rest,
    ...(isRerouted ? { routeMark: packet.mark } : {}),
    packet,
    steps: [...state.steps, natStep(manip, state.packet, packet, hook, by)],
  };
}
