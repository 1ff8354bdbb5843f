/** Why one pair differs: the policies that say something else about the changed ports on one side than on the other. */
import { partyText } from '../model/connectivity.ts';
import type { ChangeReason, NamedParty, RulePlace } from '../model/policy-diff.ts';
import { hasId } from '../net/id-set.ts';
import { intersectPorts, type PortSet } from '../net/port-set.ts';
import type { PolicyPairs } from './diff-policies.ts';
import { numberAt, type Side } from './diff-rows.ts';
import type { ActiveRule } from './engine/decide.ts';
import type { EngineLayer } from './engine/engine.ts';
import { rulesFor } from './engine/rows.ts';
import type { EndpointClass } from './engine/universe.ts';
import type { Direction, LoweredPolicy } from './ir.ts';

/** Two classes of one side, and whom they stand for. */
export interface Pair {
  readonly side: Side;
  readonly src: number;
  readonly dst: number;
}

export interface Ends {
  readonly src?: NamedParty;
  readonly dst?: NamedParty;
}

interface Said {
  readonly policy: LoweredPolicy;
  readonly rules: readonly ActiveRule[];
  /** What it says of the changed ports, to be compared. */
  readonly text: string;
}

export function reasonsFor(
  a: Pair,
  b: Pair,
  changed: PortSet,
  ends: Ends,
  pairs: PolicyPairs,
): ChangeReason[] {
  const separable = a.side.separable && b.side.separable;
  const directions = (['egress', 'ingress'] as const).filter((direction) => {
    if (!separable) return true;
    const [one, other] = [a, b].map(({ side, src, dst }) =>
      direction === 'egress'
        ? numberAt(side.row('egress', src), dst)
        : numberAt(side.row('ingress', dst), src),
    );
    return one !== other;
  });
  const differing = directions.flatMap((direction) => reasonsOf(a, b, direction, changed, ends, pairs));
  // Every policy says the same as before: then it is their order that has changed.
  return differing.length > 0
    ? differing
    : directions.flatMap((direction) => moved(a, b, direction, changed, pairs));
}

function reasonsOf(
  a: Pair,
  b: Pair,
  direction: Direction,
  changed: PortSet,
  ends: Ends,
  pairs: PolicyPairs,
): ChangeReason[] {
  const [before, after] = bothSaid(a, b, direction, changed, pairs);
  const reasons: ChangeReason[] = [];
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    const [one, other] = [before.get(name), after.get(name)];
    if (one?.text === other?.text) continue;
    const how = pairs.how.get(name) ?? 'same';
    const { policy } = (one ?? other) as Said;
    const why = how === 'same' ? difference(a, b, ends) : undefined;
    reasons.push({
      policy: policy.id,
      how,
      direction,
      ...(why === undefined ? {} : { why }),
      ...(one === undefined ? {} : { before: placeOf(one) }),
      ...(other === undefined ? {} : { after: placeOf(other) }),
    });
  }
  // A policy that did not change is the reason only if no other is: a label that changes makes one policy let go of a pod.
  const edits = reasons.filter(({ how }) => how !== 'same');
  return edits.length > 0 && reasons.every(({ how, why }) => how !== 'same' || why === undefined)
    ? edits
    : reasons;
}

function bothSaid(
  a: Pair,
  b: Pair,
  direction: Direction,
  changed: PortSet,
  pairs: PolicyPairs,
): readonly [ReadonlyMap<string, Said>, ReadonlyMap<string, Said>] {
  // Who isolates makes no difference where somebody does on both sides.
  const others = isolatedTiers(b, direction);
  const isolated = new Set([...isolatedTiers(a, direction)].filter((tier) => others.has(tier)));
  return [
    saidOf('a', a, direction, changed, pairs, isolated),
    saidOf('b', b, direction, changed, pairs, isolated),
  ];
}

function isolatedTiers({ side, src, dst }: Pair, direction: Direction): Set<string> {
  const subject = direction === 'egress' ? src : dst;
  return new Set(
    side.engine.layers.flatMap((layer) =>
      layer.rows[direction]
        .policiesOf(subject)
        .filter(({ isolates, policy }) => isolates && policy.condition === undefined)
        .map(({ tier }) => tierName(layer, tier)),
    ),
  );
}

