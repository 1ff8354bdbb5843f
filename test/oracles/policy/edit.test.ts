/** One NetworkPolicy put, exchanged or removed: the edited engine against one made anew. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { orElse } from '../../../src/model/known.ts';
import { editedQuotient, editNetworkPolicy, policyEngine, quotient } from '../../../src/policy/index.ts';
import { clusterCount, flowText } from './agree.ts';
import { networkPolicyObjects } from './network-policy.ts';
import { baseObjects, clusterFrom, flowsOf, mergeObjects } from './world.ts';

const plural = 'networkpolicies.networking.k8s.io';

it('an edit answers as a new engine does', () => {
  fc.assert(
    fc.property(baseObjects, networkPolicyObjects, networkPolicyObjects, (base, before, after) => {
      const old = before[plural] ?? [];
      const [put] = after[plural] ?? [];
      const name = (one: (typeof old)[number]) => JSON.stringify([one.metadata, 'name']);
      const kept = put === undefined ? old.slice(1) : old.filter((one) => name(one) !== name(put));
      const engine = policyEngine(clusterFrom(mergeObjects(base, before)));
      const whole = quotient(engine);
      const expected = policyEngine(
        clusterFrom(mergeObjects(base, { [plural]: put === undefined ? kept : [...kept, put] })),
      );
      const wanted = orElse(expected.world.cluster.networkPolicies, []);
      const gone = orElse(engine.world.cluster.networkPolicies, [])[0];
      const last = wanted[wanted.length - 1];
      if (put === undefined ? gone === undefined : last === undefined) return;
      const edited = editNetworkPolicy(
        engine,
        put === undefined ? { remove: gone as never } : { put: last as never },
      );
      for (const flow of flowsOf(engine.world.cluster))
        expect(`${flowText(flow)} ${edited.engine.verdict(flow).verdict}`).toBe(
          `${flowText(flow)} ${expected.verdict(flow).verdict}`,
        );
      const { allowedPairs, conditionalPairs, deniedPairs } = quotient(expected);
      const updated = editedQuotient(whole, engine, edited);
      expect(updated).toMatchObject({ allowedPairs, conditionalPairs, deniedPairs });
      expect(updated.fingerprint).toBe(quotient(edited.engine).fingerprint);
      expect(quotient(engine)).toEqual(whole);
    }),
    { numRuns: clusterCount(100) },
  );
});
