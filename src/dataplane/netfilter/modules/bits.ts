/** 32-bit words of which only some bits are known. Unknown bits are 0 in `value`. */

export interface Bits {
  readonly value: number;
  /** 1: the bit is known. */
  readonly known: number;
}

const all = 0xffffffff;

export const exact = (value: number): Bits => ({ value: value >>> 0, known: all });
export const noBits: Bits = { value: 0, known: 0 };
export const isExact = ({ known }: Bits): boolean => known === all;

export const and = (a: Bits, b: Bits): Bits => ({
  value: (a.value & b.value) >>> 0,
  // A known 0 on either side decides.
  known: ((a.known & b.known) | (a.known & ~a.value) | (b.known & ~b.value)) >>> 0,
});

export const or = (a: Bits, b: Bits): Bits => {
  const known = ((a.known & b.known) | a.value | b.value) >>> 0;
  return { value: (a.value | b.value) >>> 0, known };
};

export const xor = (a: Bits, b: Bits): Bits => {
  const known = (a.known & b.known) >>> 0;
  return { value: ((a.value ^ b.value) & known) >>> 0, known };
};

/** Shifts as C does on 32-bit registers; the caller keeps `by` below 32. */
export const left = ({ value, known }: Bits, by: number): Bits => ({
  value: (value << by) >>> 0,
  known: ((known << by) | (by === 0 ? 0 : all >>> (32 - by))) >>> 0,
});

export const right = ({ value, known }: Bits, by: number): Bits => ({
  value: value >>> by,
  known: ((known >>> by) | (by === 0 ? 0 : all << (32 - by))) >>> 0,
});

/** The least and the greatest number that it can be. */
const least = ({ value }: Bits): number => value;
const greatest = ({ value, known }: Bits): number => (value | ~known) >>> 0;

/** Whether from <= number <= to; undefined: the unknown bits decide. */
export function isBetween(bits: Bits, from: number, to: number): boolean | undefined {
  const [low, high] = [least(bits), greatest(bits)];
  if (from <= low && high <= to) return true;
  if (high < from || to < low) return false;
  // The known bits may rule a single number out.
  return from === to && ((bits.value ^ from) & bits.known) >>> 0 !== 0 ? false : undefined;
}
