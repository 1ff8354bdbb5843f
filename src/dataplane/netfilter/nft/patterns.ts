/** Patterns on the right of a match and in sets: values, prefixes, ranges, device names; and looking keys up in sets. */
import type { NftElement, NftExpr, NftSet } from '../../../model/nft.ts';
import type { Truth } from '../truth.ts';
import { type Narrow, narrowing } from './set-index.ts';
import { constantExpression, type NftType, type Scalar } from './values.ts';

/** One part of an element, ready to compare. */
export type Pattern =
  | { readonly kind: 'range'; readonly from: bigint; readonly to: bigint }
  | { readonly kind: 'name'; readonly name: string; readonly isPrefix: boolean }
  | { readonly kind: 'any' }
  | { readonly kind: 'unclear'; readonly text: string };

const bitsOf = (type: NftType): number =>
  type === 'ipv6' ? 128 : type === 'ipv4' ? 32 : type === 'port' ? 16 : 32;

export function patternOf(expression: NftExpr, type: NftType): Pattern {
  const unclear: Pattern = { kind: 'unclear', text: textOf(expression) };
  switch (expression.kind) {
    case 'any':
      return { kind: 'any' };
    case 'prefix': {
      const base = constantExpression(expression.address, type);
      const hostBits = BigInt(bitsOf(type) - expression.length);
      if (base?.kind !== 'number' || hostBits < 0n) return unclear;
      const from = (base.value >> hostBits) << hostBits;
      return { kind: 'range', from, to: from + (1n << hostBits) - 1n };
    }
    case 'range': {
      const [from, to] = [constantExpression(expression.from, type), constantExpression(expression.to, type)];
      return from?.kind === 'number' && to?.kind === 'number'
        ? { kind: 'range', from: from.value, to: to.value }
        : unclear;
    }
    default: {
      const constant = constantExpression(expression, type);
      if (constant?.kind === 'number') return { kind: 'range', from: constant.value, to: constant.value };
      if (constant?.kind !== 'name') return unclear;
      // `eth*` is a prefix; a name that ends in an asterisk itself is written `eth\*`.
      const { name } = constant;
      const isPrefix = name.endsWith('*') && !name.endsWith('\\*');
      return { kind: 'name', name: isPrefix ? name.slice(0, -1) : name.replace(/\\\*$/, '*'), isPrefix };
    }
  }
}

export const textOf = (expression: NftExpr): string =>
  expression.kind === 'unknown'
    ? expression.text
    : expression.kind === 'constant'
      ? String(expression.value)
      : expression.kind;

export function matchesPattern(pattern: Pattern, scalar: Scalar): Truth {
  if (pattern.kind === 'any') return true;
  if (scalar.kind === 'doubt') return { doubt: scalar.why };
  if (pattern.kind === 'unclear') return { doubt: `"${pattern.text}" is not understood` };
  if (scalar.kind === 'name') {
    if (pattern.kind !== 'name') return { doubt: 'a device is compared with a number' };
    return pattern.isPrefix ? scalar.name.startsWith(pattern.name) : scalar.name === pattern.name;
  }
  if (pattern.kind !== 'range') return { doubt: `"${pattern.name}" is not understood` };
  const unclear = scalar.unclear ?? 0n;
  if (unclear === 0n) return pattern.from <= scalar.value && scalar.value <= pattern.to;
  const differs = pattern.from === pattern.to && ((pattern.from ^ scalar.value) & ~unclear) !== 0n;
  return differs ? false : { doubt: 'not every bit of it is known' };
}

export const typeOf = (scalar: Scalar): NftType | undefined =>
  scalar.kind === 'number' ? scalar.type : scalar.kind === 'name' ? 'name' : undefined;

interface Entry {
  readonly element: NftElement;
  readonly patterns: readonly Pattern[];
}

interface Compiled {
  /** Elements of plain values, by those. */
  readonly exact: ReadonlyMap<string, Entry>;
  /** The elements that `exact` does not tell, and all of them: those that may cover a key. */
  readonly others: Narrow<Entry>;
  readonly all: Narrow<Entry>;
  readonly catchAll?: Entry;
}

