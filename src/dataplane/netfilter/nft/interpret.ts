/**
 * The walk through the rules of one native base chain (nft_do_chain): statements run in order until one ends the rule or the
 * chain. What is in doubt or by chance splits the walk, as in interpret.ts; outcomes, connections and NAT are the same.
 */
import type { HookName } from '../../../model/netfilter.ts';
import type {
  NftBaseChain,
  NftChain,
  NftElement,
  NftRule,
  NftStatement,
  NftTable,
  NftVerdict,
} from '../../../model/nft.ts';
import type { NearRule } from '../../../model/verdict.ts';
import type { Packet } from '../../../net/packet.ts';
import { setMapping, untracked } from '../conntrack.ts';
import type { HookContext, HookOutcome, SiteFrame, Visit } from '../context.ts';
import { chooseMapping } from '../nat.ts';
import { chainsOf } from '../nearest/nftables.ts';
import { nearestRules } from '../nearest/search.ts';
import { joinDoubt, merge, outcome } from '../outcomes.ts';
import { visit, visitedPolicy } from '../path.ts';
import type { Next, Run, State } from '../state.ts';
import {
  acceptedStep,
  decisivePolicy,
  decisiveRule,
  markStep,
  policyDropStep,
  refusedStep,
} from '../steps.ts';
import { nextNftRules } from './dispatch.ts';
import { evaluate, evaluateMatch, lookups, nameOf, type Scope } from './evaluate.ts';
import { type NatWay, natWays, rejectName } from './targets.ts';
import type { Option } from './values.ts';

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

interface Frame extends SiteFrame {
  readonly chain: NftChain;
  readonly parent?: { readonly frame: Frame; readonly index: number };
}

/** The next statement to run. */
interface Position {
  readonly frame: Frame;
  readonly index: number;
  readonly statement: number;
  readonly state: State;
  /** The packet as it came to the rule, where what matched is recorded. */
  readonly came?: Packet;
}

/** What the functions of one walk share. */
interface Walk {
  readonly run: Run;
  readonly base: NftBase;
  readonly next: Next;
}

interface Here {
  readonly position: Position;
  readonly rule: NftRule;
}

type Effect = { readonly go: Position } | { readonly done: readonly HookOutcome[] };

/** Runs one base chain; `next` runs the rest of the hook for packets that it accepts. */
export function runNftBase(run: Run, base: NftBase, state: State, next: Next): readonly HookOutcome[] {
  const frame: Frame = { chain: base.chain, path: [base.chain.name] };
  return interpret({ run, base, next }, { frame, index: 0, statement: 0, state });
}

function interpret(walk: Walk, start: Position): readonly HookOutcome[] {
  let position = start;
  for (;;) {
    if (position.statement === 0) position = skipRules(walk.run.context, position);
    const { frame, index, statement, state } = position;
    const rule = frame.chain.rules[index];
    if (rule === undefined) {
      if (frame.parent === undefined) return applyPolicy(walk, frame, state);
      position = { ...frame.parent, statement: 0, state };
      continue;
    }
    const current = rule.statements[statement];
    if (current === undefined) {
      position = nextRule(matchesWhole(walk, { position, rule }).position);
      continue;
    }
    if (statement === 0 && walk.run.context.record) position = { ...position, came: state.packet };
    const here: Here = { position, rule };
    if (--walk.run.budget.rules < 0) return giveUp(walk, here, 'more rules than the walk takes up');
    const effect = runStatement(walk, here, current);
    if ('done' in effect) return effect.done;
    position = effect.go;
  }
}

/** In a long chain, on to the next rule that may match. */
function skipRules({ inDevice, outDevice }: HookContext, position: Position): Position {
  const { chain } = position.frame;
  const next = nextNftRules(chain, { packet: position.state.packet, inDevice, outDevice });
  return next === undefined ? position : { ...position, index: next(position.index) };
}

const nextRule = (position: Position): Position => ({
  ...position,
  index: position.index + 1,
  statement: 0,
});
/** A rule that has come to its end without a verdict: counted by the kernel if its last conditions hold too. */
function matchesWhole(walk: Walk, here: Here): Here {
  if (walk.run.context.record === undefined) return here;
  const scope = scopeOf(walk, here.position.state);
  const holds = (here.rule.trailing ?? []).every(
    (statement) => statement.kind === 'match' && evaluateMatch(statement, scope) === true,
  );
  return holds ? seen(walk, here, 'continue') : here;
}

