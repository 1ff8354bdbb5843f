/** Values of nft expressions, and what the constants beside them mean: the same word is another number for each type. */
import type { NftExpr } from '../../../model/nft.ts';
import { type Address, parseAddress } from '../../../net/address.ts';
import { protocolNumber } from '../../../net/packet.ts';

export type NftType =
  | 'ipv4'
  | 'ipv6'
  | 'proto'
  | 'port'
  | 'name'
  | 'number'
  | 'nfproto'
  | 'ethertype'
  | 'pkttype'
  | 'icmp-type'
  | 'icmpv6-type'
  | 'icmp-code'
  | 'tcp-flags'
  | 'ct-state'
  | 'ct-status'
  | 'ct-direction'
  | 'address-type'
  | 'dscp'
  | 'ecn';

/** A number of a type, or a device name. `unclear` holds the bits whose value is not known. */
export type Scalar =
  | { readonly kind: 'number'; readonly type: NftType; readonly value: bigint; readonly unclear?: bigint }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'doubt'; readonly why: string };

/** One way that an expression can turn out; a concatenation has several parts. */
export interface Option {
  readonly share: number;
  readonly parts: readonly Scalar[];
}

/** `absent`: the packet has no such field, so the rule does not match whatever is asked of it (NFT_BREAK). */
export type Evaluated =
  | { readonly kind: 'absent' }
  | { readonly kind: 'options'; readonly options: readonly Option[] };

export const absent: Evaluated = { kind: 'absent' };
export const single = (scalar: Scalar): Evaluated => ({
  kind: 'options',
  options: [{ share: 1, parts: [scalar] }],
});
export const number = (type: NftType, value: bigint | number): Scalar => ({
  kind: 'number',
  type,
  value: BigInt(value),
});
export const doubt = (why: string): Scalar => ({ kind: 'doubt', why });
export const addressType = (address: Pick<Address, 'family'>): NftType =>
  address.family === 4 ? 'ipv4' : 'ipv6';

/** Flags: compared bit by bit where nft says `in`. */
export const isBits = (type: NftType): boolean =>
  type === 'tcp-flags' || type === 'ct-state' || type === 'ct-status';

/** NF_CT_STATE_BIT: bit ctinfo + 1; INVALID is bit 0 and UNTRACKED bit 6. */
export const ctStateBits = { invalid: 1, established: 2, related: 4, new: 8, untracked: 64 } as const;
/** enum ip_conntrack_status. */
export const ctStatusBits = {
  expected: 1,
  'seen-reply': 2,
  assured: 4,
  confirmed: 8,
  snat: 16,
  dnat: 32,
  dying: 512,
} as const;
export const tcpFlagBits = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ecn: 64, cwr: 128 } as const;
/** RTN_* of rtnetlink. */
export const addressTypes = {
  unspec: 0,
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
} as const;

const protocols: Readonly<Record<string, number>> = {
  ...protocolNumber,
  igmp: 2,
  ipencap: 4,
  gre: 47,
  esp: 50,
  ah: 51,
  'ipv6-icmp': 58,
  dccp: 33,
  comp: 108,
  udplite: 136,
};

/** Class selectors, assured forwarding and the rest (RFC 2474, 2597, 3246, 8622). */
const dscpNames: Readonly<Record<string, number>> = {
  ...Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`cs${i}`, i * 8])),
  ...Object.fromEntries(
    [1, 2, 3, 4].flatMap((of) => [1, 2, 3].map((drop) => [`af${of}${drop}`, of * 8 + drop * 2])),
  ),
  lephb: 1,
  va: 0x2c,
  ef: 0x2e,
};

