/** The counted connectivity against every pair asked one by one. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { policyEngine, quotient } from '../../../src/policy/index.ts';
import { clusterCount } from './agree.ts';
import { networkPolicyObjects } from './network-policy.ts';
import { baseObjects, clusterFrom, mergeObjects } from './world.ts';

it('pairs are counted as they would be one by one', () => {
  const objects = fc.tuple(baseObjects, networkPolicyObjects).map((parts) => mergeObjects(...parts));
  fc.assert(
    fc.property(objects, fc.boolean(), (raw, ipBlockMatchesPods) => {
      const engine = policyEngine(clusterFrom(raw), { ipBlockMatchesPods });
      const found = quotient(engine);
      const counts = { allow: 0, maybe: 0, deny: 0 };
      const { classes, podsTo } = engine.universe;
      for (let src = 0; src < podsTo; src++)
        for (let dst = 0; dst < podsTo; dst++) {
          const cell = engine.cell(src, dst);
          const transport = (set: readonly number[]) => set.some((number) => number < 3 * 65536);
          const bucket = transport(cell.allow) ? 'allow' : transport(cell.maybe) ? 'maybe' : 'deny';
          counts[bucket] += (classes[src]?.members.length ?? 0) * (classes[dst]?.members.length ?? 0);
        }
      expect(found).toMatchObject({
        allowedPairs: counts.allow,
        conditionalPairs: counts.maybe,
        deniedPairs: counts.deny,
      });
      expect(quotient(policyEngine(clusterFrom(raw), { ipBlockMatchesPods })).fingerprint).toBe(
        found.fingerprint,
      );
    }),
    { numRuns: clusterCount() },
  );
});