const compiledSets = new WeakMap<NftSet, Map<string, Compiled>>();

function compile(set: NftSet, types: readonly NftType[]): Compiled {
  const key = types.join(' ');
  const known = compiledSets.get(set)?.get(key);
  if (known !== undefined) return known;
  const exact = new Map<string, Entry>();
  const others: Entry[] = [];
  let catchAll: Entry | undefined;
  for (const element of set.elements) {
    const entry = { element, patterns: patternsOf(element.key, types) };
    if (element.key.kind === 'any') catchAll = entry;
    else {
      const text = exactKey(entry.patterns);
      if (text === undefined) others.push(entry);
      else exact.set(text, entry);
    }
  }
  const compiled: Compiled = {
    exact,
    others: narrowing(others),
    all: narrowing([...exact.values(), ...others]),
    ...(catchAll === undefined ? {} : { catchAll }),
  };
  const all = compiledSets.get(set) ?? new Map<string, Compiled>();
  all.set(key, compiled);
  compiledSets.set(set, all);
  return compiled;
}

function patternsOf(key: NftExpr, types: readonly NftType[]): readonly Pattern[] {
  const parts = key.kind === 'concat' ? key.parts : [key];
  if (key.kind === 'any') return types.map(() => ({ kind: 'any' }));
  if (parts.length !== types.length) return types.map(() => ({ kind: 'unclear', text: textOf(key) }));
  return parts.map((part, i) => patternOf(part, types[i] ?? 'number'));
}

function exactKey(patterns: readonly Pattern[]): string | undefined {
  const parts: string[] = [];
  for (const pattern of patterns) {
    if (pattern.kind === 'range' && pattern.from === pattern.to) parts.push(String(pattern.from));
    else if (pattern.kind === 'name' && !pattern.isPrefix) parts.push(`"${pattern.name}`);
    else return undefined;
  }
  return parts.join(' ');
}

function keyText(parts: readonly Scalar[]): string | undefined {
  const texts: string[] = [];
  for (const part of parts) {
    if (part.kind === 'doubt' || (part.kind === 'number' && part.unclear !== undefined)) return undefined;
    texts.push(part.kind === 'number' ? String(part.value) : `"${part.name}`);
  }
  return texts.join(' ');
}

export type Lookup =
  | { readonly kind: 'hit'; readonly element: NftElement }
  | { readonly kind: 'miss' }
  /** Each candidate may be the one; so may none if `miss` is set. */
  | {
      readonly kind: 'doubt';
      readonly why: string;
      readonly candidates: readonly NftElement[];
      readonly mayMiss: boolean;
    };

/** Finds the element that covers a key. Parts whose value is not known leave those elements that the others fit. */
export function lookup(set: NftSet, parts: readonly Scalar[]): Lookup {
  const types = parts.map((part) => typeOf(part) ?? 'number');
  const { exact, others, all, catchAll } = compile(set, types);
  const key = keyText(parts);
  const found = key === undefined ? undefined : exact.get(key);
  if (found !== undefined) return { kind: 'hit', element: found.element };
  const candidates: NftElement[] = [];
  let why = '';
  const rest = key === undefined ? all(parts) : others(parts);
  for (const { element, patterns } of rest) {
    const truth = allParts(patterns, parts);
    if (truth === true) return { kind: 'hit', element };
    if (truth === false) continue;
    candidates.push(element);
    why = truth.doubt;
  }
  if (candidates.length > 0) {
    if (catchAll !== undefined) candidates.push(catchAll.element);
    return { kind: 'doubt', why, candidates, mayMiss: catchAll === undefined };
  }
  return catchAll === undefined ? { kind: 'miss' } : { kind: 'hit', element: catchAll.element };
}

function allParts(patterns: readonly Pattern[], parts: readonly Scalar[]): Truth {
  let unclear: Truth = true;
  for (const [i, pattern] of patterns.entries()) {
    const part = parts[i];
    // A part of unknown type makes words of that column unclear, which is the same doubt.
    const truth = part === undefined ? false : matchesPattern(pattern, part);
    if (truth === false) return false;
    if (truth !== true) unclear = truth;
  }
  return unclear;
}
