/** CIDR prefixes. A prefix keeps its host bits cleared, so equal networks compare equal. */
import { type Address, addressBits, type Family, formatAddress, parseAddress } from './address.ts';

export interface Prefix {
  readonly family: Family;
  /** First address of the network; bits past `length` are zero. */
  readonly value: bigint;
  /** 0-32 or 0-128. */
  readonly length: number;
}

/** Reads `a.b.c.d/n` and `x::/n`; a bare address is a host prefix. Host bits are cleared. Undefined for anything else. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const base = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (base === undefined) return undefined;
  const bits = addressBits(base.family);
  if (slash < 0) return { family: base.family, value: base.value, length: bits };
  const lengthText = text.slice(slash + 1);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(lengthText)) return undefined;
  const length = Number(lengthText);
  return length > bits ? undefined : makePrefix(base, length);
}

/** As parsePrefix, for literals in code: throws RangeError on text that is no prefix. */
export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new RangeError(`not a CIDR prefix: ${text}`);
  return parsed;
}

export function makePrefix(base: Address, length: number): Prefix {
  const hostBits = BigInt(addressBits(base.family) - length);
  return { family: base.family, value: (base.value >> hostBits) << hostBits, length };
}

export const formatPrefix = (p: Prefix): string =>
  `${formatAddress({ family: p.family, value: p.value })}/${p.length}`;

export function contains(p: Prefix, a: Address): boolean {
  if (p.family !== a.family) return false;
  const hostBits = BigInt(addressBits(p.family) - p.length);
  return a.value >> hostBits === p.value >> hostBits;
}

/** True if every address of `inner` lies in `outer`. */
export const covers = (outer: Prefix, inner: Prefix): boolean =>
  outer.length <= inner.length && contains(outer, { family: inner.family, value: inner.value });

export const overlaps = (a: Prefix, b: Prefix): boolean => covers(a, b) || covers(b, a);

export const samePrefix = (a: Prefix, b: Prefix): boolean =>
  a.family === b.family && a.value === b.value && a.length === b.length;

/** The n-th address of the network, counted from 0. No bounds check: the caller picks n within the network. */
export const nthAddress = (p: Prefix, n: number | bigint): Address => ({
  family: p.family,
  value: p.value + BigInt(n),
});
