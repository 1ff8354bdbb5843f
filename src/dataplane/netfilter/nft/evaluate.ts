/** nft's expressions on a packet, and its matches: true, false, in doubt, or true by chance. */
import type { NftExpr, NftOp, NftSet, NftSetUse, NftStatement, NftTable } from '../../../model/nft.ts';
import type { NftSetChange } from '../conntrack.ts';
import { type MatchResult, negateIf, type Truth } from '../truth.ts';
import { fibField } from './fib.ts';
import { ctField, metaField, payloadField, rawField, type Subject } from './fields.ts';
import { registerBytes, scaledHash } from './jhash.ts';
import { type Lookup, lookup, matchesPattern, patternOf, textOf, typeOf } from './patterns.ts';
import {
  absent,
  arithmetic,
  constantExpression,
  doubt,
  type Evaluated,
  isBits,
  type NftType,
  number,
  type Option,
  type Scalar,
  single,
} from './values.ts';

export interface Scope extends Subject {
  readonly table: NftTable;
  /** What rules changed in sets, oldest first. */
  readonly changes?: readonly NftSetChange[] | undefined;
}

/** numgen and hashes over more ends than this, and products of them, are not followed one by one. */
const notEveryBit = 'not every bit of it is known';
const maxOptions = 4096;

/** `hint` is the type that constants are read as where the expression itself does not say. */
export function evaluate(expression: NftExpr, scope: Scope, hint: NftType = 'number'): Evaluated {
  const field = (scalar: Scalar | undefined): Evaluated => (scalar === undefined ? absent : single(scalar));
  const { packet } = scope;
  switch (expression.kind) {
    case 'payload':
      return field(payloadField(expression.protocol, expression.field, packet));
    case 'raw-payload':
      return field(rawField(expression, packet));
    case 'meta':
      return field(metaField(expression.key, scope));
    case 'ct':
      // Frames have connections with nf_conntrack_bridge, or behind br_netfilter's hooks.
      if (scope.table.family === 'bridge')
        return single(
          doubt(`whether "ct ${expression.key}" is known on a bridge depends on the modules loaded`),
        );
      return field(ctField(expression.key, expression.direction, scope));
    case 'fib':
      return field(fibField(expression, scope));
    case 'spread':
      return spread(expression, scope);
    case 'concat':
      return concatenate(expression.parts, scope);
    case 'binary':
      return calculate(expression, scope, hint);
    case 'map':
      return evaluateMap(expression.key, expression.data, scope, [hint]);
    default: {
      const constant = constantExpression(expression, hint);
      return single(constant ?? doubt(`"${textOf(expression)}" is not understood`));
    }
  }
}

/** Without a seed the kernel chose one by itself (nft_jhash_init): any end is as likely as another. */
function spread({ modulus, offset, jhash }: Extract<NftExpr, { kind: 'spread' }>, scope: Scope): Evaluated {
  if (jhash !== undefined) {
    const key = evaluate(jhash.key, scope);
    if (key.kind === 'absent') return absent;
    const [only, more] = key.options;
    const bytes = only === undefined || more !== undefined ? undefined : registerBytes(only.parts);
    if (bytes !== undefined) return single(number('number', offset + scaledHash(bytes, jhash.seed, modulus)));
  }
  if (modulus > maxOptions) return single(doubt(`one of ${modulus} ways is taken`));
  const options = Array.from({ length: modulus }, (_, i) => ({
    share: 1 / modulus,
    parts: [number('number', offset + i)],
  }));
  return { kind: 'options', options };
}

function concatenate(parts: readonly NftExpr[], scope: Scope): Evaluated {
  let options: readonly Option[] = [{ share: 1, parts: [] }];
  for (const part of parts) {
    const value = evaluate(part, scope);
    if (value.kind === 'absent') return absent;
    if (options.length * value.options.length > maxOptions)
      return single(doubt('too many ways to tell apart'));
    options = options.flatMap((left) =>
      value.options.map((right) => ({
        share: left.share * right.share,
        parts: [...left.parts, ...right.parts],
      })),
    );
  }
  return { kind: 'options', options };
}

function calculate(
  { op, left, right }: Extract<NftExpr, { kind: 'binary' }>,
  scope: Scope,
  hint: NftType,
): Evaluated {
  const value = evaluate(left, scope, hint);
  if (value.kind === 'absent') return absent;
  const options: Option[] = [];
  for (const { share, parts } of value.options) {
    const scalar = parts[0] ?? doubt('nothing to calculate with');
    const type = typeOf(scalar) ?? hint;
    const other = evaluate(right, scope, type);
    if (other.kind === 'absent') return absent;
    for (const option of other.options)
      options.push({
        share: share * option.share,
        parts: [calculated(op, scalar, option.parts[0] ?? scalar)],
      });
  }
  return { kind: 'options', options };
}

