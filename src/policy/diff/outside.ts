/** What differs between one element and the addresses outside, in the common parts of what both sides' policies tell apart. */
import type { Family } from '../../net/address.ts';
import { formatPrefix, type Prefix } from '../../net/prefix.ts';
import { merged } from '../connectivity.ts';
import { ownPrefixes, prefixTree } from '../engine/prefix-tree.ts';
import type { Direction } from '../ir.ts';
import type { CellReader } from './cells.ts';
import type { Side } from './rows.ts';
import type { Element } from './units.ts';

/** Addresses that share a change, by the numbers of the answers before and after. */
export interface OutsideChange {
  readonly before: number;
  readonly after: number;
  readonly outside: { readonly cidrs: readonly string[] };
  /** Classes of some of these addresses on either side, to ask for reasons. */
  readonly a: number;
  readonly b: number;
}

export type OutsideChanges = (element: Element, direction: Direction) => readonly OutsideChange[];

interface Atom {
  readonly family: Family;
  readonly prefixes: readonly Prefix[];
  readonly a: number;
  readonly b: number;
}

export function outsideChanges(a: Side, b: Side, reader: CellReader): OutsideChanges {
  const atoms = commonAtoms(a, b);
  const byRows = a.separable && b.separable && isPlain(a) && isPlain(b);
  const known = new Map<string, readonly OutsideChange[]>();
  const cellOf = (side: Side, id: number | undefined, other: number, direction: Direction): number => {
    if (id === undefined) return reader.nothing;
    return direction === 'egress' ? side.answer(id, other) : side.answer(other, id);
  };
  return (element, direction) => {
    const key = [
      keyOf(a, element.a, direction, byRows),
      keyOf(b, element.b, direction, byRows),
      element.familiesA,
      element.familiesB,
    ].join('|');
    const before = known.get(key);
    if (before !== undefined) return before;
    const groups = new Map<
      string,
      { readonly first: Omit<OutsideChange, 'outside'>; readonly prefixes: Prefix[] }
    >();
    for (const atom of atoms) {
      const one = element.familiesA.includes(atom.family)
        ? cellOf(a, element.a, atom.a, direction)
        : reader.nothing;
      const other = element.familiesB.includes(atom.family)
        ? cellOf(b, element.b, atom.b, direction)
        : reader.nothing;
      if (one === other) continue;
      const group = groups.get(`${one}/${other}`);
      if (group !== undefined) group.prefixes.push(...atom.prefixes);
      else
        groups.set(`${one}/${other}`, {
          first: { before: one, after: other, a: atom.a, b: atom.b },
          prefixes: [...atom.prefixes],
        });
    }
    const changes = [...groups.values()].map(({ first, prefixes }) => ({
      ...first,
      outside: { cidrs: merged(prefixes).map(formatPrefix) },
    }));
    known.set(key, changes);
    return changes;
  };
}

const keyOf = (side: Side, id: number | undefined, direction: Direction, byRows: boolean): string =>
  id === undefined ? '-' : byRows ? `${direction} ${side.row(direction, id).id}` : `${direction} class ${id}`;

/** True if no policy has addresses outside for its subject, as far as it makes a difference: then the element's own row decides. */
function isPlain({ engine, row }: Side): boolean {
  const { outsideFrom, classes } = engine.universe;
  for (let id = outsideFrom; id < classes.length; id++)
    for (const direction of ['egress', 'ingress'] as const)
      if (row(direction, id).id !== row(direction, outsideFrom).id || row(direction, id).values.length > 1)
        return false;
  return true;
}

function commonAtoms(a: Side, b: Side): readonly Atom[] {
  const trees = [a, b].map(({ engine }) => engine.universe.tree);
  const { nodes } = prefixTree(trees.flatMap((tree) => tree.nodes.map(({ prefix }) => prefix)));
  return nodes.flatMap((node, at): Atom[] => {
    const prefixes = node.empty ? [] : ownPrefixes(nodes, at);
    const [first] = prefixes;
    if (first === undefined) return [];
    const [one, other] = [a, b].map(
      ({ engine: { universe } }) => universe.outsideFrom + universe.tree.deepest(first),
    );
    return [{ family: first.family, prefixes, a: one as number, b: other as number }];
  });
}