/** The rule has matched. */
function seen(walk: Walk, here: Here, verdict: Visit['verdict'], to?: string): Here {
  const { position, rule } = here;
  const { run, base } = walk;
  const { state, frame, came } = position;
  const matched = visit(run, { base, frame }, state, rule, verdict, to, came);
  return matched === state ? here : { rule, position: { ...position, state: matched } };
}

const advance = (position: Position, state = position.state): Position => ({
  ...position,
  statement: position.statement + 1,
  state,
});

const follow = (walk: Walk, effect: Effect): readonly HookOutcome[] =>
  'done' in effect ? effect.done : interpret(walk, effect.go);

const scopeOf = ({ run, base }: Walk, { packet, tracking }: State): Scope => ({
  context: run.context,
  packet,
  tracking,
  table: base.nft,
});

function runStatement(walk: Walk, here: Here, statement: NftStatement): Effect {
  const { position, rule } = here;
  const { state } = position;
  switch (statement.kind) {
    case 'match': {
      const result = evaluateMatch(statement, scopeOf(walk, state));
      if (result === true) return { go: advance(position) };
      if (result === false) return { go: nextRule(position) };
      return 'doubt' in result
        ? inDoubt(walk, here, result.doubt, [advance(position), nextRule(position)])
        : byChance(walk, here, [
            [result.chance, advance(position)],
            [1 - result.chance, nextRule(position)],
          ]);
    }
    case 'rate': {
      const why = `whether "${statement.text}" lets this packet pass depends on other traffic`;
      return inDoubt(walk, here, why, [advance(position), nextRule(position)]);
    }
    case 'verdict':
      return applyVerdict(walk, here, statement.verdict, []);
    case 'vmap':
      return applyVmap(walk, here, statement);
    case 'reject':
      return refuse(walk, here, 'reject', [], rejectName(statement, state.packet.src.family));
    case 'set-mark':
    case 'set-ct-mark':
      return setMark(walk, here, statement);
    case 'nat':
      return applyNat(walk, here, statement);
    case 'notrack': {
      const isTracked = state.tracking.connection !== undefined;
      return { go: advance(position, isTracked ? state : { ...state, tracking: untracked }) };
    }
    case 'unknown':
      return cannotApply(walk, here, `${statement.why}: ${statement.text || rule.source.kind}`);
  }
}

/** Where people find the rule in the kernel's own listing. */
const explain = ({ base }: Walk, { position, rule }: Here, why: string): string =>
  `${why} (${base.table.name} ${position.frame.chain.name} handle ${rule.handle}; compare with: nft list ruleset)`;

function giveUp(walk: Walk, here: Here, why: string): readonly HookOutcome[] {
  return [
    outcome(here.position.state, 'unknown', walk.run.context.netns.id, {
      unknownBecause: [here.rule.source],
      unknownWhy: explain(walk, here, why),
    }),
  ];
}

/** Each position is possible. */
function inDoubt(walk: Walk, here: Here, why: string, positions: readonly Position[]): Effect {
  return joinAll(
    walk,
    here,
    why,
    positions.map((position) => () => interpret(walk, position)),
  );
}

