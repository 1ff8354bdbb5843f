/** Long native chains by what their rules ask first, as dispatch.ts does it for iptables. */
import type { NftChain, NftExpr, NftRule, NftStatement } from '../../../model/nft.ts';
import type { Family } from '../../../net/address.ts';
import {
  addressCondition,
  type Condition,
  type Dispatch,
  deviceCondition,
  makeDispatch,
  type NextRule,
  type Seen,
  shortChain,
} from '../dispatch.ts';
import { patternOf } from './patterns.ts';
import { constantExpression, type NftType } from './values.ts';

const compiled = new WeakMap<NftChain, Dispatch>();

/** The rules of a chain that may get past their first matches; undefined for a short chain. */
export function nextNftRules(chain: NftChain, seen: Seen): NextRule | undefined {
  if (chain.rules.length <= shortChain) return undefined;
  let dispatch = compiled.get(chain);
  if (dispatch === undefined) {
    dispatch = makeDispatch(chain.rules, conditionsOf);
    compiled.set(chain, dispatch);
  }
  return dispatch(seen);
}

/** Statements run in order: what stands behind one that is in doubt or has an effect decides nothing about the rule. */
function conditionsOf({ statements }: NftRule): readonly Condition[] {
  const conditions: Condition[] = [];
  for (const statement of statements) {
    const condition = conditionOf(statement);
    if (condition === undefined) break;
    conditions.push(condition);
  }
  return conditions;
}

function conditionOf(statement: NftStatement): Condition | undefined {
  if (statement.kind !== 'match' || statement.op !== '==') return undefined;
  const { left, right } = statement;
  switch (left.kind) {
    case 'payload':
      return payloadCondition(left.protocol, left.field, right);
    case 'meta':
      return metaCondition(left.key, right);
    case 'binary': {
      const mask = constantExpression(left.right, 'number');
      const isMark = left.left.kind === 'meta' && left.left.key === 'mark';
      if (left.op !== '&' || !isMark || mask?.kind !== 'number') return undefined;
      return markCondition(Number(mask.value & 0xffffffffn), right);
    }
    default:
      return undefined;
  }
}

function payloadCondition(protocol: string, field: string, right: NftExpr): Condition | undefined {
  const side = field === 'saddr' || field === 'sport' ? 'src' : 'dst';
  if (field === 'saddr' || field === 'daddr') {
    if (protocol === 'ip') return networkCondition(side, 4, right);
    return protocol === 'ip6' ? networkCondition(side, 6, right) : undefined;
  }
  const hasPorts = protocol === 'tcp' || protocol === 'udp' || protocol === 'sctp';
  if (!hasPorts || (field !== 'sport' && field !== 'dport')) return undefined;
  const port = exactNumber(right, 'port');
  return port === undefined ? undefined : { lane: { kind: 'port', side }, key: port };
}

function networkCondition(side: 'src' | 'dst', family: Family, right: NftExpr): Condition | undefined {
  const type: NftType = family === 4 ? 'ipv4' : 'ipv6';
  const pattern = patternOf(right, type);
  if (pattern.kind !== 'range') return undefined;
  const bits = family === 4 ? 32 : 128;
  const length = right.kind === 'prefix' ? right.length : bits;
  if (length === 0 || pattern.to - pattern.from !== (1n << BigInt(bits - length)) - 1n) return undefined;
  return addressCondition(side, { family, length, value: pattern.from });
}

function metaCondition(key: string, right: NftExpr): Condition | undefined {
  switch (key) {
    case 'l4proto': {
      const protocol = exactNumber(right, 'proto');
      return protocol === undefined ? undefined : { lane: { kind: 'protocol' }, key: protocol };
    }
    case 'iifname':
    case 'oifname': {
      const pattern = patternOf(right, 'name');
      if (pattern.kind !== 'name') return undefined;
      return deviceCondition(key === 'iifname' ? 'in' : 'out', pattern.name, pattern.isPrefix);
    }
    case 'mark':
      return markCondition(0xffffffff, right);
    default:
      return undefined;
  }
}

function markCondition(mask: number, right: NftExpr): Condition | undefined {
  const value = exactNumber(right, 'number');
  return value === undefined ? undefined : { lane: { kind: 'mark', mask }, key: value };
}

function exactNumber(expression: NftExpr, type: NftType): number | undefined {
  const pattern = patternOf(expression, type);
  return pattern.kind === 'range' && pattern.from === pattern.to ? Number(pattern.from) : undefined;
}
