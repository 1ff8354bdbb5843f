/**
 * fromRequires and toRequires: what one rule requires of a subject's peers holds for the endpoints peers of every other rule that has the
 * same subject. Which requirements those are depends on the subject, so a rule becomes one rule for each combination.
 */
import type { CiliumSelector } from '../../model/policies/cilium.ts';
import { type Condition, type EndpointExpr, not } from '../ir.ts';
import { allExprs, bothOf, type Reach } from './cilium-selector.ts';

export interface Requirer {
  readonly subject: Reach;
  readonly requires: readonly CiliumSelector[];
  /** The rule's own spec: it selects every subject of the rule. */
  readonly isOwn: boolean;
}

export interface Narrowed extends Reach {
  readonly self?: EndpointExpr;
  readonly condition?: Condition;
}

/** Beyond this many, 2 to that power rules would come of one. */
const limit = 5;

const tooMany: Condition = {
  code: 'not-understood',
  text: 'more requirements (fromRequires, toRequires) meet at one subject than can be told apart',
};

export function narrowings(
  peers: Reach,
  requirers: readonly Requirer[],
  reachOf: (selector: CiliumSelector) => Reach,
): readonly Narrowed[] {
  const own = requirers.filter(({ isOwn }) => isOwn);
  const others = requirers.filter(({ isOwn }) => !isOwn);
  const demand = (list: readonly Requirer[]): readonly Reach[] =>
    list.flatMap(({ requires }) => requires.map(reachOf));
  const base = [peers, ...demand(own)];
  if (others.length === 0) return [bothOf(base)];
  const blurred = others.some(({ subject }) => subject.certain !== subject.possible);
  if (others.length > limit || blurred)
    return [
      {
        certain: bothOf([...base, ...demand(others)]).certain,
        possible: bothOf(base).possible,
        condition: tooMany,
      },
    ];
  return combinations(others).map(({ inside, outside }) => ({
    ...bothOf([...base, ...demand(inside)]),
    self: allExprs([
      ...inside.map(({ subject }) => subject.certain),
      ...outside.map(({ subject }) => not(subject.certain)),
    ]),
  }));
}

interface Combination {
  readonly inside: readonly Requirer[];
  readonly outside: readonly Requirer[];
}

function combinations([first, ...rest]: readonly Requirer[]): readonly Combination[] {
  if (first === undefined) return [{ inside: [], outside: [] }];
  return combinations(rest).flatMap(({ inside, outside }) => [
    { inside: [first, ...inside], outside },
    { inside, outside: [first, ...outside] },
  ]);
}
