/** Engine and reference on admin policies together with NetworkPolicies, and what the random clusters hold. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { defaultReading } from '../../../src/policy/options.ts';
import { kubernetesNetwork } from '../../../src/policy/reference/admin.ts';
import { bothAllow } from '../../../src/policy/reference/contract.ts';
import { adminProgram } from '../../support/admin-policies.ts';
import { adminObjects } from './admin.ts';
import { agree, type Contest } from './agree.ts';
import { networkPolicyObjects } from './network-policy.ts';
import { baseObjects, clusterFrom, mergeObjects } from './world.ts';

const contest: Contest = {
  program: adminProgram,
  reference: (world, flow) =>
    bothAllow(kubernetesNetwork(world, flow, 'egress'), kubernetesNetwork(world, flow, 'ingress')),
};

/** Often none: NetworkPolicies keep the baseline tier from being asked. */
const network = fc.oneof(fc.constant({}), networkPolicyObjects);
const objects = fc.tuple(baseObjects, adminObjects, network).map((parts) => mergeObjects(...parts));
const readings = fc.boolean().map((ipBlockMatchesPods) => ({ ...defaultReading, ipBlockMatchesPods }));

it('engine and reference agree on admin, network and baseline policies', () => {
  expect(agree(objects, readings, contest)).toBeGreaterThan(10_000);
});

it('the random clusters hold valid policies of every kind, and invalid parts', () => {
  const policies = fc.sample(objects, { numRuns: 100, seed: 1 }).flatMap((raw) => {
    const { adminPolicies } = clusterFrom(raw);
    return adminPolicies.state === 'known' ? adminPolicies.value : [];
  });
  const kinds = ['AdminNetworkPolicy', 'BaselineAdminNetworkPolicy', 'ClusterNetworkPolicy'];
  for (const kind of kinds) {
    const own = policies.filter((policy) => policy.kind === kind);
    expect(own.filter(({ problems }) => problems.length === 0).length, kind).toBeGreaterThan(own.length / 2);
  }
  const rules = policies.flatMap(({ ingress, egress }) => [...ingress, ...egress]);
  const peers = new Set(rules.flatMap((rule) => rule.peers.map(({ kind }) => kind)));
  expect([...peers].sort()).toEqual(['domains', 'networks', 'nodes', 'pods']);
  expect(new Set(rules.map(({ action }) => action)).size).toBe(4);
  expect(rules.some(({ understood }) => !understood)).toBe(true);
  expect(policies.some(({ doubt }) => doubt !== undefined)).toBe(true);
});