function calculated(op: string, left: Scalar, right: Scalar): Scalar {
  if (left.kind === 'doubt') return left;
  if (right.kind === 'doubt') return right;
  if (left.kind !== 'number' || right.kind !== 'number') return doubt('a name cannot be calculated with');
  const value = arithmetic(op, left.value, right.value);
  const unclear = (left.unclear ?? 0n) & (op === '&' ? right.value : -1n);
  if (unclear !== 0n && op !== '&') return doubt(notEveryBit);
  return { ...left, value, ...(left.unclear === undefined ? {} : { unclear }) };
}

/** The values that a map gives; `types` are those of its data, part by part. */
export function evaluateMap(
  key: NftExpr,
  data: NftSetUse,
  scope: Scope,
  types: readonly NftType[],
): Evaluated {
  const set = setOf(data, scope.table);
  if (set === undefined) return single(doubt(`the map ${nameOf(data)} was not recorded`));
  const keys = evaluate(key, scope);
  if (keys.kind === 'absent') return absent;
  const options: Option[] = [];
  for (const { share, parts } of keys.options) {
    const found = lookup(set, parts);
    // A key that is not in the map ends the rule; mixed with others it is a chance that is not followed.
    if (found.kind === 'miss') {
      if (keys.options.length === 1) return absent;
      options.push({ share, parts: [doubt(`the map ${nameOf(data)} lacks some keys`)] });
    } else if (found.kind === 'doubt') options.push({ share, parts: [doubt(found.why)] });
    else options.push({ share, parts: dataParts(found.element.value, types) });
  }
  return { kind: 'options', options };
}

function dataParts(value: NftExpr | undefined, types: readonly NftType[]): readonly Scalar[] {
  if (value === undefined) return [doubt('the map has verdicts where values are expected')];
  const parts = value.kind === 'concat' ? value.parts : [value];
  return parts.map(
    (part, i) =>
      constantExpression(part, types[i] ?? 'number') ?? doubt(`"${textOf(part)}" is not understood`),
  );
}

export const nameOf = (use: NftSetUse): string => (use.kind === 'set-ref' ? `@${use.name}` : '{...}');

export const setOf = (use: NftSetUse, table: NftTable): NftSet | undefined =>
  use.kind === 'set' ? use.set : table.sets.get(use.name);

/** Every way that a key turns out, and what a map holds for it. Absent: the packet has no such key. */
export function lookups(
  key: NftExpr,
  data: NftSetUse,
  scope: Scope,
): readonly { readonly share: number; readonly found: Lookup }[] | 'absent' | { readonly doubt: string } {
  const set = setOf(data, scope.table);
  if (set === undefined) return { doubt: `the map ${nameOf(data)} was not recorded` };
  if (
    data.kind === 'set-ref' &&
    scope.changes?.some(({ set: name }) => name === setNameOf(scope.table, data.name))
  )
    return { doubt: `rules have changed the map ${nameOf(data)}` };
  const keys = evaluate(key, scope);
  if (keys.kind === 'absent') return 'absent';
  return keys.options.map(({ share, parts }) => ({ share, found: lookup(set, parts) }));
}

/** A match statement. A field that the packet does not have is no match, negated or not. */
export function evaluateMatch(
  { op, left, right }: Extract<NftStatement, { kind: 'match' }>,
  scope: Scope,
): MatchResult {
  const values = evaluate(left, scope);
  if (values.kind === 'absent') return false;
  let chance = 0;
  let unclear: { readonly doubt: string } | undefined;
  for (const { share, parts } of values.options) {
    const truth = compare(op, parts, right, scope);
    if (truth === true) chance += share;
    else if (truth !== false) unclear = truth;
  }
  if (unclear !== undefined) return unclear;
  if (values.options.length === 1) return chance > 0;
  return chance <= 0 ? false : chance >= 1 - 1e-9 ? true : { chance };
}

function compare(op: NftOp, parts: readonly Scalar[], right: NftExpr, scope: Scope): Truth {
  switch (op) {
    case '==':
      return covers(parts, right, scope);
    case '!=':
      return negated(covers(parts, right, scope));
    case 'in':
      return isFlags(parts, right) ? overlaps(parts, right, scope) : covers(parts, right, scope);
    case '!':
      return negated(overlaps(parts, right, scope));
    default:
      return ordered(op, parts[0], right);
  }
}

const negated = (truth: Truth): Truth => negateIf(true, truth) as Truth;

