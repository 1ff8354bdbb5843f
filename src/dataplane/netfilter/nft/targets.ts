/** What nft's NAT and reject statements come to: the targets of iptables rules, each with its share. */
import type { PortRange } from '../../../model/netfilter.ts';
import type { NftExpr, NftStatement } from '../../../model/nft.ts';
import type { Family } from '../../../net/address.ts';
import type { NatTarget } from '../nat.ts';
import { evaluate, evaluateMap, type Scope } from './evaluate.ts';
import { patternOf, textOf } from './patterns.ts';
import { addressType, type NftType, type Option, type Scalar } from './values.ts';

type NatStatement = Extract<NftStatement, { kind: 'nat' }>;

export interface NatWay {
  readonly share: number;
  readonly target: NatTarget;
}

export type NatWays =
  | { readonly kind: 'ways'; readonly ways: readonly NatWay[] }
  /** A key or field is missing: the rule ends without a match. */
  | { readonly kind: 'absent' }
  /** The statement is for the other family (nft_nat_inet_eval): the rule goes on. */
  | { readonly kind: 'none' }
  | { readonly kind: 'doubt'; readonly why: string };

export function natWays(statement: NatStatement, scope: Scope): NatWays {
  const family = scope.packet.src.family;
  const named = statement.family;
  if ((named === 'ip' && family === 6) || (named === 'ip6' && family === 4)) return { kind: 'none' };
  const addresses = ends(statement.address, [addressType({ family }), 'port'], scope);
  const ports = ends(statement.port, ['port'], scope);
  if (addresses.kind !== 'ends') return addresses;
  if (ports.kind !== 'ends') return ports;
  const ways = addresses.ends.flatMap((address) =>
    ports.ends.map((port) => ({
      share: address.share * port.share,
      target: targetOf(statement, address, port),
    })),
  );
  return { kind: 'ways', ways };
}

/** One way that an address or port turns out: a range, and of a concatenation also the port. */
interface End {
  readonly share: number;
  readonly range?: readonly [from: bigint, to: bigint];
  readonly port?: readonly [from: bigint, to: bigint];
}

type Ends = { readonly kind: 'ends'; readonly ends: readonly End[] } | Exclude<NatWays, { kind: 'ways' }>;

function ends(expression: NftExpr | undefined, types: readonly NftType[], scope: Scope): Ends {
  if (expression === undefined) return { kind: 'ends', ends: [{ share: 1 }] };
  const type = types[0] ?? 'number';
  // A prefix here is netmap: each address has its own counterpart.
  if (expression.kind === 'range') {
    const pattern = patternOf(expression, type);
    return pattern.kind === 'range'
      ? { kind: 'ends', ends: [{ share: 1, range: [pattern.from, pattern.to] }] }
      : { kind: 'doubt', why: `the range "${textOf(expression)}" is not understood` };
  }
  const values =
    expression.kind === 'map'
      ? evaluateMap(expression.key, expression.data, scope, types)
      : evaluate(expression, scope, type);
  if (values.kind === 'absent') return { kind: 'absent' };
  const found = values.options.map(endOf);
  const unclear = found.find((end) => typeof end === 'string');
  if (unclear !== undefined) return { kind: 'doubt', why: `where it translates to is not known: ${unclear}` };
  return { kind: 'ends', ends: found.filter((end) => typeof end !== 'string') };
}

function endOf({ share, parts }: Option): End | string {
  const [first, second] = parts.map(exact);
  if (first === undefined || typeof first === 'string') return first ?? 'no value';
  if (typeof second === 'string') return second;
  return { share, range: [first, first], ...(second === undefined ? {} : { port: [second, second] }) };
}

const exact = (scalar: Scalar): bigint | string =>
  scalar.kind === 'number' ? scalar.value : scalar.kind === 'doubt' ? scalar.why : scalar.name;

function targetOf({ how, random }: NatStatement, address: End, port: End): NatTarget {
  const range = port.range ?? address.port;
  const ports: PortRange | undefined =
    range === undefined ? undefined : { from: Number(range[0]), to: Number(range[1]) };
  const withPorts = {
    ...(ports === undefined ? {} : { ports }),
    ...(random === undefined ? {} : { random }),
  };
  if (how === 'redirect' || how === 'masquerade') return { kind: how, ...withPorts };
  const [from, to] = address.range ?? [];
  return {
    kind: how,
    range: { ...(from === undefined || to === undefined ? {} : { from, to }), ...withPorts },
  };
}

/** nft's names of ICMP errors in iptables' words, which the walk knows; icmpx stands for either family. */
const rejectNames: Readonly<Record<string, readonly [ip: string, ip6: string]>> = {
  'net-unreachable': ['icmp-net-unreachable', 'icmp6-no-route'],
  'host-unreachable': ['icmp-host-unreachable', 'icmp6-addr-unreachable'],
  'prot-unreachable': ['icmp-proto-unreachable', 'icmp6-port-unreachable'],
  'port-unreachable': ['icmp-port-unreachable', 'icmp6-port-unreachable'],
  'net-prohibited': ['icmp-net-prohibited', 'icmp6-adm-prohibited'],
  'host-prohibited': ['icmp-host-prohibited', 'icmp6-adm-prohibited'],
  'admin-prohibited': ['icmp-admin-prohibited', 'icmp6-adm-prohibited'],
  'no-route': ['icmp-net-unreachable', 'icmp6-no-route'],
  'addr-unreachable': ['icmp-host-unreachable', 'icmp6-addr-unreachable'],
  'policy-fail': ['icmp-admin-prohibited', 'icmp6-policy-fail'],
  'reject-route': ['icmp-net-unreachable', 'icmp6-reject-route'],
};

export function rejectName(
  { type, code }: Extract<NftStatement, { kind: 'reject' }>,
  family: Family,
): string {
  if (type === 'tcp reset') return 'tcp-reset';
  return rejectNames[code]?.[family === 4 ? 0 : 1] ?? code;
}
