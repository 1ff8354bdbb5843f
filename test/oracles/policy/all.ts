/** Random clusters in which policies of all kinds meet, read in every way, some of their lists not collected. */
import fc from 'fast-check';
import type { Cluster } from '../../../src/model/cluster.ts';
import type { JsonObject } from '../../../src/parse/json.ts';
import { clusterOf } from '../../../src/parse/kubernetes/cluster.ts';
import { failed, parsed } from '../../../src/parse/result.ts';
import { defaultReading, type PolicyReading } from '../../../src/policy/options.ts';
import { adminObjects } from './admin.ts';
import { calicoObjects } from './calico.ts';
import { ciliumObjects } from './cilium.ts';
import { istioMeshed, istioObjects } from './istio.ts';
import { linkerdDefaults, linkerdMeshed, linkerdObjects } from './linkerd.ts';
import { networkPolicyObjects } from './network-policy.ts';
import { baseObjects, mergeObjects, type RawObjects } from './world.ts';

/** Now and then none of a kind: policies of one that decide keep others from being asked. */
const often = (kind: fc.Arbitrary<RawObjects>, weight = 2): fc.Arbitrary<RawObjects> =>
  fc.oneof({ weight, arbitrary: kind }, { weight: 1, arbitrary: fc.constant({}) });

/** Pods of which each may be in a mesh, or in two. */
const meshedBase: fc.Arbitrary<RawObjects> = baseObjects.chain((base) =>
  fc
    .tuple(
      fc.oneof(fc.constant(base), istioMeshed(base)),
      fc.oneof(fc.constant(base), fc.constant(base), linkerdMeshed(base)),
    )
    .map(([istio, linkerd]) => joined(istio, linkerd)),
);

interface RawPod {
  readonly metadata: JsonObject & { readonly labels?: object; readonly annotations?: object };
  readonly spec?: { readonly containers: readonly { readonly name: string }[] };
}

/** Two versions of the same pods and namespaces, with what either of them adds. */
function joined(a: RawObjects, b: RawObjects): RawObjects {
  const both = (plural: string): readonly JsonObject[] =>
    (a[plural] ?? []).map((raw, i) => {
      const [one, other] = [raw, b[plural]?.[i] ?? raw] as unknown as readonly [RawPod, RawPod];
      const names = (one.spec?.containers ?? []).map(({ name }) => name);
      const more = (other.spec?.containers ?? []).filter(({ name }) => !names.includes(name));
      return {
        ...raw,
        metadata: {
          ...one.metadata,
          labels: { ...other.metadata.labels, ...one.metadata.labels },
          annotations: { ...other.metadata.annotations, ...one.metadata.annotations },
        },
        ...(one.spec === undefined
          ? {}
          : { spec: { ...one.spec, containers: [...one.spec.containers, ...more] } }),
      };
    });
  return { ...a, pods: both('pods'), namespaces: both('namespaces') };
}

/** Objects of every kind there is. */
export const allObjects: fc.Arbitrary<RawObjects> = fc
  .tuple(
    meshedBase,
    often(networkPolicyObjects),
    often(adminObjects, 1),
    often(calicoObjects),
    often(ciliumObjects),
    often(istioObjects),
    often(linkerdObjects),
  )
  .map((parts) => mergeObjects(...parts));

export const allReadings: fc.Arbitrary<PolicyReading> = fc
  .record({
    dialect: fc.constantFrom('kubernetes', 'calico', 'cilium'),
    ipBlockMatchesPods: fc.boolean(),
    ciliumEnforcement: fc.constantFrom('default', 'default', 'default', 'always', 'never'),
    ciliumCidrMatchesNodes: fc.boolean(),
    istioRootNamespace: fc.constantFrom('istio-system', 'a'),
    linkerdDefaultInboundPolicy: linkerdDefaults,
  })
  .map((drawn) => ({ ...defaultReading, ...drawn }));

/** Lists that a snapshot may lack. Of a group of kinds one list that cannot be read is enough. */
const lists = [
  'namespaces',
  'nodes',
  'services',
  'endpointslices.discovery.k8s.io',
  'configmaps',
  'serviceaccounts',
  'networkpolicies.networking.k8s.io',
  'adminnetworkpolicies.policy.networking.k8s.io',
  'globalnetworkpolicies.crd.projectcalico.org',
  'ciliumnetworkpolicies.cilium.io',
  'authorizationpolicies.security.istio.io',
  'servers.policy.linkerd.io',
] as const;

export interface PartlyKnown {
  readonly raw: RawObjects;
  readonly missing: readonly string[];
}

export const partlyKnown: fc.Arbitrary<PartlyKnown> = fc.record({
  raw: allObjects,
  missing: fc.subarray([...lists], { minLength: 1, maxLength: 3 }),
});

export function clusterWithout({ raw, missing }: PartlyKnown): Cluster {
  return clusterOf((plural) => {
    if (missing.includes(plural))
      return { where: plural, objects: failed({ code: 'test/missing', file: plural, message: 'forbidden' }) };
    return { where: plural, objects: parsed((raw[plural] ?? []).map((object) => ({ object }))) };
  });
}
