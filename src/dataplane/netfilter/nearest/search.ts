/**
 * For a packet that a rule or a policy dropped: the rules that would have let it go on, had it been a little different.
 * Chains that the packet came to are looked through, and those that it just missed; the fewest and least conditions win.
 * Systems that accept by mark (Calico, kube-router) are followed back to the rules that set it.
 */
import type { SourceRef } from '../../../model/source.ts';
import type { NearRule } from '../../../model/verdict.ts';
import type { RuleView, SiteFrame } from '../context.ts';
import { decodeChain, decodeComment, formatSubject } from '../owner.ts';
import type { Chains, Condition, Drop, Effect, MarkBits, RuleLook } from './view.ts';

/** Rules that one search looks at: of large sets the first chains are enough. */
const maxRules = 20_000;
/** Farther than this is another packet altogether. */
const farthest = 5;
const maxDepth = 16;
const shown = 2;

interface Lack {
  readonly condition: Condition;
  readonly distance: number;
}

interface Candidate {
  readonly rule: RuleView;
  readonly chains: readonly string[];
  readonly how: NearRule['how'];
  readonly lacks: readonly Lack[];
  readonly about: string | undefined;
  readonly through?: SourceRef;
}

interface Search {
  readonly drop: Drop;
  /** The chains that the packet was in when it was dropped, with the rule that led on from each. */
  readonly stack: readonly { readonly chain: string; readonly onward: RuleView | undefined }[];
  readonly candidates: Candidate[];
  readonly setters: (Candidate & { readonly sets: MarkBits })[];
  /** The least distance at which a chain was looked through. */
  readonly seen: Map<string, number>;
  budget: number;
}

export function nearestRules(drop: Drop): readonly NearRule[] {
  const stack = stackOf(drop);
  const base = stack[0]?.chain;
  if (base === undefined) return [];
  const search: Search = { drop, stack, candidates: [], setters: [], seen: new Map(), budget: maxRules };
  look(search, { chain: base, path: [base], level: 0, lacks: [], about: undefined });
  const late = drop.rule === undefined ? undefined : acceptedLater(search);
  const best = [...search.candidates, ...ownMark(search)]
    .flatMap((candidate) => resolveMark(search, candidate))
    .filter(({ lacks }) => lacks.length > 0)
    .sort((a, b) => distance(a.lacks) - distance(b.lacks));
  return [...(late === undefined ? [] : [late]), ...distinct(best.map((one) => tell(drop, one)))].slice(
    0,
    shown,
  );
}

const distance = (lacks: readonly Lack[]): number => lacks.reduce((sum, one) => sum + one.distance, 0);

function stackOf({ frame, rule }: Drop): Search['stack'] {
  const stack: { chain: string; onward: RuleView | undefined }[] = [];
  let onward = rule;
  for (let at: SiteFrame | undefined = frame; at !== undefined; at = at.via?.frame) {
    stack.unshift({ chain: at.chain.name, onward });
    onward = at.via?.rule;
  }
  return stack;
}

interface Place {
  readonly chain: string;
  readonly path: readonly string[];
  /** On the stack: how deep. */
  readonly level?: number;
  readonly lacks: readonly Lack[];
  readonly about: string | undefined;
}

/** Looks through a chain: on the stack up to the rule that led to the drop, elsewhere to its end. */
function look(search: Search, place: Place): void {
  const { drop, stack } = search;
  const here = place.level === undefined ? undefined : stack[place.level];
  for (const { rule, looks } of drop.chains.rules(place.chain)) {
    if (--search.budget < 0) return;
    const isOnward = here !== undefined && isSame(rule, here.onward);
    if (isOnward && (place.level ?? 0) + 1 === stack.length) return;
    for (const one of looks()) lookAt(search, place, one, isOnward);
    if (isOnward) return;
  }
}

/** Verdict maps hand on a copy of the rule with the element's comment. */
const isSame = (a: RuleView, b: RuleView | undefined): boolean => a === b || a.source === b?.source;

function lookAt(search: Search, place: Place, one: RuleLook, isOnward: boolean): void {
  const lacks = [...place.lacks, ...lackedBy(one.conditions, search.drop)];
  if (distance(lacks) > farthest || lacks.some(({ condition }) => condition.isVain?.(search.drop.subject)))
    return;
  const about = subjectOf(one.rule, place, search.drop.table) ?? place.about;
  const found = { rule: one.rule, chains: place.path, lacks, about };
  for (const effect of one.effects) {
    if (effect.kind === 'accept') search.candidates.push({ ...found, how: 'accept' });
    else if (effect.kind === 'return' && place.level !== undefined && place.level > 0)
      search.candidates.push({ ...found, how: 'return' });
    else if (effect.kind === 'mark') search.setters.push({ ...found, how: 'mark', sets: effect });
    else if (effect.kind === 'enter') enter(search, place, effect, { lacks, about }, isOnward);
  }
}

