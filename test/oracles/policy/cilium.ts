/** Random objects of Cilium's kinds: every field of the policies, now and then one that is invalid. */
import fc from 'fast-check';
import type { JsonObject } from '../../../src/parse/json.ts';
import {
  cidrs,
  labelKeys,
  labelValues,
  namespaceNames,
  portNames,
  portNumbers,
  type RawObjects,
  serviceAccounts,
} from './world.ts';

const special: fc.Arbitrary<readonly [key: string, value: string]> = fc.oneof(
  fc.constantFrom(...namespaceNames).map((name) => ['k8s:io.kubernetes.pod.namespace', name] as const),
  fc.constantFrom(...namespaceNames).map((name) => ['io.kubernetes.pod.namespace', name] as const),
  fc
    .tuple(fc.constantFrom(...labelKeys), fc.constantFrom(...labelValues))
    .map(([key, value]) => [`k8s:io.cilium.k8s.namespace.labels.${key}`, value] as const),
  fc
    .constantFrom(...namespaceNames)
    .map((name) => ['io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name', name] as const),
  fc.constantFrom(...serviceAccounts).map((name) => ['io.cilium.k8s.policy.serviceaccount', name] as const),
  fc.constantFrom('default', 'east').map((name) => ['io.cilium.k8s.policy.cluster', name] as const),
  fc
    .constantFrom('host', 'remote-node', 'world', 'world-ipv4', 'kube-apiserver', 'init', 'health', 'all')
    .map((name) => [`reserved:${name}`, ''] as const),
);

const plainLabel = fc.tuple(
  fc
    .tuple(fc.constantFrom('', '', 'k8s:', 'any:', 'container:'), fc.constantFrom(...labelKeys))
    .map((parts) => parts.join('')),
  fc.constantFrom(...labelValues),
);

const anyLabel = fc.oneof({ weight: 4, arbitrary: plainLabel }, { weight: 2, arbitrary: special });

const expression: fc.Arbitrary<JsonObject> = fc
  .tuple(anyLabel, fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist'), fc.constantFrom(...labelValues))
  .map(([[key, value], operator, other]) =>
    operator === 'In' || operator === 'NotIn' ? { key, operator, values: [value, other] } : { key, operator },
  );

/** Mostly short: two requirements seldom meet one pod. */
const endpointSelector: fc.Arbitrary<JsonObject> = fc.oneof(
  { weight: 8, arbitrary: fc.constant({}) },
  { weight: 16, arbitrary: anyLabel.map(([key, value]) => ({ matchLabels: { [key]: value } })) },
  { weight: 8, arbitrary: expression.map((one) => ({ matchExpressions: [one] })) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(anyLabel, expression)
      .map(([[key, value], one]) => ({ matchLabels: { [key]: value }, matchExpressions: [one] })),
  },
  { weight: 1, arbitrary: fc.constant({ matchlabels: { app: 'web' } }) },
);

const nodeSelector: fc.Arbitrary<JsonObject> = fc.constantFrom(
  {},
  { matchLabels: { tier: 'x' } },
  { matchLabels: { 'kubernetes.io/hostname': 'n2' } },
  { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['x'] }] },
);

const entity = fc.constantFrom(
  'all',
  'world',
  'world-ipv4',
  'world-ipv6',
  'cluster',
  'cluster-mesh',
  'host',
  'remote-node',
  'kube-apiserver',
  'init',
  'ingress',
  'health',
  'unmanaged',
  'none',
);

const groupSelector: fc.Arbitrary<JsonObject> = fc.constantFrom(
  {},
  { matchLabels: { team: 'x' } },
  { matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] },
);

const cidrRule: fc.Arbitrary<JsonObject> = fc.oneof(
  fc.record({ cidr: fc.constantFrom(...cidrs) }),
  fc.constantFrom(
    { cidr: '0.0.0.0/0', except: ['192.0.2.128/25'] },
    { cidr: '192.0.2.0/24', except: ['192.0.2.0/25', '192.0.2.200/32'] },
    { cidr: '10.0.0.0/8', except: ['192.0.2.0/24'] },
  ),
  fc.record(
    { cidrGroupRef: fc.constantFrom('one', 'two', 'missing'), except: fc.constant(['192.0.2.200/32']) },
    { requiredKeys: ['cidrGroupRef'] },
  ),
  groupSelector.map((cidrGroupSelector) => ({ cidrGroupSelector })),
);

const serviceNamespace = fc.constantFrom(...namespaceNames, '');

const service: fc.Arbitrary<JsonObject> = fc.oneof(
  fc
    .record({ serviceName: fc.constantFrom('web', 'outside', 'missing'), namespace: serviceNamespace })
    .map((k8sService) => ({ k8sService })),
  fc
    .record({ selector: groupSelector, namespace: serviceNamespace })
    .map((k8sServiceSelector) => ({ k8sServiceSelector })),
);

const list = (item: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 8, arbitrary: fc.array(item, { minLength: 1, maxLength: 2 }) },
    { weight: 1, arbitrary: fc.constant([]) },
  );

