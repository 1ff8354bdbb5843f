/** IPv4 and IPv6 addresses as numbers, parsed as strictly as the kernel's inet_pton(3). Pure; no I/O. */

export type Family = 4 | 6;

/** `value` is the address as an unsigned integer: 32 bits for family 4, 128 bits for family 6. */
export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

export const addressBits = (family: Family): number => (family === 4 ? 32 : 128);

/** Reads dotted-quad IPv4 or RFC 4291 IPv6. Returns undefined for anything else (also for `010.0.0.1`, `1.2.3`, zone ids). */
export function parseAddress(text: string): Address | undefined {
  return text.includes(':') ? parseAddress6(text) : parseAddress4(text);
}

/** As parseAddress, for literals in code: throws RangeError on text that is no address. */
export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new RangeError(`not an IP address: ${text}`);
  return parsed;
}

/** By hand and in numbers: clusters have addresses by the hundred thousand. */
function parseAddress4(text: string): Address | undefined {
  let value = 0;
  let octets = 0;
  let octet = -1;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : dot;
    if (code === dot) {
      if (octet < 0 || ++octets > 4) return undefined;
      value = value * 256 + octet;
      octet = -1;
      continue;
    }
    const digit = code - zero;
    // Leading zeros are refused: some resolvers read them as octal, so the same text would mean two addresses.
    if (digit < 0 || digit > 9 || octet === 0) return undefined;
    octet = octet < 0 ? digit : octet * 10 + digit;
    if (octet > 255) return undefined;
  }
  return octets === 4 ? { family: 4, value: BigInt(value) } : undefined;
}

const dot = 46;
const zero = 48;

function parseAddress6(text: string): Address | undefined {
  let source = text;
  // The last 32 bits may be written as dotted quad (RFC 4291, 2.2.3).
  const lastColon = source.lastIndexOf(':');
  if (source.includes('.')) {
    const tail = parseAddress4(source.slice(lastColon + 1));
    if (tail === undefined) return undefined;
    source = `${source.slice(0, lastColon + 1)}${(tail.value >> 16n).toString(16)}:${(tail.value & 0xffffn).toString(16)}`;
  }
  const halves = source.split('::');
  if (halves.length > 2) return undefined;
  const head = groups(halves[0] ?? '');
  const rest = halves.length === 2 ? groups(halves[1] ?? '') : [];
  if (head === undefined || rest === undefined) return undefined;
  const missing = 8 - head.length - rest.length;
  // "::" stands for at least one group of zeros.
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  let value = 0n;
  for (const group of [...head, ...new Array<number>(missing).fill(0), ...rest])
    value = (value << 16n) | BigInt(group);
  return { family: 6, value };
}

function groups(text: string): number[] | undefined {
  if (text === '') return [];
  const out: number[] = [];
  for (const part of text.split(':')) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
    out.push(Number.parseInt(part, 16));
  }
  return out;
}

/** Canonical text: dotted quad, or RFC 5952 for IPv6. */
export function formatAddress(address: Address): string {
  if (address.family === 4) {
    const v = Number(address.value);
    return `${(v >>> 24) & 255}.${(v >>> 16) & 255}.${(v >>> 8) & 255}.${v & 255}`;
  }
  const parts: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) parts.push(Number((address.value >> shift) & 0xffffn));
  const [start, length] = longestZeroRun(parts);
  if (length < 2) return parts.map((part) => part.toString(16)).join(':');
  const hex = (slice: number[]) => slice.map((part) => part.toString(16)).join(':');
  return `${hex(parts.slice(0, start))}::${hex(parts.slice(start + length))}`;
}

function longestZeroRun(parts: readonly number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0];
  for (let i = 0; i < parts.length; i++) {
    let length = 0;
    while (i + length < parts.length && parts[i + length] === 0) length++;
    if (length > best[1]) best = [i, length];
    i += length;
  }
  return best;
}

export const sameAddress = (a: Address, b: Address): boolean => a.family === b.family && a.value === b.value;

/** 127.0.0.0/8 and ::1. */
export const isLoopback = (a: Address): boolean =>
  a.family === 4 ? a.value >> 24n === 127n : a.value === 1n;

/** 224.0.0.0/4 and ff00::/8. */
export const isMulticast = (a: Address): boolean =>
  a.family === 4 ? a.value >> 28n === 14n : a.value >> 120n === 0xffn;

/** 255.255.255.255. */
export const isLimitedBroadcast = (a: Address): boolean => a.family === 4 && a.value === 0xffffffffn;

/** 169.254.0.0/16 and fe80::/10. */
export const isLinkLocal = (a: Address): boolean =>
  a.family === 4 ? a.value >> 16n === 0xa9fen : a.value >> 118n === 0x3fan;

/** 0.0.0.0 and ::. */
export const isUnspecified = (a: Address): boolean => a.value === 0n;
