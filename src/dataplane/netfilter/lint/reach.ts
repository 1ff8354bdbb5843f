/**
 * Which packets come to each rule of a program. Where it is not exact it names too many packets, never too few: a rule that is
 * said to get none really gets none.
 */
import { memberSet, nameSet, TooComplex } from './field-sets.ts';
import { type Call, type Graph, graphOf } from './graph.ts';
import type { BaseChain, Program, ProgramChain, ProgramRule } from './program.ts';
import {
  anyPacket,
  type Box,
  forget,
  meetRegions,
  overlap,
  type Region,
  subtractRegion,
  touches,
} from './region.ts';
import { stateSet } from './vocabulary.ts';

export type RuleFate =
  | { readonly kind: 'live'; readonly region: Region }
  /** Its own conditions exclude each other. */
  | { readonly kind: 'contradiction' }
  /** No packet that its chain gets has what the rule asks for. */
  | { readonly kind: 'context'; readonly calls: readonly Call[]; readonly base?: BaseChain }
  /** Earlier rules of the chain take every packet that it could match. */
  | { readonly kind: 'shadowed'; readonly by: readonly ProgramRule[] }
  /** Its chain gets no packet at all, for a reason that stands elsewhere. */
  | { readonly kind: 'unreached' };

export interface Reach {
  readonly program: Program;
  readonly graph: Graph;
  readonly fate: (chain: ProgramChain, rule: ProgramRule) => RuleFate;
}

/** More alternatives than this are taken together. */
const maxBoxes = 48;

export function reachOf(program: Program): Reach {
  const graph = graphOf(program);
  const fates = new Map<ProgramRule, RuleFate>();
  const entries = new Map<string, Box[]>();
  const bases = new Map<string, BaseChain>();
  for (const base of program.bases) {
    bases.set(base.chain, base);
    entries.set(base.chain, [...(entries.get(base.chain) ?? []), entryOf(base, program.family)]);
  }
  const inLoop = new Set(graph.loop ?? []);
  for (const name of graph.order) {
    const chain = program.chains.get(name);
    if (chain === undefined) continue;
    const entry = graph.loop === undefined && !inLoop.has(name) ? (entries.get(name) ?? []) : [anyPacket];
    const calls = graph.callers.get(name) ?? [];
    const findings = chainFates({ graph, chain, entry: widened(entry), calls, base: bases.get(name) });
    for (const [rule, fate] of findings) {
      fates.set(rule, fate);
      if (fate.kind === 'live') pass(rule, fate.region, entries);
    }
  }
  return { program, graph, fate: (_, rule) => fates.get(rule) ?? { kind: 'unreached' } };
}

/** A hook without an output or input device has the empty name there; nat tables see the first packet of a connection only. */
export function entryOf({ hook, nat }: BaseChain, family: string): Box {
  const box = new Map<string, ReturnType<typeof nameSet>>();
  const none = nameSet([{ text: '', exact: true }]);
  const isIp = family === 'ip' || family === 'ip6' || family === 'inet';
  if (isIp && (hook === 'prerouting' || hook === 'input')) box.set('oif', none);
  if (isIp && hook === 'output') box.set('iif', none);
  // nf_nat_inet_fn asks the rules for IP_CT_NEW and IP_CT_RELATED; packets without a connection pass by.
  if (isIp && nat) box.set('state', natStates);
  return box;
}

const natStates = (() => {
  // SNAT and DNAT stand for any state with that flag: those of the two states only.
  const set = stateSet(['NEW', 'RELATED']);
  return set.kind === 'members' ? memberSet(set.bits, set.all) : set;
})();

function pass(rule: ProgramRule, region: Region, entries: Map<string, Box[]>): void {
  const { effect } = rule;
  const targets =
    effect.kind === 'jump' || effect.kind === 'goto'
      ? [effect.chain]
      : effect.kind === 'choice'
        ? effect.of.flatMap((one) => (one.kind === 'jump' || one.kind === 'goto' ? [one.chain] : []))
        : [];
  for (const target of targets) {
    const list = entries.get(target) ?? [];
    if (list.length <= maxBoxes) for (const box of region) list.push(forget(box, rule.changes));
    entries.set(target, list);
  }
}

/** Many ways in are one without conditions. */
const widened = (entry: readonly Box[]): Region => (entry.length > maxBoxes ? [anyPacket] : entry);

interface ChainInput {
  readonly graph: Graph;
  readonly chain: ProgramChain;
  readonly entry: Region;
  readonly calls: readonly Call[];
  readonly base: BaseChain | undefined;
}

