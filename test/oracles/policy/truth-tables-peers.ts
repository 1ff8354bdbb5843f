/** Sets of NetworkPolicies about whom they isolate and whom they let in or out. */
import type { JsonObject } from '../../../src/parse/json.ts';
import type { Addresses, PolicySet } from './truth-tables.ts';
import type { RawObjects } from './world.ts';

type Spec = JsonObject;

/** Policies p0, p1 ... of the namespaces before the specs. */
export const policies = (...list: readonly (readonly [namespace: string, spec: Spec])[]): RawObjects => ({
  'networkpolicies.networking.k8s.io': list.map(([namespace, spec], i) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name: `p${i}` },
    spec,
  })),
});

export const everyone: Spec = { podSelector: {} };
export const pod = (name: string): Spec => ({ podSelector: { matchLabels: { pod: name } } });
export const ns = (name: string): Spec => ({ namespaceSelector: { matchLabels: { ns: name } } });
const needs = (key: string, operator: string, ...values: readonly string[]): Spec => ({
  matchExpressions: [{ key, operator, ...(values.length === 0 ? {} : { values }) }],
});
const block = (cidr: string, ...except: readonly string[]): Spec => ({
  ipBlock: { cidr, ...(except.length === 0 ? {} : { except }) },
});
const host = (addresses: Addresses, name: string): string => `${addresses[name]}/32`;

/** A set about the pods of x and who may reach them. */
const into = (name: string, ...from: readonly Spec[]): PolicySet => ({
  name: `into x: ${name}`,
  objects: () => policies(['x', { ...everyone, ingress: [{ from }] }]),
});
const outOf = (name: string, ...to: readonly Spec[]): PolicySet => ({
  name: `out of x: ${name}`,
  objects: () => policies(['x', { ...everyone, policyTypes: ['Egress'], egress: [{ to }] }]),
});
const set = (name: string, ...list: readonly (readonly [namespace: string, spec: Spec])[]): PolicySet => ({
  name,
  objects: () => policies(...list),
});
const blocks = (name: string, from: (addresses: Addresses) => readonly Spec[]): readonly PolicySet[] => [
  {
    name: `into x: ${name}`,
    objects: (addresses) => policies(['x', { ...everyone, ingress: [{ from: from(addresses) }] }]),
  },
  {
    name: `out of x: ${name}`,
    objects: (addresses) =>
      policies(['x', { ...everyone, policyTypes: ['Egress'], egress: [{ to: from(addresses) }] }]),
  },
];

const both = ['Ingress', 'Egress'];

const isolation: readonly PolicySet[] = [
  set('nothing'),
  set('no ingress to x', ['x', everyone]),
  set('no ingress to x, an empty list', ['x', { ...everyone, ingress: [] }]),
  set('no ingress to x, null', ['x', { ...everyone, ingress: null }]),
  set('no ingress to x, without a podSelector', ['x', {}]),
  set('no egress from x', ['x', { ...everyone, policyTypes: ['Egress'] }]),
  set('x is cut off', ['x', { ...everyone, policyTypes: both }]),
  set('no ingress to x/a', ['x', pod('a')]),
  set('no egress from x/a', ['x', { ...pod('a'), policyTypes: ['Egress'] }]),
  set('all ingress to x', ['x', { ...everyone, ingress: [{}] }]),
  set('all egress from x', ['x', { ...everyone, egress: [{}], policyTypes: ['Egress'] }]),
  set('an egress rule isolates ingress too', ['x', { ...everyone, egress: [{}] }]),
  set('ingress rules of an egress policy are ignored', [
    'x',
    { ...everyone, policyTypes: ['Egress'], ingress: [{}] },
  ]),
  set('egress rules of an ingress policy are ignored', [
    'x',
    { ...everyone, policyTypes: ['Ingress'], egress: [] },
  ]),
  set('from whom: missing', ['x', { ...everyone, ingress: [{ from: null }] }]),
  set('from whom: an empty list', ['x', { ...everyone, ingress: [{ from: [] }] }]),
  set('to whom: an empty list', ['x', { ...everyone, policyTypes: ['Egress'], egress: [{ to: [] }] }]),
  set('an empty list of ports', ['x', { ...everyone, ingress: [{ ports: [] }] }]),
  set('subjects by In', ['x', { podSelector: needs('pod', 'In', 'a', 'b') }]),
  set('subjects by NotIn', ['x', { podSelector: needs('pod', 'NotIn', 'a') }]),
  set('subjects by a key that none has', ['x', { podSelector: needs('tier', 'Exists') }]),
  set('subjects without a key', ['x', { podSelector: needs('tier', 'DoesNotExist') }]),
  set(
    'everything is cut off',
    ...['x', 'y', 'z'].map((one) => [one, { ...everyone, policyTypes: both }] as const),
  ),
];