/** The words of each type, as nft prints them. */
const words: Partial<Readonly<Record<NftType, Readonly<Record<string, number>>>>> = {
  proto: protocols,
  nfproto: { ipv4: 2, ipv6: 10 },
  ethertype: { ip: 0x800, ip6: 0x86dd, arp: 0x806, vlan: 0x8100 },
  pkttype: { host: 0, unicast: 0, broadcast: 1, multicast: 2, other: 3 },
  'icmp-type': {
    'echo-reply': 0,
    'destination-unreachable': 3,
    'source-quench': 4,
    redirect: 5,
    'echo-request': 8,
    'router-advertisement': 9,
    'router-solicitation': 10,
    'time-exceeded': 11,
    'parameter-problem': 12,
    'timestamp-request': 13,
    'timestamp-reply': 14,
    'info-request': 15,
    'info-reply': 16,
    'address-mask-request': 17,
    'address-mask-reply': 18,
  },
  'icmpv6-type': {
    'destination-unreachable': 1,
    'packet-too-big': 2,
    'time-exceeded': 3,
    'parameter-problem': 4,
    'echo-request': 128,
    'echo-reply': 129,
    'mld-listener-query': 130,
    'mld-listener-report': 131,
    'mld-listener-done': 132,
    'mld-listener-reduction': 132,
    'nd-router-solicit': 133,
    'nd-router-advert': 134,
    'nd-neighbor-solicit': 135,
    'nd-neighbor-advert': 136,
    'nd-redirect': 137,
    'router-renumbering': 138,
    'ind-neighbor-solicit': 141,
    'ind-neighbor-advert': 142,
    'mld2-listener-report': 143,
  },
  'icmp-code': {
    'net-unreachable': 0,
    'host-unreachable': 1,
    'prot-unreachable': 2,
    'port-unreachable': 3,
    'frag-needed': 4,
    'net-prohibited': 9,
    'host-prohibited': 10,
    'admin-prohibited': 13,
  },
  'tcp-flags': tcpFlagBits,
  'ct-state': ctStateBits,
  'ct-status': ctStatusBits,
  'ct-direction': { original: 0, reply: 1 },
  dscp: dscpNames,
  ecn: { 'not-ect': 0, ect1: 1, ect0: 2, ce: 3 },
  'address-type': addressTypes,
};

/** What a constant is among values of a type; undefined if it is no value of it. */
function constantOf(value: string | number | boolean, type: NftType): Scalar | undefined {
  // Names may be all digits.
  if (type === 'name' && typeof value !== 'boolean') return { kind: 'name', name: String(value) };
  if (typeof value === 'number') return Number.isSafeInteger(value) ? number(type, value) : undefined;
  if (typeof value === 'boolean') return number(type, value ? 1 : 0);
  if (type === 'ipv4' || type === 'ipv6') {
    const address = parseAddress(value);
    return address === undefined || addressType(address) !== type ? undefined : number(type, address.value);
  }
  const known = words[type];
  if (known !== undefined && Object.hasOwn(known, value)) return number(type, known[value] ?? 0);
  return /^(0x[0-9a-f]+|[0-9]+)$/i.test(value) ? number(type, BigInt(value)) : undefined;
}

/** A constant expression, with flags combined and arithmetic done. */
export function constantExpression(expression: NftExpr, type: NftType): Scalar | undefined {
  switch (expression.kind) {
    case 'constant':
      return constantOf(expression.value, type);
    case 'list':
      return combine(expression.items, '|', type);
    case 'binary':
      return combine([expression.left, expression.right], expression.op, type);
    default:
      return undefined;
  }
}

function combine(items: readonly NftExpr[], op: string, type: NftType): Scalar | undefined {
  let value: bigint | undefined;
  for (const item of items) {
    const scalar = constantExpression(item, type);
    if (scalar?.kind !== 'number') return undefined;
    value = value === undefined ? scalar.value : arithmetic(op, value, scalar.value);
  }
  return value === undefined ? undefined : number(type, value);
}

/** Registers hold 32 bits for all that nft calculates with, except addresses. */
export function arithmetic(op: string, left: bigint, right: bigint): bigint {
  switch (op) {
    case '&':
      return left & right;
    case '|':
      return left | right;
    case '^':
      return left ^ right;
    case '<<':
      return (left << right) & 0xffffffffn;
    default:
      return left >> right;
  }
}
