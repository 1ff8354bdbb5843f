/** What the readers of both meshes share: parts that are wrong become a line of `problems`, and the rest is read on. */
import type { PolicyProblem } from '../../model/cluster.ts';
import type { JsonObject } from '../json.ts';
import { list, Mismatch, object } from './shape.ts';

export type Problems = PolicyProblem[];

/** Undefined, with a line in `problems`, where `read` finds a wrong shape. */
export function attempt<T>(problems: Problems, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    problems.push({ field: error.field, why: error.why });
    return undefined;
  }
}

/** True if the object has no field but these; every other one is a line of `problems`: a typo must not go unseen. */
export function onlyFields(
  raw: JsonObject,
  field: string,
  known: readonly string[],
  problems: Problems,
): boolean {
  const strange = Object.keys(raw).filter((key) => !known.includes(key));
  for (const key of strange)
    problems.push({ field: field === '' ? key : `${field}.${key}`, why: 'is no field of this API' });
  return strange.length === 0;
}

/** As `onlyFields`, where nobody can say what the object means without the field. */
export function refuseOthers(raw: JsonObject, field: string, known: readonly string[]): void {
  for (const key of Object.keys(raw))
    if (!known.includes(key)) throw new Mismatch(`${field}.${key}`, 'is no field of this API');
}

/** The items that could be read, and whether all could. */
export function readItems<T>(
  value: unknown,
  field: string,
  problems: Problems,
  read: (item: JsonObject, field: string) => T,
): { readonly items: readonly T[]; readonly all: boolean } {
  return readValues(value, field, problems, (item, path) => read(object(item, path), path));
}

export function readValues<T>(
  value: unknown,
  field: string,
  problems: Problems,
  read: (item: unknown, field: string) => T,
): { readonly items: readonly T[]; readonly all: boolean } {
  const raw = attempt(problems, () => list(value, field));
  if (raw === undefined) return { items: [], all: false };
  const before = problems.length;
  const items: T[] = [];
  for (const [i, item] of raw.entries()) {
    const one = attempt(problems, () => ({ value: read(item, `${field}[${i}]`) }));
    if (one !== undefined) items.push(one.value);
  }
  return { items, all: problems.length === before };
}
