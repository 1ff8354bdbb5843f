/** Random Calico policies, tiers, network sets, profiles and host endpoints as raw objects, invalid ones now and then. */
import fc from 'fast-check';
import type { JsonObject } from '../../../src/parse/json.ts';
import {
  labelKeys,
  labelsOf,
  labelValues,
  namespaceNames,
  portNames,
  portNumbers,
  type RawObjects,
  serviceAccounts,
} from './world.ts';

const quoted = fc.constantFrom(...labelValues).map((value) => `"${value}"`);
const key = fc.constantFrom(...labelKeys, 'none');

const comparison = (keys: fc.Arbitrary<string>, values: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.oneof(
    fc
      .tuple(keys, fc.constantFrom('==', '!=', 'contains', 'starts with', 'ends with', ' == '), values)
      .map((parts) => parts.join(' ')),
    fc
      .tuple(keys, fc.constantFrom('in', 'not in', 'notin'), fc.array(values, { maxLength: 2 }))
      .map(([name, operator, list]) => `${name} ${operator} {${list.join(', ')}}`),
    keys.map((name) => `has(${name})`),
  );

function expression(leaf: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 6, arbitrary: leaf },
    { weight: 1, arbitrary: fc.constant('all()') },
    { weight: 2, arbitrary: leaf.map((one) => `!(${one})`) },
    { weight: 2, arbitrary: fc.tuple(leaf, leaf).map(([a, b]) => `${a} && !${b}`.replace(/!(\w)/, '! $1')) },
    { weight: 2, arbitrary: fc.tuple(leaf, leaf, leaf).map(([a, b, c]) => `${a} || (${b} && ${c})`) },
  );
}

const special = fc.constantFrom(
  'projectcalico.org/namespace == "a"',
  'projectcalico.org/orchestrator == "k8s"',
  'projectcalico.org/orchestrator != "k8s"',
  'has(projectcalico.org/serviceaccount)',
  'projectcalico.org/serviceaccount in {"robot"}',
  'pcns.app == "web"',
  '!has(pcns.tier)',
  'pcsa.team == "x"',
);
const selector = expression(
  fc.oneof({ weight: 5, arbitrary: comparison(key, quoted) }, { weight: 1, arbitrary: special }),
);
const namespaceSelector = expression(
  fc.oneof(
    { weight: 3, arbitrary: comparison(key, quoted) },
    {
      weight: 2,
      arbitrary: comparison(
        fc.constantFrom('kubernetes.io/metadata.name', 'projectcalico.org/name'),
        fc.constantFrom(...namespaceNames).map((name) => `"${name}"`),
      ),
    },
  ),
);
const accountSelector = expression(
  fc.oneof(
    { weight: 2, arbitrary: comparison(key, quoted) },
    { weight: 1, arbitrary: fc.constant('projectcalico.org/name == "robot"') },
  ),
);

const nets4 = ['0.0.0.0/0', '10.0.0.0/8', '10.1.0.0/16', '10.0.0.2', '192.0.2.128/25', '192.168.0.0/16'];
const nets6 = ['fd00::/8', '::/0', '2001:db8::/32'];
const nets = fc.oneof(
  { weight: 4, arbitrary: fc.subarray(nets4, { minLength: 1, maxLength: 2 }) },
  { weight: 1, arbitrary: fc.subarray(nets6, { minLength: 1, maxLength: 2 }) },
);
const notNets = fc.oneof(
  { weight: 4, arbitrary: fc.subarray(nets4.slice(1), { minLength: 1, maxLength: 2 }) },
  { weight: 1, arbitrary: fc.constant(['fd00::/8']) },
);

const port = fc.oneof(
  fc.constantFrom<number | string>(...portNumbers),
  fc.constantFrom('80:81', '443', '1:65535'),
  fc.constantFrom(...portNames),
);
const portList = fc.array(port, { minLength: 1, maxLength: 2 });

const serviceMatch = fc.record(
  { name: fc.constantFrom('s0', 's1', 's2', 'gone'), namespace: fc.constantFrom(...namespaceNames) },
  { requiredKeys: ['name'] },
);

