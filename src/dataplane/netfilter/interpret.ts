/**
 * The walk through the rules of one base chain (ipt_do_table). A rule that may or may not match, or that matches by chance,
 * splits the walk: both ways are followed to the end of the hook and their outcomes joined.
 */
import type { Rule, Target } from '../../model/netfilter.ts';
import type { Step } from '../../model/verdict.ts';
import { untracked } from './conntrack.ts';
import type { Decisive, HookContext, HookOutcome } from './context.ts';
import { nextRules } from './dispatch.ts';
import { setMapping } from './mapping.ts';
import { evaluateRule } from './matches.ts';
import { attachTemplate, changeSet, isFree, takesPacket } from './modules/effects.ts';
import { chooseMapping, type NatTarget } from './nat.ts';
import { chainsOf } from './nearest/iptables.ts';
import { nearestRules } from './nearest/search.ts';
import { joinDoubt, merge, outcome } from './outcomes.ts';
import { visited, visitedPolicy } from './path.ts';
import {
  type Base,
  copyOf,
  enteredFrame,
  type Frame,
  type Next,
  type Place,
  type Run,
  rootFrame,
  type State,
  withShare,
} from './state.ts';
import {
  acceptedStep,
  decisivePolicy,
  decisiveRule,
  markStep,
  policyDropStep,
  refusedStep,
} from './steps.ts';

/** A position between rules: `index` is the next rule of the frame's chain. */
interface Position {
  readonly frame: Frame;
  readonly index: number;
  readonly state: State;
}

type Effect =
  | { readonly kind: 'go'; readonly position: Position }
  | { readonly kind: 'done'; readonly outcomes: readonly HookOutcome[] };

/** Runs one base chain; `next` runs the rest of the hook for packets that it accepts. */
export function runBase(run: Run, base: Base, state: State, next: Next): readonly HookOutcome[] {
  return interpret(run, base, { frame: rootFrame(base), index: 0, state }, next);
}

function interpret(run: Run, base: Base, start: Position, next: Next): readonly HookOutcome[] {
  let { frame, index, state } = start;
  const { context } = run;
  let skip = skipFor(context, frame, state);
  for (;;) {
    if (skip !== undefined) index = skip(index);
    const rule = frame.chain.rules[index];
    if (rule === undefined) {
      if (frame.parent === undefined) return applyPolicy(run, { base, frame }, state, next);
      ({ frame, index } = frame.parent);
      skip = skipFor(context, frame, state);
      continue;
    }
    index++;
    // A target that only looks changes nothing, whether or not its rule matches.
    if (rule.target.kind === 'continue' && context.record === undefined) continue;
    if (--run.budget.rules < 0) return giveUp(run, state, rule, 'more rules than the walk takes up');
    const { packet, tracking, connections } = state;
    const result = evaluateRule(rule, { context, packet, tracking, connections });
    if (result === false) continue;
    const place: Place = { base, frame };
    if (rule.target.kind === 'continue') {
      if (result === true) state = visited(run, place, state, rule, rule.target);
      continue;
    }
    if (result !== true) return fork(run, place, { frame, index, state }, rule, result, next);
    const effect = apply(run, place, { frame, index, state }, rule, next);
    if (effect.kind === 'done') return effect.outcomes;
    ({ frame, index, state } = effect.position);
    skip = skipFor(context, frame, state);
  }
}

/** The way past rules that cannot match. It holds as long as packet and chain stay the same. */
const skipFor = ({ inDevice, outDevice }: HookContext, { chain }: Frame, { packet }: State) =>
  nextRules(chain, { packet, inDevice, outDevice });

