/**
 * Why pairs differ: the policies that say something else about the changed ports on one side than on the other. What is found for one
 * pair holds for all of which the same policies select the subject and the same rules match the other end.
 */
import type { ChangeReason, RulePlace } from '../../model/policy-diff.ts';
import { intersectPorts, type PortSet } from '../../net/port-set.ts';
import type { ActiveRule } from '../engine/decide.ts';
import type { Direction, LoweredPolicy } from '../ir.ts';
import type { ChangedPorts } from './cells.ts';
import { type Ends, endDifferences, type PairClasses } from './ends.ts';
import type { PolicyPairs } from './policies.ts';
import type { Side } from './rows.ts';
import { valueAt } from './runs.ts';
import { isolatedTiers, type Subject, subjectsOf } from './subjects.ts';

export interface Reasons {
  /** The number of what a direction has to do with the change of a pair; 0 if nothing. Equal numbers, equal reasons. */
  readonly number: (direction: Direction, pair: PairClasses, changed: ChangedPorts, ends: Ends) => number;
  /** By the numbers of both directions. */
  readonly because: (egress: number, ingress: number) => readonly ChangeReason[];
}

/** Of one direction. */
interface DirectionReasons {
  readonly reasons: readonly ChangeReason[];
  /** Every policy says the same as before: then it is their order that has changed. */
  readonly moved: readonly ChangeReason[];
}

/** A subject of both sides. */
interface BothSubjects {
  readonly direction: Direction;
  readonly a: Subject;
  readonly b: Subject;
  /** Tiers in which both are isolated: who isolates makes no difference where somebody does on both sides. */
  readonly isolated: ReadonlySet<string>;
  /** By changed ports, then by the sets of active rules of both sides. */
  readonly told: Map<number, Told>[];
}

interface Told {
  readonly found: readonly ChangeReason[];
  readonly moved: readonly ChangeReason[];
  /** True if a policy is among them that did not change: what changed then is an end. */
  readonly asksEnds: boolean;
  /** Key of the ends -> number of the record. */
  readonly records: Map<number, number>;
}

export function reasonsOf(a: Side, b: Side, pairs: PolicyPairs): Reasons {
  const records: DirectionReasons[] = [{ reasons: [], moved: [] }];
  const numbers = new Map<string, number>();
  const ends = endDifferences(a.engine.universe, b.engine.universe);
  const subjects = bothSubjects(a, b);
  const separable = a.separable && b.separable;
  const recordOf = (told: Told, endsKey: number): number => {
    const known = told.records.get(endsKey);
    if (known !== undefined) return known;
    const record = { reasons: withEnds(told.found, ends.text(endsKey)), moved: told.moved };
    const text = JSON.stringify(record);
    const number = numbers.get(text) ?? records.push(record) - 1;
    numbers.set(text, number);
    told.records.set(endsKey, number);
    return number;
  };
  return {
    number: (direction, pair, changed, parties) => {
      const [subject, other] = direction === 'egress' ? [pair.src, pair.dst] : [pair.dst, pair.src];
      const both = subjects(direction, subject.a, subject.b);
      // Nothing of the pair's answer depends on the two ends at once: rows that say the same are no reason.
      if (separable && valueAt(both.a.row, other.a) === valueAt(both.b.row, other.b)) return 0;
      const sets = [valueAt(both.a.active, other.a), valueAt(both.b.active, other.b)] as const;
      const byPorts = both.told[changed.id] ?? new Map<number, Told>();
      both.told[changed.id] = byPorts;
      const key = sets[0] * both.b.sets.length + sets[1];
      let told = byPorts.get(key);
      if (told === undefined) {
        told = tell(both, sets, changed.ports, pairs);
        byPorts.set(key, told);
      }
      return recordOf(told, told.asksEnds ? ends.key(pair, parties) : 0);
    },
    because: (egress, ingress) => {
      const both = [records[egress], records[ingress]] as readonly DirectionReasons[];
      const found = both.flatMap(({ reasons }) => reasons);
      return found.length > 0 ? found : both.flatMap(({ moved }) => moved);
    },
  };
}

function bothSubjects(a: Side, b: Side): (direction: Direction, inA: number, inB: number) => BothSubjects {
  const [ofA, ofB] = [subjectsOf(a), subjectsOf(b)];
  const known = { egress: new Map<Subject, BothSubjects[]>(), ingress: new Map<Subject, BothSubjects[]>() };
  return (direction, inA, inB) => {
    const [one, other] = [ofA(direction, inA), ofB(direction, inB)];
    // Nearly always the same two meet.
    const list = known[direction].get(one) ?? [];
    const before = list.find(({ b: met }) => met === other);
    if (before !== undefined) return before;
    const there = isolatedTiers(other);
    const isolated = new Set([...isolatedTiers(one)].filter((tier) => there.has(tier)));
    const made = { direction, a: one, b: other, isolated, told: [] };
    known[direction].set(one, [...list, made]);
    return made;
  };
}

