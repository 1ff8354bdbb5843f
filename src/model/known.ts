/** A fact, or the reason why it is not known. Never let "unknown" turn into false, zero or an empty list. */
export type Known<T> =
  | { readonly state: 'known'; readonly value: T }
  | { readonly state: 'unknown'; readonly why: string };

export const known = <T>(value: T): Known<T> => ({ state: 'known', value });
export const unknown = (why: string): Known<never> => ({ state: 'unknown', why });

export const mapKnown = <T, U>(fact: Known<T>, f: (value: T) => U): Known<U> =>
  fact.state === 'known' ? known(f(fact.value)) : fact;

/** The value where it is known; `fallback` says what stands in for it, so the choice is visible at the call. */
export const orElse = <T>(fact: Known<T>, fallback: T): T => (fact.state === 'known' ? fact.value : fallback);
