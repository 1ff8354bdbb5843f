import { describe, expect, it } from 'vitest';
import type { AdminPolicy } from '../../model/policies/admin.ts';
import { prefix } from '../../net/prefix.ts';
import { parsed } from '../result.ts';
import { clusterOf } from './cluster.ts';

const group = 'policy.networking.k8s.io';
const plurals = {
  AdminNetworkPolicy: `adminnetworkpolicies.${group}`,
  BaselineAdminNetworkPolicy: `baselineadminnetworkpolicies.${group}`,
  ClusterNetworkPolicy: `clusternetworkpolicies.${group}`,
};

function clusterWith(plural: string, kind: string, spec: unknown, name: string) {
  const object = { kind, metadata: { name }, spec };
  return clusterOf((asked) =>
    asked === plural ? { where: plural, objects: parsed([{ object: object as never }]) } : undefined,
  );
}

function read(
  kind: keyof typeof plurals,
  spec: object,
  name = 'default',
  plural = plurals[kind],
): AdminPolicy {
  const { adminPolicies } = clusterWith(plural, kind, { subject: { namespaces: {} }, ...spec }, name);
  if (adminPolicies.state === 'unknown') throw new Error(adminPolicies.why);
  const [only] = adminPolicies.value;
  if (only === undefined) throw new Error('left out');
  return only;
}

const anp = (spec: object) => read('AdminNetworkPolicy', { priority: 5, ...spec });
const banp = (spec: object, name?: string) => read('BaselineAdminNetworkPolicy', spec, name);
const cnp = (spec: object) => read('ClusterNetworkPolicy', { tier: 'Admin', priority: 5, ...spec });
const fields = ({ problems }: AdminPolicy) => problems.map(({ field }) => field);
const anyone = { namespaces: {} };
const all = { matchLabels: {}, matchExpressions: [] };

describe('places', () => {
  it.each([
    ['AdminNetworkPolicy', anp({}), 'admin', 5],
    ['BaselineAdminNetworkPolicy', banp({}), 'baseline', 'last'],
    ['ClusterNetworkPolicy', cnp({}), 'admin', 5],
    ['ClusterNetworkPolicy', cnp({ tier: 'Baseline', priority: 0 }), 'baseline', 0],
    [
      'ClusterNetworkPolicy',
      read(
        'ClusterNetworkPolicy',
        { tier: 'Admin', priority: 1 },
        'aws',
        'clusternetworkpolicies.networking.k8s.aws',
      ),
      'admin',
      1,
    ],
  ])('%s', (kind, policy, tier, rank) => {
    expect(policy).toMatchObject({ kind, tier, rank, ingress: [], egress: [], problems: [] });
    expect(policy).not.toHaveProperty('doubt');
  });
  it.each([
    [anp({ priority: undefined }), 'spec.priority'],
    [anp({ priority: -1 }), 'spec.priority'],
    [anp({ priority: 1001 }), 'spec.priority'],
    [anp({ priority: 1.5 }), 'spec.priority'],
    [anp({ tier: 'Admin' }), 'spec.tier'],
    [cnp({ priority: '5' }), 'spec.priority'],
    [cnp({ tier: 'admin' }), 'spec.tier'],
    [cnp({ tier: undefined }), 'spec.tier'],
    [cnp({ ingres: [] }), 'spec.ingres'],
    [banp({}, 'other'), 'metadata.name'],
    [banp({ priority: 5 }), 'spec.priority'],
    [cnp({ egress: Array(26).fill({ action: 'Accept', to: [anyone] }) }), 'spec.egress'],
    [anp({ ingress: Array(101).fill({ action: 'Allow', from: [anyone] }) }), 'spec.ingress'],
  ])('what concerns the whole object is doubt: %#', (policy, field) => {
    expect(fields(policy)).toEqual([field]);
    expect(policy.doubt).toContain(field);
  });
  it('100 rules are fine in v1alpha1, 25 in v1alpha2', () => {
    expect(anp({ ingress: Array(100).fill({ action: 'Allow', from: [anyone] }) }).problems).toEqual([]);
    expect(cnp({ ingress: Array(25).fill({ action: 'Accept', from: [anyone] }) }).problems).toEqual([]);
  });
});

