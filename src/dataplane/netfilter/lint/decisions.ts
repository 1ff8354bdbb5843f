/**
 * What a base chain does with every packet: each way through it with the packets that take it. Exact, or TooComplex. Conditions
 * by chance count as facts that are asked once a path, so two chains are alike only if they ask the same of the same packets.
 */
import { bitSet, complement, type FieldSet, intersect, TooComplex } from './field-sets.ts';
import type { BaseChain, Program, ProgramChain, ProgramRule } from './program.ts';
import { entryOf } from './reach.ts';
import { type Box, meet, subtract, touches } from './region.ts';
import { truth } from './vocabulary.ts';

export interface Decision {
  /** The packets, as they come to the chain. */
  readonly box: Box;
  /** `accept`, `drop`, `reject ...`, `dnat ...`. */
  readonly verdict: string;
  /** What was done on the way that the verdict does not say: marks, chance, sets. */
  readonly marks: Marks;
  readonly log: string;
}

export interface MarkNow {
  /** Bits that no longer depend on the packet's own mark. */
  readonly fixed: number;
  /** Those bits' values; of the other bits, which are flipped. */
  readonly value: number;
}

interface Marks {
  readonly mark: MarkNow;
  readonly connmark: MarkNow;
}

const untouched: MarkNow = { fixed: 0, value: 0 };

interface State {
  readonly box: Box;
  readonly marks: Marks;
  /** Fields that were changed in a way that is not followed. */
  readonly blurred: ReadonlySet<string>;
  readonly log: readonly string[];
}

interface Frame {
  readonly chain: ProgramChain;
  readonly index: number;
  readonly parent?: Frame;
}

const maxSteps = 60_000;
const maxDepth = 100;

export function decisionsOf(program: Program, base: BaseChain): readonly Decision[] {
  const chain = program.chains.get(base.chain);
  if (chain === undefined) throw new TooComplex();
  const out: Decision[] = [];
  let steps = 0;
  const start: State = {
    box: entryOf(base, program.family),
    marks: { mark: untouched, connmark: untouched },
    blurred: new Set(),
    log: [],
  };
  const work: (readonly [Frame, State])[] = [[{ chain, index: 0 }, start]];
  const decide = (state: State, verdict: string) => {
    const isGone = verdict === 'drop' || verdict.startsWith('reject');
    out.push({
      box: state.box,
      verdict,
      marks: isGone ? { mark: untouched, connmark: untouched } : state.marks,
      log: state.log.join('; '),
    });
  };
  for (let next = work.pop(); next !== undefined; next = work.pop()) {
    if (++steps > maxSteps) throw new TooComplex();
    const [frame, state] = next;
    const rule = frame.chain.rules[frame.index];
    if (rule === undefined) {
      if (frame.parent === undefined) decide(state, base.policy ?? 'the policy');
      else work.push([frame.parent, state]);
      continue;
    }
    const behind: Frame = { ...frame, index: frame.index + 1 };
    if (rule.effect.kind === 'continue' && rule.changes.size === 0) {
      work.push([behind, state]);
      continue;
    }
    for (const { state: then, matched } of split(state, rule)) {
      if (!matched) work.push([behind, then]);
      else take(rule, behind, then, { program, base, work, decide });
    }
  }
  return out;
}

interface Run {
  readonly program: Program;
  readonly base: BaseChain;
  readonly work: (readonly [Frame, State])[];
  readonly decide: (state: State, verdict: string) => void;
}

function take(rule: ProgramRule, behind: Frame, state: State, { program, base, work, decide }: Run): void {
  const { effect } = rule;
  const changed = afterChanges(rule, state);
  switch (effect.kind) {
    case 'verdict':
      decide(changed, effect.verdict);
      return;
    case 'return':
      if (behind.parent === undefined) decide(changed, base.policy ?? 'the policy');
      else work.push([behind.parent, changed]);
      return;
    case 'continue':
      work.push([behind, changed]);
      return;
    case 'jump':
    case 'goto': {
      const chain = program.chains.get(effect.chain);
      if (chain === undefined || depthOf(behind) > maxDepth) throw new TooComplex();
      const parent = effect.kind === 'jump' ? behind : behind.parent;
      work.push([{ chain, index: 0, ...(parent === undefined ? {} : { parent }) }, changed]);
      return;
    }
    default:
      throw new TooComplex();
  }
}

function depthOf(frame: Frame): number {
  let depth = 0;
  for (let at: Frame | undefined = frame; at !== undefined; at = at.parent) depth++;
  return depth;
}

function* split(state: State, rule: ProgramRule): Generator<{ state: State; matched: boolean }> {
  const [own] = rule.region;
  if (own === undefined || rule.region.length > 1) {
    if (rule.region.length > 1) throw new TooComplex();
    yield { state, matched: false };
    return;
  }
  const asked = asBefore(own, state);
  if (asked === undefined) {
    yield { state, matched: false };
    return;
  }
  for (const box of subtract(state.box, asked)) yield { state: { ...state, box }, matched: false };
  const inside = meet(state.box, asked);
  if (inside === undefined) return;
  if (rule.volatile === undefined) {
    yield { state: { ...state, box: inside }, matched: true };
    return;
  }
  const question = `chance:${rule.volatile} ${state.log.filter((entry) => entry === rule.volatile).length}`;
  for (const matched of [true, false])
    yield {
      state: {
        ...state,
        box: new Map(inside).set(question, truth(matched)),
        log: [...state.log, rule.volatile],
      },
      matched,
    };
}

/** The box in terms of the packet as it came to the chain; undefined where no such packet matches any more. */
function asBefore(box: Box, { marks, blurred }: State): Box | undefined {
  const out = new Map<string, FieldSet>();
  for (const [field, set] of box) {
    if (touches(blurred, field)) throw new TooComplex();
    if ((field !== 'mark' && field !== 'connmark') || set.kind !== 'bits') {
      out.set(field, set);
      continue;
    }
    const now = marks[field];
    const cubes = set.cubes.flatMap(({ mask, value }) => {
      // Bits that were set to something decide now; the others were perhaps flipped.
      if (((value ^ now.value) & mask & now.fixed) !== 0) return [];
      const free = (mask & ~now.fixed) >>> 0;
      return [{ mask: free, value: ((value ^ now.value) & free) >>> 0 }];
    });
    if (cubes.length === 0) return undefined;
    const joined = cubes.map((cube) => bitSet(cube.value, cube.mask)).reduce((a, b) => union(a, b));
    out.set(field, joined);
  }
  return out;
}

const union = (a: FieldSet, b: FieldSet): FieldSet => complement(intersect(complement(a), complement(b)));

function afterChanges(rule: ProgramRule, state: State): State {
  if (rule.changes.size === 0) return state;
  const { mark } = rule;
  if (mark === undefined)
    return {
      ...state,
      blurred: new Set([...state.blurred, ...rule.changes]),
      log: [...state.log, rule.key.slice(rule.key.indexOf(' => '))],
    };
  const before = state.marks[mark.field];
  // mark = (mark & ~m) ^ v
  const now: MarkNow = {
    fixed: (before.fixed | mark.mask) >>> 0,
    value: ((before.value & ~mark.mask) ^ mark.value) >>> 0,
  };
  return { ...state, marks: { ...state.marks, [mark.field]: now } };
}

export const decisionKey = ({ verdict, marks, log }: Decision): string =>
  `${verdict} ${JSON.stringify(marks)} ${log}`;
