/** Random Istio policies, and the mesh that they hold in: proxies in pods, ambient namespaces, Services and DestinationRules. */
import fc from 'fast-check';
import type { JsonObject } from '../../../src/parse/json.ts';
import {
  baseObjects,
  cidrs,
  labelKeys,
  labelValues,
  mergeObjects,
  namespaceNames,
  portNames,
  portNumbers,
  type RawObjects,
  serviceAccounts,
} from './world.ts';

const root = 'istio-system';
const spaces = fc.constantFrom(...namespaceNames, root);
const maybeList = <T>(of: fc.Arbitrary<T>) => fc.array(of, { minLength: 1, maxLength: 2 });

const principals = [
  '*',
  'cluster.local/ns/a/sa/default',
  'cluster.local/ns/b/sa/robot',
  'cluster.local/ns/a/*',
  'cluster.local/ns/*/sa/default',
  '*/ns/b/sa/default',
  '*/sa/robot',
  'other.example/ns/a/sa/default',
  'prod*',
  'cluster*',
  '*.example/ns/c/sa/robot',
  'nobody',
];

const identityFields = {
  principals: fc.constantFrom(...principals),
  namespaces: fc.constantFrom(...namespaceNames, '*', 'a*', '*b', 'none'),
  trustDomains: fc.constantFrom('cluster.local', '*', 'other.example', 'cluster*'),
};
const accounts = fc.constantFrom(...serviceAccounts, 'a/default', 'b/robot', 'c/nobody');
const blocks = fc.constantFrom(...cidrs, '10.0.0.1', '192.0.2.1');
const ports = fc.constantFrom(...portNumbers.map(String), '8080', '15008');

const withNot = (fields: Readonly<Record<string, fc.Arbitrary<string>>>) =>
  Object.fromEntries(
    Object.entries(fields).flatMap(([name, value]) => [
      [name, maybeList(value)],
      [`not${name.charAt(0).toUpperCase()}${name.slice(1)}`, maybeList(value)],
    ]),
  );