function chainFates({ graph, chain, entry, calls, base }: ChainInput): Map<ProgramRule, RuleFate> {
  const fates = new Map<ProgramRule, RuleFate>();
  const ends = new Ends();
  const changed = new Map<string, number>();
  for (const rule of chain.rules) {
    const fate = fateOf(rule, { entry, calls, base, ends, changed });
    fates.set(rule, fate);
    // Packets that a rule changes go on as others.
    for (const field of rule.changes) changed.set(field, rule.index);
    for (const target of callsOf(rule))
      for (const field of graph.changes(target)) changed.set(field, rule.index);
    if (rule.volatile === undefined && endsHere(rule, graph)) ends.add(rule);
  }
  return fates;
}

const callsOf = ({ effect }: ProgramRule): readonly string[] => {
  if (effect.kind === 'jump') return [effect.chain];
  return effect.kind === 'choice' ? effect.of.flatMap((one) => (one.kind === 'jump' ? [one.chain] : [])) : [];
};

/** No packet that it matches comes to the next rule. */
const endsHere = ({ effect }: ProgramRule, graph: Graph): boolean =>
  effect.kind === 'verdict' ||
  effect.kind === 'return' ||
  effect.kind === 'goto' ||
  (effect.kind === 'jump' && graph.neverReturns(effect.chain));

interface Position {
  readonly entry: Region;
  readonly calls: readonly Call[];
  readonly base: BaseChain | undefined;
  readonly ends: Ends;
  /** Index of the last rule that may have changed the field. */
  readonly changed: ReadonlyMap<string, number>;
}

function fateOf(rule: ProgramRule, position: Position): RuleFate {
  const { entry, calls, base, ends, changed } = position;
  if (rule.region.length === 0) return { kind: 'contradiction' };
  if (entry.length === 0) return { kind: 'unreached' };
  try {
    const fields = new Set(changed.keys());
    const here = entry.map((box) => forget(box, fields));
    const start = meetRegions(here, rule.region);
    if (start.length === 0) return { kind: 'context', calls, ...(base === undefined ? {} : { base }) };
    let rest: Region = start;
    const by: ProgramRule[] = [];
    for (const end of ends.near(rule)) {
      if (!isStill(end, changed)) continue;
      if (!overlap(rest, end.region)) continue;
      const less = subtractRegion(rest, end.region);
      if (less.length === 0) return { kind: 'shadowed', by: fewest(start, [...by, end]) };
      if (less.length > maxBoxes) continue;
      by.push(end);
      rest = less;
    }
    return { kind: 'live', region: rest };
  } catch (error) {
    if (error instanceof TooComplex) return { kind: 'live', region: [anyPacket] };
    throw error;
  }
}

/** What the rule asked about is the same at the rule in question. */
function isStill(end: ProgramRule, changed: ReadonlyMap<string, number>): boolean {
  const after = new Set([...changed].filter(([, index]) => index > end.index).map(([field]) => field));
  return (
    after.size === 0 || !end.region.some((box) => [...box.keys()].some((field) => touches(after, field)))
  );
}

/** One rule that takes them all, if there is one; else those that are needed. */
function fewest(start: Region, by: readonly ProgramRule[]): readonly ProgramRule[] {
  const one = by.find((rule) => subtractRegion(start, rule.region).length === 0);
  if (one !== undefined) return [one];
  return by.reduce<readonly ProgramRule[]>((needed, rule) => {
    const without = needed.filter((other) => other !== rule);
    const rest = without.reduce<Region>((left, other) => subtractRegion(left, other.region), start);
    return rest.length === 0 ? without : needed;
  }, by);
}

/** Rules that end the chain for what they match, found by address: chains of Services have thousands. */
class Ends {
  readonly #general: ProgramRule[] = [];
  readonly #byAddress = new Map<string, ProgramRule[]>();
  #count = 0;

  add(rule: ProgramRule): void {
    this.#count++;
    const key = singleAddress(rule.region);
    if (key === undefined) {
      this.#general.push(rule);
      return;
    }
    const list = this.#byAddress.get(key) ?? [];
    list.push(rule);
    this.#byAddress.set(key, list);
  }

  /** In the order of the chain. Those for one address only are left out of a large chain where the rule has no single one. */
  near(rule: ProgramRule): readonly ProgramRule[] {
    const key = singleAddress(rule.region);
    const special =
      key === undefined
        ? this.#count > 300
          ? []
          : [...this.#byAddress.values()].flat()
        : (this.#byAddress.get(key) ?? []);
    if (special.length === 0) return this.#general;
    return [...this.#general, ...special].sort((a, b) => a.index - b.index);
  }
}

function singleAddress(region: Region): string | undefined {
  const [box] = region;
  if (box === undefined || region.length > 1) return undefined;
  for (const field of ['dst4', 'dst6', 'src4', 'src6']) {
    const set = box.get(field);
    if (set?.kind !== 'range' || set.spans.length !== 2) continue;
    const [from, end] = set.spans;
    if (typeof from === 'bigint' && typeof end === 'bigint' && end - from === 1n) return `${field} ${from}`;
  }
  return undefined;
}
