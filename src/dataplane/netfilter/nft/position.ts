/** A walk through one native base chain: where it is, the ways it splits, and how it ends. */
import type { HookName } from '../../../model/netfilter.ts';
import type { NftBaseChain, NftChain, NftRule, NftTable } from '../../../model/nft.ts';
import type { NearRule } from '../../../model/verdict.ts';
import type { Packet } from '../../../net/packet.ts';
import type { HookOutcome, SiteFrame, Visit } from '../context.ts';
import { chainsOf } from '../nearest/nftables.ts';
import { nearestRules } from '../nearest/search.ts';
import { joinDoubt, merge, outcome } from '../outcomes.ts';
import { visit } from '../path.ts';
import type { Next, Run, State } from '../state.ts';
import { acceptedStep, decisiveRule, refusedStep } from '../steps.ts';
import type { Scope } from './evaluate.ts';

/** A native chain at a hook. */
export interface NftBase {
  readonly backend: 'nftables';
  readonly file: string;
  readonly hook: HookName;
  /** The table as nft names it, `ip kube-proxy`. */
  readonly table: { readonly name: string };
  readonly chain: NftChain;
  readonly definition: NftBaseChain;
  readonly nft: NftTable;
}

export interface Frame extends SiteFrame {
  readonly chain: NftChain;
  readonly parent?: { readonly frame: Frame; readonly index: number };
}

/** The next statement to run. */
export interface Position {
  readonly frame: Frame;
  readonly index: number;
  readonly statement: number;
  readonly state: State;
  /** The packet as it came to the rule, where what matched is recorded. */
  readonly came?: Packet;
}

/** What the functions of one walk share. */
export interface Walk {
  readonly run: Run;
  readonly base: NftBase;
  readonly next: Next;
  /** Goes on from a position to the end of the hook. */
  readonly from: (position: Position) => readonly HookOutcome[];
}

export interface Here {
  readonly position: Position;
  readonly rule: NftRule;
}

export type Effect = { readonly go: Position } | { readonly done: readonly HookOutcome[] };

export const nextRule = (position: Position): Position => ({
  ...position,
  index: position.index + 1,
  statement: 0,
});

export const advance = (position: Position, state = position.state): Position => ({
  ...position,
  statement: position.statement + 1,
  state,
});

/** The rule has matched. */
export function seen(walk: Walk, here: Here, verdict: Visit['verdict'], to?: string): Here {
  const { position, rule } = here;
  const { run, base } = walk;
  const { state, frame, came } = position;
  const matched = visit(run, { base, frame }, state, rule, verdict, to, came);
  return matched === state ? here : { rule, position: { ...position, state: matched } };
}

export const scopeOf = ({ run, base }: Walk, { packet, tracking, connections }: State): Scope => ({
  context: run.context,
  packet,
  tracking,
  table: base.nft,
  changes: connections.nftChanges,
});

/** Where people find the rule in the kernel's own listing. */
const explain = ({ base }: Walk, { position, rule }: Here, why: string): string =>
  `${why} (${base.table.name} ${position.frame.chain.name}${rule.handle === 0 ? '' : ` handle ${rule.handle}`}; compare with: nft list ruleset)`;

export function giveUp(walk: Walk, here: Here, why: string): readonly HookOutcome[] {
  return [
    outcome(here.position.state, 'unknown', walk.run.context.netns.id, {
      unknownBecause: [here.rule.source],
      unknownWhy: explain(walk, here, why),
    }),
  ];
}

/** Each position is possible. */
export function inDoubt(walk: Walk, here: Here, why: string, positions: readonly Position[]): Effect {
  return joinAll(
    walk,
    here,
    why,
    positions.map((position) => () => walk.from(position)),
  );
}

export function joinAll(
  walk: Walk,
  here: Here,
  why: string,
  ways: readonly (() => readonly HookOutcome[])[],
): Effect {
  if (--walk.run.budget.doubts < 0)
    return { done: giveUp(walk, here, 'more undecided rules than the walk follows') };
  const { netns } = walk.run.context;
  const [first, ...rest] = ways.map((way) => way());
  const join = (a: readonly HookOutcome[], b: readonly HookOutcome[]) =>
    joinDoubt(here.position.state, netns.id, [here.rule.source], explain(walk, here, why), a, b);
  return { done: rest.reduce(join, first ?? giveUp(walk, here, why)) };
}

export function byChance(
  walk: Walk,
  here: Here,
  ways: readonly (readonly [share: number, position: Position])[],
): Effect {
  walk.run.budget.chances -= ways.length - 1;
  if (walk.run.budget.chances < 0) return { done: giveUp(walk, here, 'more chances than the walk follows') };
  const outcomes = ways.flatMap(([share, position]) => {
    const { state } = position;
    return walk.from({ ...position, state: { ...state, share: state.share * share } });
  });
  return { done: merge(outcomes) };
}

/** A statement that surely runs and whose effect is not understood. The packet going on is one possibility. */
export function cannotApply(walk: Walk, here: Here, why: string): Effect {
  return joinAll(walk, here, why, [() => giveUp(walk, here, why), () => walk.from(advance(here.position))]);
}

/** Chains of type filter decide about packets; accept in another one just ends it. */
export function accepted({ base }: Walk, { position, rule }: Here): State {
  const { state, frame } = position;
  if (base.definition.type !== 'filter') return state;
  const site = { base, frame };
  return { ...state, decisive: decisiveRule(site, rule), steps: [...state.steps, acceptedStep(site, rule)] };
}

export function refuse(
  walk: Walk,
  here: Here,
  verdict: 'drop' | 'reject',
  maps: readonly string[],
  rejectWith?: string,
): Effect {
  const { run, base } = walk;
  const { position, rule } = seen(walk, here, verdict);
  const { state } = position;
  const frame: Frame = { ...position.frame, maps: [...(position.frame.maps ?? []), ...maps] };
  const site = { base, frame };
  const decisive = decisiveRule(site, rule);
  const steps = [...state.steps, refusedStep(site, rule, verdict, rejectWith)];
  const more = {
    nearest: nearest(run, base, frame, state, rule),
    ...(rejectWith === undefined ? {} : { rejectWith }),
  };
  return { done: [outcome({ ...state, decisive, steps }, verdict, run.context.netns.id, more)] };
}

export function nearest(
  { context }: Run,
  base: NftBase,
  frame: Frame,
  { packet, tracking }: State,
  rule?: NftRule,
): () => readonly NearRule[] {
  const drop = { table: base.table.name, frame, subject: { context, packet, tracking } };
  return () => nearestRules({ ...drop, chains: chainsOf(base.nft), ...(rule === undefined ? {} : { rule }) });
}

export const follow = (walk: Walk, effect: Effect): readonly HookOutcome[] =>
  'done' in effect ? effect.done : walk.from(effect.go);
