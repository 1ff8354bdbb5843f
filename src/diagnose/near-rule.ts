/** The rule that came nearest to letting a lost packet pass, as evidence of the cause that names the loss. */
import type { World } from '../dataplane/world.ts';
import type { Evidence } from '../model/evidence.ts';
import type { Cause } from '../model/finding.ts';
import type { NearRule } from '../model/verdict.ts';
import { type Investigation, investigate } from './investigate.ts';

/** Adds one line to the first cause that the walk shows. Where a policy denies the flow its own closest rule is told already. */
export function withNearRule(
  world: World,
  { flow, verdict, shown, deniedByPolicy }: Investigation,
  causes: readonly Cause[],
): readonly Cause[] {
  if (shown?.broken?.step.kind !== 'filter' || deniedByPolicy !== undefined) return causes;
  const told = new Set(verdict.evidence.map(({ statement }) => statement));
  const owner = causes.find(({ evidence }) => evidence.some(({ statement }) => told.has(statement)));
  if (owner === undefined) return causes;
  // Only a loss is worth the walk that keeps what the rules wanted.
  const broken = investigate(world, flow, { explain: true }).shown?.broken;
  const near = broken?.step.nearest?.find(helps);
  if (broken === undefined || near === undefined) return causes;
  const line: Evidence = {
    how: 'observed',
    statement: `${broken.hop.pod ?? broken.hop.node}: ${statementOf(near)}`,
    source: near.source,
  };
  // State first, then what packets met.
  const [state, probed] = [true, false].map((isState) =>
    owner.evidence.filter(({ how }) => (how !== 'probed') === isState),
  );
  const evidence = [...(state ?? []), line, ...(probed ?? [])];
  return causes.map((cause) => (cause === owner ? { ...cause, evidence } : cause));
}

/** Marks are a program's own business, and a rule with several unmet conditions is about other packets. */
const helps = ({ how, needs }: NearRule): boolean =>
  how === 'late' || (how !== 'mark' && needs.length === 1 && !/^(mark|connection) /.test(needs[0] ?? ''));

const statementOf = ({ how, needs, about }: NearRule): string =>
  how === 'late'
    ? 'a rule that would accept it stands behind the one that drops it'
    : `${about ?? 'a rule'} lets pass ${needs[0]}`;
