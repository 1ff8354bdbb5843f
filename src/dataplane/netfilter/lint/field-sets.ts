/** Exact sets of the values that one field of a packet can have: numbers, small enumerations, masked bits, device names. */

/** All bits of `mask` as in `value`; the others free. */
interface Cube {
  readonly mask: number;
  readonly value: number;
}

/** Names that begin with `text` (or are it, if exact), without those of `except`. */
interface NamePart extends NamePattern {
  readonly except: readonly NamePattern[];
}

export interface NamePattern {
  readonly text: string;
  readonly exact: boolean;
}

export type Scalar = number | bigint;

export type FieldSet =
  /** Ascending pairs `from, end` (exclusive) of values below `limit`. */
  | { readonly kind: 'range'; readonly spans: readonly Scalar[]; readonly limit: Scalar }
  /** Members of an enumeration of at most 31, as bits. */
  | { readonly kind: 'members'; readonly bits: number; readonly all: number }
  /** 32-bit values, a union of cubes. */
  | { readonly kind: 'bits'; readonly cubes: readonly Cube[] }
  | { readonly kind: 'names'; readonly parts: readonly NamePart[] };

/** A set has more parts than an answer is worth; whoever asks gives up without one. */
export class TooComplex extends Error {
  constructor() {
    super('the sets have too many parts');
    this.name = 'TooComplex';
  }
}

const maxParts = 600;

function capped<T>(parts: readonly T[]): readonly T[] {
  if (parts.length > maxParts) throw new TooComplex();
  return parts;
}

/** Inclusive ranges in any order, overlapping or not. */
export function rangeSet(ranges: readonly (readonly [Scalar, Scalar])[], limit: Scalar): FieldSet {
  const spans: Scalar[] = [];
  const sorted = [...ranges].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  for (const [from, to] of sorted) {
    const end = next(to);
    const last = spans.at(-1);
    if (last !== undefined && from <= last) {
      if (end > last) spans[spans.length - 1] = end;
    } else if (from < end) spans.push(from, end);
  }
  return { kind: 'range', spans, limit };
}

const next = (value: Scalar): Scalar => (typeof value === 'bigint' ? value + 1n : value + 1);

export const memberSet = (bits: number, all: number): FieldSet => ({
  kind: 'members',
  bits: bits & all,
  all,
});

/** `(field & mask) == value`; a value outside of the mask is never reached. */
export const bitSet = (value: number, mask: number): FieldSet => ({
  kind: 'bits',
  cubes: (value & ~mask) === 0 ? [{ mask: mask >>> 0, value: value >>> 0 }] : [],
});

export const nameSet = (patterns: readonly NamePattern[]): FieldSet => ({
  kind: 'names',
  parts: patterns.map((pattern) => ({ ...pattern, except: [] })),
});

export function isEmpty(set: FieldSet): boolean {
  switch (set.kind) {
    case 'range':
      return set.spans.length === 0;
    case 'members':
      return set.bits === 0;
    case 'bits':
      return set.cubes.length === 0;
    case 'names':
      return set.parts.length === 0;
  }
}

export function complement(set: FieldSet): FieldSet {
  switch (set.kind) {
    case 'range':
      return { ...set, spans: complementSpans(set.spans, set.limit) };
    case 'members':
      return { ...set, bits: ~set.bits & set.all };
    case 'bits':
      return set.cubes.reduce<FieldSet>((rest, cube) => intersect(rest, outsideOf(cube)), {
        kind: 'bits',
        cubes: [{ mask: 0, value: 0 }],
      });
    case 'names':
      return set.parts.reduce<FieldSet>(
        (rest, part) => intersect(rest, { kind: 'names', parts: outsideOfName(part) }),
        nameSet([{ text: '', exact: false }]),
      );
  }
}

function complementSpans(spans: readonly Scalar[], limit: Scalar): Scalar[] {
  const out: Scalar[] = [];
  let from: Scalar = typeof limit === 'bigint' ? 0n : 0;
  for (let i = 0; i < spans.length; i += 2) {
    const [start, end] = [spans[i] as Scalar, spans[i + 1] as Scalar];
    if (from < start) out.push(from, start);
    from = end;
  }
  if (from < limit) out.push(from, limit);
  return out;
}

