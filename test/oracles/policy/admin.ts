/** Random AdminNetworkPolicies, BaselineAdminNetworkPolicies and ClusterNetworkPolicies as raw objects, invalid ones now and then. */
import fc from 'fast-check';
import type { JsonObject } from '../../../src/parse/json.ts';
import { cidrs, labelSelector, namespaceSelector, portNames, portNumbers, type RawObjects } from './world.ts';

const podPeer: fc.Arbitrary<JsonObject> = fc.oneof(
  namespaceSelector.map((namespaces) => ({ namespaces })),
  fc.record({ namespaceSelector, podSelector: labelSelector }).map((pods) => ({ pods })),
);

/** Of nodes: the labels that world.ts gives them. */
const nodeSelector = fc.constantFrom<JsonObject>(
  {},
  { matchLabels: { tier: 'x' } },
  { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'NotIn', values: ['n1'] }] },
);

const addressPeer: fc.Arbitrary<JsonObject> = fc.oneof(
  nodeSelector.map((nodes) => ({ nodes })),
  fc.uniqueArray(fc.constantFrom(...cidrs), { minLength: 1, maxLength: 2 }).map((networks) => ({ networks })),
  fc
    .constantFrom(['example.com'], ['*.example.com', 'x.org.'], ['web.a.svc.cluster.local'])
    .map((domainNames) => ({ domainNames })),
);

const notAPeer = fc.constantFrom<JsonObject>(
  {},
  { namespaces: { sameLabels: ['team'] } },
  { namespaces: {}, pods: {} },
  { networks: ['10.0.0.0'] },
  { serviceAccounts: {} },
);

const peersOf = (direction: 'ingress' | 'egress', action: string): fc.Arbitrary<JsonObject[]> => {
  const address = addressPeer.filter(
    (peer) => peer.domainNames === undefined || action === 'Accept' || action === 'Allow',
  );
  const good =
    direction === 'ingress'
      ? podPeer
      : fc.oneof({ weight: 2, arbitrary: podPeer }, { weight: 2, arbitrary: address });
  return fc.array(
    fc.oneof({ weight: 40, arbitrary: good }, { weight: 1, arbitrary: fc.oneof(notAPeer, addressPeer) }),
    { minLength: 1, maxLength: 2 },
  );
};

const range = fc.constantFrom({ start: 79, end: 80 }, { start: 1, end: 65535 });
const number = fc.constantFrom(...portNumbers);
const transport = fc.constantFrom('TCP', 'UDP', 'SCTP');

/** v1alpha1. */
const port: fc.Arbitrary<JsonObject> = fc
  .record({ protocol: transport, port: number }, { requiredKeys: ['port'] })
  .map((portNumber) => ({ portNumber }));
const portRange: fc.Arbitrary<JsonObject> = fc
  .tuple(fc.option(transport, { nil: undefined }), range)
  .map(([protocol, span]) => ({ portRange: { ...span, ...(protocol === undefined ? {} : { protocol }) } }));
const ports = fc.oneof(
  { weight: 18, arbitrary: port },
  { weight: 12, arbitrary: portRange },
  { weight: 4, arbitrary: fc.constantFrom(...portNames).map((namedPort) => ({ namedPort })) },
  { weight: 1, arbitrary: fc.constantFrom<JsonObject>({}, { portNumber: { port: 0 } }, { icmp: {} }) },
);

/** v1alpha2. */
const protocols = fc.oneof(
  {
    weight: 30,
    arbitrary: fc
      .tuple(
        fc.constantFrom('tcp', 'udp', 'sctp'),
        fc.oneof(
          number.map((one) => ({ number: one })),
          range.map((span) => ({ range: span })),
        ),
      )
      .map(([key, destinationPort]): JsonObject => ({ [key]: { destinationPort } })),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom(...portNames).map((destinationNamedPort) => ({ destinationNamedPort })),
  },
  { weight: 1, arbitrary: fc.constantFrom<JsonObject>({ tcp: {} }, { icmp: {} }) },
);

interface Form {
  readonly actions: readonly string[];
  readonly portsKey: 'ports' | 'protocols';
}

const rule = (direction: 'ingress' | 'egress', { actions, portsKey }: Form): fc.Arbitrary<JsonObject> =>
  fc.constantFrom(...actions).chain((action) =>
    fc
      .tuple(
        peersOf(direction, action),
        fc.option(
          fc.array<JsonObject>(portsKey === 'ports' ? ports : protocols, { minLength: 1, maxLength: 2 }),
          {
            nil: undefined,
          },
        ),
      )
      .map(([peers, list]) => ({
        action,
        [direction === 'ingress' ? 'from' : 'to']: peers,
        ...(list === undefined ? {} : { [portsKey]: list }),
      })),
  );

const subject: fc.Arbitrary<JsonObject> = fc.oneof(
  { weight: 2, arbitrary: fc.constant({ namespaces: {} }) },
  { weight: 2, arbitrary: podPeer },
);

const spec = (form: Form) =>
  fc.record(
    {
      subject,
      ingress: fc.array(rule('ingress', form), { maxLength: 3 }),
      egress: fc.array(rule('egress', form), { maxLength: 3 }),
    },
    { requiredKeys: ['subject'] },
  );

/** Few numbers, so that equal ones meet; now and then one that the API refuses. */
const priority = fc.oneof(
  { weight: 15, arbitrary: fc.constantFrom<number | string>(0, 1, 2, 1000) },
  { weight: 1, arbitrary: fc.constantFrom<number | string>(1001, 'first') },
);
const often = ['Deny', 'Deny', 'Pass'];
/** `Log` is no action of any version. */
const withLog = (...actions: readonly string[]) => [...Array(16).fill(actions).flat(), 'Log'] as string[];

const admin = fc
  .tuple(spec({ actions: withLog('Allow', ...often), portsKey: 'ports' }), priority)
  .map(([rest, rank]) => ({ ...rest, priority: rank }));
const baseline = spec({ actions: withLog('Allow', 'Deny'), portsKey: 'ports' });
const cluster = fc
  .tuple(
    spec({ actions: withLog('Accept', ...often), portsKey: 'protocols' }),
    priority,
    fc.constantFrom(...Array(16).fill(['Admin', 'Baseline']).flat(), 'Middle'),
  )
  .map(([rest, rank, tier]) => ({ ...rest, priority: rank, tier: tier as string }));

const objects = (kind: string, specs: readonly JsonObject[], name: (i: number) => string): JsonObject[] =>
  specs.map((one, i) => ({ kind, metadata: { name: name(i) }, spec: one }));

export const adminObjects: fc.Arbitrary<RawObjects> = fc
  .record({
    admin: fc.array(admin, { maxLength: 2 }),
    cluster: fc.array(cluster, { maxLength: 3 }),
    baseline: fc.array(baseline, { maxLength: 1 }),
    name: fc.oneof(
      { weight: 9, arbitrary: fc.constant('default') },
      { weight: 1, arbitrary: fc.constant('other') },
    ),
  })
  .map((all) => ({
    'adminnetworkpolicies.policy.networking.k8s.io': objects(
      'AdminNetworkPolicy',
      all.admin,
      (i) => `anp${i}`,
    ),
    'clusternetworkpolicies.policy.networking.k8s.io': objects(
      'ClusterNetworkPolicy',
      all.cluster,
      (i) => `cnp${i}`,
    ),
    'baselineadminnetworkpolicies.policy.networking.k8s.io': objects(
      'BaselineAdminNetworkPolicy',
      all.baseline,
      () => all.name,
    ),
  }));
