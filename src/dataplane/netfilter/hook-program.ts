/** What a namespace runs at a hook: the base chains of both tools in the kernel's order, tracking and NAT between them. */
import type { HookName, Ruleset, TableName } from '../../model/netfilter.ts';
import type { Netns } from '../../model/netns.ts';
import type { NftTable } from '../../model/nft.ts';
import type { Family } from '../../net/address.ts';
import type { Manip } from './conntrack.ts';
import type { HookContext, HookOutcome } from './context.ts';
import { runBase } from './interpret.ts';
import { deviceChains, type FrameChain } from './nft/frame-hooks.ts';
import { runNftBase } from './nft/interpret.ts';
import type { NftBase } from './nft/position.ts';
import type { Base, Next, Run, State } from './state.ts';

/** A base chain of either tool, ready to run. */
interface Entry {
  readonly kind: 'filter' | 'nat';
  readonly priority: number;
  /** mangle and nft's route chains: a changed mark asks for the route anew (ipt_mangle_out, nf_route_table_hook4). */
  readonly reroutes: boolean;
  readonly age: readonly [table: number, chain: number];
  readonly start: (run: Run, state: State, next: Next) => readonly HookOutcome[];
}

export type Stage =
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

export interface HookProgram {
  readonly hasChains: boolean;
  /** Chains of type nat; `nat` stages ask them. */
  readonly nat: readonly Entry[];
  /** Whether the nat table is there at all: without it nothing translates. */
  readonly hasNat: boolean;
  /** All of `stages`, in their order. */
  readonly whole: readonly Stage[];
  /** By priority; among equals the chain registered last runs first (nf_hook_entries_grow). */
  readonly stages: readonly (readonly [priority: number, stage: Stage])[];
}

const programs = new WeakMap<Netns, Map<string, HookProgram>>();

/** Made once for a namespace: none of it depends on the packet. */
export function programOf(netns: Netns, hook: HookName, family: Family): HookProgram {
  let own = programs.get(netns);
  if (own === undefined) {
    own = new Map();
    programs.set(netns, own);
  }
  const name = hook + family;
  let program = own.get(name);
  if (program === undefined) {
    program = makeProgram(netns, hook, family);
    own.set(name, program);
  }
  return program;
}

function makeProgram(netns: Netns, hook: HookName, family: Family): HookProgram {
  const rulesets = netns.rulesets.state === 'known' ? netns.rulesets.value : [];
  const nftTables = netns.nftTables.state === 'known' ? netns.nftTables.value : [];
  const native = nftTables.filter((table) => isInForce(table, family, rulesets));
  const entries = [...iptablesEntries(rulesets, nftTables, hook, family), ...nftEntries(native, hook)].sort(
    inOrder,
  );
  const chains = entries
    .filter(({ kind }) => kind === 'filter')
    .map((entry) => [entry.priority, { kind: 'chain', entry }] as const);
  const stages = withDevices(
    deviceChains(nftTables, hook),
    hook,
    [...ownStages(hook), ...chains].sort(([a], [b]) => a - b),
  );
  return {
    hasChains: entries.length > 0,
    nat: entries.filter(({ kind }) => kind === 'nat'),
    hasNat:
      rulesets.some((one) => one.family === family && one.tables.some(({ name }) => name === 'nat')) ||
      native.some((table) => table.baseChains.some(({ type }) => type === 'nat')),
    stages,
    whole: stages.map(([, stage]) => stage),
  };
}

/** Chains of devices run before everything where packets come in, and after everything where they leave. */
function withDevices(
  chains: readonly FrameChain[],
  hook: HookName,
  stages: HookProgram['stages'],
): HookProgram['stages'] {
  if (chains.length === 0) return stages;
  const priority = hook === 'prerouting' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  const own = chains.map(
    ({ age, start }) =>
      [
        priority,
        { kind: 'chain', entry: { kind: 'filter', priority, reroutes: false, age, start } },
      ] as const,
  );
  return hook === 'prerouting' ? [...own, ...stages] : [...stages, ...own];
}

/** The stages that run for a packet; some enter a hook after its first chains. */
export function stagesIn({ stages, whole }: HookProgram, window: HookContext['window']): readonly Stage[] {
  if (window === undefined) return whole;
  const { from = Number.NEGATIVE_INFINITY, to = Number.POSITIVE_INFINITY } = window;
  const isLast = to === Number.POSITIVE_INFINITY;
  return stages
    .filter(([priority]) => priority >= from && (isLast || priority < to))
    .map(([, stage]) => stage);
}

const inOrder = (a: Entry, b: Entry): number =>
  a.priority - b.priority || b.age[0] - a.age[0] || b.age[1] - a.age[1];

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
  table.dormant !== 'yes' &&
  (table.family === 'inet' ||
    (table.family === nftFamily(family) &&
      !rulesets.some(
        (ruleset) =>
          ruleset.backend === 'nft' &&
          ruleset.family === family &&
          ruleset.tables.some(({ name }) => name === table.name) &&
          madeByIptables(table),
      )));

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
