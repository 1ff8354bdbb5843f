/** Three-valued logic for rules of which nobody can say whether they match. */
import type { Outcome } from './contract.ts';

export type Tri = 'yes' | 'no' | 'maybe';

export const triNot = (a: Tri): Tri => (a === 'yes' ? 'no' : a === 'no' ? 'yes' : 'maybe');

export const triAll = (parts: readonly Tri[]): Tri =>
  parts.includes('no') ? 'no' : parts.includes('maybe') ? 'maybe' : 'yes';

export const triAny = (parts: readonly Tri[]): Tri =>
  parts.includes('yes') ? 'yes' : parts.includes('maybe') ? 'maybe' : 'no';

/** What holds in each of several readings of which one is true. */
export const triEither = (readings: readonly Tri[]): Tri =>
  readings.every((one) => one === readings[0]) ? (readings[0] ?? 'no') : 'maybe';

export const triIf = (holds: boolean): Tri => (holds ? 'yes' : 'no');

/** The outcome where what allows matches so. */
export const allowedIf = (matches: Tri): Outcome =>
  matches === 'yes' ? 'allow' : matches === 'no' ? 'deny' : 'conditional';
