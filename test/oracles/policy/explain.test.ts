/** The explanation of a flow against the engine's verdict: two ways over the same compiled rules, for clusters with policies of every kind. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { placesOf } from '../../../src/model/policy-explanation.ts';
import { createEngine, type Engine } from '../../../src/policy/engine/engine.ts';
import { explain } from '../../../src/policy/explain/explain.ts';
import { policyEngine } from '../../../src/policy/index.ts';
import type { LoweredPolicy, PolicyProgram } from '../../../src/policy/ir.ts';
import { lowerAdminTier, lowerBaselineTier } from '../../../src/policy/kinds/admin.ts';
import { type Dialect, defaultReading, type PolicyWorld } from '../../../src/policy/options.ts';
import { kubernetesLayer } from '../../../src/policy/program.ts';
import { adminObjects } from './admin.ts';
import { clusterCount, flowText } from './agree.ts';
import { calicoObjects } from './calico.ts';
import { ciliumObjects } from './cilium.ts';
import { istioClusters } from './istio.ts';
import { linkerdClusters } from './linkerd.ts';
import { networkPolicyObjects } from './network-policy.ts';
import { baseObjects, clusterFrom, flowsOf, mergeObjects, type RawObjects } from './world.ts';

function agreesOnEveryFlow(engine: Engine): number {
  let asked = 0;
  for (const flow of flowsOf(engine.world.cluster)) {
    asked++;
    const { verdict, conditions } = engine.verdict(flow);
    const explained = explain(engine, flow);
    if (explained.verdict !== verdict)
      throw new Error(`${flowText(flow)}: engine ${verdict}, explanation ${explained.verdict}`);
    if (explained.reason.text === '') throw new Error(`${flowText(flow)}: no reason`);
    if (verdict === 'conditional' && (conditions.length === 0 || explained.conditions.length === 0))
      throw new Error(`${flowText(flow)}: no condition`);
    // Whoever denies is named, unless the layer does by itself.
    const closed = engine.layers.some(({ compiled }) => compiled.layer.finally === 'deny');
    if (verdict === 'deny' && !closed && placesOf(explained).next().done === true)
      throw new Error(`${flowText(flow)}: nobody is named`);
  }
  return asked;
}

function overClusters(
  objects: fc.Arbitrary<RawObjects>,
  run: (raw: RawObjects, matchesPods: boolean) => number,
): number {
  let asked = 0;
  fc.assert(
    fc.property(objects, fc.boolean(), (raw, matchesPods) => {
      asked += run(raw, matchesPods);
    }),
    { numRuns: clusterCount(40) },
  );
  return asked;
}

const objectsOf = (...parts: readonly fc.Arbitrary<RawObjects>[]) =>
  fc.tuple(baseObjects, ...parts).map((all) => mergeObjects(...all));

it('NetworkPolicy: the explanation gives the verdict', () => {
  const asked = overClusters(objectsOf(networkPolicyObjects), (raw, ipBlockMatchesPods) =>
    agreesOnEveryFlow(policyEngine(clusterFrom(raw), { ipBlockMatchesPods })),
  );
  expect(asked).toBeGreaterThan(10_000);
}, 600_000);

it('admin tiers: equal priorities, pass and conditions too', () => {
  const asked = overClusters(objectsOf(networkPolicyObjects, adminObjects), (raw, ipBlockMatchesPods) => {
    const world = { cluster: clusterFrom(raw), reading: { ...defaultReading, ipBlockMatchesPods } };
    return agreesOnEveryFlow(createEngine(world, withAdmin(world)));
  });
  expect(asked).toBeGreaterThan(10_000);
}, 600_000);

function withAdmin(world: PolicyWorld): PolicyProgram {
  const layer = kubernetesLayer(world);
  const middle = layer.tiers.filter(({ name }) => name === 'NetworkPolicy');
  const tiers = [lowerAdminTier(world), ...middle, lowerBaselineTier(world)].filter(
    (tier) => tier !== undefined,
  );
  return { layers: [{ ...layer, tiers }], notes: [] };
}

it('rewritten ports, certain or not: the layer is asked under the port that arrives', () => {
  const rewrite = fc.record({
    src: fc.constantFrom('web', 'api', 'x'),
    to: fc.constantFrom(80, 443, 15008),
    from: fc.constantFrom(0, 80, 443),
    unsure: fc.boolean(),
  });
  const asked = { count: 0 };
  fc.assert(
    fc.property(
      objectsOf(networkPolicyObjects),
      fc.array(rewrite, { minLength: 1, maxLength: 3 }),
      (raw, rewrites) => {
        const world = { cluster: clusterFrom(raw), reading: defaultReading };
        const layer = kubernetesLayer(world);
        const program: PolicyProgram = {
          layers: [
            {
              ...layer,
              rewrites: rewrites.map(({ src, to, from, unsure }) => ({
                src: { is: 'label', of: 'self', key: 'app', test: { op: 'in', values: [src] } },
                dst: { is: 'any' },
                ports: [from, 1000],
                to: { protocol: 'TCP', port: to },
                ...(unsure ? { condition: { code: 'identity', text: 'whether it is in the mesh' } } : {}),
              })),
            },
          ],
          notes: [],
        };
        asked.count += agreesOnEveryFlow(createEngine(world, program));
      },
    ),
    { numRuns: clusterCount(25) },
  );
  expect(asked.count).toBeGreaterThan(5_000);
}, 600_000);

it('policies that may not be there, and tiers that pass or deny', () => {
  const flags = fc.array(fc.record({ unsure: fc.boolean() }), { minLength: 3, maxLength: 3 });
  fc.assert(
    fc.property(objectsOf(networkPolicyObjects), flags, fc.boolean(), (raw, marks, allow) => {
      const world = { cluster: clusterFrom(raw), reading: defaultReading };
      const layer = kubernetesLayer(world);
      const [tier] = layer.tiers.filter(({ name }) => name === 'NetworkPolicy');
      if (tier === undefined) throw new Error('the layer has no NetworkPolicy tier');
      const policies = tier.groups
        .flat()
        .map(
          (policy, i): LoweredPolicy =>
            marks[i]?.unsure
              ? { ...policy, condition: { code: 'not-collected', text: 'nobody knows' } }
              : policy,
        );
      const deciding = policies.map(
        (policy): LoweredPolicy => ({
          ...policy,
          ...(policy.ingress === undefined
            ? {}
            : {
                ingress: {
                  isolates: false,
                  rules: policy.ingress.rules.map((rule, i) => ({
                    ...rule,
                    action: i === 0 ? 'deny' : 'pass',
                  })),
                },
              }),
        }),
      );
      const program: PolicyProgram = {
        layers: [
          {
            ...layer,
            finally: allow ? 'allow' : 'deny',
            tiers: [
              { name: 'first', otherwise: 'pass', groups: [deciding] },
              { ...tier, groups: [policies] },
            ],
          },
        ],
        notes: [],
      };
      agreesOnEveryFlow(createEngine(world, program));
    }),
    { numRuns: clusterCount(25) },
  );
});

const everyKind: readonly (readonly [string, Dialect, fc.Arbitrary<RawObjects>])[] = [
  ['Calico', 'calico', objectsOf(networkPolicyObjects, adminObjects, calicoObjects)],
  ['Cilium', 'cilium', objectsOf(networkPolicyObjects, ciliumObjects)],
  ['Istio', 'kubernetes', fc.tuple(istioClusters, networkPolicyObjects).map((all) => mergeObjects(...all))],
  [
    'Linkerd',
    'kubernetes',
    fc.tuple(linkerdClusters, networkPolicyObjects).map((all) => mergeObjects(...all)),
  ],
];

it.each(everyKind)(
  '%s among the others: the explanation gives the verdict',
  (_, dialect, objects) => {
    const asked = overClusters(objects, (raw, ipBlockMatchesPods) =>
      agreesOnEveryFlow(policyEngine(clusterFrom(raw), { dialect, ipBlockMatchesPods })),
    );
    expect(asked).toBeGreaterThan(10_000);
  },
  600_000,
);
