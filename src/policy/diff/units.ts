/** The parties of two clusters side by side: which stand for the same, and which are on one side only. */
import { partyText } from '../../model/connectivity.ts';
import type { NamedParty } from '../../model/policy-diff.ts';
import type { Family } from '../../net/address.ts';
import { familiesInUse, type Unit, unitsOf } from '../connectivity.ts';
import type { Engine } from '../engine/engine.ts';

/** What is compared: a whole unit where all of its pods are of one class on either side, else one pod. */
export interface Element {
  readonly party: NamedParty;
  /** Number of the unit. */
  readonly unit: number;
  /** Class on either side; undefined where it is not there. */
  readonly a?: number;
  readonly b?: number;
  /** IP families it speaks on either side. */
  readonly familiesA: readonly Family[];
  readonly familiesB: readonly Family[];
}

export interface JoinedUnit {
  readonly party: NamedParty;
  /** Numbers of its elements. */
  readonly elements: readonly number[];
  readonly a?: Unit;
  readonly b?: Unit;
}

export interface Joined {
  readonly units: readonly JoinedUnit[];
  readonly elements: readonly Element[];
}

export function joinUnits(a: Engine, b: Engine, by: 'workload' | 'pod'): Joined {
  const sides = [unitsOf(a, by), unitsOf(b, by)] as const;
  const [inA, inB] = sides.map((side) => new Map(side.map((unit) => [partyText(unit.party), unit])));
  // Pods of manifests have no addresses: what one side's policies speak is asked of the other side too.
  const spoken = [...new Set([...familiesInUse(a), ...familiesInUse(b)])];
  const keys = [...new Set(sides.flatMap((side) => side.map(({ party }) => partyText(party))))].sort();
  const units: JoinedUnit[] = [];
  const elements: Element[] = [];
  for (const key of keys) {
    const [one, other] = [inA?.get(key), inB?.get(key)];
    const party = (one ?? other)?.party as NamedParty | undefined;
    if (party === undefined) continue;
    const parts = partsOf(one, other);
    units.push({
      party,
      elements: parts.map((_, i) => elements.length + i),
      ...(one === undefined ? {} : { a: one }),
      ...(other === undefined ? {} : { b: other }),
    });
    for (const part of parts)
      elements.push({
        ...part,
        unit: units.length - 1,
        familiesA: part.familiesA.length > 0 ? part.familiesA : spoken,
        familiesB: part.familiesB.length > 0 ? part.familiesB : spoken,
      });
  }
  return { units, elements };
}

type Part = Omit<Element, 'unit'>;

const familiesOf = (members: Unit['members'] = []): readonly Family[] => [
  ...new Set(members.flatMap(({ families }) => families)),
];

function partsOf(a: Unit | undefined, b: Unit | undefined): Part[] {
  const [first, second] = [a?.classes[0], b?.classes[0]];
  if ((a?.classes.length ?? 1) === 1 && (b?.classes.length ?? 1) === 1)
    return [
      {
        party: (a ?? (b as Unit)).party as NamedParty,
        ...(first === undefined ? {} : { a: first }),
        ...(second === undefined ? {} : { b: second }),
        familiesA: familiesOf(a?.members),
        familiesB: familiesOf(b?.members),
      },
    ];
  const pods = new Map<string, { a?: Unit['members'][number]; b?: Unit['members'][number] }>();
  for (const member of a?.members ?? []) pods.set(partyText(member.party), { a: member });
  for (const member of b?.members ?? [])
    pods.set(partyText(member.party), { ...pods.get(partyText(member.party)), b: member });
  return [...pods.values()].map((pod) => {
    // A pod that was not there, or is no more, is compared with the pods of its workload if those are all alike.
    const classA = pod.a?.class ?? alike(a);
    const classB = pod.b?.class ?? alike(b);
    return {
      party: (pod.a ?? pod.b)?.party as NamedParty,
      ...(classA === undefined ? {} : { a: classA }),
      ...(classB === undefined ? {} : { b: classB }),
      familiesA: familiesOf(pod.a === undefined || pod.a.families.length === 0 ? a?.members : [pod.a]),
      familiesB: familiesOf(pod.b === undefined || pod.b.families.length === 0 ? b?.members : [pod.b]),
    };
  });
}

const alike = (unit: Unit | undefined): number | undefined =>
  unit?.classes.length === 1 ? unit.classes[0] : undefined;
