/** Engine and reference on Cilium's policies together with NetworkPolicies and admin policies, and what the random clusters hold. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ciliumLayer } from '../../../src/policy/kinds/cilium.ts';
import { defaultReading, type PolicyReading } from '../../../src/policy/options.ts';
import { ciliumNetwork } from '../../../src/policy/reference/cilium.ts';
import { bothAllow } from '../../../src/policy/reference/contract.ts';
import { adminObjects } from './admin.ts';
import { agree, type Contest } from './agree.ts';
import { ciliumObjects } from './cilium.ts';
import { networkPolicyObjects } from './network-policy.ts';
import { baseObjects, clusterFrom, mergeObjects } from './world.ts';

const contest: Contest = {
  program: (world) => ({ layers: [ciliumLayer(world)], notes: [] }),
  reference: (world, flow) =>
    bothAllow(ciliumNetwork(world, flow, 'egress'), ciliumNetwork(world, flow, 'ingress')),
};

const readings: fc.Arbitrary<PolicyReading> = fc
  .record({
    ciliumEnforcement: fc.oneof(
      { weight: 10, arbitrary: fc.constant('default' as const) },
      { weight: 2, arbitrary: fc.constant('always' as const) },
      { weight: 1, arbitrary: fc.constant('never' as const) },
    ),
    ciliumCidrMatchesNodes: fc.boolean(),
    ipBlockMatchesPods: fc.boolean(),
  })
  .map((more) => ({ ...defaultReading, dialect: 'cilium', ...more }));

const objects = fc
  .tuple(
    baseObjects,
    ciliumObjects,
    fc.oneof(fc.constant({}), networkPolicyObjects),
    fc.oneof({ weight: 4, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: adminObjects }),
  )
  .map((parts) => mergeObjects(...parts));

it('engine and reference agree on Cilium policies', () => {
  expect(agree(objects, readings, contest)).toBeGreaterThan(10_000);
}, 600_000);

it('the random clusters hold rules with every kind of peer and port, and invalid parts', () => {
  const policies = fc.sample(objects, { numRuns: 300, seed: 1 }).flatMap((raw) => {
    const { cilium } = clusterFrom(raw);
    return cilium.state === 'known' ? cilium.value.policies : [];
  });
  const sections = policies.flatMap(({ specs }) =>
    specs.flatMap(({ ingress, egress }) => [ingress, egress]).filter((section) => section !== undefined),
  );
  const rules = sections.flatMap(({ allow, deny }) => [...allow, ...deny]);
  const peers = new Set(rules.flatMap((rule) => (rule.peers ?? []).map(({ kind }) => kind)));
  const peerKinds = ['cidr', 'cidr-groups', 'endpoints', 'entity', 'fqdn', 'groups', 'nodes', 'services'];
  expect([...peers].sort()).toEqual(peerKinds);
  const ports = rules.flatMap((rule) => rule.ports ?? []);
  expect(new Set(ports.flatMap((item) => item.ports.map(({ kind }) => kind))).size).toBe(4);
  expect(ports.some(({ l7 }) => l7 !== undefined)).toBe(true);
  expect(rules.some(({ requires }) => requires.length > 0)).toBe(true);
  expect(rules.some(({ uncertain }) => uncertain !== undefined)).toBe(true);
  expect(rules.some(({ authentication }) => authentication !== undefined)).toBe(true);
  expect(sections.some(({ defaultDeny }) => !defaultDeny)).toBe(true);
  expect(policies.filter(({ problems }) => problems.length === 0).length).toBeGreaterThan(
    policies.length / 2,
  );
  expect(policies.some(({ specs }) => specs.some(({ subject }) => subject.kind === 'nodes'))).toBe(true);
});
