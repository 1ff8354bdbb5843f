/** What policies may read of the two ends of a pair, and what of it is another on the other side. */
import { partyText } from '../../model/connectivity.ts';
import type { NamedParty } from '../../model/policy-diff.ts';
import type { EndpointClass, Universe } from '../engine/universe.ts';

export interface Ends {
  readonly src: NamedParty | undefined;
  readonly dst: NamedParty | undefined;
}

/** The classes of both ends on both sides. */
export interface PairClasses {
  readonly src: BothClasses;
  readonly dst: BothClasses;
}

export interface BothClasses {
  readonly a: number;
  readonly b: number;
}

export interface EndDifferences {
  /** Equal numbers, equal texts. */
  readonly key: (pair: PairClasses, ends: Ends) => number;
  /** `labels of shop/web[Deployment] (tier: web -> (none)) changed`; undefined where nothing did. */
  readonly text: (key: number) => string | undefined;
}

const factor = 2 ** 26;

export function endDifferences(a: Universe, b: Universe): EndDifferences {
  const numbers = new Map<string, number>([['', 0]]);
  const texts: (readonly string[])[] = [[]];
  const known = new Map<NamedParty, Map<number, number>>();
  const numberOf = (party: NamedParty | undefined, classes: BothClasses): number => {
    if (party === undefined) return 0;
    const byClasses = known.get(party) ?? new Map<number, number>();
    known.set(party, byClasses);
    const at = classes.a * factor + classes.b;
    const before = byClasses.get(at);
    if (before !== undefined) return before;
    const list = differences(party, side(a, classes.a), side(b, classes.b));
    const number = numbers.get(list.join('\n')) ?? texts.push(list) - 1;
    numbers.set(list.join('\n'), number);
    byClasses.set(at, number);
    return number;
  };
  return {
    key: (pair, ends) => numberOf(ends.src, pair.src) * factor + numberOf(ends.dst, pair.dst),
    text: (key) => {
      const [src, dst] = [Math.floor(key / factor), key % factor];
      const all = [...new Set([...(texts[src] ?? []), ...(texts[dst] ?? [])])];
      return all.length === 0 ? undefined : `${all.join(', ')} changed`;
    },
  };
}

interface EndSide {
  readonly universe: Universe;
  readonly it: EndpointClass;
}

const side = (universe: Universe, id: number): EndSide => ({
  universe,
  it: universe.classes[id] as EndpointClass,
});

const differences = (party: NamedParty, before: EndSide, after: EndSide): string[] =>
  [
    changedLabels(`labels of ${partyText(party)}`, labels(before, 'self'), labels(after, 'self')),
    changedLabels(
      `labels of namespace ${party.namespace}`,
      labels(before, 'namespace'),
      labels(after, 'namespace'),
    ),
    ports(before.it) === ports(after.it) ? undefined : `named ports of ${partyText(party)}`,
  ].filter((text) => text !== undefined);

const labels = ({ universe, it }: EndSide, of: 'self' | 'namespace') =>
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