describe('subjects', () => {
  const selector = { matchLabels: { a: 'b' } };
  it.each([
    [{ namespaces: selector }, { namespaceSelector: { ...all, ...selector }, podSelector: all }],
    [
      { pods: { namespaceSelector: {}, podSelector: selector } },
      { namespaceSelector: all, podSelector: { ...all, ...selector } },
    ],
    [{ pods: { podSelector: {} } }, { namespaceSelector: all, podSelector: all }],
  ])('%j', (subject, expected) => {
    expect(cnp({ subject }).subject).toEqual(expected);
  });
  it.each([
    ['spec.subject', undefined],
    ['spec.subject', {}],
    ['spec.subject', { namespaces: {}, pods: { namespaceSelector: {}, podSelector: {} } }],
    ['spec.subject.nodes', { nodes: {} }],
    ['spec.subject.pods.podSelector', { pods: { namespaceSelector: {} } }],
    ['spec.subject.pods.namespaceSelector', { pods: { podSelector: {} } }],
    ['spec.subject.namespaces.matchLabel', { namespaces: { matchLabel: {} } }],
  ])('%s: nobody can say whom it selects', (field, subject) => {
    const cluster = clusterWith(
      plurals.AdminNetworkPolicy,
      'AdminNetworkPolicy',
      { priority: 1, subject },
      'p',
    );
    expect(cluster.adminPolicies).toEqual({ state: 'known', value: [] });
    expect(cluster.problems.map((problem) => problem.field)).toEqual([field]);
  });
});

describe('peers', () => {
  const egress = (to: unknown, action = 'Accept') => cnp({ egress: [{ action, to }] });
  const ingress = (from: unknown) => cnp({ ingress: [{ action: 'Accept', from }] });
  it('reads every kind of peer', () => {
    const [rule] = egress([
      { namespaces: { matchLabels: { a: 'b' } } },
      { pods: { podSelector: {} } },
      { nodes: {} },
      { networks: ['10.0.0.1/8', 'fd00::/8'] },
      { domainNames: ['example.com', '*.example.com'] },
      { domainNames: ['web.shop.svc.cluster.local'] },
    ]).egress;
    expect(rule).toMatchObject({ action: 'allow', understood: true, field: 'spec.egress[0]' });
    expect(rule?.peers).toEqual([
      {
        kind: 'pods',
        namespaceSelector: { ...all, matchLabels: { a: 'b' } },
        podSelector: all,
        field: 'spec.egress[0].to[0]',
      },
      { kind: 'pods', namespaceSelector: all, podSelector: all, field: 'spec.egress[0].to[1]' },
      { kind: 'nodes', nodeSelector: all, field: 'spec.egress[0].to[2]' },
      {
        kind: 'networks',
        prefixes: [prefix('10.0.0.0/8'), prefix('fd00::/8')],
        field: 'spec.egress[0].to[3]',
      },
      {
        kind: 'domains',
        names: ['example.com', '*.example.com'],
        mayBePods: false,
        field: 'spec.egress[0].to[4]',
      },
      {
        kind: 'domains',
        names: ['web.shop.svc.cluster.local'],
        mayBePods: true,
        field: 'spec.egress[0].to[5]',
      },
    ]);
  });
  it.each([
    ['spec.egress[0].to', egress(undefined)],
    ['spec.egress[0].to', egress([])],
    ['spec.egress[0].to', egress('all')],
    ['spec.egress[0].to', egress(Array(26).fill(anyone))],
    ['spec.egress[0].to[0]', egress([{}])],
    ['spec.egress[0].to[0]', egress(['all'])],
    ['spec.egress[0].to[1]', egress([anyone, { namespaces: {}, networks: ['10.0.0.0/8'] }])],
    ['spec.egress[0].to[0].serviceAccounts', egress([{ serviceAccounts: {} }])],
    ['spec.egress[0].to[0].namespaces.sameLabels', egress([{ namespaces: { sameLabels: ['team'] } }])],
    [
      'spec.egress[0].to[0].namespaces.namespaceSelector',
      egress([{ namespaces: { namespaceSelector: {} } }]),
    ],
    ['spec.egress[0].to[0].pods.podSelector', egress([{ pods: {} }])],
    [
      'spec.egress[0].to[0].nodes.matchExpressions[0].operator',
      egress([{ nodes: { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] } }]),
    ],
    ['spec.egress[0].to[0].networks', egress([{ networks: [] }])],
    ['spec.egress[0].to[0].networks', egress([{ networks: ['::/0', '::/0'] }])],
    ['spec.egress[0].to[0].networks[0]', egress([{ networks: ['10.0.0.1'] }])],
    ['spec.egress[0].to[0].domainNames[0]', egress([{ domainNames: ['a.*.com'] }])],
    ['spec.egress[0].to[0].domainNames[0]', egress([{ domainNames: ['*'] }])],
    ['spec.egress[0].to[0].domainNames', egress([{ domainNames: ['a.com'] }], 'Deny')],
    ['spec.egress[0].to[0].domainNames', egress([{ domainNames: ['a.com'] }], 'Pass')],
    ['spec.ingress[0].from[0].networks', ingress([{ networks: ['10.0.0.0/8'] }])],
    ['spec.ingress[0].from[0].nodes', ingress([{ nodes: {} }])],
    ['spec.ingress[0].to', cnp({ ingress: [{ action: 'Accept', from: [anyone], to: [anyone] }] })],
  ])('%s is not understood, nor is its rule', (field, policy) => {
    expect(fields(policy)).toEqual([field]);
    const [rule] = [...policy.ingress, ...policy.egress];
    expect(rule).toMatchObject({ understood: false, peers: [] });
    expect(policy).not.toHaveProperty('doubt');
  });
});

