/** Engine and reference on Istio's policies, and what the random clusters hold. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { istioLayer, istioTraits } from '../../../src/policy/kinds/istio.ts';
import { defaultReading } from '../../../src/policy/options.ts';
import { istioOutcome } from '../../../src/policy/reference/istio.ts';
import { agree, type Contest, compare } from './agree.ts';
import { istioClusters } from './istio.ts';
import { clusterFrom } from './world.ts';

const contest: Contest = {
  program: (world) => {
    const layer = istioLayer(world);
    return { layers: layer === undefined ? [] : [layer], notes: [] };
  },
  traits: [istioTraits],
  reference: istioOutcome,
};

const readings = fc
  .constantFrom('istio-system', 'a')
  .map((istioRootNamespace) => ({ ...defaultReading, istioRootNamespace }));

it('engine and reference agree on Istio', () => {
  expect(agree(istioClusters, readings, contest)).toBeGreaterThan(10_000);
}, 600_000);

it('agrees where Services or Istio objects are not known', () => {
  for (const raw of fc.sample(istioClusters, { numRuns: 10, seed: 3 })) {
    const cluster = clusterFrom(raw);
    const unknown = { state: 'unknown', why: 'not collected' } as const;
    for (const part of [{ services: unknown }, { namespaces: unknown }, { istio: unknown }]) {
      const world = { cluster: { ...without(cluster), ...part }, reading: defaultReading };
      expect(compare(world, contest).disagreements).toEqual([]);
    }
  }
});

/** A cluster's parts are getters: read them all. */
const without = (cluster: ReturnType<typeof clusterFrom>): ReturnType<typeof clusterFrom> =>
  Object.fromEntries(
    Object.keys(cluster).map((key) => [key, cluster[key as keyof typeof cluster]]),
  ) as unknown as ReturnType<typeof clusterFrom>;

it('the random clusters hold every action, and invalid parts', () => {
  const clusters = fc.sample(istioClusters, { numRuns: 100, seed: 1 }).map(clusterFrom);
  const policies = clusters.flatMap(({ istio }) =>
    istio.state === 'known' ? istio.value.authorizationPolicies : [],
  );
  expect(new Set(policies.map(({ action }) => action)).size).toBe(5);
  expect(policies.filter(({ problems }) => problems.length === 0).length).toBeGreaterThan(50);
  expect(policies.some(({ rules }) => rules.some(({ understood }) => !understood))).toBe(true);
});
