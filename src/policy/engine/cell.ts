/** What becomes of every port between two classes, and how two such answers join. */
import {
  everyPort,
  intersectPorts,
  noPorts,
  type PortSet,
  subtractPorts,
  unionPorts,
} from '../../net/port-set.ts';
import type { Condition } from '../ir.ts';

/** Ports outside of `allow` and `maybe` are denied. */
export interface Cell {
  readonly allow: PortSet;
  /** Ports of which the objects alone do not tell. */
  readonly maybe: PortSet;
  readonly conditions: readonly ConditionalPorts[];
}

export interface ConditionalPorts {
  readonly ports: PortSet;
  readonly condition: Condition;
}

export const openCell: Cell = { allow: everyPort, maybe: noPorts, conditions: [] };
export const closedCell: Cell = { allow: noPorts, maybe: noPorts, conditions: [] };

/** The answer for `ports` only; all others are not part of it. */
export interface Outcome {
  readonly allow: PortSet;
  readonly deny: PortSet;
  readonly maybe: readonly ConditionalPorts[];
}

export const noOutcome: Outcome = { allow: noPorts, deny: noPorts, maybe: [] };

/** Of two outcomes for disjoint ports, the outcome for both. */
export const joinOutcomes = (a: Outcome, b: Outcome): Outcome =>
  a === noOutcome
    ? b
    : b === noOutcome
      ? a
      : {
          allow: unionPorts(a.allow, b.allow),
          deny: unionPorts(a.deny, b.deny),
          maybe: [...a.maybe, ...b.maybe],
        };

/** Two outcomes for the same `ports`, of which nobody knows which one holds: certain only where they agree. */
export function eitherOutcome(a: Outcome, b: Outcome, ports: PortSet, condition: Condition): Outcome {
  const allow = intersectPorts(a.allow, b.allow);
  const deny = intersectPorts(a.deny, b.deny);
  const open = subtractPorts(ports, unionPorts(allow, deny));
  if (open.length === 0) return { allow, deny, maybe: [] };
  const inner = [...a.maybe, ...b.maybe]
    .map((part) => ({ ...part, ports: intersectPorts(part.ports, open) }))
    .filter((part) => part.ports.length > 0);
  // Where one of the two is already conditional by itself, its reason stays; this condition is a reason only where the two differ for sure.
  const differ = subtractPorts(
    open,
    inner.reduce<PortSet>((sum, part) => unionPorts(sum, part.ports), noPorts),
  );
  return {
    allow,
    deny,
    maybe: [...(differ.length === 0 ? [] : [{ ports: differ, condition }]), ...inner],
  };
}

export function cellOf(outcome: Outcome): Cell {
  const conditions = distinct(outcome.maybe);
  const maybe = conditions.reduce<PortSet>((sum, part) => unionPorts(sum, part.ports), noPorts);
  return { allow: outcome.allow, maybe, conditions };
}

function distinct(parts: readonly ConditionalPorts[]): ConditionalPorts[] {
  const byText = new Map<string, ConditionalPorts>();
  for (const part of parts) {
    const key = `${part.condition.code} ${part.condition.text}`;
    const known = byText.get(key);
    byText.set(key, known === undefined ? part : { ...known, ports: unionPorts(known.ports, part.ports) });
  }
  return [...byText.values()];
}

/** Both must let the flow pass. */
export function bothCells(a: Cell, b: Cell): Cell {
  if (a === openCell || b === closedCell) return b;
  if (b === openCell || a === closedCell) return a;
  const allow = intersectPorts(a.allow, b.allow);
  if (a.maybe.length === 0 && b.maybe.length === 0) return { allow, maybe: noPorts, conditions: [] };
  const possible = intersectPorts(unionPorts(a.allow, a.maybe), unionPorts(b.allow, b.maybe));
  const maybe = subtractPorts(possible, allow);
  const conditions = [...a.conditions, ...b.conditions]
    .map((part) => ({ ...part, ports: intersectPorts(part.ports, maybe) }))
    .filter((part) => part.ports.length > 0);
  return { allow, maybe, conditions: distinct(conditions) };
}

export const cellKey = (cell: Cell): string =>
  cell.maybe.length === 0
    ? cell.allow.join()
    : `${cell.allow.join()}|${cell.conditions.map((part) => `${part.ports.join()}?${part.condition.code} ${part.condition.text}`).join('|')}`;
