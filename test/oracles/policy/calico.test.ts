/** Calico's layer in the engine against the words of its documentation, with the policies of Kubernetes in their tiers. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { PolicyFlow } from '../../../src/policy/endpoint.ts';
import { calicoLayer } from '../../../src/policy/kinds/calico.ts';
import { defaultReading, type PolicyReading, type PolicyWorld } from '../../../src/policy/options.ts';
import { calicoNetwork } from '../../../src/policy/reference/calico.ts';
import { bothAllow, type Outcome } from '../../../src/policy/reference/contract.ts';
import { adminObjects } from './admin.ts';
import { agree, type Contest, clusterCount } from './agree.ts';
import { calicoObjects } from './calico.ts';
import { networkPolicyObjects } from './network-policy.ts';
import { baseObjects, mergeObjects } from './world.ts';

const readings: fc.Arbitrary<PolicyReading> = fc
  .boolean()
  .map((ipBlockMatchesPods) => ({ ...defaultReading, dialect: 'calico', ipBlockMatchesPods }));

const contest = (includeStaged: boolean): Contest => ({
  program: (world) => ({ layers: [calicoLayer(world, { includeStaged })], notes: [] }),
  reference: (world: PolicyWorld, flow: PolicyFlow): Outcome =>
    bothAllow(
      calicoNetwork(world, flow, 'egress', { includeStaged }),
      calicoNetwork(world, flow, 'ingress', { includeStaged }),
    ),
});

it('engine and reference agree on Calico policies alone', () => {
  const objects = fc.tuple(baseObjects, calicoObjects).map((parts) => mergeObjects(...parts));
  expect(agree(objects, readings, contest(false))).toBeGreaterThan(10_000);
});

it('engine and reference agree on Calico policies among those of Kubernetes', () => {
  const objects = fc
    .tuple(baseObjects, calicoObjects, networkPolicyObjects, adminObjects)
    .map((parts) => mergeObjects(...parts));
  expect(agree(objects, readings, contest(false), clusterCount(100))).toBeGreaterThan(5_000);
});

it('engine and reference agree on staged policies as if they were enforced', () => {
  const objects = fc
    .tuple(baseObjects, calicoObjects, networkPolicyObjects)
    .map((parts) => mergeObjects(...parts));
  expect(agree(objects, readings, contest(true), clusterCount(50))).toBeGreaterThan(2_000);
});
