import { describe, expect, it } from 'vitest';
import type { CalicoObjects, CalicoPolicy, CalicoRule } from '../../model/policies/calico.ts';
import { address } from '../../net/address.ts';
import { prefix } from '../../net/prefix.ts';
import type { JsonObject } from '../json.ts';
import { parsed } from '../result.ts';
import { clusterOf } from './cluster.ts';

type Lists = Readonly<Record<string, readonly JsonObject[]>>;

const clusterWith = (lists: Lists) =>
  clusterOf((plural) => {
    const items = lists[plural];
    return items && { where: plural, objects: parsed(items.map((object) => ({ object }))) };
  });

function read(lists: Lists): CalicoObjects {
  const { calico } = clusterWith(lists);
  if (calico.state === 'unknown') throw new Error(calico.why);
  return calico.value;
}

const only = <T>(items: readonly T[]): T => {
  const [first] = items;
  if (first === undefined || items.length > 1) throw new Error(`${items.length} items`);
  return first;
};

const np = (spec: JsonObject, name = 'p'): CalicoPolicy =>
  only(
    read({ 'networkpolicies.projectcalico.org': [{ metadata: { name, namespace: 'shop' }, spec }] }).policies,
  );
const gnp = (spec: JsonObject, name = 'p'): CalicoPolicy =>
  only(read({ 'globalnetworkpolicies.projectcalico.org': [{ metadata: { name }, spec }] }).policies);
const ingress = (rule: JsonObject): CalicoRule => only(np({ ingress: [rule] }).ingress ?? []);

describe('policies', () => {
  it('has defaults', () => {
    expect(np({})).toEqual({
      kind: 'NetworkPolicy',
      namespace: 'shop',
      name: 'p',
      tier: 'default',
      order: Number.POSITIVE_INFINITY,
      selector: { is: 'all' },
      ingress: [],
      problems: [],
    });
    expect(gnp({})).not.toHaveProperty('namespace');
  });
  it.each([
    [{}, ['ingress']],
    [{ ingress: [{ action: 'Allow' }] }, ['ingress']],
    [{ egress: [{ action: 'Allow' }] }, ['egress']],
    [{ ingress: [], egress: [{ action: 'Allow' }] }, ['egress']],
    [{ ingress: [{ action: 'Deny' }], egress: [{ action: 'Allow' }] }, ['ingress', 'egress']],
    [{ types: ['Egress'], ingress: [{ action: 'Allow' }] }, ['egress']],
    [{ types: [] }, ['ingress']],
  ])('types of %j are %j', (spec, expected) => {
    expect(['ingress', 'egress'].filter((key) => key in np(spec))).toEqual(expected);
  });
  it('takes the tier off the name that is stored with it', () => {
    expect(np({}, 'default.p').name).toBe('p');
    expect(np({ tier: 'sec' }, 'sec.p')).toMatchObject({ name: 'p', tier: 'sec' });
    expect(np({ tier: 'sec' }, 'default.p').name).toBe('default.p');
  });
  it('reads an object of both API groups once', () => {
    const spec = { order: 1 };
    const all = read({
      'networkpolicies.projectcalico.org': [{ metadata: { name: 'p', namespace: 'a' }, spec }],
      'networkpolicies.crd.projectcalico.org': [
        { metadata: { name: 'default.p', namespace: 'a' }, spec },
        { metadata: { name: 'default.p', namespace: 'b' }, spec },
        { metadata: { name: 'sec.p', namespace: 'b' }, spec: { tier: 'sec' } },
      ],
    });
    expect(all.policies.map(({ namespace, tier }) => `${namespace} ${tier}`)).toEqual([
      'a default',
      'b default',
      'b sec',
    ]);
  });
  it('leaves out a policy of which nobody can say whom it selects', () => {
    for (const [field, value] of [
      ['selector', 'a = b'],
      ['selector', 'global()'],
      ['serviceAccountSelector', 'has('],
      ['namespaceSelector', '!'],
      ['order', 'first'],
    ] as const) {
      const cluster = clusterWith({
        'globalnetworkpolicies.projectcalico.org': [{ metadata: { name: 'p' }, spec: { [field]: value } }],
      });
      expect(cluster.calico).toMatchObject({ value: { policies: [] } });
      expect(cluster.problems).toMatchObject([{ field: `spec.${field}` }]);
    }
  });
  it.each([
    [{ selektor: 'all()' }, 'spec.selektor'],
    [{ namespaceSelector: 'all()' }, 'spec.namespaceSelector'],
    [{ types: ['ingress'] }, 'spec.types[0]'],
    [{ ingress: {} }, 'spec.ingress'],
  ])('NetworkPolicy %j names %s', (spec, field) => {
    expect(np(spec as JsonObject).problems.map((problem) => problem.field)).toEqual([field]);
  });
  it('says which policies are for host endpoints', () => {
    expect(gnp({ preDNAT: true, applyOnForward: true })).toMatchObject({ hostOnly: 'preDNAT', problems: [] });
    expect(gnp({ doNotTrack: true }).problems).toMatchObject([{ field: 'spec.applyOnForward' }]);
    expect(gnp({ doNotTrack: true, preDNAT: true, applyOnForward: true }).problems).toMatchObject([
      { field: 'spec.preDNAT' },
    ]);
  });
});

