/** What the readers of Cilium's policies share: shape.ts, and fields that must not be there. */
import type { PolicyProblem } from '../../model/cluster.ts';
import type { JsonObject } from '../json.ts';
import { each, Mismatch, string } from './shape.ts';

export {
  boolOr,
  cidr,
  each,
  eachObject,
  intOr,
  labels,
  list,
  Mismatch,
  metadata,
  object,
  objectOrEmpty,
  string,
  stringOr,
} from './shape.ts';

export type Problems = PolicyProblem[];

export const isAbsent = (value: unknown): boolean => value === undefined || value === null;

/** Strings of a list; empty where absent. */
export const strings = (value: unknown, field: string): string[] => each(value, field, string);

/** Throws Mismatch at the first field that the API does not know: the API server would drop it, and its author meant something by it. */
export function onlyFields(item: JsonObject, field: string, known: readonly string[]): void {
  for (const key of Object.keys(item))
    if (!known.includes(key))
      throw new Mismatch(field === '' ? key : `${field}.${key}`, 'is no field of the API');
}

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

/** The items that can be read; each of the others is a line in `problems`. */
export const attemptEach = <T>(
  problems: Problems,
  items: readonly unknown[],
  field: string,
  read: (item: unknown, field: string) => T,
): T[] =>
  items.flatMap((item, i) => {
    const found = attempt(problems, () => ({ value: read(item, `${field}[${i}]`) }));
    return found === undefined ? [] : [found.value];
  });
