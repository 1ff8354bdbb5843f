/** Each fault really breaks the flows it names on the real cluster, keeps the others, and is healed without a trace. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FaultFlow } from '../../src/lab/faults/fault.ts';
import type { Cluster } from './cluster.ts';
import { attemptOf, type ClusterFault, seeWorld, sourceOf, type World } from './faults/fault.ts';
import { clusterFaults } from './faults/registry.ts';
import { type Outcome, tryFrom } from './flows.ts';
import { ownCluster, whyNoOwnCluster } from './support.ts';
import { pause } from './wait.ts';

/** What becomes of each flow, by what it is. */
async function tryAll(world: World, flows: readonly FaultFlow[]): Promise<Record<string, Outcome>> {
  const results = await Promise.all(
    flows.map(async (flow) => {
      const [outcome] = await tryFrom(
        world.cluster,
        sourceOf(world, flow),
        [await attemptOf(world, flow)],
        2,
      );
      const { src, dst, protocol, port, hostName = '', sizeBytes = 0 } = flow;
      return [`${src} ${dst} ${protocol} ${port} ${hostName} ${sizeBytes}`, outcome ?? 'not tried'] as const;
    }),
  );
  return Object.fromEntries(results);
}

/** Tries until the outcomes are as wanted: agents take a moment to see a change. Returns those of the last try. */
async function settle(
  world: World,
  flows: readonly FaultFlow[],
  wanted: (outcome: Outcome) => boolean,
): Promise<Outcome[]> {
  for (const started = performance.now(); ; await pause(500)) {
    const outcomes = Object.values(await tryAll(world, flows));
    if (outcomes.every(wanted) || performance.now() - started > 60_000) return outcomes;
  }
}

const isOk = (outcome: Outcome): boolean => outcome === 'ok';

describe.skipIf(whyNoOwnCluster !== undefined)('on the real cluster', () => {
  let cluster: Cluster;
  let applied: { readonly fault: ClusterFault; readonly world: World } | undefined;
  beforeAll(async () => {
    cluster = await ownCluster();
  });
  afterAll(async () => {
    await applied?.fault.heal(applied.world);
  });

  test.each(clusterFaults.map((fault) => [fault.name, fault] as const))(
    '%s breaks what it says, and no more',
    async (_, fault) => {
      const before = await seeWorld(cluster);
      const flows = [...fault.broken(before), ...fault.kept(before)];
      expect(await settle(before, flows, isOk)).toEqual(flows.map(() => 'ok'));
      applied = { fault, world: before };
      await fault.apply(before);
      // A fault may move pods.
      const world = await seeWorld(cluster);
      const broken = await settle(world, fault.broken(world), (outcome) => !isOk(outcome));
      expect(broken).not.toContain('ok');
      const kept = fault.kept(world);
      expect(kept.length).toBeGreaterThan(1);
      expect(await settle(world, kept, isOk)).toEqual(kept.map(() => 'ok'));
      await fault.heal(before);
      applied = undefined;
      const after = await seeWorld(cluster);
      const all = [...fault.broken(after), ...fault.kept(after)];
      expect(await settle(after, all, isOk)).toEqual(all.map(() => 'ok'));
    },
  );
});