/** One cube a fixed bit: those before it as in the cube, this one the other way. */
function outsideOf({ mask, value }: Cube): FieldSet {
  const cubes: Cube[] = [];
  let fixed = 0;
  for (let bit = 0; bit < 32; bit++) {
    const one = (1 << bit) >>> 0;
    if ((mask & one) === 0) continue;
    cubes.push({ mask: (fixed | one) >>> 0, value: ((value & fixed) | (~value & one)) >>> 0 });
    fixed = (fixed | one) >>> 0;
  }
  return { kind: 'bits', cubes };
}

const outsideOfName = ({ text, exact, except }: NamePart): NamePart[] => [
  ...meetNames({ text: '', exact: false, except: [{ text, exact }] }, { text: '', exact: false, except: [] }),
  ...except.map((pattern) => ({ ...pattern, except: [] })),
];

/** Both must be of one field. */
export function intersect(a: FieldSet, b: FieldSet): FieldSet {
  if (a.kind === 'range' && b.kind === 'range')
    return { ...a, spans: capped(intersectSpans(a.spans, b.spans)) };
  if (a.kind === 'members' && b.kind === 'members') return { ...a, bits: a.bits & b.bits };
  if (a.kind === 'bits' && b.kind === 'bits')
    return {
      kind: 'bits',
      cubes: capped(a.cubes.flatMap((one) => b.cubes.flatMap((two) => meetCubes(one, two)))),
    };
  if (a.kind === 'names' && b.kind === 'names')
    return {
      kind: 'names',
      parts: capped(a.parts.flatMap((one) => b.parts.flatMap((two) => meetNames(one, two)))),
    };
  throw new TooComplex();
}

function intersectSpans(a: readonly Scalar[], b: readonly Scalar[]): Scalar[] {
  const out: Scalar[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const [startA, endA] = [a[i] as Scalar, a[i + 1] as Scalar];
    const [startB, endB] = [b[j] as Scalar, b[j + 1] as Scalar];
    const from = startA > startB ? startA : startB;
    const end = endA < endB ? endA : endB;
    if (from < end) out.push(from, end);
    if (endA < endB) i += 2;
    else j += 2;
  }
  return out;
}

const meetCubes = (a: Cube, b: Cube): readonly Cube[] =>
  ((a.value ^ b.value) & a.mask & b.mask) === 0
    ? [{ mask: (a.mask | b.mask) >>> 0, value: (a.value | b.value) >>> 0 }]
    : [];

const holds = (outer: NamePattern, inner: NamePattern): boolean =>
  outer.exact ? inner.exact && inner.text === outer.text : inner.text.startsWith(outer.text);

function meetNames(a: NamePart, b: NamePart): readonly NamePart[] {
  const narrow = holds(a, b) ? b : holds(b, a) ? a : undefined;
  if (narrow === undefined) return [];
  const excluded = [...a.except, ...b.except];
  if (excluded.some((pattern) => holds(pattern, narrow))) return [];
  const pattern = { text: narrow.text, exact: narrow.exact };
  const inside = excluded.filter((one, i) => {
    if (!holds(pattern, one)) return false;
    return !excluded.some((other, j) => i !== j && holds(other, one) && (j < i || !holds(one, other)));
  });
  return [{ ...pattern, except: inside }];
}

/** Some value of the set, as text. */
export function sample(set: FieldSet): string {
  switch (set.kind) {
    case 'range':
      return String(set.spans[0]);
    case 'members':
      return String(31 - Math.clz32(set.bits & -set.bits));
    case 'bits':
      return `0x${(set.cubes[0]?.value ?? 0).toString(16)}`;
    case 'names': {
      const part = set.parts[0];
      return part === undefined ? '' : sampleName(part);
    }
  }
}

function sampleName({ text, exact, except }: NamePart): string {
  if (exact) return text;
  const names = [text, ...['eth0', 'x', 'dev9', 'q0'].map((end) => `${text}${end}`)].filter(
    (name) => name !== '',
  );
  const free = names.find((name) => !except.some((pattern) => holds(pattern, { text: name, exact: true })));
  return free ?? `${text}?`;
}

export const fieldKey = (set: FieldSet): string => {
  switch (set.kind) {
    case 'range':
      return set.spans.join(',');
    case 'members':
      return `{${set.bits}}`;
    case 'bits':
      return set.cubes.map(({ mask, value }) => `${value}/${mask}`).join('|');
    case 'names':
      return set.parts
        .map(({ text, exact, except }) => [pattern({ text, exact }), ...except.map(pattern)].join('-'))
        .sort()
        .join('|');
  }
};

const pattern = ({ text, exact }: NamePattern): string => `${text}${exact ? '' : '+'}`;