function enter(
  search: Search,
  place: Place,
  { chain }: Extract<Effect, { kind: 'enter' }>,
  { lacks, about }: Pick<Place, 'lacks' | 'about'>,
  isOnward: boolean,
): void {
  const next = { chain, path: [...place.path, chain], lacks, about };
  const level = (place.level ?? 0) + 1;
  if (isOnward && search.stack[level]?.chain === chain) {
    look(search, { ...next, level });
    return;
  }
  const far = distance(lacks);
  if (place.path.length > maxDepth || far >= (search.seen.get(chain) ?? Number.POSITIVE_INFINITY)) return;
  search.seen.set(chain, far);
  look(search, next);
}

/** What cannot be told counts half: it may hold. */
function lackedBy(conditions: readonly Condition[], { subject }: Drop): readonly Lack[] {
  return conditions.flatMap((condition): Lack[] => {
    const result = condition.holds(subject);
    if (result === false) return [{ condition, distance: condition.distance }];
    return result === true || 'chance' in result ? [] : [{ condition, distance: condition.distance / 2 }];
  });
}

/** A drop of what lacks a mark: `-m mark ! --mark 0x10000/0x10000 -j REJECT`. */
function ownMark({ drop, stack }: Search): readonly Candidate[] {
  const { rule, chains, subject } = drop;
  const last = stack.at(-1);
  if (rule === undefined || last === undefined) return [];
  const own = chains.rules(last.chain).find((one) => isSame(one.rule, rule));
  const wanted = own?.looks()[0]?.conditions.find(({ mark }) => mark?.negate === true);
  if (wanted?.mark === undefined) return [];
  const mark = { ...wanted.mark, negate: false };
  const condition: Condition = {
    ...wanted,
    mark,
    needs: () =>
      `mark 0x${mark.value.toString(16)}/0x${mark.mask.toString(16)}; the packet has 0x${subject.packet.mark.toString(16)}`,
  };
  const lacks = [{ condition, distance: wanted.distance }];
  return [{ rule, chains: stack.map(({ chain }) => chain), how: 'return', lacks, about: undefined }];
}

/** A mark is no fault of the packet: what counts is what the rules that set it ask for. */
function resolveMark({ setters }: Search, candidate: Candidate): readonly Candidate[] {
  const wanted = candidate.lacks.find(({ condition }) => condition.mark?.negate === false);
  const bits = wanted?.condition.mark;
  if (wanted === undefined || bits === undefined) return [candidate];
  const others = candidate.lacks.filter((lack) => lack !== wanted);
  const able = setters
    .filter(({ sets }) => (sets.mask & bits.mask) === bits.mask && (sets.value & bits.mask) === bits.value)
    .filter(({ lacks }) => lacks.length > 0 && !lacks.includes(wanted))
    .sort((a, b) => distance(a.lacks) - distance(b.lacks))
    .slice(0, shown);
  if (able.length === 0) return [candidate];
  return able.map((setter) => ({
    ...setter,
    lacks: [...setter.lacks, ...others],
    through: candidate.rule.source,
  }));
}

/** The first rule behind the drop that takes the packet as it is, if nothing before it ends its way. */
function acceptedLater(search: Search): NearRule | undefined {
  const { drop, stack } = search;
  for (let level = stack.length - 1; level >= 0; level--) {
    const { chain = '', onward } = stack[level] ?? {};
    const rules = drop.chains.rules(chain);
    const from = rules.findIndex(({ rule }) => isSame(rule, onward));
    const path = stack.slice(0, level + 1).map((one) => one.chain);
    const end = runOn(search, rules.slice(from + 1), path);
    if (end === 'ended') return undefined;
    if (end !== 'on') return end;
  }
  return undefined;
}

/** `on` where the packet comes to the chain's end. */
function runOn(
  search: Search,
  rules: ReturnType<Chains['rules']>,
  path: readonly string[],
): NearRule | 'ended' | 'on' {
  const { drop } = search;
  for (const { rule, looks } of rules) {
    if (--search.budget < 0 || path.length > maxDepth) return 'ended';
    for (const one of looks()) {
      if (!one.conditions.every((condition) => condition.holds(drop.subject) === true)) continue;
      for (const effect of one.effects) {
        if (effect.kind === 'end') return 'ended';
        if (effect.kind === 'return') return 'on';
        if (effect.kind === 'accept') {
          const about = subjectOf(rule, { chain: path.at(-1) ?? '' }, drop.table);
          return tell(drop, { rule, chains: path, how: 'late', lacks: [], about });
        }
        if (effect.kind !== 'enter') continue;
        const inner = runOn(search, drop.chains.rules(effect.chain), [...path, effect.chain]);
        if (inner !== 'on') return inner;
      }
    }
  }
  return 'on';
}

function subjectOf(rule: RuleView, { chain }: Pick<Place, 'chain'>, table: string): string | undefined {
  const subject = decodeComment(rule.comment, chain, table) ?? decodeChain(chain);
  return subject === undefined ? undefined : formatSubject(subject);
}

const tell = (drop: Drop, { rule, chains, how, lacks, about, through }: Candidate): NearRule => ({
  table: drop.table,
  chains,
  how,
  needs: lacks.map(({ condition }) => condition.needs(drop.subject)),
  ...(about === undefined ? {} : { about }),
  source: rule.source,
  ...(through === undefined ? {} : { through }),
});

const distinct = (rules: readonly NearRule[]): readonly NearRule[] =>
  [...new Map(rules.toReversed().map((one) => [one.source, one])).values()].reverse();
