/** Policies that nobody asks: an earlier tier decides everything for the pods that they select. */

import { everyPort, subtractPorts } from '../../net/port-set.ts';
import type { Direction, LoweredPolicy, Tier } from '../ir.ts';
import { implies } from './implies.ts';
import { defineRule, directions, type Found, foundIn } from './rule.ts';

export const unreachableTier = defineRule({
  id: 'unreachable-tier',
  title: 'every policy of a later tier is asked for some traffic',
  needsPods: false,
  run: ({ engine }) =>
    engine.program.layers.flatMap(({ tiers }) =>
      tiers.flatMap((tier, t) =>
        tier.groups.flat().flatMap((policy): Found[] => {
          const said = directions.filter((direction) => policy[direction] !== undefined);
          const deciders = said.map((direction) => decider(tiers.slice(0, t), policy, direction));
          const [first] = deciders;
          if (first === undefined || deciders.some((one) => one === undefined)) return [];
          return [
            foundIn(
              policy,
              'warning',
              '',
              `is never asked: in ${first.tier.name}, ${first.by.id.kind} ${first.by.id.name} decides all traffic of the same pods`,
              `let ${first.by.id.name} pass what later tiers are to decide`,
            ),
          ];
        }),
      ),
    ),
});

interface Decider {
  readonly tier: Tier;
  readonly by: LoweredPolicy;
}

function decider(earlier: readonly Tier[], policy: LoweredPolicy, direction: Direction): Decider | undefined {
  for (const tier of earlier) {
    const policies = tier.groups.flat();
    const passes = policies.some((one) =>
      (one[direction]?.rules ?? []).some(({ action }) => action === 'pass'),
    );
    if (passes) continue;
    const by = policies.find(
      (one) =>
        one.condition === undefined &&
        implies(policy.subject, one.subject) &&
        ((tier.otherwise === 'deny' && tier.unspecified === undefined && one[direction]?.isolates === true) ||
          (one[direction]?.rules ?? []).some(
            ({ peer, ports, self, condition, action }) =>
              action !== 'pass' &&
              condition === undefined &&
              self === undefined &&
              peer.is === 'any' &&
              ports.not === undefined &&
              subtractPorts(everyPort, ports.set).length === 0,
          )),
    );
    if (by !== undefined) return { tier, by };
  }
  return undefined;
}