function tell(
  { direction, a, b, isolated }: BothSubjects,
  [setA, setB]: readonly [number, number],
  changed: PortSet,
  pairs: PolicyPairs,
): Told {
  const before = saidOf('a', a, setA, changed, pairs, isolated);
  const after = saidOf('b', b, setB, changed, pairs, isolated);
  const found = [...new Set([...before.keys(), ...after.keys()])].flatMap((name): ChangeReason[] => {
    const [one, other] = [before.get(name), after.get(name)];
    if (one?.text === other?.text) return [];
    const { policy } = (one ?? other) as Said;
    return [
      {
        policy: policy.id,
        how: pairs.how.get(name) ?? 'same',
        direction,
        ...(one === undefined ? {} : { before: placeOf(one) }),
        ...(other === undefined ? {} : { after: placeOf(other) }),
      },
    ];
  });
  return {
    found,
    moved: found.length > 0 ? [] : moved(before, after, direction),
    asksEnds: found.some(({ how }) => how === 'same'),
    records: new Map(),
  };
}

/** A policy that did not change is the reason only if no other is: a label that changes makes one policy let go of a pod. */
function withEnds(found: readonly ChangeReason[], why: string | undefined): readonly ChangeReason[] {
  const edits = found.filter(({ how }) => how !== 'same');
  if (edits.length === found.length || (edits.length > 0 && why === undefined)) return edits;
  return found.map((reason) => (reason.how === 'same' && why !== undefined ? { ...reason, why } : reason));
}

interface Said {
  readonly policy: LoweredPolicy;
  readonly rules: readonly ActiveRule[];
  /** What it says of the changed ports, to be compared. */
  readonly text: string;
}

/** What each policy says about the changed ports where these rules match, by the name that both sides share. */
function saidOf(
  side: 'a' | 'b',
  { policies, rules: all, sets }: Subject,
  set: number,
  changed: PortSet,
  pairs: PolicyPairs,
  isolated: ReadonlySet<string>,
): ReadonlyMap<string, Said> {
  const active = byPolicy(sets[set] ?? [], all, changed);
  const found = new Map<string, Said>();
  for (const { policy: compiled, tier } of policies) {
    const rules = active.get(compiled) ?? [];
    const isolation = compiled.isolates && !isolated.has(tier) ? `isolates ${tier}` : '';
    if (rules.length === 0 && isolation === '') continue;
    const text = [
      isolation,
      ...rules.map(
        ({ rule, ports }) => `${rule.action} ${intersectPorts(ports, changed)} ${rule.condition?.text ?? ''}`,
      ),
    ].join(';');
    const key = pairs.sharedName(side, compiled.policy);
    const known = found.get(key);
    found.set(
      key,
      known === undefined
        ? { policy: compiled.policy, rules, text }
        : { ...known, rules: [...known.rules, ...rules], text: `${known.text} ${text}` },
    );
  }
  return found;
}

/** Rules that are about the changed ports, by policy. */
function byPolicy(
  places: readonly number[],
  all: readonly ActiveRule[],
  changed: PortSet,
): ReadonlyMap<ActiveRule['policy'], readonly ActiveRule[]> {
  const found = new Map<ActiveRule['policy'], ActiveRule[]>();
  for (const place of places) {
    const rule = all[place] as ActiveRule;
    if (intersectPorts(rule.ports, changed).length === 0) continue;
    const list = found.get(rule.policy);
    if (list === undefined) found.set(rule.policy, [rule]);
    else list.push(rule);
  }
  return found;
}

function placeOf({ policy, rules }: Said): RulePlace {
  return {
    field: rules[0]?.rule.rule.field ?? '',
    ...(policy.origin === undefined ? {} : { origin: policy.origin }),
  };
}

function moved(
  before: ReadonlyMap<string, Said>,
  after: ReadonlyMap<string, Said>,
  direction: Direction,
): ChangeReason[] {
  const order = [...after.keys()];
  if ([...before.keys()].join('\n') === order.join('\n')) return [];
  return order.flatMap((name): ChangeReason[] => {
    const [one, other] = [before.get(name), after.get(name)];
    if (one === undefined || other === undefined || other.rules.length === 0) return [];
    return [
      { policy: other.policy.id, how: 'moved', direction, before: placeOf(one), after: placeOf(other) },
    ];
  });
}