describe('ports', () => {
  const old = (ports: unknown, to: object = anyone) =>
    anp({ egress: [{ action: 'Deny', to: [to], ...(ports === undefined ? {} : { ports }) }] });
  const now = (protocols: unknown, to: object = anyone) =>
    cnp({ egress: [{ action: 'Deny', to: [to], protocols }] });
  const numbers = (protocol: string, from: number, to: number) => ({ kind: 'numbers', protocol, from, to });
  it.each([
    [old([{ portNumber: { port: 80 } }]), numbers('TCP', 80, 80)],
    [old([{ portNumber: { port: 53, protocol: 'UDP' } }]), numbers('UDP', 53, 53)],
    [old([{ portRange: { start: 1, end: 9, protocol: 'SCTP' } }]), numbers('SCTP', 1, 9)],
    [old([{ portRange: { start: 9, end: 9 } }]), numbers('TCP', 9, 9)],
    [old([{ namedPort: 'http' }]), { kind: 'named', name: 'http' }],
    [now([{ tcp: { destinationPort: { number: 80 } } }]), numbers('TCP', 80, 80)],
    [now([{ udp: { destinationPort: { range: { start: 1, end: 9 } } } }]), numbers('UDP', 1, 9)],
    [now([{ sctp: { destinationPort: { number: 65535 } } }]), numbers('SCTP', 65535, 65535)],
    [now([{ destinationNamedPort: 'http' }]), { kind: 'named', name: 'http' }],
  ])('reads both versions: %#', (policy, expected) => {
    expect(policy.problems).toEqual([]);
    expect(policy.egress[0]?.ports).toMatchObject([expected]);
  });
  it.each([[old(undefined)], [old(null)], [now(undefined)], [now(null)]])('none is every port', (policy) => {
    expect(policy.problems).toEqual([]);
    expect(policy.egress[0]).not.toHaveProperty('ports');
  });
  it.each([
    ['ports', old([])],
    ['ports[0]', old([{}])],
    ['ports[0]', old([{ namedPort: 'http', portNumber: { port: 80 } }])],
    ['ports[0].portNumber.port', old([{ portNumber: {} }])],
    ['ports[0].portNumber.port', old([{ portNumber: { port: 65536 } }])],
    ['ports[0].portNumber.protocol', old([{ portNumber: { port: 1, protocol: 'ICMP' } }])],
    ['ports[0].portNumber.endPort', old([{ portNumber: { port: 1, endPort: 9 } }])],
    ['ports[0].portRange.end', old([{ portRange: { start: 9, end: 8 } }])],
    ['ports[0].namedPort', old([{ namedPort: '80' }])],
    ['ports[0]', old([{ namedPort: 'http' }], { networks: ['10.0.0.0/8'] })],
    ['ports[0].tcp', old([{ tcp: { destinationPort: { number: 80 } } }])],
    ['protocols', cnp({ egress: [{ action: 'Deny', to: [anyone], protocols: [] }] })],
    ['ports', cnp({ egress: [{ action: 'Deny', to: [anyone], ports: [{ portNumber: { port: 80 } }] }] })],
    ['protocols[0].tcp', now([{ tcp: {} }])],
    ['protocols[0].tcp.flags', now([{ tcp: { destinationPort: { number: 80 }, flags: ['syn'] } }])],
    ['protocols[0].tcp.destinationPort', now([{ tcp: { destinationPort: {} } }])],
    ['protocols[0].tcp.destinationPort.number', now([{ tcp: { destinationPort: { number: 0 } } }])],
    ['protocols[0].icmp', now([{ icmp: {} }])],
    ['protocols[0]', now([{ destinationNamedPort: 'http' }], { nodes: {} })],
  ])('%s is not understood', (field, policy) => {
    expect(fields(policy)).toEqual([`spec.egress[0].${field}`]);
    expect(policy.egress[0]).toMatchObject({ understood: false, action: 'deny', peers: [] });
  });
  it("Amazon's group has the ports of v1alpha1", () => {
    const rule = { action: 'Accept', to: [anyone], ports: [{ portNumber: { port: 80 } }] };
    const spec = { tier: 'Admin', priority: 1, egress: [rule] };
    const policy = read('ClusterNetworkPolicy', spec, 'p', 'clusternetworkpolicies.networking.k8s.aws');
    expect(policy.problems).toEqual([]);
    expect(policy.egress[0]?.ports).toMatchObject([numbers('TCP', 80, 80)]);
  });
});