function peers(direction: 'ingress' | 'egress', deny: boolean): fc.Arbitrary<JsonObject> {
  const side = direction === 'ingress' ? 'from' : 'to';
  const one = (name: string, item: fc.Arbitrary<unknown>): fc.Arbitrary<JsonObject> =>
    list(item).map((value) => ({ [name]: value }));
  const invalid = fc.constantFrom<JsonObject>(
    { [`${side}Endpoint`]: [{}] },
    { [`${side}Entities`]: ['everybody'] },
    { [`${side}CIDR`]: ['nowhere'] },
    { [`${side}Entities`]: ['all'], [`${side}Endpoints`]: [{}] },
  );
  const both = [
    { weight: 16, arbitrary: one(`${side}Endpoints`, endpointSelector) },
    { weight: 12, arbitrary: one(`${side}Entities`, entity) },
    { weight: 4, arbitrary: one(`${side}CIDR`, fc.constantFrom(...cidrs, '192.0.2.1')) },
    { weight: 8, arbitrary: one(`${side}CIDRSet`, cidrRule) },
    { weight: 4, arbitrary: one(`${side}Nodes`, nodeSelector) },
    {
      weight: 2,
      arbitrary: one(`${side}Groups`, fc.constant({ aws: { securityGroupsIds: ['sg-1'] } })),
    },
    { weight: 4, arbitrary: fc.constant({}) },
    { weight: 1, arbitrary: invalid },
  ];
  if (direction === 'ingress') return fc.oneof(...both);
  return fc.oneof(
    ...both,
    { weight: deny ? 1 : 8, arbitrary: one('toServices', service) },
    ...(deny
      ? []
      : [
          {
            weight: 4,
            arbitrary: one('toFQDNs', fc.constantFrom({ matchName: 'a.example' }, { matchPattern: '*' })),
          },
        ]),
  );
}

const portProtocol: fc.Arbitrary<JsonObject> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record(
      {
        port: fc.oneof(
          { weight: 4, arbitrary: fc.constantFrom(...portNumbers.filter((port) => port <= 81)).map(String) },
          { weight: 2, arbitrary: fc.constantFrom(...portNames) },
          { weight: 1, arbitrary: fc.constantFrom('0', 'HTTP') },
        ),
        endPort: fc.constantFrom(0, 81, 443),
        protocol: fc.constantFrom('TCP', 'TCP', 'UDP', 'SCTP', 'ANY', ''),
      },
      { requiredKeys: ['port'] },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      { protocol: 'VRRP' },
      { port: '70000' },
      { port: '81', endPort: 80 },
      { protocol: 'TCP' },
    ),
  },
);

const l7: fc.Arbitrary<JsonObject> = fc.constantFrom<JsonObject>(
  { rules: { http: [{ method: 'GET', path: '/' }] } },
  { rules: { http: [] } },
  { rules: { kafka: [{ role: 'produce' }] } },
  { rules: { dns: [{ matchPattern: '*' }] } },
  { rules: { l7proto: 'r2d2' } },
  { serverNames: ['a.example'] },
  { listener: { name: 'one', envoyConfig: { name: 'two' } } },
  { terminatingTLS: { secret: { name: 'cert' } } },
);

const toPorts = (deny: boolean): fc.Arbitrary<unknown> => {
  const ports = fc.array(portProtocol, { maxLength: 2 });
  const plain = ports.map((value) => ({ ports: value }));
  return list(
    deny
      ? plain
      : fc.oneof(
          { weight: 4, arbitrary: plain },
          { weight: 1, arbitrary: fc.tuple(plain, l7).map(([one, more]) => ({ ...one, ...more })) },
          {
            weight: 1,
            arbitrary: l7.map((more) => ({ ports: [{ port: '80', protocol: 'TCP' }], ...more })),
          },
        ),
  );
};

const icmps: fc.Arbitrary<unknown> = list(
  fc
    .array(fc.constantFrom({ type: 8 }, { family: 'IPv6', type: 'EchoRequest' }, { type: 'EchoReply' }), {
      maxLength: 2,
    })
    .map((fields) => ({ fields })),
);

function rule(direction: 'ingress' | 'egress', deny: boolean): fc.Arbitrary<JsonObject> {
  const side = direction === 'ingress' ? 'from' : 'to';
  const ports = fc.oneof(
    { weight: 4, arbitrary: fc.constant({}) },
    { weight: 4, arbitrary: toPorts(deny).map((value) => ({ toPorts: value })) },
    { weight: 1, arbitrary: icmps.map((value) => ({ icmps: value })) },
  );
  const requires = fc.oneof(
    { weight: 8, arbitrary: fc.constant({}) },
    { weight: 1, arbitrary: list(endpointSelector).map((value) => ({ [`${side}Requires`]: value })) },
  );
  const authentication = fc.oneof(
    { weight: 12, arbitrary: fc.constant({}) },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom('required', 'disabled', 'test-always-fail')
        .map((mode) => ({ authentication: { mode } })),
    },
  );
  return fc
    .tuple(peers(direction, deny), ports, requires, authentication)
    .map(([a, b, c, d]) => ({ ...a, ...b, ...c, ...(deny ? {} : d) }));
}

