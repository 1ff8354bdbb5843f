import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  complementIds,
  countIds,
  eachId,
  hasId,
  idsFrom,
  intersectIds,
  unionAll,
  unionIds,
} from './id-set.ts';
import {
  complementPorts,
  formatPorts,
  hasPort,
  intersectPorts,
  linePoint,
  portRange,
  protocolNumber,
  subtractPorts,
  unionPorts,
  wholeProtocol,
} from './port-set.ts';

const size = 40;
const members = fc.uniqueArray(fc.nat(size - 1)).map((list) => list.sort((a, b) => a - b));
const all = Array.from({ length: size }, (_, i) => i);

it('sets of ids behave as sets do', () => {
  fc.assert(
    fc.property(members, members, members, (a, b, c) => {
      const [x, y, z] = [idsFrom(a), idsFrom(b), idsFrom(c)];
      expect([...eachId(unionIds(x, y))]).toEqual(all.filter((id) => a.includes(id) || b.includes(id)));
      expect([...eachId(intersectIds(x, y))]).toEqual(all.filter((id) => a.includes(id) && b.includes(id)));
      expect([...eachId(complementIds(x, size))]).toEqual(all.filter((id) => !a.includes(id)));
      expect(unionAll([x, y, z])).toEqual(unionIds(unionIds(x, y), z));
      expect(all.filter((id) => hasId(x, id))).toEqual(a);
      expect(countIds(x)).toBe(a.length);
      // One set has one form: equal sets compare equal.
      expect(unionIds(x, y)).toEqual(idsFrom([...new Set([...a, ...b])].sort((m, n) => m - n)));
    }),
  );
});

it('sets of ports behave as sets do, across protocols', () => {
  const range = fc
    .tuple(fc.constantFrom('TCP', 'UDP', 'ICMP'), fc.nat(9), fc.nat(9))
    .map(([protocol, a, b]) => portRange(protocol, Math.min(a, b), Math.max(a, b)));
  const set = fc.array(range).map((list) => list.reduce(unionPorts, []));
  const points = (['TCP', 'UDP', 'ICMP'] as const).flatMap((p) => all.map((n) => linePoint(p, n)));
  fc.assert(
    fc.property(set, set, (a, b) => {
      for (const point of points) {
        expect(hasPort(unionPorts(a, b), point)).toBe(hasPort(a, point) || hasPort(b, point));
        expect(hasPort(intersectPorts(a, b), point)).toBe(hasPort(a, point) && hasPort(b, point));
        expect(hasPort(subtractPorts(a, b), point)).toBe(hasPort(a, point) && !hasPort(b, point));
        expect(hasPort(complementPorts(a), point)).toBe(!hasPort(a, point));
      }
    }),
  );
});

it('ports are printed as people write them', () => {
  const set = unionPorts(portRange('TCP', 443, 445), portRange('TCP', 80, 80));
  expect([formatPorts(set, 'TCP'), formatPorts(set, 'UDP')]).toEqual(['80,443-445', '']);
  expect(formatPorts(wholeProtocol('UDP'), 'UDP')).toBe('all');
  expect(formatPorts(portRange('TCP', 1, 65535), 'TCP')).toBe('all');
  expect(protocolNumber(17)).toEqual(wholeProtocol('UDP'));
  expect(intersectPorts(protocolNumber(47), protocolNumber(50))).toEqual([]);
});
