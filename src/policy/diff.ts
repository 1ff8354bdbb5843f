/**
 * What two clusters let pass differently, by meaning: pairs of which the answers differ, and the policies that make the difference.
 * Pairs that both sides answer alike are not listed on the way: only rows that differ are looked into.
 */
import type { PolicyDiff } from '../model/policy-diff.ts';
import { cellReader } from './diff-cells.ts';
import { type Changes, type Compared, changesOf, type Differing, numberOf } from './diff-changes.ts';
import { outsideChanges } from './diff-outside.ts';
import { pairPolicies } from './diff-policies.ts';
import { candidates, sideOf } from './diff-rows.ts';
import { type Element, type JoinedUnit, joinUnits } from './diff-units.ts';
import type { Engine } from './engine/engine.ts';

export interface DiffOptions {
  /** Pods of one owner as one party (the default), or each for itself. */
  readonly by?: 'workload' | 'pod';
  /** ICMP too. Off by default: NetworkPolicy leaves it open. */
  readonly icmp?: boolean;
}

/** From `a` to `b`: `added` is what passes in `b` only. */
export function diffConnectivity(a: Engine, b: Engine, options: DiffOptions = {}): PolicyDiff {
  const reader = cellReader(options.icmp ?? false);
  const compared: Compared = {
    a: sideOf(a, reader),
    b: sideOf(b, reader),
    joined: joinUnits(a, b, options.by ?? 'workload'),
    reader,
    pairs: pairPolicies(a.program, b.program),
  };
  const changes = changesOf(compared);
  const { units, elements } = compared.joined;
  const toLookAt = candidates(compared.a, compared.b, elements);
  const outside = outsideChanges(compared.a, compared.b, reader);
  for (const unit of units) {
    comparePods(compared, changes, unit, toLookAt);
    for (const direction of ['egress', 'ingress'] as const) {
      const parts = unit.elements.map((at) => elements[at] as Element);
      changes.addOutside(
        unit,
        direction,
        parts.map((part) => [part, outside(part, direction)]),
      );
    }
  }
  return {
    changes: changes.between,
    inside: changes.inside,
    onlyInA: units.filter((unit) => unit.b === undefined).map(({ party }) => party),
    onlyInB: units.filter((unit) => unit.a === undefined).map(({ party }) => party),
    policies: compared.pairs.changes,
    portlessOnly: changes.portlessOnly(),
  };
}

function comparePods(
  { a, b, joined, reader }: Compared,
  changes: Changes,
  unit: JoinedUnit,
  toLookAt: readonly Int32Array[],
): void {
  const { units, elements } = joined;
  const byDestination = new Map<number, Differing[]>();
  for (const from of unit.elements)
    for (const to of toLookAt[from] as Int32Array) {
      // A pod reaches itself whatever policies say; a workload's pods among themselves are a pair like others.
      if (from === to && !isGroup(unit)) continue;
      const [src, dst] = [elements[from] as Element, elements[to] as Element];
      const before = numberOf(a, reader, src.a, dst.a);
      const after = numberOf(b, reader, src.b, dst.b);
      if (before === after) continue;
      const list = byDestination.get(dst.unit);
      if (list === undefined) byDestination.set(dst.unit, [{ src, dst, before, after }]);
      else list.push({ src, dst, before, after });
    }
  for (const [dst, list] of [...byDestination].sort(([x], [y]) => x - y))
    changes.addPair(unit, units[dst] as JoinedUnit, list);
}

/** Stands for several pods, or for a workload of which nobody knows how many it has. */
const isGroup = ({ party, elements }: JoinedUnit): boolean => party.kind !== 'Pod' && elements.length === 1;
