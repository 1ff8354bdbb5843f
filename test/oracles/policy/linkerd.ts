/** Random Linkerd policies, and pods with and without its proxy. */
import fc from 'fast-check';
import type { JsonObject } from '../../../src/parse/json.ts';
import {
  baseObjects,
  cidrs,
  labelSelector,
  labelsOf,
  mergeObjects,
  namespaceNames,
  portNames,
  portNumbers,
  type RawObjects,
  serviceAccounts,
} from './world.ts';

const group = 'policy.linkerd.io';
const spaces = fc.constantFrom(...namespaceNames);
const names = (prefix: string) => fc.constantFrom(`${prefix}0`, `${prefix}1`);
const defaults = [
  'all-unauthenticated',
  'all-authenticated',
  'cluster-unauthenticated',
  'cluster-authenticated',
  'deny',
  'audit',
] as const;

const identities = fc.constantFrom(
  '*',
  'default.a.serviceaccount.identity.linkerd.cluster.local',
  'robot.b.serviceaccount.identity.linkerd.cluster.local',
  '*.a.serviceaccount.identity.linkerd.cluster.local',
  'default.b.serviceaccount.identity.mesh.example.org',
  '*.c.serviceaccount.identity.mesh.example.org',
  '*.cluster.local',
  '*.example.org',
  'client.example.org',
  'spiffe://example.org/client',
  'Not Valid',
);

const network = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...cidrs).map((cidr) => ({ cidr })) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<JsonObject>(
      { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] },
      { cidr: '0.0.0.0/0', except: ['10.0.0.2', '192.0.2.0/24'] },
      { cidr: '192.0.2.1' },
      { cidr: '10.1.0.0/16', except: ['10.0.0.0/8'] },
    ),
  },
);
const networks = fc.array(network, { minLength: 1, maxLength: 2 });

const server = fc.record({
  labels: labelsOf,
  spec: fc
    .record({
      selector: fc.oneof(
        { weight: 4, arbitrary: labelSelector.map((podSelector) => ({ podSelector })) },
        { weight: 4, arbitrary: fc.constant({ podSelector: {} }) },
        { weight: 1, arbitrary: fc.constant({ externalWorkloadSelector: {} }) },
      ),
      port: fc.constantFrom<(number | string)[]>(...portNumbers, ...portNumbers, ...portNames, 0),
      proxyProtocol: fc.constantFrom(
        undefined,
        'unknown',
        'HTTP/1',
        'HTTP/2',
        'gRPC',
        'opaque',
        'TLS',
        'SMTP',
      ),
      accessPolicy: fc.constantFrom(undefined, undefined, undefined, ...defaults, 'some'),
    })
    .map(({ selector, port, proxyProtocol, accessPolicy }) => ({
      ...selector,
      port,
      ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
      ...(accessPolicy === undefined ? {} : { accessPolicy }),
    })),
});

const accountRef = fc.record(
  { name: fc.constantFrom(...serviceAccounts), namespace: spaces },
  { requiredKeys: ['name'] },
);

const client = fc.oneof(
  fc.record({ unauthenticated: fc.constant(true), networks }, { requiredKeys: ['unauthenticated'] }),
  fc.record(
    {
      networks,
      meshTLS: fc.oneof(
        fc.constant({ unauthenticatedTLS: true }),
        fc.record({ identities: fc.array(identities, { minLength: 1, maxLength: 2 }) }),
        fc.record({ serviceAccounts: fc.array(accountRef, { minLength: 1, maxLength: 2 }) }),
      ),
    },
    { requiredKeys: ['meshTLS'] },
  ),
  fc.constantFrom<JsonObject>({}, { unauthenticated: true, meshTLS: {} }, { meshTls: {} }),
);

const serverAuthorization = fc.record({
  spec: fc.record({
    server: fc.oneof(
      names('server').map((name) => ({ name })),
      labelSelector.map((selector) => ({ selector })),
    ),
    client,
  }),
});

const targetRef = (namespace: string) =>
  fc.oneof(
    { weight: 4, arbitrary: names('server').map((name) => ({ group, kind: 'Server', name })) },
    { weight: 1, arbitrary: fc.constant({ kind: 'Namespace', name: namespace }) },
    { weight: 1, arbitrary: names('route').map((name) => ({ group, kind: 'HTTPRoute', name })) },
    {
      weight: 1,
      arbitrary: names('grpc').map((name) => ({
        group: 'gateway.networking.k8s.io',
        kind: 'GRPCRoute',
        name,
      })),
    },
  );

const authenticationRef = fc.oneof(
  { weight: 3, arbitrary: names('tls').map((name) => ({ group, kind: 'MeshTLSAuthentication', name })) },
  { weight: 3, arbitrary: names('net').map((name) => ({ group, kind: 'NetworkAuthentication', name })) },
  { weight: 1, arbitrary: accountRef.map((ref) => ({ kind: 'ServiceAccount', ...ref })) },
  { weight: 1, arbitrary: fc.constant({ kind: 'Pod', name: 'p0' }) },
);

