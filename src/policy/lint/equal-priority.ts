/** Policies of one priority that disagree about the same traffic: the API does not say which one wins. */
import { eachId, intersectIds } from '../../net/id-set.ts';
import type { CompiledPolicy } from '../engine/compile.ts';
import type { EngineLayer } from '../engine/engine.ts';
import type { Direction } from '../ir.ts';
import { defineRule, directions, type Found, foundIn, listText } from './rule.ts';

export const equalPriority = defineRule({
  id: 'equal-priority',
  title: 'no two policies of one priority disagree',
  needsPods: true,
  run: ({ engine }) =>
    engine.layers.flatMap((layer) => {
      const findings = new Map<string, Found>();
      for (const direction of directions)
        for (const group of groupsOf(layer.compiled.policies[direction]))
          for (const found of disagreements(layer, direction, group))
            findings.set(`${found.policy.kind} ${found.policy.name}`, found);
      return [...findings.values()];
    }),
});

function groupsOf(policies: readonly (CompiledPolicy | undefined)[]): readonly (readonly CompiledPolicy[])[] {
  const groups = new Map<string, CompiledPolicy[]>();
  for (const policy of policies) {
    if (policy === undefined) continue;
    const key = `${policy.tier}/${policy.group}`;
    const group = groups.get(key) ?? [];
    groups.set(key, group);
    group.push(policy);
  }
  return [...groups.values()].filter(({ length }) => length > 1);
}

function disagreements(layer: EngineLayer, direction: Direction, group: readonly CompiledPolicy[]): Found[] {
  for (const [i, one] of group.entries())
    for (const other of group.slice(i + 1))
      for (const id of eachId(intersectIds(one.subjects, other.subjects))) {
        const unsure = layer.rows[direction]
          .of(id)
          .cells.some(({ conditions }) =>
            conditions.some(
              ({ condition }) =>
                condition.code === 'undefined-by-api' && condition.text.includes('same priority'),
            ),
          );
        if (!unsure) continue;
        const names = listText(group.filter((policy) => policy !== one).map(({ policy }) => policy.id.name));
        return [
          foundIn(
            one.policy,
            'warning',
            'spec.priority',
            `has the priority of ${names}, and they disagree about some traffic: the API does not say which one wins`,
            'give each its own priority',
          ),
        ];
      }
  return [];
}
