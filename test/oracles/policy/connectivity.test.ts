/** The printed connectivity against single questions to the engine: what is listed passes, what is not listed does not. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Connection, Party } from '../../../src/model/connectivity.ts';
import { contains, prefix } from '../../../src/net/prefix.ts';
import type { FlowEnd } from '../../../src/policy/endpoint.ts';
import { isExempt } from '../../../src/policy/engine/engine.ts';
import { connectivity, policyEngine } from '../../../src/policy/index.ts';
import { clusterCount, flowText } from './agree.ts';
import { networkPolicyObjects } from './network-policy.ts';
import { baseObjects, clusterFrom, flowsOf, mergeObjects } from './world.ts';

const isParty = (party: Party, end: FlowEnd): boolean =>
  'cidr' in party
    ? end.kind === 'external' && contains(prefix(party.cidr), end.address)
    : end.kind === 'pod' && end.pod.namespace === party.namespace && end.pod.name === party.name;

const holds = ({ ports }: Connection, port: number): boolean =>
  ports === 'all' ||
  ports.split(',').some((range) => {
    const [from = '', to = from] = range.split('-');
    return Number(from) <= port && port <= Number(to);
  });

it('lists exactly what single questions answer', () => {
  const objects = fc.tuple(baseObjects, networkPolicyObjects).map((parts) => mergeObjects(...parts));
  fc.assert(
    fc.property(objects, (raw) => {
      const engine = policyEngine(clusterFrom(raw));
      const all = [...connectivity(engine, { icmp: true })];
      for (const flow of flowsOf(engine.world.cluster)) {
        const ends = [flow.src, flow.dst];
        const family = ends.find((end) => end.kind === 'external')?.address.family;
        const pod = ends.find((end) => end.kind === 'pod')?.pod;
        // The list is about pods and addresses; a pod has no traffic with a family of which it has no address.
        const outside =
          family === undefined || (pod?.addresses.some((one) => one.family === family) ?? false);
        const skip = flow.protocol === 'ICMPv6' || ends.some((end) => end.kind === 'node') || !outside;
        if (skip || isExempt(flow.src, flow.dst)) continue;
        const found = all.filter(
          (one) =>
            one.protocol === flow.protocol &&
            isParty(one.src, flow.src) &&
            isParty(one.dst, flow.dst) &&
            (flow.protocol === 'ICMP' || holds(one, flow.port)),
        );
        const listed = found.map(({ verdict }) => verdict)[0] ?? 'deny';
        expect(`${flowText(flow)} ${listed}`).toBe(`${flowText(flow)} ${engine.verdict(flow).verdict}`);
        expect(found.length).toBeLessThanOrEqual(1);
      }
    }),
    { numRuns: clusterCount(40) },
  );
});

it('the outside is listed in the fewest prefixes', () => {
  const engine = policyEngine(
    clusterFrom({
      pods: [{ kind: 'Pod', metadata: { name: 'a', namespace: 'n' }, spec: { containers: [] } }],
      'networkpolicies.networking.k8s.io': [
        {
          kind: 'NetworkPolicy',
          metadata: { name: 'p', namespace: 'n' },
          spec: {
            policyTypes: ['Egress'],
            egress: [{ to: [{ ipBlock: { cidr: '10.0.0.0/9' } }, { ipBlock: { cidr: '10.128.0.0/9' } }] }],
          },
        },
      ],
    }),
  );
  const cidrs = [...connectivity(engine)].flatMap(({ dst, protocol }) =>
    'cidr' in dst && protocol === 'TCP' ? [dst.cidr] : [],
  );
  expect(cidrs).toEqual(['10.0.0.0/8']);
});
