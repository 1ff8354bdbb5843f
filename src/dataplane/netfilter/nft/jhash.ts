/** nft's jhash with a seed is the same number for the same packet always: nft_jhash_eval over what stands in the registers. */
import type { NftType, Scalar } from './values.ts';

/** Bytes of the types that a register holds in network order: payload fields. Others are not hashed here. */
const widths: Partial<Readonly<Record<NftType, number>>> = { ipv4: 4, ipv6: 16, port: 2, proto: 1 };

/** The key as nft_payload_eval and nft_meta_get_eval leave it: each part of a concatenation fills whole registers of 4 bytes. */
export function registerBytes(parts: readonly Scalar[]): Uint8Array | undefined {
  const bytes: number[] = [];
  for (const part of parts) {
    if (part.kind !== 'number' || part.unclear !== undefined) return undefined;
    const width = widths[part.type];
    if (width === undefined) return undefined;
    for (let i = width - 1; i >= 0; i--) bytes.push(Number((part.value >> BigInt(8 * i)) & 0xffn));
    while (parts.length > 1 && bytes.length % 4 !== 0) bytes.push(0);
  }
  return Uint8Array.from(bytes);
}

/** reciprocal_scale(jhash(key), modulus). */
export const scaledHash = (key: Uint8Array, seed: number, modulus: number): number =>
  Number((BigInt(jhash(key, seed)) * BigInt(modulus)) >> 32n);

const rotate = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));

/** Bob Jenkins' lookup3 as the kernel has it (include/linux/jhash.h), little-endian; `key` is not read as words. */
function jhash(key: Uint8Array, seed: number): number {
  let a = (0xdeadbeef + key.length + seed) | 0;
  let [b, c] = [a, a];
  const word = (at: number): number => {
    let value = 0;
    for (let i = 3; i >= 0; i--) value = (value << 8) | (key[at + i] ?? 0);
    return value;
  };
  let at = 0;
  for (; key.length - at > 12; at += 12) {
    a = (a + word(at)) | 0;
    b = (b + word(at + 4)) | 0;
    c = (c + word(at + 8)) | 0;
    // __jhash_mix
    a = ((a - c) ^ rotate(c, 4)) | 0;
    c = (c + b) | 0;
    b = ((b - a) ^ rotate(a, 6)) | 0;
    a = (a + c) | 0;
    c = ((c - b) ^ rotate(b, 8)) | 0;
    b = (b + a) | 0;
    a = ((a - c) ^ rotate(c, 16)) | 0;
    c = (c + b) | 0;
    b = ((b - a) ^ rotate(a, 19)) | 0;
    a = (a + c) | 0;
    c = ((c - b) ^ rotate(b, 4)) | 0;
    b = (b + a) | 0;
  }
  if (at === key.length) return c >>> 0;
  // Bytes past the end count as 0, as the fall-through of the kernel's switch leaves them.
  a = (a + word(at)) | 0;
  b = (b + word(at + 4)) | 0;
  c = (c + word(at + 8)) | 0;
  // __jhash_final
  c = ((c ^ b) - rotate(b, 14)) | 0;
  a = ((a ^ c) - rotate(c, 11)) | 0;
  b = ((b ^ a) - rotate(a, 25)) | 0;
  c = ((c ^ b) - rotate(b, 16)) | 0;
  a = ((a ^ c) - rotate(c, 4)) | 0;
  b = ((b ^ a) - rotate(a, 14)) | 0;
  c = ((c ^ b) - rotate(b, 24)) | 0;
  return c >>> 0;
}