const authorizationPolicy = spaces.chain((namespace) =>
  fc.record({
    namespace: fc.constant(namespace),
    spec: fc.record({
      targetRef: targetRef(namespace),
      requiredAuthenticationRefs: fc.array(
        fc
          .tuple(authenticationRef, fc.option(spaces, { nil: undefined, freq: 4 }))
          .map(([ref, other]) => (other === undefined ? ref : { ...ref, namespace: other })),
        { maxLength: 2 },
      ),
    }),
  }),
);

const meshTls = fc.record({
  spec: fc.record(
    {
      identities: fc.array(identities, { maxLength: 2 }),
      identityRefs: fc.array(
        fc.oneof(
          accountRef.map((ref) => ({ kind: 'ServiceAccount', ...ref })),
          spaces.map((name) => ({ kind: 'Namespace', name })),
        ),
        { maxLength: 1 },
      ),
    },
    { requiredKeys: [] },
  ),
});

const networkAuthentication = fc.record({
  spec: fc.record({ networks: fc.array(network, { maxLength: 2 }) }),
});

const route = fc.record({
  spec: names('server').map((name) => ({ parentRefs: [{ group, kind: 'Server', name }] })),
});

type Drawn = { readonly spec: JsonObject; readonly namespace?: string; readonly labels?: JsonObject };

/** Up to two objects for each name and namespace. */
const several = (kind: string, prefix: string, of: fc.Arbitrary<Drawn>, most: number) =>
  fc.array(fc.tuple(spaces, of), { maxLength: most }).map((items) => {
    const seen = new Map<string, number>();
    return items.map(([drawn, { spec, namespace = drawn, labels = {} }]) => {
      const i = seen.get(namespace) ?? 0;
      seen.set(namespace, i + 1);
      return { kind, metadata: { name: `${prefix}${i}`, namespace, labels }, spec };
    });
  });

export const linkerdObjects: fc.Arbitrary<RawObjects> = fc.record({
  [`servers.${group}`]: several('Server', 'server', server, 6),
  [`serverauthorizations.${group}`]: several('ServerAuthorization', 'saz', serverAuthorization, 4),
  [`authorizationpolicies.${group}`]: several('AuthorizationPolicy', 'policy', authorizationPolicy, 6),
  [`meshtlsauthentications.${group}`]: several('MeshTLSAuthentication', 'tls', meshTls, 4),
  [`networkauthentications.${group}`]: several('NetworkAuthentication', 'net', networkAuthentication, 4),
  [`httproutes.${group}`]: several('HTTPRoute', 'route', route, 3),
  'grpcroutes.gateway.networking.k8s.io': several('GRPCRoute', 'grpc', route, 3),
});

const settings = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Record<string, string>>({}) },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Record<string, string>>(
      ...defaults.map((policy) => ({ 'config.linkerd.io/default-inbound-policy': policy })),
      { 'config.linkerd.io/default-inbound-policy': 'nonsense' },
      { 'config.linkerd.io/skip-inbound-ports': '80-81, 443' },
      { 'config.linkerd.io/skip-outbound-ports': '3306' },
      { 'config.linkerd.io/proxy-require-identity-inbound-ports': '79,443' },
      { 'config.linkerd.io/opaque-ports': '80' },
    ),
  },
);

const annotated = (raw: JsonObject, annotations: Record<string, string>): JsonObject => ({
  ...raw,
  metadata: { ...(raw.metadata as object), annotations },
});

function withProxy(raw: JsonObject): JsonObject {
  const { spec } = raw as { readonly spec: { readonly containers: readonly unknown[] } };
  return { ...raw, spec: { ...spec, containers: [...spec.containers, { name: 'linkerd-proxy' }] } };
}

export const linkerdMeshed = (base: RawObjects): fc.Arbitrary<RawObjects> =>
  fc
    .record({
      pods: fc.array(fc.tuple(fc.constantFrom(true, true, true, false), settings), {
        minLength: 6,
        maxLength: 6,
      }),
      spaces: fc.array(settings, { minLength: 3, maxLength: 3 }),
    })
    .map((drawn) => ({
      ...base,
      pods: (base.pods ?? []).map((pod, i) => {
        const [proxied, annotations] = drawn.pods[i] ?? [false, {}];
        return annotated(proxied ? withProxy(pod) : pod, annotations);
      }),
      namespaces: (base.namespaces ?? []).map((one, i) => annotated(one, drawn.spaces[i] ?? {})),
    }));

/** Whole clusters: the pods of `baseObjects`, some of them in the mesh, and policies for it. */
export const linkerdClusters: fc.Arbitrary<RawObjects> = fc
  .tuple(baseObjects.chain(linkerdMeshed), linkerdObjects)
  .map((parts) => mergeObjects(...parts));

export const linkerdDefaults = fc.constantFrom(...defaults);