function fork(
  run: Run,
  place: Place,
  position: Position,
  rule: Rule,
  result: { readonly doubt: string } | { readonly chance: number },
  next: Next,
): readonly HookOutcome[] {
  const { state } = position;
  const follow = (share: number, matches: boolean): readonly HookOutcome[] => {
    const scaled: Position = { frame: position.frame, index: position.index, state: withShare(state, share) };
    if (!matches) return interpret(run, place.base, scaled, next);
    const effect = apply(run, place, scaled, rule, next);
    return effect.kind === 'done' ? effect.outcomes : interpret(run, place.base, effect.position, next);
  };
  if ('chance' in result) {
    if (--run.budget.chances < 0) return giveUp(run, state, rule, 'more chances than the walk follows');
    return merge([
      ...follow(state.share * result.chance, true),
      ...follow(state.share * (1 - result.chance), false),
    ]);
  }
  if (--run.budget.doubts < 0) return giveUp(run, state, rule, 'more undecided rules than the walk follows');
  const [matched, unmatched] = [follow(state.share, true), follow(state.share, false)];
  return joinDoubt(state, run.context.netns.id, [rule.source], result.doubt, matched, unmatched);
}

function giveUp(run: Run, state: State, rule: Rule, why: string): readonly HookOutcome[] {
  return [
    outcome(state, 'unknown', run.context.netns.id, { unknownBecause: [rule.source], unknownWhy: why }),
  ];
}

function applyPolicy(run: Run, place: Place, state: State, next: Next): readonly HookOutcome[] {
  const { policy, name, source } = place.base.chain;
  if (policy === 'ACCEPT') return next(visitedPolicy(run, place, state, 'accept'));
  const decisive = decisivePolicy(place);
  if (policy === 'DROP') {
    const seen = visitedPolicy(run, place, state, 'drop');
    const dropped = { ...seen, decisive, steps: [...state.steps, policyDropStep(place)] };
    return [outcome(dropped, 'drop', run.context.netns.id, { nearest: nearest(run, place, dropped) })];
  }
  const why = `the policy of ${name} was not recorded`;
  return [outcome(state, 'unknown', run.context.netns.id, { unknownBecause: [source], unknownWhy: why })];
}

/** What a matching rule does. */
function apply(run: Run, place: Place, reached: Position, rule: Rule, next: Next): Effect {
  const { target } = rule;
  const { frame } = reached;
  const state = visited(run, place, reached.state, rule, target);
  const position: Position = { ...reached, state };
  const go = (changed: State): Effect => ({ kind: 'go', position: { ...position, state: changed } });
  switch (target.kind) {
    case 'continue':
      return go(state);
    case 'accept':
      return { kind: 'done', outcomes: next(accepted(place, state, rule)) };
    case 'drop':
      return refuse(run, place, state, rule, 'drop');
    case 'reject':
      return refuse(run, place, state, rule, 'reject', target.with);
    case 'return':
      // From a base chain RETURN leads to its policy: the index past the last rule.
      return frame.parent === undefined
        ? { kind: 'go', position: { frame: rootFrame(place.base), index: Number.MAX_SAFE_INTEGER, state } }
        : { kind: 'go', position: { ...frame.parent, state } };
    case 'jump':
    case 'goto':
      return enter(run, place, position, rule, target, next);
    case 'dnat':
    case 'snat':
    case 'masquerade':
    case 'redirect':
    case 'netmap':
      return applyNat(run, place, position, rule, target, next);
    case 'set-mark': {
      const mark = ((state.packet.mark & ~target.mask) ^ target.value) >>> 0;
      return go(withMark(place, state, rule, mark));
    }
    case 'restore-connmark': {
      const { connection } = state.tracking;
      if (connection === undefined) return go(state);
      const restored = connection.mark & target.ctmask;
      return go(withMark(place, state, rule, ((state.packet.mark & ~target.nfmask) ^ restored) >>> 0));
    }
    case 'set-connmark':
      return go(withConnmark(place, state, rule, (mark) => (mark & ~target.mask) ^ target.value));
    case 'save-connmark':
      return go(
        withConnmark(
          place,
          state,
          rule,
          (mark) => (mark & ~target.ctmask) ^ (state.packet.mark & target.nfmask),
        ),
      );
    case 'notrack':
      return go(isFree(state) ? { ...state, tracking: untracked } : state);
    case 'ct-template':
      return go(attachTemplate(state, target.ct));
    case 'change-set':
      return go(changeSet(run.context, state, target.operation));
    case 'tproxy':
      return applyTproxy(run, place, position, rule, target, next);
    case 'set-ttl': {
      const ttl = changedTtl(target, state.packet.ttl);
      return go({ ...state, packet: { ...state.packet, ttl } });
    }
    case 'set-tos': {
      const tos = ((state.packet.tos ?? 0) & ~target.mask) ^ target.value;
      return go({ ...state, packet: { ...state.packet, tos } });
    }
    case 'unknown':
      return cannotApply(run, place, position, rule, `${target.text}: ${target.why}`, next);
  }
}

