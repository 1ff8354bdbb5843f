/** The difference of two clusters against their whole lists: what it says, applied to the one list, must give the other. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Cluster } from '../../../src/model/cluster.ts';
import type { Connection } from '../../../src/model/connectivity.ts';
import { orElse } from '../../../src/model/known.ts';
import type { ConnectionChange, ConnectionPorts, DiffParty } from '../../../src/model/policy-diff.ts';
import { address } from '../../../src/net/address.ts';
import { contains, parsePrefix } from '../../../src/net/prefix.ts';
import { connectivity, familiesInUse } from '../../../src/policy/connectivity.ts';
import { diffConnectivity, streamDiff } from '../../../src/policy/diff/diff.ts';
import { isEndpointPod } from '../../../src/policy/endpoint.ts';
import type { Engine } from '../../../src/policy/engine/engine.ts';
import { policyEngine } from '../../../src/policy/index.ts';
import { adminObjects } from './admin.ts';
import { networkPolicyObjects } from './network-policy.ts';
import { baseObjects, clusterFrom, labelsOf, mergeObjects, type RawObjects } from './world.ts';

/** One address of every part that the pools' prefixes tell apart. */
const probes = [
  '10.0.0.2',
  '192.168.0.1',
  '192.168.0.2',
  '10.0.0.77',
  '10.1.0.77',
  '10.9.9.9',
  '192.0.2.1',
  '192.0.2.200',
  '192.168.9.9',
  '1.2.3.4',
  'fd00::77',
  '2001:db8::1',
].map((text) => ({ text, address: address(text) }));

type Ends = (party: DiffParty | Connection['src']) => readonly string[];

/** Parties as pods and single addresses. */
function endsOf(cluster: Cluster, six: boolean): Ends {
  const pods = orElse(cluster.pods, []).filter(isEndpointPod);
  return (party) => {
    if ('cidr' in party || 'cidrs' in party) {
      const prefixes = ('cidr' in party ? [party.cidr] : party.cidrs).map((text) => parsePrefix(text));
      return probes
        .filter((probe) => six || probe.address.family === 4)
        .filter((probe) => prefixes.some((one) => one !== undefined && contains(one, probe.address)))
        .map(({ text }) => text);
    }
    if (party.kind === 'Pod') return [`${party.namespace}/${party.name}`];
    return pods
      .filter((pod) => pod.namespace === party.namespace && pod.owner?.name === party.name)
      .map((pod) => `${pod.namespace}/${pod.name}`);
  };
}

/** `src -> dst` -> all that passes. */
function flowsOf(engine: Engine, by: 'workload' | 'pod', ends: Ends): Map<string, string> {
  const found = new Map<string, string[]>();
  for (const { src, dst, ...ports } of connectivity(engine, { by, self: true }))
    for (const from of ends(src))
      for (const to of ends(dst))
        if (from !== to)
          found.set(`${from} -> ${to}`, [...(found.get(`${from} -> ${to}`) ?? []), portText(ports)]);
  return new Map([...found].map(([pair, list]) => [pair, list.sort().join('; ')]));
}

const portText = ({ protocol, ports, verdict, why }: ConnectionPorts): string =>
  `${protocol} ${ports} ${verdict} ${(why ?? '').split('; ').sort().join('; ')}`;

function applied(before: ReadonlyMap<string, string>, changes: readonly ConnectionChange[], ends: Ends) {
  const flows = new Map(before);
  for (const { src, dst, before: old, after } of changes)
    for (const from of ends(src))
      for (const to of ends(dst)) {
        if (from === to) continue;
        const pair = `${from} -> ${to}`;
        expect(flows.get(pair) ?? '', pair).toBe(old.map(portText).sort().join('; '));
        if (after.length === 0) flows.delete(pair);
        else flows.set(pair, after.map(portText).sort().join('; '));
      }
  return flows;
}

const sorted = (flows: ReadonlyMap<string, string>) => [...flows].sort(([a], [b]) => (a < b ? -1 : 1));

/** Two of three pods have an owner that they share with others. */
const owned = (objects: RawObjects): RawObjects => ({
  ...objects,
  pods: (objects.pods ?? []).map((pod, i) =>
    i % 3 === 0
      ? pod
      : {
          ...pod,
          metadata: {
            ...(pod.metadata as object),
            ownerReferences: [{ kind: 'StatefulSet', name: 'db', controller: true }],
          },
        },
  ),
});