describe('rules', () => {
  it('reads everything that a rule can say', () => {
    const rule = ingress({
      action: 'Allow',
      ipVersion: 4,
      protocol: 'TCP',
      notProtocol: 'UDPLite',
      metadata: { annotations: { why: 'so' } },
      source: {
        nets: ['10.0.0.1', '10.1.2.3/16'],
        notNets: ['10.2.0.0/16'],
        selector: 'has(a)',
        notSelector: 'has(b)',
        namespaceSelector: 'global()',
        serviceAccounts: { names: ['robot'], selector: 'has(c)' },
        ports: [1, '2:3'],
      },
      destination: { ports: ['80', 'http'], notPorts: [81] },
      http: { methods: ['GET'], paths: [{ exact: '/a' }, { prefix: '/b' }] },
    });
    expect(rule).toEqual({
      action: 'Allow',
      ipVersion: 4,
      protocol: 6,
      notProtocol: 136,
      source: {
        nets: [prefix('10.0.0.1/32'), prefix('10.1.0.0/16')],
        notNets: [prefix('10.2.0.0/16')],
        selector: { is: 'has', key: 'a' },
        notSelector: { is: 'has', key: 'b' },
        namespaceSelector: { is: 'global' },
        serviceAccounts: { names: ['robot'], selector: { is: 'has', key: 'c' } },
        ports: [
          { from: 1, to: 1 },
          { from: 2, to: 3 },
        ],
      },
      destination: { ports: [{ from: 80, to: 80 }, { name: 'http' }], notPorts: [{ from: 81, to: 81 }] },
      http: 'GET on /a, /b*',
      field: 'spec.ingress[0]',
    });
  });
  it('empty fields restrict nothing', () => {
    const empty = { nets: [], selector: '', serviceAccounts: {}, ports: null };
    const rule = ingress({ action: 'Deny', protocol: 'ICMP', icmp: {}, source: empty, destination: null });
    expect(rule).toEqual({
      action: 'Deny',
      protocol: 1,
      source: {},
      destination: {},
      field: 'spec.ingress[0]',
    });
  });
  it('services default to the namespace of the policy', () => {
    const services = { services: { name: 's' } };
    expect(ingress({ action: 'Allow', source: services }).source.service).toEqual({
      namespace: 'shop',
      name: 's',
    });
    const global = gnp({ egress: [{ action: 'Allow', destination: services }] });
    expect(global.problems).toMatchObject([{ field: 'spec.egress[0].destination.services.namespace' }]);
  });
  const tcp = { protocol: 'TCP' };
  it.each<[JsonObject, string]>([
    [{ action: 'allow' }, 'action'],
    [{ action: undefined }, 'action'],
    [{ form: {} }, 'form'],
    [{ ipVersion: 5 }, 'ipVersion'],
    [{ protocol: 'tcp' }, 'protocol'],
    [{ protocol: 0 }, 'protocol'],
    [{ protocol: 256 }, 'protocol'],
    [{ notProtocol: 'X' }, 'notProtocol'],
    [{ icmp: { type: 8 } }, 'icmp'],
    [{ protocol: 'ICMP', icmp: { type: 255 } }, 'icmp.type'],
    [{ protocol: 'ICMP', icmp: { code: 0 } }, 'icmp.code'],
    [{ protocol: 'ICMP', notICMP: { type: 8, code: 256 } }, 'notICMP.code'],
    [{ protocol: 'ICMP', notICMP: { kind: 8 } }, 'notICMP.kind'],
    [{ source: [] }, 'source'],
    [{ source: { net: '10.0.0.0/8' } }, 'source.net'],
    [{ source: { nets: ['10.0.0.0/33'] } }, 'source.nets[0]'],
    [{ source: { nets: ['10.0.0.0/8', 'fd00::/8'] } }, ''],
    [{ source: { nets: ['10.0.0.0/8'] }, destination: { notNets: ['fd00::/8'] } }, ''],
    [{ ipVersion: 6, source: { nets: ['10.0.0.0/8'] } }, ''],
    [{ ipVersion: 6, protocol: 'ICMP' }, ''],
    [{ source: { notNets: ['0.0.0.0/0'] } }, 'source.notNets'],
    [{ source: { selector: 'a' } }, 'source.selector'],
    [{ source: { selector: 'global()' } }, 'source.selector'],
    [{ source: { notSelector: 'global()' } }, 'source.notSelector'],
    [{ source: { namespaceSelector: 'global() || has(a)' } }, 'source.namespaceSelector'],
    [{ source: { serviceAccounts: { name: 'x' } } }, 'source.serviceAccounts.name'],
    [{ source: { serviceAccounts: { selector: 'x' } } }, 'source.serviceAccounts.selector'],
    [{ destination: { ports: [80] } }, 'destination.ports'],
    [{ protocol: 'ICMP', destination: { ports: ['http'] } }, 'destination.ports'],
    [{ ...tcp, destination: { ports: [0] } }, 'destination.ports[0]'],
    [{ ...tcp, destination: { ports: ['90:80'] } }, 'destination.ports[0]'],
    [{ ...tcp, destination: { ports: ['80:70000'] } }, 'destination.ports[0]'],
    [{ ...tcp, destination: { notPorts: ['a b'] } }, 'destination.notPorts[0]'],
    [{ ...tcp, source: { ports: [1.5] } }, 'source.ports[0]'],
    [{ destination: { services: { name: 's' } } }, 'destination.services'],
    [{ source: { services: { namespace: 'x' } } }, 'source.services.name'],
    [{ source: { services: { name: 's' }, selector: 'all()' } }, 'source.services'],
    [{ http: { methods: ['GET'] }, action: 'Deny' }, 'http'],
    [{ http: {}, protocol: 'UDP' }, 'http'],
    [{ http: { paths: [{ exact: '/a', prefix: '/b' }] } }, 'http.paths[0]'],
    [{ http: { paths: [{ exact: 'a' }] } }, 'http.paths[0]'],
  ])('%j is invalid at %s, and the rule stays as one that allows nothing', (rule, field) => {
    const path = `spec.ingress[0]${field === '' ? '' : `.${field}`}`;
    const policy = np({ ingress: [{ action: 'Allow', ...rule }] });
    expect(policy.problems.map((problem) => problem.field)).toEqual([path]);
    expect(policy.ingress).toMatchObject([{ source: {}, destination: {}, field: 'spec.ingress[0]' }]);
    expect(policy.ingress?.[0]?.invalid).toContain(path);
  });
  it('application layer rules are for ingress only', () => {
    const policy = np({ egress: [{ action: 'Allow', http: {} }] });
    expect(policy.problems).toMatchObject([{ field: 'spec.egress[0].http' }]);
  });
});

