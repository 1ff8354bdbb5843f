import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CalicoSelector } from '../../model/policies/calico.ts';
import { parseCalicoSelector, usesGlobal } from './calico-selector.ts';
import { Mismatch } from './shape.ts';

const parse = (text: string): CalicoSelector => parseCalicoSelector(text, 'spec.selector');
const a = { is: 'has', key: 'a' } as const;
const b = { is: 'has', key: 'b' } as const;
const c = { is: 'has', key: 'c' } as const;

describe('selectors', () => {
  it.each<[string, CalicoSelector]>([
    ['', { is: 'all' }],
    [' \t', { is: 'all' }],
    ['all( )', { is: 'all' }],
    ['global()', { is: 'global' }],
    ['has( a )', a],
    ['a == "b"', { is: 'equals', key: 'a', value: 'b' }],
    ["a=='b\"'", { is: 'equals', key: 'a', value: 'b"' }],
    ['a != ""', { is: 'differs', key: 'a', value: '' }],
    ['a in {"x", \'y\'}', { is: 'in', key: 'a', values: ['x', 'y'] }],
    ['a in {}', { is: 'in', key: 'a', values: [] }],
    ['a not in {"x",}', { is: 'not-in', key: 'a', values: ['x'] }],
    ['a notin{"x"}', { is: 'not-in', key: 'a', values: ['x'] }],
    ['a contains "x"', { is: 'contains', key: 'a', text: 'x' }],
    ['a starts  with "x"', { is: 'starts-with', key: 'a', text: 'x' }],
    ['a endswith "x"', { is: 'ends-with', key: 'a', text: 'x' }],
    ['a == "x\\"', { is: 'equals', key: 'a', value: 'x\\' }],
    ['in in {"in"}', { is: 'in', key: 'in', values: ['in'] }],
    ['all == "x"', { is: 'equals', key: 'all', value: 'x' }],
    ['k8s.io/a-b_c == "x"', { is: 'equals', key: 'k8s.io/a-b_c', value: 'x' }],
    ['!has(a)', { is: 'not', of: a }],
    ['! ! has(a)', a],
    ['has(a) && has(b) || has(c)', { is: 'or', of: [{ is: 'and', of: [a, b] }, c] }],
    ['has(a) && (has(b) || has(c))', { is: 'and', of: [a, { is: 'or', of: [b, c] }] }],
    ['!(has(a) || has(b))', { is: 'not', of: { is: 'or', of: [a, b] } }],
    ['!has(a) && has(b)', { is: 'and', of: [{ is: 'not', of: a }, b] }],
  ])('%s', (text, expected) => {
    expect(parse(text)).toEqual(expected);
  });

  it.each([
    'a',
    'a = "b"',
    'a == b',
    'a == "b',
    'a == "b" c',
    'a == "b" && ',
    '== "b"',
    'a in "x"',
    'a in {"x"',
    'a in {"x" "y"}',
    'a in {,}',
    'a inside {"x"}',
    'has(a',
    'has()',
    'all',
    '(has(a)',
    'has(a))',
    'has(a) has(b)',
    'has(a) & has(b)',
    'has(a) | has(b)',
    '"a" == "b"',
    'a ? "b"',
    'a\n== "b"',
    `${'x'.repeat(513)} == "b"`,
    `${'('.repeat(5000)}has(a)`,
  ])('refuses %s', (text) => {
    expect(() => parse(text)).toThrow(Mismatch);
    expect(() => parse(text)).toThrow(/^spec\.selector is no selector: /);
  });

  it('finds global() wherever it stands', () => {
    expect(usesGlobal(parse('has(a) || !(global())'))).toBe(true);
    expect(usesGlobal(parse('has(global) && all()'))).toBe(false);
  });

  it('answers or refuses whatever it is given', () => {
    const piece = fc.constantFrom(
      'a',
      'in',
      'not',
      '"x"',
      "'",
      '{',
      '}',
      '(',
      ')',
      ',',
      '!',
      '==',
      '&&',
      '||',
      ' ',
      'has(',
      'all()',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(piece).map((parts) => parts.join('')),
        ),
        (text) => {
          try {
            parse(text);
          } catch (error) {
            expect(error).toBeInstanceOf(Mismatch);
          }
        },
      ),
    );
  });
});
