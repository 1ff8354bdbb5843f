import fc from 'fast-check';
import { expect, it } from 'vitest';
import { allObjects, allReadings } from '../../test/oracles/policy/all.ts';
import { clusterFrom } from '../../test/oracles/policy/world.ts';
import { candidates } from './candidates.ts';
import type { Cell } from './engine/cell.ts';
import { policyEngine } from './index.ts';

const says = (cell: Cell): boolean => cell.allow.length + cell.maybe.length > 0;

it('leaves out no pair that has something to say', () => {
  fc.assert(
    fc.property(allObjects, allReadings, (raw, reading) => {
      const engine = policyEngine(clusterFrom(raw), reading);
      const found = candidates(engine, says);
      for (let src = 0; src < engine.universe.podsTo; src++) {
        const list = found(src);
        expect(list).toEqual([...new Set(list)].sort((a, b) => a - b));
        for (let dst = 0; dst < engine.universe.podsTo; dst++)
          if (says(engine.cell(src, dst))) expect(list).toContain(dst);
      }
    }),
    { numRuns: 150 },
  );
});