const tierName = ({ compiled }: EngineLayer, tier: number): string =>
  `${compiled.layer.name}/${compiled.tiers[tier]?.name ?? ''}`;

/** What each policy of the direction says about the changed ports between the two, by the name that both sides share. */
function saidOf(
  name: 'a' | 'b',
  { side, src, dst }: Pair,
  direction: Direction,
  changed: PortSet,
  pairs: PolicyPairs,
  isolated: ReadonlySet<string>,
): Map<string, Said> {
  const [subject, other] = direction === 'egress' ? [src, dst] : [dst, src];
  const { engine } = side;
  const found = new Map<string, Said>();
  for (const layer of engine.layers) {
    for (const compiled of layer.rows[direction].policiesOf(subject)) {
      const rules = rulesFor([compiled], subject, engine.universe).filter(
        ({ rule, ports }) => hasId(rule.peers, other) && intersectPorts(ports, changed).length > 0,
      );
      const tier = tierName(layer, compiled.tier);
      const isolation = compiled.isolates && !isolated.has(tier) ? `isolates ${tier}` : '';
      if (rules.length === 0 && isolation === '') continue;
      const text = [
        isolation,
        ...rules.map(
          ({ rule, ports }) =>
            `${rule.action} ${intersectPorts(ports, changed)} ${rule.condition?.text ?? ''}`,
        ),
      ].join(';');
      const key = pairs.sharedName(name, compiled.policy);
      const known = found.get(key);
      found.set(
        key,
        known === undefined
          ? { policy: compiled.policy, rules, text }
          : { ...known, rules: [...known.rules, ...rules], text: `${known.text} ${text}` },
      );
    }
  }
  return found;
}

function placeOf({ policy, rules }: Said): RulePlace {
  return {
    field: rules[0]?.rule.rule.field ?? '',
    ...(policy.origin === undefined ? {} : { origin: policy.origin }),
  };
}

function moved(a: Pair, b: Pair, direction: Direction, changed: PortSet, pairs: PolicyPairs): ChangeReason[] {
  const [before, after] = bothSaid(a, b, direction, changed, pairs);
  const order = [...after.keys()];
  const [first, second] = [[...before.keys()].join('\n'), order.join('\n')];
  if (first === second) return [];
  return order.flatMap((name): ChangeReason[] => {
    const [one, other] = [before.get(name), after.get(name)];
    if (one === undefined || other === undefined || other.rules.length === 0) return [];
    return [
      { policy: other.policy.id, how: 'moved', direction, before: placeOf(one), after: placeOf(other) },
    ];
  });
}

/** What a policy may read of the two ends, and what of it is another on the other side. */
function difference(a: Pair, b: Pair, ends: Ends): string | undefined {
  const texts = (['src', 'dst'] as const).flatMap((end) => {
    const party = ends[end];
    if (party === undefined) return [];
    const [one, other] = [a, b].map((pair) => ({
      universe: pair.side.engine.universe,
      it: pair.side.engine.universe.classes[pair[end]] as EndpointClass,
    })) as [Side2, Side2];
    return [
      changedLabels(`labels of ${partyText(party)}`, labels(one, 'self'), labels(other, 'self')),
      changedLabels(
        `labels of namespace ${party.namespace}`,
        labels(one, 'namespace'),
        labels(other, 'namespace'),
      ),
      ports(one.it) === ports(other.it) ? undefined : `named ports of ${partyText(party)}`,
    ].filter((text) => text !== undefined);
  });
  return texts.length === 0 ? undefined : `${[...new Set(texts)].join(', ')} changed`;
}

interface Side2 {
  readonly universe: Side['engine']['universe'];
  readonly it: EndpointClass;
}

const labels = ({ universe, it }: Side2, of: 'self' | 'namespace') =>
  universe.labelsOf(it.endpoint, of) ?? {};

const ports = ({ portNumbers }: EndpointClass): string =>
  [...portNumbers].map(([name, numbers]) => `${name}:${numbers}`).join(';');

function changedLabels(
  what: string,
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
): string | undefined {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (key) => before[key] !== after[key],
  );
  if (keys.length === 0) return undefined;
  const shown = keys.map((key) => `${key}: ${before[key] ?? '(none)'} -> ${after[key] ?? '(none)'}`);
  return `${what} (${shown.join(', ')})`;
}
