/**
 * What two clusters let pass differently, by meaning: pairs of which the answers differ, and the policies that make the difference.
 * Pairs that both sides answer alike are not listed on the way: only rows that differ are looked into.
 */
import { partyText } from '../../model/connectivity.ts';
import type {
  ChangeGroup,
  ConnectionChange,
  DiffParty,
  NamedParty,
  PolicyDiff,
  StreamedPolicyDiff,
} from '../../model/policy-diff.ts';
import type { Engine } from '../engine/engine.ts';
import type { Direction } from '../ir.ts';
import { type CellReader, cellReader } from './cells.ts';
import { type Compared, type Found, unitChanges } from './changes.ts';
import type { PairClasses } from './ends.ts';
import { outsideChanges } from './outside.ts';
import { pairPolicies } from './policies.ts';
import { type Reasons, reasonsOf } from './reasons.ts';
import { candidates, sideOf } from './rows.ts';
import { joinUnits } from './units.ts';

export interface DiffOptions {
  /** Pods of one owner as one party (the default), or each for itself. */
  readonly by?: 'workload' | 'pod';
  /** ICMP too. Off by default: NetworkPolicy leaves it open. */
  readonly icmp?: boolean;
}

/** From `a` to `b`: `added` is what passes in `b` only. */
export function diffConnectivity(a: Engine, b: Engine, options: DiffOptions = {}): PolicyDiff {
  const { changes, inside, onlyInA, onlyInB, policies, portlessOnly } = streamDiff(a, b, options);
  return { changes: [...changes], inside: [...inside], onlyInA, onlyInB, policies, portlessOnly };
}

/** The same, counted, and its changes made as they are read. */
export function streamDiff(a: Engine, b: Engine, options: DiffOptions = {}): StreamedPolicyDiff {
  const reader = cellReader(options.icmp ?? false);
  const [one, other] = [sideOf(a, reader), sideOf(b, reader)];
  const joined = joinUnits(a, b, options.by ?? 'workload');
  const compared: Compared = {
    a: one,
    b: other,
    joined,
    reader,
    candidates: candidates(one, other, joined.elements),
    outside: outsideChanges(one, other, reader),
  };
  const pairs = pairPolicies(a.program, b.program);
  const teller = tellerOf(reader, reasonsOf(one, other, pairs));
  const { units } = joined;
  return {
    ...survey(compared, teller),
    changes: again(function* () {
      for (const unit of units)
        for (const found of unitChanges(compared, unit).between) yield teller.change(found);
    }),
    inside: again(function* () {
      for (const unit of units)
        for (const found of unitChanges(compared, unit).inside) yield teller.change(found);
    }),
    onlyInA: units.filter((unit) => unit.b === undefined).map(({ party }) => party),
    onlyInB: units.filter((unit) => unit.a === undefined).map(({ party }) => party),
    policies: pairs.changes,
  };
}

const again = <T>(read: () => Iterator<T>): Iterable<T> => ({ [Symbol.iterator]: read });

interface Teller {
  readonly change: (found: Found) => ConnectionChange;
  /** What the egress side has to do with it, by number; the ends that are on one side only, if any are. */
  readonly egress: (found: Found) => number | string;
  readonly ingress: (found: Found) => number;
}

function tellerOf(reader: CellReader, reasons: Reasons): Teller {
  const numberOf = (
    direction: Direction,
    { src, dst, from, to, before, after }: Found,
  ): number | undefined =>
    src.a === undefined || src.b === undefined || dst.a === undefined || dst.b === undefined
      ? undefined
      : reasons.number(direction, { src, dst } as PairClasses, reader.changed(before, after), {
          src: isNamed(from) ? from : undefined,
          dst: isNamed(to) ? to : undefined,
        });
  return {
    change: (found) => {
      const { change, from, to, before, after } = found;
      const [lost, added] = [endMissing('b', found), endMissing('a', found)];
      const egress = numberOf('egress', found);
      return {
        change,
        src: from,
        dst: to,
        before: reader.lines(before),
        after: reader.lines(after),
        ...(added === undefined ? {} : { newEnd: added }),
        ...(lost === undefined ? {} : { lostEnd: lost }),
        because: egress === undefined ? [] : reasons.because(egress, numberOf('ingress', found) ?? 0),
      };
    },
    egress: (found) =>
      numberOf('egress', found) ??
      (['a', 'b'] as const)
        .map((side) => endMissing(side, found))
        .map((party) => (party === undefined ? '' : partyText(party)))
        .join('\n'),
    ingress: (found) => numberOf('ingress', found) ?? 0,
  };
}

/** The party that is not on the side. */
function endMissing(side: 'a' | 'b', { src, dst, from, to }: Found): NamedParty | undefined {
  if (src[side] === undefined && isNamed(from)) return from;
  return dst[side] === undefined && isNamed(to) ? to : undefined;
}

const isNamed = (party: DiffParty): party is NamedParty => !('cidrs' in party);

/** More are counted, not shown: nobody reads them. */
const shownGroups = 200;
const shownOfGroup = 200;

function survey(
  compared: Compared,
  teller: Teller,
): Pick<StreamedPolicyDiff, 'counts' | 'groups' | 'portlessOnly'> {
  const counts = { added: 0, removed: 0, changed: 0 };
  let portlessOnly = 0;
  const { count, groups } = grouper(teller);
  const inside: Found[] = [];
  for (const unit of compared.joined.units) {
    const changes = unitChanges(compared, unit);
    portlessOnly += changes.portlessOnly;
    inside.push(...changes.inside);
    for (const found of changes.between) {
      counts[found.change]++;
      count(found);
    }
  }
  for (const found of inside) {
    counts[found.change]++;
    count(found);
  }
  return { counts, portlessOnly, groups };
}

interface Group {
  readonly changes: ConnectionChange[];
  count: number;
}

/** Changes with the same reasons together. */
function grouper(teller: Teller): {
  readonly count: (found: Found) => void;
  readonly groups: readonly ChangeGroup[];
} {
  const groups: Group[] = [];
  const byReasons = new Map<number | string, Map<number, Group>>();
  return {
    groups,
    count: (found) => {
      const egress = teller.egress(found);
      const byIngress = byReasons.get(egress);
      if (byIngress === undefined && groups.length >= shownGroups) return;
      const ingress = teller.ingress(found);
      const known = byIngress?.get(ingress);
      if (known !== undefined) {
        known.count++;
        if (known.changes.length < shownOfGroup) known.changes.push(teller.change(found));
      } else if (groups.length < shownGroups) {
        const group = { changes: [teller.change(found)], count: 1 };
        groups.push(group);
        if (byIngress === undefined) byReasons.set(egress, new Map([[ingress, group]]));
        else byIngress.set(ingress, group);
      }
    },
  };
}
