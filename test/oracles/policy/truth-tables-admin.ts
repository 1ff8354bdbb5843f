/** Sets of AdminNetworkPolicies, BaselineAdminNetworkPolicies and ClusterNetworkPolicies, alone and around NetworkPolicies. */
import type { JsonObject } from '../../../src/parse/json.ts';
import type { PolicySet } from './truth-tables.ts';
import { everyone, ns, pod, policies } from './truth-tables-peers.ts';
import { mergeObjects, type RawObjects } from './world.ts';

const labelled = (name: string): JsonObject => ({ matchLabels: { ns: name } });
const inNamespace = (name: string): JsonObject => ({ namespaces: labelled(name) });
const onePod = (namespace: string, name: string): JsonObject => ({
  pods: { namespaceSelector: labelled(namespace), podSelector: { matchLabels: { pod: name } } },
});
const anyone: JsonObject = { namespaces: {} };

const named = (kind: string, plural: string, specs: readonly JsonObject[]): RawObjects => ({
  [`${plural}.policy.networking.k8s.io`]: specs.map((spec, i) => ({
    kind,
    metadata: { name: kind === 'BaselineAdminNetworkPolicy' ? 'default' : `p${i}` },
    spec,
  })),
});
const admin = (...specs: readonly JsonObject[]) => named('AdminNetworkPolicy', 'adminnetworkpolicies', specs);
const baseline = (spec: JsonObject) =>
  named('BaselineAdminNetworkPolicy', 'baselineadminnetworkpolicies', [spec]);
const cluster = (...specs: readonly JsonObject[]) =>
  named('ClusterNetworkPolicy', 'clusternetworkpolicies', specs);

const set = (name: string, ...objects: readonly RawObjects[]): PolicySet => ({
  name,
  objects: () => mergeObjects(...objects),
});

const ingress = (action: string, from: readonly JsonObject[], more: JsonObject = {}): JsonObject => ({
  ingress: [{ action, from, ...more }],
});
const egress = (action: string, to: readonly JsonObject[], more: JsonObject = {}): JsonObject => ({
  egress: [{ action, to, ...more }],
});
const x = { subject: inNamespace('x') };
const closed = policies(['x', everyone]);
const open = policies(['x', { ...everyone, ingress: [{}] }]);

/** In each tier something is decided and something is passed on. */
export const tiersAround: PolicySet = set(
  'an admin and a baseline tier',
  admin(
    { priority: 5, ...x, ...ingress('Pass', [onePod('z', 'b')]) },
    { priority: 10, ...x, ...ingress('Deny', [inNamespace('z')]), ...egress('Allow', [onePod('y', 'c')]) },
    {
      priority: 20,
      subject: anyone,
      ...ingress('Deny', [onePod('y', 'b')], { ports: [{ portNumber: { port: 81 } }] }),
    },
  ),
  baseline({
    subject: anyone,
    ...ingress('Deny', [inNamespace('y')]),
    ...egress('Deny', [onePod('z', 'a')]),
  }),
);

/** The same kinds of decisions by the newer API, with several baseline policies. */
export const clusterTiersAround: PolicySet = set(
  'tiers of ClusterNetworkPolicies',
  cluster(
    { tier: 'Admin', priority: 1, ...x, ...ingress('Accept', [onePod('y', 'a')]) },
    {
      tier: 'Admin',
      priority: 2,
      ...x,
      ...ingress('Deny', [inNamespace('y')], { protocols: [{ tcp: {} }] }),
    },
    { tier: 'Baseline', priority: 1, ...x, ...ingress('Pass', [onePod('z', 'c')]) },
    { tier: 'Baseline', priority: 2, subject: anyone, ...ingress('Deny', [inNamespace('z')]) },
  ),
);

