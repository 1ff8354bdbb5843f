/** Random NetworkPolicies as raw objects, invalid ones now and then. */
import fc from 'fast-check';
import type { JsonObject } from '../../../src/parse/json.ts';
import {
  cidrs,
  labelSelector,
  namespaceNames,
  namespaceSelector,
  portNames,
  portNumbers,
  type RawObjects,
} from './world.ts';

const ipBlock: fc.Arbitrary<JsonObject> = fc.oneof(
  fc.constantFrom(...cidrs).map((cidr) => ({ cidr })),
  fc.constantFrom(
    { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] },
    { cidr: '0.0.0.0/0', except: ['10.0.0.0/8', '192.0.2.128/25'] },
    { cidr: '192.0.2.0/24', except: ['192.0.2.0/25'] },
  ),
);

const peer: fc.Arbitrary<JsonObject> = fc.oneof(
  { weight: 3, arbitrary: labelSelector.map((podSelector) => ({ podSelector })) },
  { weight: 3, arbitrary: namespaceSelector.map((selector) => ({ namespaceSelector: selector })) },
  {
    weight: 3,
    arbitrary: fc.record({ podSelector: labelSelector, namespaceSelector }),
  },
  { weight: 3, arbitrary: ipBlock.map((block) => ({ ipBlock: block })) },
  { weight: 1, arbitrary: fc.constantFrom({}, { ipBlock: { cidr: '10.0.0.0/8' }, podSelector: {} }) },
);

const port: fc.Arbitrary<JsonObject> = fc.record(
  {
    protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'),
    port: fc.oneof(fc.constantFrom(...portNumbers), fc.constantFrom(...portNames)),
    endPort: fc.constantFrom(80, 100),
  },
  { requiredKeys: [] },
);

const rules = (key: 'from' | 'to') =>
  fc.array(
    fc.record(
      { [key]: fc.array(peer, { maxLength: 2 }), ports: fc.array(port, { maxLength: 2 }) },
      { requiredKeys: [] },
    ),
    { maxLength: 2 },
  );

const policy: fc.Arbitrary<JsonObject> = fc
  .record({
    namespace: fc.constantFrom(...namespaceNames),
    spec: fc.record(
      {
        podSelector: fc.oneof(fc.constant({}), labelSelector),
        policyTypes: fc.subarray(['Ingress', 'Egress']),
        ingress: rules('from'),
        egress: rules('to'),
      },
      { requiredKeys: [] },
    ),
  })
  .map(({ namespace, spec }) => ({ kind: 'NetworkPolicy', metadata: { name: 'p', namespace }, spec }));

export const networkPolicyObjects: fc.Arbitrary<RawObjects> = fc
  .array(policy, { maxLength: 3 })
  .map((policies) => ({
    'networkpolicies.networking.k8s.io': policies.map((one, i) => ({
      ...one,
      metadata: { ...(one.metadata as JsonObject), name: `np${i}` },
    })),
  }));
