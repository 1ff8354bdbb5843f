/** Chain names as kube-proxy makes them (pkg/proxy/iptables): a SHA-256 in base32, cut to 16 characters. */
import { createHash } from 'node:crypto';

const base32Digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** RFC 4648 base32 without padding. */
export function base32(bytes: Uint8Array): string {
  let out = '';
  let bits = 0;
  let pending = 0;
  for (const byte of bytes) {
    pending = (pending << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      out += base32Digits.charAt((pending >>> bits) & 31);
    }
    pending &= (1 << bits) - 1;
  }
  if (bits > 0) out += base32Digits.charAt((pending << (5 - bits)) & 31);
  return out;
}

/** The first 16 characters of base32(sha256(text)): what iptables' 28-character chain names leave room for. */
export const chainHash = (text: string): string =>
  base32(createHash('sha256').update(text).digest()).slice(0, 16);

/** `shop/api:http`, or `shop/db` for an unnamed port: kube-proxy's servicePortName.String(). */
export const servicePortName = (namespace: string, name: string, port: string): string =>
  port === '' ? `${namespace}/${name}` : `${namespace}/${name}:${port}`;

export type ServiceChainKind = 'SVC' | 'SVL' | 'EXT';

export const serviceChain = (kind: ServiceChainKind, portName: string, protocol: string): string =>
  `KUBE-${kind}-${chainHash(portName + protocol)}`;

/** endpoint: `10.244.1.8:8080` or `[fd00::8]:8080`. */
export const endpointChain = (portName: string, protocol: string, endpoint: string): string =>
  `KUBE-SEP-${chainHash(portName + protocol + endpoint)}`;
