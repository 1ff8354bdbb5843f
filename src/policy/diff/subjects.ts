/** One side's subject: the policies that select it in one direction, and which of their rules match each class at its other end. */

import type { CompiledPolicy } from '../engine/compile.ts';
import type { ActiveRule } from '../engine/decide.ts';
import { rulesFor } from '../engine/rows.ts';
import type { Direction } from '../ir.ts';
import type { NumberedRow, Side } from './rows.ts';
import type { Runs } from './runs.ts';

export interface Subject {
  readonly row: Runs;
  /** In the order in which they are asked. */
  readonly policies: readonly SubjectPolicy[];
  readonly rules: readonly ActiveRule[];
  /** Class -> number of a set of rules. */
  readonly active: Runs;
  /** Rules of each set by their place in `rules`, ascending. */
  readonly sets: readonly (readonly number[])[];
}

export interface SubjectPolicy {
  readonly policy: CompiledPolicy;
  /** `network/tier`. */
  readonly tier: string;
}

/** Of each row one subject: the same row means the same policies. */
export function subjectsOf(side: Side): (direction: Direction, id: number) => Subject {
  const size = side.engine.universe.classes.length;
  const byRow = { egress: new Map<NumberedRow, Subject>(), ingress: new Map<NumberedRow, Subject>() };
  const byClass = {
    egress: new Array<Subject | undefined>(size),
    ingress: new Array<Subject | undefined>(size),
  };
  return (direction, id) => {
    const known = byClass[direction][id];
    if (known !== undefined) return known;
    const row = side.row(direction, id);
    const subject = byRow[direction].get(row) ?? subjectOf(side, direction, id);
    byRow[direction].set(row, subject);
    byClass[direction][id] = subject;
    return subject;
  };
}

function subjectOf(side: Side, direction: Direction, id: number): Subject {
  const { layers, universe } = side.engine;
  const policies = layers.flatMap(({ compiled: { layer, tiers }, rows }) =>
    rows[direction].policiesOf(id).map((policy) => ({
      policy,
      tier: `${layer.name}/${tiers[policy.tier]?.name ?? ''}`,
    })),
  );
  const rules = rulesFor(
    policies.map(({ policy }) => policy),
    id,
    universe,
  );
  const { starts, values, sets } = sweep(rules, universe.classes.length);
  return { row: side.row(direction, id), policies, rules, active: side.runs(starts, values), sets };
}

function sweep(
  rules: readonly ActiveRule[],
  size: number,
): { readonly starts: Int32Array; readonly values: number[]; readonly sets: number[][] } {
  const events = rules
    .flatMap(({ rule }, i) => [...rule.peers].map((position) => [position, i] as const))
    .sort(([a], [b]) => a - b);
  const starts: number[] = [];
  const values: number[] = [];
  const sets: number[][] = [];
  const known = new Map<string, number>();
  const active = new Set<number>();
  let next = 0;
  for (let at = 0; at < size; at = events[next]?.[0] ?? size) {
    for (; next < events.length && (events[next]?.[0] ?? 0) <= at; next++) {
      const rule = events[next]?.[1] as number;
      if (!active.delete(rule)) active.add(rule);
    }
    const set = [...active].sort((a, b) => a - b);
    const number = known.get(set.join()) ?? sets.push(set) - 1;
    known.set(set.join(), number);
    starts.push(at);
    values.push(number);
  }
  return { starts: Int32Array.from(starts), values, sets };
}

/** Tiers in which the subject is isolated for sure. */
export const isolatedTiers = ({ policies }: Subject): ReadonlySet<string> =>
  new Set(
    policies
      .filter(({ policy }) => policy.isolates && policy.policy.condition === undefined)
      .map(({ tier }) => tier),
  );