/** A socket takes the packet, or it is lost; where neither is sure both ways are followed. */
function applyTproxy(
  run: Run,
  place: Place,
  position: Position,
  rule: Rule,
  target: Extract<Target, { kind: 'tproxy' }>,
  next: Next,
): Effect {
  const { state } = position;
  const taken = takesPacket(run.context, target.proxy, state);
  const dropped = refuse(run, place, state, rule, 'drop');
  if (taken === false || dropped.kind === 'go') return dropped;
  const { value, mask, port } = target.proxy;
  const marked = withMark(place, state, rule, ((state.packet.mark & ~mask) ^ value) >>> 0);
  const proxied = { port: port === 0 ? state.packet.dstPort : port };
  const onward = next({ ...marked, packet: { ...marked.packet, proxied } });
  if (taken === true) return { kind: 'done', outcomes: onward };
  const outcomes = joinDoubt(
    state,
    run.context.netns.id,
    [rule.source],
    taken.doubt,
    onward,
    dropped.outcomes,
  );
  return { kind: 'done', outcomes };
}

/** ttl_tg: the value stays inside a byte. */
function changedTtl({ how, value }: Extract<Target, { kind: 'set-ttl' }>, ttl: number): number {
  if (how === 'set') return value;
  return how === 'inc' ? Math.min(ttl + value, 255) : Math.max(ttl - value, 0);
}

/** Only filter tables decide about packets; an ACCEPT elsewhere just ends that table. */
function accepted(place: Place, state: State, rule: Rule): State {
  const { name } = place.base.table;
  if (name !== 'filter' && name !== 'security') return state;
  const next = copyOf(state);
  const told = toldOf(place, rule);
  next.decisive = told.decisive;
  next.steps = [...state.steps, told.step];
  return next;
}

interface Told {
  readonly decisive: Decisive;
  readonly step: Step;
}

const toldRules = new WeakMap<Frame, Map<Rule, Told>>();

/** What is said of a rule that accepts is the same for every packet that comes to it in the same way. */
function toldOf(place: Place, rule: Rule): Told {
  let own = toldRules.get(place.frame);
  if (own === undefined) {
    own = new Map();
    toldRules.set(place.frame, own);
  }
  let told = own.get(rule);
  if (told === undefined) {
    told = { decisive: decisiveRule(place, rule), step: acceptedStep(place, rule) };
    own.set(rule, told);
  }
  return told;
}

function refuse(
  run: Run,
  place: Place,
  state: State,
  rule: Rule,
  verdict: 'drop' | 'reject',
  rejectWith?: string,
): Effect {
  const decisive = decisiveRule(place, rule);
  const ended = {
    ...state,
    decisive,
    steps: [...state.steps, refusedStep(place, rule, verdict, rejectWith)],
  };
  const more = {
    nearest: nearest(run, place, ended, rule),
    ...(rejectWith === undefined ? {} : { rejectWith }),
  };
  return { kind: 'done', outcomes: [outcome(ended, verdict, run.context.netns.id, more)] };
}