const sections: fc.Arbitrary<JsonObject> = fc.record(
  {
    ingress: fc.array(rule('ingress', false), { maxLength: 2 }),
    egress: fc.array(rule('egress', false), { maxLength: 2 }),
    ingressDeny: fc.array(rule('ingress', true), { minLength: 1, maxLength: 1 }),
    egressDeny: fc.array(rule('egress', true), { minLength: 1, maxLength: 1 }),
    enableDefaultDeny: fc.record({ ingress: fc.boolean(), egress: fc.boolean() }, { requiredKeys: [] }),
  },
  { requiredKeys: [] },
);

/** Policies that select nobody say nothing: most select every pod of their namespace, or of all. */
const subject: fc.Arbitrary<JsonObject> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  { weight: 2, arbitrary: endpointSelector },
);

const spec: fc.Arbitrary<JsonObject> = fc
  .tuple(subject, sections)
  .map(([selector, rest]) => ({ endpointSelector: selector, ...rest }));

const hostSpec: fc.Arbitrary<JsonObject> = fc
  .tuple(nodeSelector, sections)
  .map(([selector, rest]) => ({ nodeSelector: selector, ...rest }));

const named = (items: readonly JsonObject[], kind: string, scope: JsonObject = {}): readonly JsonObject[] =>
  items.map((item, i) => ({ kind, metadata: { name: `${kind.toLowerCase()}-${i}`, ...scope }, ...item }));

/** Policies, CIDR groups, and what they refer to: Services with their endpoints, among them the API server's. */
export const ciliumObjects: fc.Arbitrary<RawObjects> = fc
  .record({
    policies: fc.array(
      fc.tuple(
        fc.constantFrom(...namespaceNames),
        fc.oneof(
          { weight: 4, arbitrary: spec.map((one) => ({ spec: one })) },
          { weight: 1, arbitrary: fc.array(spec, { maxLength: 2 }).map((specs) => ({ specs })) },
        ),
      ),
      { maxLength: 4 },
    ),
    clusterwide: fc.array(
      fc
        .oneof({ weight: 3, arbitrary: spec }, { weight: 1, arbitrary: hostSpec })
        .map((one) => ({ spec: one })),
      { maxLength: 3 },
    ),
    groups: fc.array(
      fc.record({
        labels: fc.constantFrom({}, { team: 'x' }),
        cidrs: fc.subarray([...cidrs], { maxLength: 2 }),
      }),
      { maxLength: 2 },
    ),
    web: fc.constantFrom(...namespaceNames),
    config: fc.constantFrom(
      undefined,
      { 'enable-host-firewall': 'true', 'cluster-name': 'east' },
      { 'enable-host-firewall': 'false' },
    ),
    apiServer: fc.constantFrom(undefined, '192.168.0.1', '192.0.2.1', '10.0.0.1'),
  })
  .map(({ policies, clusterwide, groups, web, config, apiServer }) => ({
    configmaps:
      config === undefined
        ? []
        : [
            {
              kind: 'ConfigMap',
              metadata: { name: 'cilium-config', namespace: 'kube-system' },
              data: config,
            },
          ],
    'ciliumnetworkpolicies.cilium.io': policies.flatMap(([namespace, item], i) =>
      named([item], `CiliumNetworkPolicy`, { namespace, name: `cnp-${i}` }),
    ),
    'ciliumclusterwidenetworkpolicies.cilium.io': named(clusterwide, 'CiliumClusterwideNetworkPolicy'),
    'ciliumcidrgroups.cilium.io': groups.map(({ labels, cidrs: externalCIDRs }, i) => ({
      kind: 'CiliumCIDRGroup',
      metadata: { name: i === 0 ? 'one' : 'two', labels },
      spec: { externalCIDRs },
    })),
    services: [
      {
        kind: 'Service',
        metadata: { name: 'web', namespace: web, labels: { team: 'x' } },
        spec: { selector: { app: 'web' }, ports: [{ port: 80 }] },
      },
      {
        kind: 'Service',
        metadata: { name: 'outside', namespace: 'a' },
        spec: { ports: [{ port: 80 }] },
      },
    ],
    'endpointslices.discovery.k8s.io': [
      slice('a', 'outside', ['192.0.2.200', '192.168.0.2', '10.0.0.1']),
      ...(apiServer === undefined ? [] : [slice('default', 'kubernetes', [apiServer])]),
    ],
  }));

const slice = (namespace: string, name: string, addresses: readonly string[]): JsonObject => ({
  kind: 'EndpointSlice',
  addressType: 'IPv4',
  metadata: { name, namespace, labels: { 'kubernetes.io/service-name': name } },
  endpoints: [{ addresses }],
});
