/** Native rules for the search: each match statement is a condition, each element of a verdict map a way. */
import type { NftElement, NftExpr, NftRule, NftStatement, NftTable, NftVerdict } from '../../../model/nft.ts';
import { type Address, formatAddress } from '../../../net/address.ts';
import type { Subject } from '../matches.ts';
import { evaluate, evaluateMatch, lookups, type Scope, setOf } from '../nft/evaluate.ts';
import type { Scalar } from '../nft/values.ts';
import type { Chains, Condition, Effect, RuleLook } from './view.ts';

/** Of larger maps only the element that the packet finds is looked at. */
const maxElements = 64;

export const chainsOf = (table: NftTable): Chains => ({
  rules: (name) =>
    (table.chains.get(name)?.rules ?? []).map((rule) => ({ rule, looks: () => looksOf(rule, table) })),
});

function looksOf(rule: NftRule, table: NftTable): readonly RuleLook[] {
  const conditions: Condition[] = [];
  const effects: Effect[] = [];
  for (const statement of rule.statements) {
    if (statement.kind === 'match') conditions.push(matchCondition(statement, table));
    else if (statement.kind === 'vmap') return mapLooks(rule, statement, conditions, table);
    else effects.push(effectOf(statement));
  }
  return [{ rule, conditions, effects }];
}

function effectOf(statement: NftStatement): Effect {
  if (statement.kind === 'verdict') return verdictEffect(statement.verdict);
  if (statement.kind === 'reject') return { kind: 'end' };
  return (statement.kind === 'set-mark' ? markOf(statement.value) : undefined) ?? { kind: 'none' };
}

function verdictEffect(verdict: NftVerdict): Effect {
  switch (verdict.kind) {
    case 'accept':
    case 'return':
      return { kind: verdict.kind };
    case 'drop':
      return { kind: 'end' };
    case 'jump':
    case 'goto':
      return { kind: 'enter', chain: verdict.chain };
    default:
      return { kind: 'none' };
  }
}

/** `0x1` sets all bits, `meta mark | 0x10000` some. */
function markOf(value: NftExpr): Effect | undefined {
  if (value.kind === 'constant' && typeof value.value === 'number')
    return { kind: 'mark', value: value.value, mask: 0xffffffff };
  if (value.kind !== 'binary' || value.op !== '|' || value.right.kind !== 'constant') return undefined;
  const bits = Number(value.right.value);
  return Number.isNaN(bits) ? undefined : { kind: 'mark', value: bits, mask: bits };
}

type MatchStatement = Extract<NftStatement, { kind: 'match' }>;

function matchCondition(statement: MatchStatement, table: NftTable): Condition {
  const { op, left, right } = statement;
  const mark = markAsked(statement);
  const not = op === '!=' || op === '!' ? 'not ' : op === '==' || op === 'in' ? '' : `${op} `;
  return {
    holds: (subject) => evaluateMatch(statement, scopeOf(subject, table)),
    needs: (subject) => `${textOf(left)} ${not}${textOf(right)}; ${hasText(left, subject, table)}`,
    distance: distanceOf(left),
    ...(mark === undefined ? {} : { mark }),
    ...(isAnswerState(statement) ? { isVain: ({ tracking }: Subject) => tracking.state === 'NEW' } : {}),
    ...(op === '==' && isLoopback(statement) ? { isVain: () => true } : {}),
    ...(op === '==' && isAddress(left) ? { isVain: isOtherEnd(left.field, textOf(right)) } : {}),
  };
}

const scopeOf = (subject: Subject, table: NftTable): Scope => ({ ...subject, table });

/** `meta mark & 0x10000 == 0x10000`. */
function markAsked({ op, left, right }: MatchStatement): Condition['mark'] | undefined {
  if (right.kind !== 'constant' || typeof right.value !== 'number') return undefined;
  const negate = op === '!=';
  if (!negate && op !== '==') return undefined;
  if (left.kind === 'meta' && left.key === 'mark') return { value: right.value, mask: 0xffffffff, negate };
  if (left.kind !== 'binary' || left.op !== '&' || left.left.kind !== 'meta' || left.left.key !== 'mark')
    return undefined;
  const mask = left.right.kind === 'constant' ? Number(left.right.value) : Number.NaN;
  if (Number.isNaN(mask)) return undefined;
  // "none of these bits" is "not all" only of a single bit.
  const isSingle = (mask & (mask - 1)) === 0;
  if (right.value === 0) return isSingle ? { value: mask, mask, negate: !negate } : undefined;
  return { value: right.value, mask, negate };
}

const isAnswerState = ({ op, left, right }: MatchStatement): boolean =>
  (op === '==' || op === 'in') &&
  left.kind === 'ct' &&
  left.key === 'state' &&
  !textOf(right).includes('new') &&
  !textOf(right).includes('untracked');

