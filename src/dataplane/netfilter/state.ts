/** What changes while a packet goes through the chains of one hook. Values only: a fork shares everything up to it. */
import type { Chain, HookName, Rule, Table } from '../../model/netfilter.ts';
import type { Step } from '../../model/verdict.ts';
import type { Packet } from '../../net/packet.ts';
import type { Connections, Tracking } from './conntrack.ts';
import type { Decisive, HookContext, HookOutcome, RuleView, Site, Visit } from './context.ts';

export interface State {
  readonly packet: Packet;
  readonly tracking: Tracking;
  readonly connections: Connections;
  readonly share: number;
  readonly steps: readonly Step[];
  readonly decisive?: Decisive | undefined;
  /** At OUTPUT: the mark that the packet was routed again with. */
  readonly routeMark?: number | undefined;
  /** What matched so far at this hook, where that is asked for. */
  readonly path?: Visit | undefined;
  /** The rule whose NAT the nat stage is about to apply. */
  readonly natStep?: NatStep | undefined;
}

type Writable<T> = { -readonly [K in keyof Required<T>]: T[K] };

/** A copy to change, field by field: every rule that does something makes one, and spreading takes many times as long. */
export function copyOf(state: State): Writable<State> {
  return {
    packet: state.packet,
    tracking: state.tracking,
    connections: state.connections,
    share: state.share,
    steps: state.steps,
    decisive: state.decisive,
    routeMark: state.routeMark,
    path: state.path,
    natStep: state.natStep,
  };
}

export interface NatStep {
  readonly at: Site;
  readonly rule: RuleView;
}

export function withShare(state: State, share: number): State {
  const next = copyOf(state);
  next.share = share;
  return next;
}

export function withTracking(state: State, tracking: Tracking): State {
  const next = copyOf(state);
  next.tracking = tracking;
  return next;
}

/** A built-in chain at the hook. */
export interface Base {
  readonly backend: 'nft' | 'legacy';
  readonly file: string;
  readonly hook: HookName;
  readonly table: Table;
  readonly chain: Chain;
}

/** A chain being walked; `parent` is where a RETURN leads. A goto takes over its predecessor's parent. */
export interface Frame {
  readonly chain: Chain;
  /** Base chain first, this chain last. */
  readonly path: readonly string[];
  readonly parent?: { readonly frame: Frame; readonly index: number };
  /** The rule that led here, and the chain that it stands in. */
  readonly via?: { readonly rule: Rule; readonly frame: Frame };
}

/** The chain that a hook begins with: one frame for all packets. */
export function rootFrame({ chain }: Base): Frame {
  let frame = roots.get(chain);
  if (frame === undefined) {
    frame = { chain, path: [chain.name] };
    roots.set(chain, frame);
  }
  return frame;
}

const roots = new WeakMap<Chain, Frame>();

/** Nested deeper a way into a chain is not kept: rules can lead to a chain in more ways than memory holds. */
const deepestKept = 8;

const entered = new WeakMap<Frame, Map<Rule, Frame>>();

/**
 * The frame of a chain that a rule leads to: made once, since what is told of its rules is kept by it. A goto leaves no way back
 * to its own chain: RETURN goes to the caller of the chain that did the goto.
 */
export function enteredFrame(frame: Frame, index: number, rule: Rule, chain: Chain, isJump: boolean): Frame {
  let own = entered.get(frame);
  if (own === undefined) {
    own = new Map();
    entered.set(frame, own);
  }
  const known = own.get(rule);
  if (known?.chain === chain && (!isJump || known.parent?.index === index)) return known;
  const parent = isJump ? { frame, index } : frame.parent;
  const path = [...frame.path, chain.name];
  const made: Frame =
    parent === undefined
      ? { chain, path, via: { rule, frame } }
      : { chain, path, via: { rule, frame }, parent };
  if (path.length <= deepestKept) own.set(rule, made);
  return made;
}

/** Where in the rules a packet is, for steps and decisions. */
export interface Place {
  readonly base: Base;
  readonly frame: Frame;
}

/** Effort that one hook may take. Beyond it the answer is unknown, not wrong. */
export interface Budget {
  doubts: number;
  chances: number;
  rules: number;
}

export interface Run {
  readonly context: HookContext;
  readonly budget: Budget;
}

export type Next = (state: State) => readonly HookOutcome[];

export const tableOf = (site: Site): string => site.base.table.name;