function joinAll(
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

function byChance(
  walk: Walk,
  here: Here,
  ways: readonly (readonly [share: number, position: Position])[],
): Effect {
  walk.run.budget.chances -= ways.length - 1;
  if (walk.run.budget.chances < 0) return { done: giveUp(walk, here, 'more chances than the walk follows') };
  const outcomes = ways.flatMap(([share, position]) => {
    const { state } = position;
    return interpret(walk, { ...position, state: { ...state, share: state.share * share } });
  });
  return { done: merge(outcomes) };
}

function applyPolicy({ run, base, next }: Walk, frame: Frame, state: State): readonly HookOutcome[] {
  const site = { base, frame };
  if (base.definition.policy !== 'drop') return next(visitedPolicy(run, site, state, 'accept'));
  const seen = visitedPolicy(run, site, state, 'drop');
  const dropped = { ...seen, decisive: decisivePolicy(site), steps: [...state.steps, policyDropStep(site)] };
  const near = nearest(run, base, frame, state);
  return [outcome(dropped, 'drop', run.context.netns.id, { nearest: near })];
}

function applyVerdict(walk: Walk, here: Here, verdict: NftVerdict, maps: readonly string[]): Effect {
  const { position, rule } = here;
  const { frame } = position;
  switch (verdict.kind) {
    case 'continue':
      return { go: advance(position) };
    case 'accept':
      return { done: walk.next(accepted(walk, seen(walk, here, 'accept'))) };
    case 'drop':
      return refuse(walk, here, 'drop', maps);
    case 'return': {
      const { state } = seen(walk, here, 'return').position;
      // From a base chain, also after goto, it leads to the policy: the index past the last rule.
      return frame.parent === undefined
        ? {
            go: {
              ...position,
              frame: { chain: walk.base.chain, path: [walk.base.chain.name] },
              index: Number.MAX_SAFE_INTEGER,
              state,
            },
          }
        : { go: { ...frame.parent, statement: 0, state } };
    }
    case 'jump':
    case 'goto':
      return enter(walk, here, verdict, maps);
    case 'unknown':
      return cannotApply(walk, { position, rule }, `the verdict is not understood: ${verdict.text}`);
  }
}

/** NFT_JUMP_STACK_SIZE is 16; only a damaged dump nests deeper. */
const maxDepth = 64;

function enter(
  walk: Walk,
  here: Here,
  verdict: Extract<NftVerdict, { kind: 'jump' | 'goto' }>,
  maps: readonly string[],
): Effect {
  const { frame, index, state } = seen(walk, here, verdict.kind, verdict.chain).position;
  const chain = walk.base.nft.chains.get(verdict.chain);
  if (chain === undefined) return cannotApply(walk, here, `chain ${verdict.chain} was not recorded`);
  if (frame.path.length >= maxDepth)
    return cannotApply(walk, here, `chain ${verdict.chain} is nested without end`);
  const parent = verdict.kind === 'jump' ? { frame, index: index + 1 } : frame.parent;
  const entered: Frame = {
    chain,
    path: [...frame.path, chain.name],
    via: { rule: here.rule, frame },
    maps: [...(frame.maps ?? []), ...maps],
    ...(parent === undefined ? {} : { parent }),
  };
  return { go: { frame: entered, index: 0, statement: 0, state } };
}

/** More verdicts than this in doubt are not followed one by one. */
const maxCandidates = 8;

function applyVmap(walk: Walk, here: Here, statement: Extract<NftStatement, { kind: 'vmap' }>): Effect {
  const { position, rule } = here;
  const found = lookups(statement.key, statement.data, scopeOf(walk, position.state));
  if (found === 'absent') return { go: nextRule(position) };
  if ('doubt' in found) return cannotApply(walk, here, found.doubt);
  const maps = statement.data.kind === 'set-ref' ? [statement.data.name] : [];
  const hit = (at: Here, element: NftElement): Effect => {
    const { comment } = element;
    const told = comment === undefined ? at : { ...at, rule: { ...rule, comment } };
    const verdict = element.verdict ?? { kind: 'unknown' as const, text: nameOf(statement.data) };
    return applyVerdict(walk, told, verdict, maps);
  };
  const take = (at: Here, result: (typeof found)[number]['found']): Effect => {
    if (result.kind === 'hit') return hit(at, result.element);
    if (result.kind === 'miss') return { go: nextRule(at.position) };
    const distinct = [
      ...new Map(result.candidates.map((one) => [JSON.stringify(one.verdict), one])).values(),
    ];
    if (distinct.length > maxCandidates) return cannotApply(walk, at, result.why);
    const ways = distinct.map((element) => () => follow(walk, hit(at, element)));
    if (result.mayMiss) ways.push(() => interpret(walk, nextRule(at.position)));
    return joinAll(walk, at, result.why, ways);
  };
  const [only, ...more] = found;
  if (only !== undefined && more.length === 0) return take(here, only.found);
  walk.run.budget.chances -= more.length;
  if (walk.run.budget.chances < 0) return { done: giveUp(walk, here, 'more chances than the walk follows') };
  const outcomes = found.flatMap((way) => {
    const state = { ...position.state, share: position.state.share * way.share };
    return follow(walk, take({ rule, position: { ...position, state } }, way.found));
  });
  return { done: merge(outcomes) };
}

/** Chains of type filter decide about packets; accept in another one just ends it. */
function accepted({ base }: Walk, { position, rule }: Here): State {
  const { state, frame } = position;
  if (base.definition.type !== 'filter') return state;
  const site = { base, frame };
  return { ...state, decisive: decisiveRule(site, rule), steps: [...state.steps, acceptedStep(site, rule)] };
}

function refuse(
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

function nearest(
  { context }: Run,
  base: NftBase,
  frame: Frame,
  { packet, tracking }: State,
  rule?: NftRule,
): () => readonly NearRule[] {
  const drop = { table: base.table.name, frame, subject: { context, packet, tracking } };
  return () => nearestRules({ ...drop, chains: chainsOf(base.nft), ...(rule === undefined ? {} : { rule }) });
}

/** A statement that surely runs and whose effect is not understood. The packet going on is one possibility. */
function cannotApply(walk: Walk, here: Here, why: string): Effect {
  return joinAll(walk, here, why, [
    () => giveUp(walk, here, why),
    () => interpret(walk, advance(here.position)),
  ]);
}

function setMark(
  walk: Walk,
  here: Here,
  statement: Extract<NftStatement, { kind: 'set-mark' | 'set-ct-mark' }>,
): Effect {
  const { position } = here;
  const { state } = position;
  const isPacket = statement.kind === 'set-mark';
  const values = evaluate(statement.value, scopeOf(walk, state));
  if (values.kind === 'absent') return { go: nextRule(position) };
  // nft_ct_set_eval: without a connection there is nothing to set, and the rule goes on.
  if (!isPacket && state.tracking.connection === undefined) return { go: advance(position) };
  const write = ({ share, parts }: Option): readonly [number, Position] | undefined => {
    const [value] = parts;
    if (value?.kind !== 'number' || value.unclear !== undefined) return undefined;
    const mark = Number(value.value & 0xffffffffn);
    return [share, advance(position, isPacket ? withMark(walk, here, mark) : withCtMark(walk, here, mark))];
  };
  const ways = values.options.map(write);
  const known = ways.filter((way) => way !== undefined);
  if (known.length < ways.length) return cannotApply(walk, here, 'the mark that it sets is not known');
  const [only, ...more] = known;
  return only !== undefined && more.length === 0 ? { go: only[1] } : byChance(walk, here, known);
}

function withMark({ base }: Walk, { position, rule }: Here, mark: number): State {
  const { state, frame } = position;
  const before = state.packet.mark;
  if (mark === before) return state;
  const steps = [...state.steps, markStep({ base, frame }, rule, 'mark', before, mark)];
  return { ...state, packet: { ...state.packet, mark }, steps };
}

function withCtMark({ base }: Walk, { position, rule }: Here, mark: number): State {
  const { state, frame } = position;
  const { connection } = state.tracking;
  if (connection === undefined || mark === connection.mark) return state;
  const steps = [...state.steps, markStep({ base, frame }, rule, 'connection mark', connection.mark, mark)];
  return { ...state, tracking: { ...state.tracking, connection: { ...connection, mark } }, steps };
}

/** Fixes the connection's mapping and ends the chain; the nat stage then translates the packet. */
function applyNat(walk: Walk, here: Here, statement: Extract<NftStatement, { kind: 'nat' }>): Effect {
  const { position } = here;
  const ways = natWays(statement, scopeOf(walk, position.state));
  if (ways.kind === 'absent') return { go: nextRule(position) };
  if (ways.kind === 'none') return { go: advance(position) };
  if (ways.kind === 'doubt') return cannotApply(walk, here, ways.why);
  if (position.state.tracking.connection === undefined)
    return cannotApply(walk, here, 'NAT without a connection');
  const outcomes: HookOutcome[] = [];
  for (const way of ways.ways) {
    const effect = translateTo(walk, here, way);
    if ('go' in effect) return effect;
    outcomes.push(...effect.done);
  }
  return { done: merge(outcomes) };
}

function translateTo(walk: Walk, here: Here, { share, target }: NatWay): Effect {
  const { rule, position } = here;
  const before = { ...position.state, share: position.state.share * share };
  const { connection } = before.tracking;
  const at: Here = { rule, position: { ...position, state: before } };
  const choice = chooseMapping(target, before.packet, walk.run.context);
  if (choice.kind === 'doubt' || connection === undefined)
    return cannotApply(walk, at, choice.kind === 'doubt' ? choice.why : 'NAT without a connection');
  if (choice.kind === 'drop') {
    const effect = refuse(walk, at, 'drop', []);
    return 'go' in effect ? effect : { done: effect.done.map((one) => ({ ...one, unknownWhy: choice.why })) };
  }
  const { state } = seen(walk, at, 'accept').position;
  const natStep = { at: { base: walk.base, frame: position.frame }, rule };
  const outcomes = choice.mappings.flatMap(({ manip, ...to }) => {
    const tracking = { ...state.tracking, connection: setMapping(connection, manip, to) };
    return walk.next({ ...state, share: state.share / choice.mappings.length, tracking, natStep });
  });
  return { done: outcomes };
}
