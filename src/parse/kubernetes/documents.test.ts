import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseManifest } from './documents.ts';
import { fieldLine } from './field-line.ts';
import { jsonErrorOffset } from './json-error.ts';

describe('parseManifest', () => {
  it.each([
    ['a: 1\n---\nb: 2\n', [{ a: 1 }, { b: 2 }]],
    ['---\n---\n# c\n---\na: 1', [{ a: 1 }]],
    ['--- {a: 1}\n--- # c\nb: |\n  ---\n', [{ a: 1 }, { b: '---\n' }]],
    ['\uFEFF{"a": 1}', [{ a: 1 }]],
    ['{"a": 1} {"b": 2}\n{"c": 3}', [{ a: 1 }, { b: 2 }, { c: 3 }]],
    ['{a: 1, b: [2]}', [{ a: 1, b: [2] }]],
    ['a: yes\nb: 2020-01-01\nc: "no"\n', [{ a: true, b: '2020-01-01', c: 'no' }]],
    ['a: &x {k: 1}\nb: {<<: *x, z: 2}\n', [{ a: { k: 1 }, b: { k: 1, z: 2 } }]],
    ['', []],
  ])('%j', (text, values) => {
    const { documents, errors } = parseManifest(text, 'f.yaml');
    expect(errors).toEqual([]);
    expect(documents.map(({ value }) => value)).toEqual(values);
  });

  it.each([
    ['a: 1\na: 2\n', 2],
    ['a: 1\n---\nb: [\n---\nc: 3\n', 4],
    ['{"a": 1}\n{"b": }\n', 2],
    ['{\n"a": 1,\n"b": [1,\n2\n', 5],
  ])('%j is broken in line %i', (text, line) => {
    expect(parseManifest(text, 'f.json').errors.map((error) => error.line)).toEqual([line]);
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        const { documents, errors } = parseManifest(text, 'f');
        for (const { index } of documents) fieldLine(text, index, 'a[0].b');
        expect(errors.length + documents.length).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

describe('jsonErrorOffset', () => {
  it('finds nothing in JSON, and something in JSON that was cut', () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), (text, cut) => {
        expect(jsonErrorOffset(text)).toBeUndefined();
        const short = text.slice(0, cut % text.length);
        const broken = (() => {
          try {
            JSON.parse(short);
            return false;
          } catch {
            return true;
          }
        })();
        expect(jsonErrorOffset(short) !== undefined).toBe(broken);
      }),
    );
  });
});

const yaml = `# first
apiVersion: v1
---
kind: List
items:
- a: 1
  spec:
    rules:
      - x: {deep: true}
      -
        "k.8s/y": z
- b: 2
`;
const json = JSON.stringify({ items: [{ a: 'x\\"y' }, { spec: { 'k.8s/y': [1, { z: 2 }] } }] }, null, 1);

describe('fieldLine', () => {
  it.each([
    [yaml, 0, 'apiVersion', 2],
    [yaml, 1, 'items[0].spec.rules[0].x.deep', 9],
    [yaml, 1, 'items[0].spec.rules[1]["k.8s/y"]', 11],
    [yaml, 1, 'items[1]', 12],
    [yaml, 1, 'items[0].spec.none.at.all', 7],
    [yaml, 7, 'items', undefined],
    [json, 0, 'items[0].a', 4],
    [json, 0, 'items[1].spec["k.8s/y"][1].z', 11],
    [json, 0, 'items[1].spec.gone', 7],
    ['{"a":1}\n\n{"b":\n{"c":2}}', 1, 'b.c', 4],
  ])('%# document %i, %s', (text, document, path, line) => {
    expect(fieldLine(text, document, path)).toBe(line);
  });
});