export const adminSets: readonly PolicySet[] = [
  set(
    'admin denies above what a NetworkPolicy allows',
    admin({ priority: 1, ...x, ...ingress('Deny', [inNamespace('y')]) }),
    open,
  ),
  set(
    'admin allows above what a NetworkPolicy denies',
    admin({ priority: 1, ...x, ...ingress('Allow', [inNamespace('y')]) }),
    closed,
  ),
  set(
    'admin allows alone, and isolates nobody',
    admin({ priority: 1, ...x, ...ingress('Allow', [inNamespace('y')]) }),
  ),
  set(
    'pass leaves the decision to NetworkPolicies',
    admin(
      { priority: 1, ...x, ...ingress('Pass', [inNamespace('y')]) },
      { priority: 2, ...x, ...ingress('Deny', [anyone]) },
    ),
    policies(['x', { ...everyone, ingress: [{ from: [ns('y')] }] }]),
  ),
  set(
    'pass leaves the whole tier',
    admin(
      { priority: 1, ...x, ...ingress('Pass', [inNamespace('y')]) },
      { priority: 2, ...x, ...ingress('Deny', [anyone]) },
    ),
  ),
  set(
    'the lower priority number wins',
    admin(
      { priority: 9, ...x, ...ingress('Allow', [anyone]) },
      { priority: 3, ...x, ...ingress('Deny', [inNamespace('z')]) },
    ),
  ),
  set(
    'equal priorities that disagree',
    admin(
      { priority: 3, ...x, ...ingress('Allow', [anyone]) },
      { priority: 3, ...x, ...ingress('Deny', [inNamespace('z')]) },
    ),
  ),
  set(
    'equal priorities that agree',
    admin(
      { priority: 3, ...x, ...ingress('Deny', [onePod('y', 'a')]) },
      { priority: 3, ...x, ...ingress('Deny', [inNamespace('y')]) },
    ),
  ),
  set(
    'the first rule that matches',
    admin({
      priority: 1,
      ...x,
      ingress: [
        { action: 'Allow', from: [onePod('y', 'a')] },
        { action: 'Deny', from: [inNamespace('y')] },
      ],
    }),
  ),
  set('admin denies egress', admin({ priority: 1, ...x, ...egress('Deny', [inNamespace('z')]) })),
  set(
    'admin denies networks, pods among them',
    admin({ priority: 1, ...x, ...egress('Deny', [{ networks: ['10.244.2.0/24'] }]) }),
  ),
  set(
    'an allowed network before a denied one',
    admin({
      priority: 1,
      ...x,
      egress: [
        { action: 'Allow', to: [{ networks: ['10.244.1.0/24'] }] },
        { action: 'Deny', to: [{ networks: ['0.0.0.0/0'] }] },
      ],
    }),
  ),
  set(
    'admin denies one port',
    admin({
      priority: 1,
      ...x,
      ...ingress('Deny', [anyone], { ports: [{ portNumber: { port: 80, protocol: 'UDP' } }] }),
    }),
  ),
  set(
    'admin denies a range',
    admin({
      priority: 1,
      ...x,
      ...ingress('Deny', [anyone], { ports: [{ portRange: { start: 80, end: 81 } }] }),
    }),
  ),
  set(
    'admin denies a name',
    admin({ priority: 1, ...x, ...ingress('Deny', [anyone], { ports: [{ namedPort: 'serve-81-sctp' }] }) }),
  ),
  set('baseline denies where no NetworkPolicy is', baseline({ ...x, ...ingress('Deny', [anyone]) })),
  set(
    'baseline is not asked where a NetworkPolicy is',
    baseline({ subject: anyone, ...ingress('Deny', [anyone]) }),
    policies(['x', { ...pod('a'), ingress: [{ from: [ns('y')] }] }]),
  ),
  set(
    'baseline allows before it denies',
    baseline({
      ...x,
      ingress: [
        { action: 'Allow', from: [inNamespace('y')] },
        { action: 'Deny', from: [anyone] },
      ],
    }),
  ),
  set(
    'a peer of an unknown kind: allow matches nothing',
    admin({ priority: 1, ...x, ...ingress('Allow', [{ serviceAccounts: {} }]) }),
    closed,
  ),
  set(
    'a peer of an unknown kind: deny matches everything',
    admin({ priority: 1, ...x, ...ingress('Deny', [{ serviceAccounts: {} }]) }),
  ),
  set(
    'a peer of an unknown kind: pass denies',
    admin({ priority: 1, ...x, ...ingress('Pass', [{ serviceAccounts: {} }]) }),
  ),
  set(
    'ClusterNetworkPolicy accepts above what a NetworkPolicy denies',
    cluster({
      tier: 'Admin',
      priority: 1,
      ...x,
      ...ingress('Accept', [inNamespace('y')], { protocols: [{ udp: { destinationPort: { number: 81 } } }] }),
    }),
    closed,
  ),
  set(
    'several baseline policies, and pass',
    cluster(
      { tier: 'Baseline', priority: 1, ...x, ...ingress('Pass', [inNamespace('y')]) },
      { tier: 'Baseline', priority: 2, ...x, ...ingress('Deny', [anyone]) },
    ),
  ),
  set(
    'both APIs in one cluster',
    cluster({ tier: 'Admin', priority: 4, ...x, ...ingress('Accept', [onePod('y', 'a')]) }),
    admin({ priority: 8, ...x, ...ingress('Deny', [inNamespace('y')]) }),
  ),
  tiersAround,
  clusterTiersAround,
];