describe('other kinds', () => {
  it('tiers, of which three are fixed', () => {
    const tier = (name: string, spec: JsonObject) =>
      only(read({ 'tiers.projectcalico.org': [{ metadata: { name }, spec }] }).tiers);
    expect(tier('t', {})).toMatchObject({
      order: Number.POSITIVE_INFINITY,
      defaultAction: 'Deny',
      problems: [],
    });
    expect(tier('t', { order: 1.5, defaultAction: 'Pass' })).toMatchObject({
      order: 1.5,
      defaultAction: 'Pass',
    });
    expect(tier('t', { defaultAction: 'Allow' })).toMatchObject({
      defaultAction: 'Deny',
      problems: [{ field: 'spec.defaultAction' }],
    });
    expect(tier('default', { order: 5, defaultAction: 'Pass' })).toMatchObject({
      order: 1_000_000,
      defaultAction: 'Deny',
      problems: [{ field: 'spec.order' }, { field: 'spec.defaultAction' }],
    });
    expect(tier('kube-admin', {})).toMatchObject({ order: 1000, defaultAction: 'Pass', problems: [] });
  });
  it('network sets without their invalid nets', () => {
    const object = {
      metadata: { name: 'n', labels: { a: 'b' } },
      spec: { nets: ['10.1.2.3/8', 'x', 'fd00::1'] },
    };
    const sets = read({
      'networksets.projectcalico.org': [object],
      'globalnetworksets.crd.projectcalico.org': [object],
    }).networkSets;
    expect(sets).toMatchObject([{ namespace: 'default' }, { name: 'n', labels: { a: 'b' } }]);
    expect(sets[1]).not.toHaveProperty('namespace');
    expect(sets[1]?.nets).toEqual([prefix('10.0.0.0/8'), prefix('fd00::1/128')]);
    expect(sets[1]?.problems).toMatchObject([{ field: 'spec.nets[1]' }]);
  });
  it('profiles, which cannot pass', () => {
    const profile = only(
      read({
        'profiles.projectcalico.org': [
          {
            metadata: { name: 'kns.a' },
            spec: { ingress: [{ action: 'Pass' }], labelsToApply: { 'pcns.a': 'b' } },
          },
        ],
      }).profiles,
    );
    expect(profile).toMatchObject({ name: 'kns.a', egress: [], labelsToApply: { 'pcns.a': 'b' } });
    expect(profile.ingress).toMatchObject([{ action: 'Deny', invalid: expect.any(String) }]);
  });
  it('host endpoints', () => {
    const endpoint = only(
      read({
        'hostendpoints.crd.projectcalico.org': [
          {
            metadata: { name: 'h', labels: { a: 'b' } },
            spec: { node: 'n1', interfaceName: '*', expectedIPs: ['10.0.0.1', 'x'], profiles: ['p'] },
          },
        ],
      }).hostEndpoints,
    );
    expect(endpoint).toMatchObject({
      node: 'n1',
      labels: { a: 'b' },
      expectedIps: [address('10.0.0.1')],
      profiles: ['p'],
      problems: [{ field: 'spec.expectedIPs[1]' }],
    });
  });
  it('staged policies', () => {
    const all = read({
      'stagednetworkpolicies.projectcalico.org': [{ metadata: { name: 's' }, spec: {} }],
      'stagedglobalnetworkpolicies.projectcalico.org': [
        { metadata: { name: 'g' }, spec: { stagedAction: 'Delete' } },
      ],
      'stagedkubernetesnetworkpolicies.projectcalico.org': [
        { metadata: { name: 'k' }, spec: { stagedAction: 'Learn', podSelector: {} } },
      ],
    });
    expect(all.policies).toEqual([]);
    expect(all.stagedPolicies).toMatchObject([
      { kind: 'StagedNetworkPolicy', namespace: 'default', stagedAction: 'Set', problems: [] },
      { kind: 'StagedGlobalNetworkPolicy', stagedAction: 'Delete', problems: [] },
    ]);
    expect(all.stagedKubernetesPolicies).toMatchObject([
      { action: 'Learn', policy: { namespace: 'default', name: 'k', ingress: [], problems: [] } },
    ]);
  });
});
