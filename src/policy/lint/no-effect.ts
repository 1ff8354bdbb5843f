/** A policy without which everything would be as it is: for every pod that it selects, the others say the same without it. */
import { countIds, eachId } from '../../net/id-set.ts';
import { cellKey } from '../engine/cell.ts';
import type { CompiledPolicy } from '../engine/compile.ts';
import { cellDecider } from '../engine/decide.ts';
import type { EngineLayer } from '../engine/engine.ts';
import { cellPool, makeRow, type Row } from '../engine/rows.ts';
import type { LoweredPolicy } from '../ir.ts';
import { defineRule, directions, type Found, foundIn, listText } from './rule.ts';

/** Rules that would have to be looked at; more would take minutes. */
const most = 20_000_000;

export const noEffect = defineRule({
  id: 'no-effect',
  title: 'every policy makes a difference',
  needsPods: true,
  cannot: ({ engine }) => {
    let work = 0;
    for (const { compiled } of engine.layers)
      for (const direction of directions)
        for (const { subjects, rules } of compiled.policies[direction].filter(isThere))
          work += countIds(subjects) * (1 + rules.length);
    return work > most ? 'there are too many rules for too many different pods' : undefined;
  },
  run: (context) => {
    const { engine } = context;
    // What was found to be needless is left out from then on: what is said of all of them together is true.
    const needless = new Set<string>();
    return engine.layers
      .filter(({ compiled }) => compiled.layer.name === 'network')
      .flatMap((layer) => {
        const decide = cellDecider(layer.compiled.layer);
        const ground = { universe: engine.universe, intern: cellPool(), decide };
        return candidates(layer).flatMap((one) => look(layer, one, needless, ground));
      });
  },
});

/** One object's lowered policies of both directions. */
interface Candidate {
  readonly policy: LoweredPolicy;
  readonly parts: readonly (readonly ['ingress' | 'egress', CompiledPolicy])[];
}

/** Those that select fewest pods first: the narrow ones are the additions. */
function candidates({ compiled }: EngineLayer): readonly Candidate[] {
  const found = new Map<string, { policy: LoweredPolicy; parts: ['ingress' | 'egress', CompiledPolicy][] }>();
  for (const direction of directions)
    for (const part of compiled.policies[direction].filter(isThere)) {
      const key = keyOf(part.policy);
      const known = found.get(key) ?? { policy: part.policy, parts: [] };
      found.set(key, known);
      known.parts.push([direction, part]);
    }
  const size = ({ parts }: Candidate) => Math.max(...parts.map(([, { subjects }]) => countIds(subjects)));
  return [...found.values()].sort((a, b) => size(a) - size(b));
}

const isThere = (policy: CompiledPolicy | undefined): policy is CompiledPolicy => policy !== undefined;

const keyOf = ({ id }: LoweredPolicy): string => JSON.stringify([id.kind, id.namespace, id.name]);

function look(
  layer: EngineLayer,
  { policy, parts }: Candidate,
  needless: Set<string>,
  ground: Parameters<typeof makeRow>[0],
): Found[] {
  const own = keyOf(policy);
  const acts = parts.some(([, { subjects }]) => subjects.length > 0);
  // A rule that matches nobody is said as that; a policy without any is a guard for pods to come, and meant to say no more than others.
  const whole = parts.every(
    ([
      ,
      {
        policy: { ingress, egress },
        rules,
      },
    ]) =>
      [...(ingress?.rules ?? []), ...(egress?.rules ?? [])].every(
        (rule) => rule.condition === undefined && rule.peer.is !== 'none',
      ) && rules.length > 0,
  );
  if (!acts || !whole) return [];
  const others = new Set<string>();
  const seen = new Set<string>();
  for (const [direction, part] of parts)
    for (const id of eachId(part.subjects)) {
      const policies = layer.rows[direction].policiesOf(id).filter((one) => !needless.has(keyOf(one.policy)));
      const rest = policies.filter((one) => keyOf(one.policy) !== own);
      if (rest.length === 0) return [];
      const personal = policies.some((one) => one.personal);
      const key = `${direction} ${policies.map(({ rank }) => rank).join()}${personal ? `@${id}` : ''}`;
      if (seen.has(key)) continue;
      seen.add(key);
      const rows = [policies, rest].map((list) => makeRow(ground, list, id));
      if (!sameRows(rows[0] as Row, rows[1] as Row)) return [];
      for (const one of rest) others.add(`${one.policy.id.kind} ${one.policy.id.name}`);
    }
  needless.add(own);
  return [
    foundIn(
      policy,
      'info',
      '',
      `changes nothing: without it ${listText([...others].sort())} ${others.size === 1 ? 'says' : 'say'} the same about every pod that it selects`,
      'remove it, or keep it for pods that are yet to come',
    ),
  ];
}

const sameRows = (a: Row, b: Row): boolean =>
  a.cells.length === b.cells.length &&
  a.cells.every(
    (cell, i) => a.starts[i] === b.starts[i] && cellKey(cell) === cellKey(b.cells[i] as Row['cells'][number]),
  );
