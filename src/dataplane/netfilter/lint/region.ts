/** Sets of packets: a box says for some fields which values they may have; a region is a union of boxes. */
import { complement, type FieldSet, fieldKey, intersect, isEmpty } from './field-sets.ts';

/** By field; a field that is not named may have any value. No set in it is empty. */
export type Box = ReadonlyMap<string, FieldSet>;
export type Region = readonly Box[];

export const anyPacket: Box = new Map();

/** Undefined where no packet is in both. */
export function meet(a: Box, b: Box): Box | undefined {
  const [small, large] = a.size <= b.size ? [a, b] : [b, a];
  if (small.size === 0) return large;
  // Most pairs of rules differ in an address or port: found before anything is copied.
  const both: [string, FieldSet][] = [];
  for (const [field, set] of small) {
    const other = large.get(field);
    if (other === undefined) both.push([field, set]);
    else {
      const common = intersect(set, other);
      if (isEmpty(common)) return undefined;
      both.push([field, common]);
    }
  }
  const out = new Map(large);
  for (const [field, set] of both) out.set(field, set);
  return out;
}

export const meetRegions = (a: Region, b: Region): Region =>
  a.flatMap((one) => b.flatMap((two) => meet(one, two) ?? []));

/** The packets of `a` that are not in `b`, as boxes that do not overlap. */
export function subtract(a: Box, b: Box): Region {
  if (meet(a, b) === undefined) return [a];
  const out: Box[] = [];
  let rest = new Map(a);
  for (const [field, set] of b) {
    const own = rest.get(field);
    const outside = own === undefined ? complement(set) : intersect(own, complement(set));
    if (!isEmpty(outside)) out.push(new Map(rest).set(field, outside));
    rest = new Map(rest).set(field, own === undefined ? set : intersect(own, set));
  }
  return out;
}

export const subtractRegion = (a: Region, b: Region): Region =>
  b.reduce((rest, box) => rest.flatMap((one) => subtract(one, box)), a);

export const overlap = (a: Region, b: Region): boolean =>
  a.some((one) => b.some((two) => meet(one, two) !== undefined));

/** Whether a field, or one of a group `set:`, is among those that were changed. */
export const touches = (changes: ReadonlySet<string>, field: string): boolean =>
  changes.has('*') || changes.has(field) || changes.has(field.slice(0, field.indexOf(':') + 1));

/** The box without what it says about changed fields. */
export function forget(box: Box, changes: ReadonlySet<string>): Box {
  if (changes.size === 0) return box;
  return new Map([...box].filter(([field]) => !touches(changes, field)));
}

/** Equal keys are equal boxes. */
export const boxKey = (box: Box): string =>
  [...box]
    .map(([field, set]) => `${field}=${fieldKey(set)}`)
    .sort()
    .join(' ');