const peers: readonly PolicySet[] = [
  ...[into, outOf].flatMap((sides) => [
    sides('own pods', everyone),
    sides('own pod b', pod('b')),
    sides('all pods', { namespaceSelector: {} }),
    sides('namespace y', ns('y')),
    sides('pod b of namespace y', { ...ns('y'), ...pod('b') }),
    sides('pod b, or namespace y', pod('b'), ns('y')),
    sides('pod c of every namespace', { namespaceSelector: {}, ...pod('c') }),
    sides('a namespace by the name that it has', {
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'z' } },
    }),
    sides('pods by NotIn', { podSelector: needs('pod', 'NotIn', 'b') }),
    sides('namespaces by NotIn', { namespaceSelector: needs('ns', 'NotIn', 'x') }),
  ]),
  into('pods by In', { podSelector: needs('pod', 'In', 'b', 'c') }),
  into('pods by Exists', { podSelector: needs('pod', 'Exists') }),
  into('pods by DoesNotExist', { podSelector: needs('pod', 'DoesNotExist') }),
  into('pods without a key, by NotIn', { podSelector: needs('tier', 'NotIn', 'web') }),
  into('pods with a key that none has, by In', { podSelector: needs('tier', 'In', 'web') }),
  into('an empty value is a value', { podSelector: { matchLabels: { tier: '' } } }),
  into('namespaces by In', { namespaceSelector: needs('ns', 'In', 'y', 'z') }),
  into('namespaces by Exists', { namespaceSelector: needs('ns', 'Exists') }),
  into('namespaces by DoesNotExist', { namespaceSelector: needs('ns', 'DoesNotExist') }),
  into('a label and an expression', {
    namespaceSelector: {},
    podSelector: { matchLabels: { pod: 'b' }, ...needs('pod', 'NotIn', 'a') },
  }),
  into('two expressions about one key', {
    namespaceSelector: {
      matchExpressions: [
        { key: 'ns', operator: 'In', values: ['x', 'y'] },
        { key: 'ns', operator: 'NotIn', values: ['x'] },
      ],
    },
  }),
  into('three peers', { ...ns('y'), ...pod('a') }, { ...ns('z'), ...pod('b') }, pod('c')),
  into('an empty peer', {}),
  into('an ipBlock with a selector', { ...block('0.0.0.0/0'), ...pod('b') }),
];

const addressSets: readonly PolicySet[] = [
  ...blocks('every address', () => [block('0.0.0.0/0')]),
  ...blocks('every address but one', (at) => [block('0.0.0.0/0', host(at, 'y/a'))]),
  ...blocks('one address', (at) => [block(host(at, 'y/b'))]),
  ...blocks('the pods of two nodes', (at) => [block('10.244.0.0/16', `${at['x/a']}/24`)]),
  ...blocks('an exception that another block takes back', (at) => [
    block('10.244.0.0/16', '10.244.0.0/16'),
    block(host(at, 'z/c')),
  ]),
  ...blocks('a block and a pod', (at) => [block(host(at, 'z/a')), pod('b')]),
  ...blocks('host bits that are set', (at) => [block(`${at['y/c']}/24`)]),
  ...blocks('IPv6 only', () => [block('::/0')]),
];

const unions: readonly PolicySet[] = [
  set(
    'two policies add up',
    ['x', { ...pod('a'), ingress: [{ from: [ns('y')] }] }],
    ['x', { ...everyone, ingress: [{ from: [pod('b')] }] }],
  ),
  set('one that denies and one that allows', ['x', everyone], ['x', { ...pod('a'), ingress: [{}] }]),
  set('two rules add up', ['x', { ...everyone, ingress: [{ from: [ns('y')] }, { from: [pod('c')] }] }]),
  set(
    'egress of one, ingress of another',
    ['x', { ...everyone, policyTypes: ['Egress'], egress: [{ to: [ns('y')] }] }],
    ['y', { ...pod('a'), ingress: [{ from: [ns('z')] }] }],
  ),
  set(
    'both ends agree',
    ['x', { ...everyone, policyTypes: ['Egress'], egress: [{ to: [ns('y')] }] }],
    ['y', { ...everyone, ingress: [{ from: [ns('x')] }] }],
  ),
  set(
    'all cut off but one way',
    ...['x', 'y', 'z'].map((one) => [one, { ...everyone, policyTypes: both }] as const),
    ['x', { ...pod('a'), policyTypes: ['Egress'], egress: [{ to: [{ ...ns('y'), ...pod('b') }] }] }],
    ['y', { ...pod('b'), ingress: [{ from: [{ ...ns('x'), ...pod('a') }] }] }],
  ),
];

export const networkPolicySets: readonly PolicySet[] = [...isolation, ...peers, ...addressSets, ...unions];