/** Absent in one of `parts` cases. */
const mostly = <T>(arbitrary: fc.Arbitrary<T>, parts = 4): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 1, arbitrary: fc.constant(undefined) }, { weight: parts - 1, arbitrary });
const half = <T>(arbitrary: fc.Arbitrary<T>) => mostly(arbitrary, 2);
/** Most rules use few fields: a rule with many matches nothing. */
const rarely = <T>(arbitrary: fc.Arbitrary<T>, parts = 5): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: parts - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });

const entity: fc.Arbitrary<JsonObject> = fc.record({
  nets: rarely(nets, 3),
  notNets: rarely(notNets, 8),
  selector: half(selector),
  notSelector: rarely(selector),
  namespaceSelector: rarely(
    fc.oneof({ weight: 5, arbitrary: namespaceSelector }, { weight: 1, arbitrary: fc.constant('global()') }),
    4,
  ),
  serviceAccounts: rarely(
    fc.record({ names: fc.subarray([...serviceAccounts]), selector: accountSelector }, { requiredKeys: [] }),
    8,
  ),
});

const protocols = ['TCP', 'UDP', 'SCTP', 'ICMP', 'ICMPv6', 'UDPLite', 6, 47, '17'];

function rule(direction: 'ingress' | 'egress', actions: readonly string[]): fc.Arbitrary<JsonObject> {
  return fc
    .record({
      action: fc.constantFrom(...actions),
      protocol: half(fc.constantFrom(...protocols)),
      notProtocol: rarely(fc.constantFrom(...protocols), 8),
      ipVersion: rarely(fc.constantFrom(4, 6)),
      icmp: half(fc.constantFrom({ type: 8 }, { type: 128, code: 0 }, { type: 3 }, {})),
      notICMP: rarely(fc.constantFrom({ type: 8, code: 0 }, { type: 128 })),
      source: entity,
      destination: entity,
      ports: half(portList),
      notPorts: rarely(portList),
      sourcePorts: rarely(portList, 8),
      service: half(serviceMatch),
      http: rarely(fc.constant({ methods: ['GET'] })),
      bad: rarely(fc.constantFrom({ form: {} }, { source: { selector: 'a = b' } }, { action: 'Reject' }), 20),
    })
    .chain((parts) => fc.constantFrom(...focuses).map((focus) => assemble(direction, focused(parts, focus))));
}

const focuses = [
  'all',
  'all',
  'source',
  'destination',
  'service',
  'ports',
  'notProtocol',
  'ipVersion',
] as const;

/** Rules that say one thing only, so that it often decides. */
const focused = (parts: RuleParts, focus: (typeof focuses)[number]): RuleParts =>
  focus === 'all'
    ? parts
    : {
        ...noParts,
        action: parts.action,
        protocol: focus === 'ports' ? parts.protocol : undefined,
        [focus]: parts[focus],
      };

interface RuleParts {
  readonly action: string;
  readonly protocol: unknown;
  readonly source: JsonObject;
  readonly destination: JsonObject;
  readonly icmp: unknown;
  readonly notICMP: unknown;
  readonly notProtocol: unknown;
  readonly ipVersion: unknown;
  readonly ports: unknown;
  readonly notPorts: unknown;
  readonly sourcePorts: unknown;
  readonly service: unknown;
  readonly http: unknown;
  readonly bad: JsonObject | undefined;
}

const noParts: RuleParts = {
  action: 'Allow',
  protocol: undefined,
  source: {},
  destination: {},
  icmp: undefined,
  notICMP: undefined,
  notProtocol: undefined,
  ipVersion: undefined,
  ports: undefined,
  notPorts: undefined,
  sourcePorts: undefined,
  service: undefined,
  http: undefined,
  bad: undefined,
};