const isFlags = ([scalar]: readonly Scalar[], right: NftExpr): boolean =>
  scalar?.kind === 'number' && isBits(scalar.type) && right.kind !== 'set' && right.kind !== 'set-ref';

/** The key as one text; undefined if not every part of it is known. */
export function exactKeyOf(parts: readonly Scalar[]): string | undefined {
  const words = parts.map((part) =>
    part.kind === 'number' && part.unclear === undefined
      ? String(part.value)
      : part.kind === 'name'
        ? part.name
        : undefined,
  );
  return words.includes(undefined) ? undefined : words.join(' . ');
}

export const setNameOf = ({ family, name }: NftTable, set: string): string => `${family} ${name} @${set}`;

/** What rules of this walk made of the element; undefined: what was recorded holds. */
function changedSet(use: NftSetUse, parts: readonly Scalar[], scope: Scope): Truth | undefined {
  if (use.kind !== 'set-ref' || scope.changes === undefined) return undefined;
  const name = setNameOf(scope.table, use.name);
  const { id } = scope.context.netns;
  const own = scope.changes.filter(({ netns, set }) => netns === id && set === name);
  if (own.length === 0) return undefined;
  const key = exactKeyOf(parts);
  const last = own.findLast((one) => one.key === undefined || key === undefined || one.key === key);
  if (last === undefined) return undefined;
  if (last.key === undefined || key === undefined)
    return { doubt: `which elements rules put into @${use.name} is not known` };
  return last.how === 'add';
}

function covers(parts: readonly Scalar[], right: NftExpr, scope: Scope): Truth {
  if (right.kind === 'set' || right.kind === 'set-ref') {
    const set = setOf(right, scope.table);
    if (set === undefined) return { doubt: `the set ${nameOf(right)} was not recorded` };
    const changed = changedSet(right, parts, scope);
    if (changed !== undefined) return changed;
    const found = lookup(set, parts);
    if (found.kind !== 'doubt') return found.kind === 'hit';
    return found.mayMiss ? { doubt: found.why } : true;
  }
  const patterns = right.kind === 'concat' ? right.parts : [right];
  if (patterns.length !== parts.length) return { doubt: 'the sides have different numbers of parts' };
  let unclear: Truth = true;
  for (const [i, scalar] of parts.entries()) {
    const truth = partCovers(scalar, patterns[i] ?? right, scope);
    if (truth === false) return false;
    if (truth !== true) unclear = truth;
  }
  return unclear;
}

/** The right side is mostly a constant; it may also read another field. */
function partCovers(scalar: Scalar, right: NftExpr, scope: Scope): Truth {
  if (scalar.kind === 'doubt') return { doubt: scalar.why };
  const type = typeOf(scalar) ?? 'number';
  const pattern = patternOf(right, type);
  if (pattern.kind !== 'unclear') return matchesPattern(pattern, scalar);
  if (right.kind === 'unknown' || right.kind === 'constant')
    return { doubt: `"${textOf(right)}" is not understood` };
  const other = evaluate(right, scope, type);
  if (other.kind === 'absent') return false;
  const [option, more] = other.options;
  const value = option?.parts[0];
  if (more !== undefined || value?.kind !== 'number' || value.unclear !== undefined)
    return { doubt: 'what it is compared with is not known' };
  return matchesPattern({ kind: 'range', from: value.value, to: value.value }, scalar);
}

/** Any of the bits on the right. */
function overlaps([scalar]: readonly Scalar[], right: NftExpr, scope: Scope): Truth {
  if (scalar === undefined || scalar.kind === 'name') return { doubt: 'a name has no bits' };
  if (scalar.kind === 'doubt') return { doubt: scalar.why };
  const mask = evaluate(right, scope, scalar.type);
  const bits = mask.kind === 'options' ? mask.options[0]?.parts[0] : undefined;
  if (bits?.kind !== 'number') return { doubt: `"${textOf(right)}" is not understood` };
  if ((scalar.value & bits.value) !== 0n) return true;
  return ((scalar.unclear ?? 0n) & bits.value) === 0n ? false : { doubt: notEveryBit };
}

function ordered(op: NftOp, scalar: Scalar | undefined, right: NftExpr): Truth {
  if (scalar === undefined || scalar.kind === 'name') return { doubt: 'a name has no order' };
  if (scalar.kind === 'doubt') return { doubt: scalar.why };
  const bound = constantExpression(right, scalar.type);
  if (bound?.kind !== 'number') return { doubt: `"${textOf(right)}" is not understood` };
  if (scalar.unclear !== undefined) return { doubt: notEveryBit };
  if (op === '<') return scalar.value < bound.value;
  if (op === '<=') return scalar.value <= bound.value;
  return op === '>' ? scalar.value > bound.value : scalar.value >= bound.value;
}