/** One or two of the fields. */
const fewOf = (fields: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<JsonObject> =>
  fc
    .subarray(Object.keys(fields), { minLength: 1, maxLength: 2 })
    .chain((names) =>
      fc.record(Object.fromEntries(names.map((name) => [name, fields[name] ?? fc.constant(null)]))),
    );

const sources = fc.oneof(
  { weight: 3, arbitrary: fewOf(withNot({ ...identityFields, ipBlocks: blocks })) },
  { weight: 1, arbitrary: fewOf(withNot({ serviceAccounts: accounts, ipBlocks: blocks })) },
  {
    weight: 1,
    arbitrary: fewOf(
      withNot({
        requestPrincipals: fc.constantFrom('*', 'issuer/subject'),
        remoteIpBlocks: blocks,
        namespaces: identityFields.namespaces,
      }),
    ),
  },
  // Invalid: both ways to name accounts, an unknown field, a broken block.
  {
    weight: 1,
    arbitrary: fc.constantFrom<JsonObject>(
      { serviceAccounts: ['a/default'], namespaces: ['a'] },
      { namespace: ['a'] },
      { notIpBlocks: ['10.0.0.0/40'] },
      {},
    ),
  },
);

const operations = fc.oneof(
  { weight: 4, arbitrary: fewOf(withNot({ ports })) },
  {
    weight: 2,
    arbitrary: fewOf(
      withNot({
        ports,
        methods: fc.constantFrom('GET', 'POST'),
        paths: fc.constantFrom('/', '/admin*'),
        hosts: fc.constantFrom('*.example.com'),
      }),
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom<JsonObject>({ ports: [80] }, { ports: ['http'] }, {}) },
);

const condition = (key: string, values: fc.Arbitrary<string>) =>
  fewOf({ values: maybeList(values), notValues: maybeList(values) }).map((is) => ({ key, ...is }));

const conditions = fc.oneof(
  condition('source.ip', blocks),
  condition('source.namespace', identityFields.namespaces),
  condition('source.principal', identityFields.principals),
  condition('source.serviceAccount', accounts),
  condition('source.trustDomain', identityFields.trustDomains),
  condition('destination.ip', blocks),
  condition('destination.port', ports),
  condition('request.headers[x]', fc.constant('1')),
  condition('connection.sni', fc.constant('x.example.com')),
  condition('source.colour', fc.constant('red')),
);

const rules = fc.record(
  {
    from: maybeList(sources.map((source) => ({ source }))),
    to: maybeList(operations.map((operation) => ({ operation }))),
    when: fc.array(conditions, { maxLength: 1 }),
  },
  { requiredKeys: [] },
);

const selectors = fc.record(
  {
    matchLabels: fc.dictionary(fc.constantFrom(...labelKeys), fc.constantFrom(...labelValues), {
      maxKeys: 1,
    }),
  },
  { requiredKeys: [] },
);

const targets = fc.constantFrom<JsonObject>(
  { kind: 'Service', group: '', name: 's0' },
  { kind: 'Gateway', group: 'gateway.networking.k8s.io', name: 'waypoint' },
  { kind: 'GatewayClass', group: 'gateway.networking.k8s.io', name: 'istio-waypoint' },
  { kind: 'ServiceEntry', group: 'networking.istio.io', name: 's0' },
);

const aim = fc.oneof(
  { weight: 4, arbitrary: fc.constant<JsonObject>({}) },
  { weight: 2, arbitrary: selectors.map((selector) => ({ selector })) },
  { weight: 1, arbitrary: targets.map((target) => ({ targetRefs: [target] })) },
);

const authorizationPolicy = fc
  .record({
    namespace: spaces,
    aim,
    action: fc.constantFrom('ALLOW', 'ALLOW', 'ALLOW', 'DENY', 'DENY', 'DENY', 'CUSTOM', 'AUDIT', 'BLOCK'),
    rules: fc.array(rules, { maxLength: 2 }),
    dryRun: fc.constantFrom(false, false, false, true),
    typo: fc.constantFrom(false, false, false, false, false, false, false, false, true),
  })
  .map(({ namespace, aim: own, action, rules: list, dryRun, typo }) => ({
    namespace,
    ...(dryRun ? { annotations: { 'istio.io/dry-run': 'true' } } : {}),
    spec: {
      ...own,
      action,
      ...(typo ? { rule: list } : { rules: list }),
      ...(action === 'CUSTOM' ? { provider: { name: 'opa' } } : {}),
    },
  }));

const modes = fc.constantFrom('UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT', 'STRICT');

const peerAuthentication = fc
  .record({
    namespace: spaces,
    selector: fc.option(selectors, { nil: undefined }),
    mode: fc.oneof({ weight: 9, arbitrary: modes }, { weight: 1, arbitrary: fc.constant('LAX') }),
    ports: fc.dictionary(
      fc.constantFrom('79', '80', '443'),
      modes.map((mode) => ({ mode })),
      {
        maxKeys: 2,
      },
    ),
    created: fc.constantFrom(undefined, '2024-01-01T00:00:00Z', '2025-01-01T00:00:00Z'),
  })
  .map(({ namespace, selector, mode, ports: portLevelMtls, created }) => ({
    namespace,
    ...(created === undefined ? {} : { creationTimestamp: created }),
    spec: {
      ...(selector === undefined ? {} : { selector }),
      mtls: { mode },
      ...(Object.keys(portLevelMtls).length === 0 ? {} : { portLevelMtls }),
    },
  }));

const destinationRule = fc
  .record({
    namespace: spaces,
    host: fc.constantFrom('s0', 's1.a.svc.cluster.local', '*.b.svc.cluster.local', '*.local', 's0.c'),
    mode: fc.constantFrom('DISABLE', 'ISTIO_MUTUAL', 'SIMPLE'),
    where: fc.constantFrom('all', 'port'),
  })
  .map(({ namespace, host, mode, where }) => ({
    namespace,
    spec: {
      host,
      trafficPolicy:
        where === 'all'
          ? { tls: { mode } }
          : { portLevelSettings: [{ port: { number: 80 }, tls: { mode } }] },
    },
  }));

const service = fc
  .record({
    namespace: fc.constantFrom(...namespaceNames),
    selector: fc.oneof(
      fc.constant({ team: 'x' }),
      fc.dictionary(fc.constantFrom(...labelKeys), fc.constantFrom(...labelValues), {
        minKeys: 1,
        maxKeys: 1,
      }),
    ),
    port: fc.record({
      name: fc.constantFrom('http', 'http-web', 'tcp-db', 'grpc', 'https', 'web', 'mongo'),
      port: fc.constantFrom(80, 443, 53, 3306),
      targetPort: fc.constantFrom<(number | string)[]>(...portNumbers, 80, 80, ...portNames),
      protocol: fc.constantFrom('TCP', 'TCP', 'TCP', 'UDP'),
      appProtocol: fc.constantFrom(undefined, undefined, 'http', 'kubernetes.io/wss'),
    }),
    waypoint: fc.constantFrom(undefined, undefined, 'waypoint', 'none'),
  })
  .map(({ namespace, selector, port, waypoint }) => ({
    namespace,
    ...(waypoint === undefined ? {} : { labels: { 'istio.io/use-waypoint': waypoint } }),
    spec: { clusterIP: '10.96.0.1', selector, ports: [JSON.parse(JSON.stringify(port)) as JsonObject] },
  }));

type Drawn = { readonly namespace: string; readonly spec: JsonObject; readonly [key: string]: unknown };

const named = (kind: string, prefix: string, items: readonly Drawn[]): readonly JsonObject[] =>
  items.map(({ spec, ...metadata }, i) => ({ kind, metadata: { name: `${prefix}${i}`, ...metadata }, spec }));

export const istioObjects: fc.Arbitrary<RawObjects> = fc
  .record({
    policies: fc.array(authorizationPolicy, { maxLength: 5 }),
    peers: fc.array(peerAuthentication, { maxLength: 3 }),
    rules: fc.array(destinationRule, { maxLength: 1 }),
    services: fc.array(service, { maxLength: 4 }),
  })
  .map(({ policies, peers, rules: overrides, services }) => ({
    'authorizationpolicies.security.istio.io': named('AuthorizationPolicy', 'p', policies),
    'peerauthentications.security.istio.io': named('PeerAuthentication', 'm', peers),
    'destinationrules.networking.istio.io': named('DestinationRule', 'd', overrides),
    services: named('Service', 's', services),
  }));

const containers = (raw: JsonObject): readonly unknown[] => {
  const { spec } = raw as { readonly spec?: { readonly containers?: readonly unknown[] } };
  return spec?.containers ?? [];
};

const proxy = { name: 'istio-proxy' };

/** How a pod may take part in the mesh. */
const members: readonly ((pod: JsonObject) => JsonObject)[] = [
  (pod) => pod,
  (pod) => change(pod, {}, {}, [...containers(pod), proxy]),
  (pod) => change(pod, {}, {}, [...containers(pod), proxy]),
  (pod) => change(pod, {}, {}, [...containers(pod), proxy]),
  (pod) =>
    change(pod, {}, { 'traffic.sidecar.istio.io/excludeInboundPorts': '79, 443' }, [
      ...containers(pod),
      proxy,
    ]),
  (pod) =>
    change(pod, {}, { 'traffic.sidecar.istio.io/includeInboundPorts': '80,81' }, [...containers(pod), proxy]),
  (pod) => change(pod, {}, {}, [proxy]),
  (pod) =>
    change(
      pod,
      {
        'gateway.networking.k8s.io/gateway-name': 'waypoint',
        'gateway.istio.io/managed': 'istio.io-mesh-controller',
      },
      {},
      [proxy],
    ),
  (pod) => change(pod, { 'istio.io/dataplane-mode': 'ambient' }, {}),
  (pod) => change(pod, { 'istio.io/dataplane-mode': 'ambient' }, {}),
  (pod) => change(pod, { 'istio.io/dataplane-mode': 'ambient', 'istio.io/use-waypoint': 'waypoint' }, {}),
  (pod) => change(pod, {}, { 'ambient.istio.io/bypass-inbound-capture': 'true' }),
  (pod) => change(pod, { 'istio.io/dataplane-mode': 'none', 'istio.io/use-waypoint': 'none' }, {}),
];

function change(
  raw: JsonObject,
  labels: Readonly<Record<string, string>>,
  annotations: Readonly<Record<string, string>>,
  list?: readonly unknown[],
): JsonObject {
  const { metadata = {}, spec } = raw as { readonly metadata?: JsonObject; readonly spec?: JsonObject };
  return {
    ...raw,
    metadata: { ...metadata, labels: { ...(metadata.labels as object), ...labels }, annotations },
    ...(spec === undefined ? {} : { spec: list === undefined ? spec : { ...spec, containers: list } }),
  };
}

const spaceKinds: readonly Readonly<Record<string, string>>[] = [
  {},
  {},
  { 'istio.io/dataplane-mode': 'ambient' },
  { 'istio.io/dataplane-mode': 'ambient', 'istio.io/use-waypoint': 'waypoint' },
  {
    'istio.io/dataplane-mode': 'ambient',
    'istio.io/use-waypoint': 'far',
    'istio.io/use-waypoint-namespace': 'c',
  },
];

export const istioMeshed = (base: RawObjects): fc.Arbitrary<RawObjects> =>
  fc
    .record({
      pods: fc.oneof(
        fc.array(fc.nat(members.length - 1), { minLength: 6, maxLength: 6 }),
        // All sidecars, as in most meshes.
        fc.constant([1, 1, 1, 1, 1, 1]),
      ),
      teams: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
      spaces: fc.array(fc.nat(spaceKinds.length - 1), { minLength: 3, maxLength: 3 }),
    })
    .map((drawn) => ({
      ...base,
      pods: (base.pods ?? []).map((pod, i) => {
        const member = members[drawn.pods[i] ?? 0] ?? ((same: JsonObject) => same);
        return member(drawn.teams[i] ? change(pod, { team: 'x' }, {}) : pod);
      }),
      namespaces: (base.namespaces ?? []).map((one, i) =>
        change(one, spaceKinds[drawn.spaces[i] ?? 0] ?? {}, {}),
      ),
    }));

/** Whole clusters: the pods of `baseObjects`, some of them in the mesh, and policies for it. */
export const istioClusters: fc.Arbitrary<RawObjects> = fc
  .tuple(baseObjects.chain(istioMeshed), istioObjects)
  .map((parts) => mergeObjects(...parts));