/** Fields that must not stand together are mostly kept apart, so that most rules are valid. */
function assemble(direction: 'ingress' | 'egress', parts: RuleParts): JsonObject {
  const { action, protocol, service, bad } = parts;
  const portful = [undefined, 'TCP', 'UDP', 'SCTP', 6, '17'].includes(protocol as string);
  const isIcmp = protocol === 'ICMP' || protocol === 'ICMPv6';
  const ports = portful
    ? { ports: named(parts.ports, protocol), notPorts: named(parts.notPorts, protocol) }
    : {};
  const source = portful ? { ...parts.source, ports: named(parts.sourcePorts, protocol) } : parts.source;
  const toService = service !== undefined && direction === 'egress';
  const fromService = service !== undefined && direction === 'ingress';
  return plain({
    action,
    protocol,
    notProtocol: parts.notProtocol,
    ipVersion: parts.ipVersion,
    ...(isIcmp ? { icmp: parts.icmp, notICMP: parts.notICMP } : {}),
    source: fromService ? { services: service } : source,
    destination: toService ? { services: service } : { ...parts.destination, ...ports },
    ...(direction === 'ingress' && action === 'Allow' ? { http: parts.http } : {}),
    ...bad,
  });
}

/** Without a protocol only names are valid. */
const named = (ports: unknown, protocol: unknown): unknown => {
  if (!Array.isArray(ports) || protocol !== undefined) return ports;
  const names = ports.filter((one) => (portNames as readonly unknown[]).includes(one));
  return names.length === 0 ? undefined : names;
};

/** As if read from a file: fields that are undefined are not there. */
const plain = (value: unknown): JsonObject => JSON.parse(JSON.stringify(value)) as JsonObject;

const policyActions = ['Allow', 'Allow', 'Allow', 'Deny', 'Deny', 'Pass', 'Log'];
const rules = (direction: 'ingress' | 'egress', actions = policyActions) =>
  mostly(fc.array(rule(direction, actions), { maxLength: 3 }));

const tierNames = ['default', 'security', 'platform', 'nowhere'] as const;
const order = mostly(fc.constantFrom(0, 10, 999.5, 1000, 1001));

const spec = (global: boolean): fc.Arbitrary<JsonObject> =>
  fc.record({
    tier: mostly(fc.constantFrom(...tierNames)),
    order,
    selector: half(selector),
    serviceAccountSelector: rarely(accountSelector),
    types: mostly(fc.subarray(['Ingress', 'Egress'])),
    ingress: rules('ingress'),
    egress: rules('egress'),
    ...(global ? { namespaceSelector: half(namespaceSelector), preDNAT: rarely(fc.constant(true), 10) } : {}),
  });

const policies = (kind: string, global: boolean, staged = false): fc.Arbitrary<JsonObject[]> =>
  fc
    .array(
      fc.record({
        namespace: fc.constantFrom(...namespaceNames),
        name: fc.constantFrom('p', 'q', 'r'),
        spec: spec(global),
        stagedAction: fc.constantFrom('Set', 'Set', 'Delete', 'Learn', 'Ignore', undefined),
      }),
      { maxLength: staged ? 2 : 3 },
    )
    .map((all) =>
      all.map(({ namespace, name, spec: body, stagedAction }, i) =>
        plain({
          kind,
          metadata: {
            // Staged ones sometimes carry the name of an enforced one.
            name: staged || i === 0 ? name : `${name}${i}`,
            ...(global ? {} : { namespace }),
          },
          spec: { ...body, ...(staged ? { stagedAction } : {}) },
        }),
      ),
    );

const tiers: fc.Arbitrary<JsonObject[]> = fc
  .record({
    security: fc.record({ order, defaultAction: fc.constantFrom('Deny', 'Pass', undefined) }),
    platform: half(
      fc.record({
        order: half(fc.constantFrom(5, 2_000_000, 1_000_000)),
        defaultAction: fc.constantFrom('Deny', 'Pass'),
      }),
    ),
  })
  .map((found) =>
    Object.entries(found)
      .filter(([, body]) => body !== undefined)
      .map(([name, body]) => plain({ kind: 'Tier', metadata: { name }, spec: body })),
  );

const networkSets = (kind: string, global: boolean): fc.Arbitrary<JsonObject[]> =>
  fc.array(
    fc
      .record({
        labels: labelsOf,
        namespace: fc.constantFrom(...namespaceNames),
        nets: fc.subarray([...nets4.slice(1), ...nets6, 'nonsense'], { maxLength: 3 }),
        name: fc.constantFrom('n0', 'n1'),
      })
      .map(({ labels, namespace, nets: list, name }) => ({
        kind,
        metadata: { name, labels, ...(global ? {} : { namespace }) },
        spec: { nets: list },
      })),
    { maxLength: 2 },
  );