const isLoopback = ({ left, right }: MatchStatement): boolean =>
  left.kind === 'meta' && (left.key === 'iifname' || left.key === 'iif') && textOf(right) === 'lo';

type Payload = Extract<NftExpr, { kind: 'payload' }>;

const isAddress = (left: NftExpr): left is Payload =>
  left.kind === 'payload' && (left.field === 'saddr' || left.field === 'daddr');

/** `saddr POD` beside `daddr POD`: what the pod sends, and this packet is for the pod. */
const isOtherEnd =
  (field: string, wanted: string) =>
  ({ packet }: Subject): boolean =>
    formatAddress(field === 'saddr' ? packet.dst : packet.src) === wanted;

function distanceOf(left: NftExpr): number {
  switch (left.kind) {
    case 'payload':
      return /port$|^protocol$|^type$/.test(left.field) ? 1 : left.field === 'saddr' ? 1.5 : 2;
    case 'meta':
      return left.key === 'mark' ? 0.8 : left.key === 'l4proto' ? 1 : 2.5;
    case 'ct':
      return 3;
    case 'binary':
      return distanceOf(left.left);
    case 'concat':
      return Math.max(...left.parts.map(distanceOf));
    default:
      return 2;
  }
}

function mapLooks(
  rule: NftRule,
  { key, data }: Extract<NftStatement, { kind: 'vmap' }>,
  conditions: readonly Condition[],
  table: NftTable,
): readonly RuleLook[] {
  const elements = setOf(data, table)?.elements ?? [];
  const found = (subject: Subject): NftElement | undefined => {
    const hits = lookups(key, data, scopeOf(subject, table));
    const only = Array.isArray(hits) && hits.length === 1 ? hits[0]?.found : undefined;
    return only?.kind === 'hit' ? only.element : undefined;
  };
  const ways = elements.length > maxElements ? [undefined] : elements;
  return ways.map((element): RuleLook => {
    if (element === undefined) return { rule, conditions, effects: [] };
    const is: Condition = {
      holds: (subject) => found(subject) === element,
      needs: (subject) => `${textOf(key)} ${textOf(element.key)}; ${hasText(key, subject, table)}`,
      distance: distanceOf(key),
    };
    const { comment } = element;
    const told = comment === undefined ? rule : { ...rule, comment };
    const effects = element.verdict === undefined ? [] : [verdictEffect(element.verdict)];
    return { rule: told, conditions: [...conditions, is], effects };
  });
}

/** An expression as nft prints it. */
function textOf(expression: NftExpr): string {
  switch (expression.kind) {
    case 'constant':
      return String(expression.value);
    case 'payload':
      return `${expression.protocol} ${expression.field}`;
    case 'meta':
      return /name$|^mark$|^i?oif$|^iif$/.test(expression.key) ? expression.key : `meta ${expression.key}`;
    case 'ct':
      return `ct ${expression.key}`;
    case 'fib':
      return `fib ${expression.flags.join(' . ')} ${expression.result}`;
    case 'prefix':
      return `${textOf(expression.address)}/${expression.length}`;
    case 'range':
      return `${textOf(expression.from)}-${textOf(expression.to)}`;
    case 'list':
      return expression.items.map(textOf).join(',');
    case 'concat':
      return expression.parts.map(textOf).join(' . ');
    case 'binary':
      return `${textOf(expression.left)} ${expression.op} ${textOf(expression.right)}`;
    case 'set-ref':
      return `@${expression.name}`;
    case 'set':
      return `{ ${expression.set.elements
        .slice(0, 6)
        .map(({ key }) => textOf(key))
        .join(', ')}${expression.set.elements.length > 6 ? ', ...' : ''} }`;
    case 'any':
      return '*';
    case 'unknown':
      return expression.text;
    default:
      return expression.kind;
  }
}

function hasText(left: NftExpr, subject: Subject, table: NftTable): string {
  const values = evaluate(left, scopeOf(subject, table));
  if (values.kind === 'absent') return `the packet is ${subject.packet.protocol}`;
  const [option, ...more] = values.options;
  if (option === undefined || more.length > 0) return 'it is left to chance';
  return `the packet has ${option.parts.map(scalarText).join(' . ')}`;
}

function scalarText(scalar: Scalar): string {
  if (scalar.kind === 'name') return scalar.name === '' ? 'none' : scalar.name;
  if (scalar.kind === 'doubt') return '?';
  const { type, value } = scalar;
  if (type === 'ipv4' || type === 'ipv6')
    return formatAddress({ family: type === 'ipv4' ? 4 : 6, value } satisfies Address);
  return type === 'port' || type === 'proto' ? String(value) : `0x${value.toString(16)}`;
}