const policies = fc.oneof(
  { weight: 2, arbitrary: networkPolicyObjects },
  {
    weight: 1,
    arbitrary: fc.tuple(networkPolicyObjects, adminObjects).map((parts) => mergeObjects(...parts)),
  },
);

/** The same pods under other policies; one of them with other labels, or gone. */
const versions = fc
  .record({
    base: baseObjects.map(owned),
    policies: fc.tuple(policies, policies),
    keep: fc.boolean(),
    changed: fc.nat({ max: 5 }),
    labels: fc.option(labelsOf, { nil: undefined }),
  })
  .map(({ base, policies: [first, second], keep, changed, labels }) => {
    const pods = (base.pods ?? []).map((pod, i) =>
      i === changed && labels !== undefined
        ? { ...pod, metadata: { ...(pod.metadata as object), labels } }
        : pod,
    );
    const later = keep ? first : second;
    return {
      a: mergeObjects(base, first),
      b: mergeObjects({ ...base, pods }, later),
      fewer: mergeObjects({ ...base, pods: pods.filter((_, i) => i !== changed) }, later),
    };
  });

const runs = Number(process.env.PODPATH_POLICY_CASES ?? 150);

describe('diff of random clusters', () => {
  it.each(['pod', 'workload'] as const)('by %s, applied to the one list, gives the other', (by) => {
    fc.assert(
      fc.property(versions, (version) => {
        const [one, other] = [clusterFrom(version.a), clusterFrom(by === 'pod' ? version.fewer : version.b)];
        const [a, b] = [policyEngine(one), policyEngine(other)];
        // A workload speaks what any of its pods does, and a pod without an address what its workload does: only where all speak the
        // same is that the same in a list by workload and by pod.
        const spoken = orElse(one.pods, [])
          .filter(isEndpointPod)
          .map(({ addresses }) => addresses.map(({ family }) => family).join());
        const six =
          familiesInUse(a).length === familiesInUse(b).length &&
          !spoken.includes('') &&
          (by === 'pod' || new Set(spoken).size === 1);
        const ends = endsOf(one, six);
        const diff = diffConnectivity(a, b, { by });
        const all = [...diff.changes, ...diff.inside];
        const [before, after] = [flowsOf(a, by, ends), flowsOf(b, by, ends)];
        expect(sorted(applied(before, all, ends))).toEqual(sorted(after));
        const { counts, groups } = streamDiff(a, b, { by });
        const counted = (change: ConnectionChange['change']) =>
          all.filter((one) => one.change === change).length;
        expect(counts).toEqual({
          added: counted('added'),
          removed: counted('removed'),
          changed: counted('changed'),
        });
        expect(groups.reduce((sum, { count }) => sum + count, 0)).toBe(all.length);
        for (const { changes } of groups)
          expect(new Set(changes.map(({ because }) => JSON.stringify(because))).size).toBe(1);
        const touched = all.filter(({ src, dst }) =>
          ends(src).some((from) => ends(dst).some((to) => to !== from)),
        );
        expect(touched.length === 0).toBe(JSON.stringify(sorted(before)) === JSON.stringify(sorted(after)));
        for (const { change, before: old, after: now, because, newEnd, lostEnd } of all) {
          expect([old.length === 0, now.length === 0]).toEqual([change === 'added', change === 'removed']);
          expect(because.length === 0).toBe(newEnd !== undefined || lostEnd !== undefined);
        }
      }),
      { numRuns: runs },
    );
  });

  it('is empty between a cluster and itself, and mirrored the other way round', () => {
    const key = ({ src, dst, before, after }: ConnectionChange) => JSON.stringify([src, dst, before, after]);
    fc.assert(
      fc.property(versions, (version) => {
        const [a, b] = [policyEngine(clusterFrom(version.a)), policyEngine(clusterFrom(version.b))];
        const again = diffConnectivity(a, policyEngine(clusterFrom(version.a)));
        expect([again.changes, again.inside, again.policies, again.portlessOnly]).toEqual([[], [], [], 0]);
        const there = diffConnectivity(a, b);
        const back = diffConnectivity(b, a);
        const turned = [...back.changes, ...back.inside].map((one) => ({
          ...one,
          before: one.after,
          after: one.before,
        }));
        expect(turned.map(key).sort()).toEqual([...there.changes, ...there.inside].map(key).sort());
      }),
      { numRuns: runs },
    );
  });
});