const profiles: fc.Arbitrary<JsonObject[]> = fc
  .record({
    'kns.a': rarely(
      fc.record({
        ingress: rules('ingress', ['Allow', 'Deny', 'Log']),
        egress: rules('egress', ['Allow', 'Deny', 'Pass']),
      }),
    ),
    'kns.b': rarely(fc.constant({ ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] })),
    'ksa.a.robot': rarely(fc.record({ ingress: rules('ingress', ['Allow', 'Deny']) })),
    host: half(fc.record({ labelsToApply: labelsOf })),
  })
  .map((found) =>
    Object.entries(found)
      .filter(([, body]) => body !== undefined)
      .map(([name, body]) => plain({ kind: 'Profile', metadata: { name }, spec: body })),
  );

const hostEndpoints: fc.Arbitrary<JsonObject[]> = half(labelsOf).map((labels) =>
  labels === undefined
    ? []
    : [
        {
          kind: 'HostEndpoint',
          metadata: { name: 'n1-eth0', labels },
          spec: { node: 'n1', expectedIPs: ['192.168.0.1'], interfaceName: 'eth0', profiles: ['host'] },
        },
      ],
);

const services: fc.Arbitrary<JsonObject[]> = fc
  .array(
    fc.record({
      namespace: fc.constantFrom(...namespaceNames),
      selector: labelsOf,
      protocol: fc.constantFrom('TCP', 'UDP'),
      targetPort: fc.constantFrom<number | string>(80, 443, 'http', 'dns'),
    }),
    { maxLength: 3 },
  )
  .map((all) =>
    all.map(({ namespace, selector: chosen, protocol, targetPort }, i) => ({
      kind: 'Service',
      metadata: { name: `s${i}`, namespace },
      spec: { clusterIP: `10.96.0.${i + 1}`, selector: chosen, ports: [{ port: 79, protocol, targetPort }] },
    })),
  );

const endpointSlices: fc.Arbitrary<JsonObject[]> = half(
  fc.record({
    namespace: fc.constantFrom(...namespaceNames),
    addresses: fc.subarray(['10.0.0.1', '10.1.0.2', '10.2.0.3', '192.168.0.1', '192.0.2.1'], {
      minLength: 1,
    }),
  }),
).map((found) =>
  found === undefined
    ? []
    : [
        {
          kind: 'EndpointSlice',
          addressType: 'IPv4',
          metadata: {
            name: 's0-x',
            namespace: found.namespace,
            labels: { 'kubernetes.io/service-name': 's0' },
          },
          endpoints: [{ addresses: found.addresses, conditions: { ready: false } }],
          ports: [{ name: '', port: 80, protocol: 'TCP' }],
        },
      ],
);

const accounts: fc.Arbitrary<JsonObject[]> = fc.uniqueArray(
  fc.record({ namespace: fc.constantFrom(...namespaceNames), labels: labelsOf }).map(
    ({ namespace, labels }): JsonObject => ({
      kind: 'ServiceAccount',
      metadata: { name: 'robot', namespace, labels },
    }),
  ),
  { maxLength: 2, selector: ({ metadata }) => (metadata as JsonObject).namespace },
);

export const calicoObjects: fc.Arbitrary<RawObjects> = fc.record({
  'networkpolicies.projectcalico.org': policies('NetworkPolicy', false),
  'globalnetworkpolicies.crd.projectcalico.org': policies('GlobalNetworkPolicy', true),
  'stagednetworkpolicies.projectcalico.org': policies('StagedNetworkPolicy', false, true),
  'stagedglobalnetworkpolicies.projectcalico.org': policies('StagedGlobalNetworkPolicy', true, true),
  'tiers.projectcalico.org': tiers,
  'networksets.projectcalico.org': networkSets('NetworkSet', false),
  'globalnetworksets.crd.projectcalico.org': networkSets('GlobalNetworkSet', true),
  'profiles.projectcalico.org': profiles,
  'hostendpoints.projectcalico.org': hostEndpoints,
  services,
  'endpointslices.discovery.k8s.io': endpointSlices,
  serviceaccounts: accounts,
});
