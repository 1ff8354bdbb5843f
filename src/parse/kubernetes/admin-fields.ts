/** Readers that refuse fields they do not know: a newer API may have given them a meaning that narrows the part. */
import type { PolicyProblem, Selector } from '../../model/cluster.ts';
import { isObject, type JsonObject } from '../json.ts';
import { selector } from './policy.ts';
import { Mismatch, object } from './shape.ts';

/** As in the API server's decoding, null is the same as absent. */
export const present = (raw: JsonObject, key: string): boolean => raw[key] !== undefined && raw[key] !== null;

/** Undefined, with a line in `problems`, where `read` finds a wrong shape. */
export function attempt<T>(problems: PolicyProblem[], read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    problems.push({ field: error.field, why: error.why });
    return undefined;
  }
}

export function onlyFields(raw: JsonObject, known: readonly string[], field: string): void {
  const strange = Object.keys(raw).find((key) => !known.includes(key));
  if (strange !== undefined) throw new Mismatch(`${field}.${strange}`, 'is no field of the API');
}

/** The one field that is set, of those of which exactly one has to be. */
export function oneOf(raw: JsonObject, known: readonly string[], field: string): string {
  onlyFields(raw, known, field);
  const [only, ...more] = known.filter((key) => present(raw, key));
  if (only === undefined) throw new Mismatch(field, `must have one of ${known.join(', ')}`);
  if (more.length > 0) throw new Mismatch(field, `must have only one of ${[only, ...more].join(', ')}`);
  return only;
}

/** A label selector; must be there, may be empty. */
export function strictSelector(value: unknown, field: string): Selector {
  const raw = object(value, field);
  onlyFields(raw, ['matchLabels', 'matchExpressions'], field);
  if (Array.isArray(raw.matchExpressions))
    for (const [i, item] of (raw.matchExpressions as readonly unknown[]).entries())
      if (isObject(item)) onlyFields(item, ['key', 'operator', 'values'], `${field}.matchExpressions[${i}]`);
  return selector(raw, field);
}