describe('rules', () => {
  it.each([
    [anp({ ingress: [{ action: 'Allow', from: [anyone] }] }), 'allow', []],
    [cnp({ ingress: [{ action: 'Accept', from: [anyone] }] }), 'allow', []],
    [anp({ ingress: [{ action: 'Accept', from: [anyone] }] }), 'unknown', ['spec.ingress[0].action']],
    [cnp({ ingress: [{ action: 'Allow', from: [anyone] }] }), 'unknown', ['spec.ingress[0].action']],
    [cnp({ ingress: [{ action: 'Pass', from: [anyone] }] }), 'pass', []],
    [banp({ ingress: [{ action: 'Deny', from: [anyone] }] }), 'deny', []],
    [banp({ ingress: [{ action: 'Pass', from: [anyone] }] }), 'unknown', ['spec.ingress[0].action']],
    [cnp({ ingress: [{ action: 'toString', from: [anyone] }] }), 'unknown', ['spec.ingress[0].action']],
    [cnp({ ingress: [{ from: [anyone] }] }), 'unknown', ['spec.ingress[0].action']],
  ])('each version has its words: %#', (policy, action, problems) => {
    expect(policy.ingress[0]).toMatchObject({ action, understood: true });
    expect(fields(policy)).toEqual(problems);
  });
  it('names are kept; one that is too long is said and changes nothing else', () => {
    const rule = { action: 'Accept', from: [anyone] };
    expect(cnp({ ingress: [{ ...rule, name: 'dns' }] }).ingress[0]).toMatchObject({ name: 'dns' });
    const long = cnp({ ingress: [{ ...rule, name: 'x'.repeat(101) }] });
    expect(fields(long)).toEqual(['spec.ingress[0].name']);
    expect(long.ingress[0]).toMatchObject({ understood: true });
  });
  it.each([
    ['spec.ingress', cnp({ ingress: 'all' })],
    ['spec.ingress[0]', cnp({ ingress: ['all'] })],
  ])('%s that is no rule may do anything', (field, policy) => {
    expect(fields(policy)).toEqual([field]);
    expect(policy.ingress).toEqual([{ action: 'unknown', understood: false, peers: [], field }]);
  });
});
