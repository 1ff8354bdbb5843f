import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../json.ts';
import { eachInside, itemPath, labels, Mismatch, partPath } from './shape.ts';
import { readPod } from './workloads.ts';

const fieldOf = (read: () => unknown): string => {
  try {
    read();
  } catch (error) {
    if (error instanceof Mismatch) return error.field;
    throw error;
  }
  return 'no mismatch';
};

describe('labels', () => {
  it('has no keys but those of the cluster', () => {
    const found = labels(JSON.parse('{"__proto__": "a", "constructor": "b"}'), 'metadata.labels');
    expect(Object.entries(found)).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ]);
    for (const empty of [labels({}, ''), labels(undefined, '')])
      for (const key of ['__proto__', 'constructor', 'toString']) {
        expect(empty[key]).toBeUndefined();
        expect(key in empty).toBe(false);
      }
  });
  it('names the label that is no string', () =>
    expect(fieldOf(() => labels({ a: 'x', 'b"c': 1 }, 'metadata.labels'))).toBe('metadata.labels["b\\"c"]'));
});

describe('paths', () => {
  it('are the same however often they are made', () => {
    for (let round = 0; round < 2; round++) {
      expect(itemPath('spec.ingress', 3)).toBe('spec.ingress[3]');
      expect(partPath('spec.ingress[3]', 'from')).toBe('spec.ingress[3].from');
      expect(partPath('spec.ingress', '3')).toBe('spec.ingress.3');
    }
  });
  it('go on when more are asked for than are kept', () => {
    for (let i = 0; i < 12_000; i++) expect(itemPath('spec.many', i)).toBe(`spec.many[${i}]`);
  });
  it('are put together from the outside in', () => {
    const read = (item: JsonObject, field: string): unknown =>
      eachInside(item.inner, `${field}.inner`, (_, path) => {
        throw new Mismatch(`${path}.x`, 'is wrong');
      });
    expect(fieldOf(() => eachInside([{}, { inner: [{}] }], 'spec.outer', read))).toBe(
      'spec.outer[1].inner[0].x',
    );
  });
});

describe('readPod names', () => {
  const pod = (spec: object, status: object = {}) =>
    fieldOf(() => readPod({ metadata: { name: 'x' }, spec, status }));
  it.each([
    [{ containers: [{ name: 'c', ports: [{}] }] }, {}, 'spec.containers[0].ports[0].containerPort'],
    [{ containers: [{ name: 'c' }, 5] }, {}, 'spec.containers[1]'],
    [{ initContainers: [{ restartPolicy: 'Always' }] }, {}, 'spec.initContainers[0].name'],
    [{ containers: [{ name: 'c' }] }, { containerStatuses: [{ name: 'c', ready: 5 }] }, 'status of c.ready'],
    [{}, { podIPs: [{ ip: '10.0.0.1' }, {}] }, 'status.podIPs[1].ip'],
    [{}, { conditions: [{ type: 'Ready' }] }, 'status.conditions[0].status'],
  ])('%j %j: %s', (spec, status, field) => expect(pod(spec, status)).toBe(field));
});