const nearest =
  ({ context }: Run, { base, frame }: Place, { packet, tracking }: State, rule?: Rule) =>
  () =>
    nearestRules({
      chains: chainsOf(base.table.chains),
      table: base.table.name,
      frame,
      subject: { context, packet, tracking },
      ...(rule === undefined ? {} : { rule }),
    });

/** Nesting that only a chain loop reaches: the kernel refuses to load one, a damaged dump may show one. */
const maxDepth = 256;

function enter(
  run: Run,
  place: Place,
  position: Position,
  rule: Rule,
  target: Extract<Target, { kind: 'jump' | 'goto' }>,
  next: Next,
): Effect {
  const { frame, index, state } = position;
  const chain = place.base.table.chains.get(target.chain);
  if (chain === undefined || chain.policy !== undefined)
    return cannotApply(run, place, position, rule, `chain ${target.chain} was not recorded`, next);
  if (frame.path.length >= maxDepth)
    return cannotApply(run, place, position, rule, `chain ${target.chain} is nested without end`, next);
  const entered = enteredFrame(frame, index, rule, chain, target.kind === 'jump');
  return { kind: 'go', position: { frame: entered, index: 0, state } };
}

/** A rule that surely matches and whose effect is not understood. The packet going on is one possibility. */
function cannotApply(
  run: Run,
  place: Place,
  position: Position,
  rule: Rule,
  why: string,
  next: Next,
): Effect {
  const { state } = position;
  if (--run.budget.doubts < 0)
    return { kind: 'done', outcomes: giveUp(run, state, rule, 'more undecided rules than the walk follows') };
  const onward = interpret(run, place.base, position, next);
  const unclear = giveUp(run, state, rule, why);
  return {
    kind: 'done',
    outcomes: joinDoubt(state, run.context.netns.id, [rule.source], why, unclear, onward),
  };
}

function withMark(place: Place, state: State, rule: Rule, mark: number): State {
  const before = state.packet.mark;
  if (mark === before) return state;
  const next = copyOf(state);
  next.packet = { ...state.packet, mark };
  next.steps = [...state.steps, markStep(place, rule, 'mark', before, mark)];
  return next;
}

function withConnmark(place: Place, state: State, rule: Rule, change: (mark: number) => number): State {
  const { connection } = state.tracking;
  if (connection === undefined) return state;
  const mark = change(connection.mark) >>> 0;
  if (mark === connection.mark) return state;
  return {
    ...state,
    tracking: { ...state.tracking, connection: { ...connection, mark } },
    steps: [...state.steps, markStep(place, rule, 'connection mark', connection.mark, mark)],
  };
}

/** Fixes the connection's mapping and ends the nat table; the nat stage then translates the packet. */
function applyNat(
  run: Run,
  place: Place,
  position: Position,
  rule: Rule,
  target: NatTarget,
  next: Next,
): Effect {
  const { state } = position;
  const { connection } = state.tracking;
  const choice = chooseMapping(target, state.packet, run.context);
  if (connection === undefined)
    return cannotApply(run, place, position, rule, 'NAT without a connection', next);
  if (choice.kind === 'doubt') return cannotApply(run, place, position, rule, choice.why, next);
  if (choice.kind === 'drop') {
    const effect = refuse(run, place, state, rule, 'drop');
    if (effect.kind === 'go') return effect;
    return { kind: 'done', outcomes: effect.outcomes.map((entry) => ({ ...entry, unknownWhy: choice.why })) };
  }
  const share = state.share / choice.mappings.length;
  const outcomes = choice.mappings.flatMap((to) => {
    const mapped = setMapping(connection, to.manip, to);
    const tracking = { ...state.tracking, connection: mapped };
    const translating = copyOf(state);
    translating.share = share;
    translating.tracking = tracking;
    translating.natStep = { at: place, rule };
    return next(translating);
  });
  return { kind: 'done', outcomes: merge(outcomes) };
}
