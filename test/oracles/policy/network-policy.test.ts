/** The engine against the reference that the walk's answers rest on, flow by flow. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Endpoint } from '../../../src/model/flow.ts';
import { address } from '../../../src/net/address.ts';
import type { FlowEnd, PolicyFlow } from '../../../src/policy/endpoint.ts';
import { defaultReading, type PolicyWorld } from '../../../src/policy/options.ts';
import { programOf } from '../../../src/policy/program.ts';
import type { Outcome } from '../../../src/policy/reference/contract.ts';
import { decide } from '../../../src/policy/reference.ts';
import { agree } from './agree.ts';
import { networkPolicyObjects } from './network-policy.ts';
import { baseObjects, mergeObjects } from './world.ts';

const none = address('0.0.0.0');

function endpoint(end: FlowEnd): Endpoint {
  switch (end.kind) {
    case 'pod':
      return {
        kind: 'pod',
        namespace: end.pod.namespace,
        name: end.pod.name,
        address: end.pod.addresses[0] ?? none,
      };
    case 'node':
      return { kind: 'node', name: end.node.name, address: end.node.internalAddresses[0] ?? none };
    case 'external':
      return { kind: 'external', address: end.address };
  }
}

function reference({ cluster, reading }: PolicyWorld, flow: PolicyFlow): Outcome {
  const icmp = flow.protocol.startsWith('ICMP');
  const { verdict } = decide(
    cluster,
    {
      src: endpoint(flow.src),
      dst: endpoint(flow.dst),
      protocol: icmp ? 'icmp' : (flow.protocol.toLowerCase() as 'tcp' | 'udp' | 'sctp'),
      dstPort: icmp ? 0 : flow.port,
    },
    { ipBlockMatchesPods: reading.ipBlockMatchesPods },
  );
  return verdict === 'unknown' ? 'conditional' : verdict;
}

it('engine and reference agree on NetworkPolicy', () => {
  // `decide` asks about one address: pods with two, or with none, are left to the reference that knows whole pods.
  const single = baseObjects.map((objects) => ({
    ...objects,
    pods: (objects.pods ?? []).filter((pod) => {
      const status = pod.status as { podIPs?: readonly unknown[] };
      return status.podIPs?.length === 1;
    }),
  }));
  const objects = fc.tuple(single, networkPolicyObjects).map((parts) => mergeObjects(...parts));
  const readings = fc.boolean().map((ipBlockMatchesPods) => ({ ...defaultReading, ipBlockMatchesPods }));
  expect(agree(objects, readings, { program: programOf, reference })).toBeGreaterThan(10_000);
});
