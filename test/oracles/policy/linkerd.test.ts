/** Engine and reference on Linkerd's policies, and what the random clusters hold. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { linkerdLayer, linkerdTraits } from '../../../src/policy/kinds/linkerd.ts';
import { defaultReading } from '../../../src/policy/options.ts';
import { linkerdOutcome } from '../../../src/policy/reference/linkerd.ts';
import { agree, type Contest } from './agree.ts';
import { linkerdClusters, linkerdDefaults } from './linkerd.ts';
import { clusterFrom } from './world.ts';

const contest: Contest = {
  program: (world) => {
    const layer = linkerdLayer(world);
    return { layers: layer === undefined ? [] : [layer], notes: [] };
  },
  traits: [linkerdTraits],
  reference: linkerdOutcome,
};

const readings = linkerdDefaults.map((linkerdDefaultInboundPolicy) => ({
  ...defaultReading,
  linkerdDefaultInboundPolicy,
}));

it('engine and reference agree on Linkerd', () => {
  expect(agree(linkerdClusters, readings, contest)).toBeGreaterThan(10_000);
}, 600_000);

it('the random clusters hold objects of every kind, valid and not', () => {
  const found = fc.sample(linkerdClusters, { numRuns: 100, seed: 1 }).flatMap((raw) => {
    const { linkerd } = clusterFrom(raw);
    return linkerd.state === 'known' ? [linkerd.value] : [];
  });
  expect(found.length).toBe(100);
  for (const key of [
    'servers',
    'serverAuthorizations',
    'authorizationPolicies',
    'meshTlsAuthentications',
    'networkAuthentications',
    'routes',
  ] as const) {
    const all = found.flatMap((objects) => [...objects[key]]);
    expect(all.filter(({ problems }) => problems.length === 0).length, key).toBeGreaterThan(20);
    if (key !== 'routes')
      expect(
        all.some(({ problems }) => problems.length > 0),
        key,
      ).toBe(true);
  }
});
