/**
 * One test for each rule of the Calico kinds; the numbers are the lines of the list of semantics. Engine and reference are asked both.
 * Checked against projectcalico/calico: api/pkg/apis/projectcalico/v3, libcalico-go/lib/selector, libcalico-go/lib/backend/syncersv1/
 * updateprocessors, felix/calc and felix/rules.
 */
import { describe, expect, it } from 'vitest';
import {
  gnp,
  netSet,
  notes,
  np,
  type Objects,
  profile,
  tier,
  verdict,
  verdictIn,
  worldOf,
} from '../../../test/support/calico-policies.ts';

const web = 'shop/web';
const api = 'shop/api';
const tool = 'ops/tool';
const outside = '198.51.100.1';
const allow = { action: 'Allow' };
const deny = { action: 'Deny' };
const pass = { action: 'Pass' };
/** Ingress of shop/api is allowed from what `source` says, and denied from everything else. */
const only = (source: object): Objects[] => [
  gnp({ selector: 'app == "api"', ingress: [{ action: 'Allow', source }] }),
];

describe('46 types that are left out follow the rules', () => {
  it('46 empty types: egress-only rules give [Egress]', () => {
    const objects = [np({ selector: 'app == "web"', egress: [deny] })];
    expect(verdict(objects, web, api)).toBe('deny');
    expect(verdict(objects, api, web)).toBe('allow');
  });
  it('46 no rules at all give [Ingress]', () => {
    const objects = [np({ selector: 'app == "web"' })];
    expect(verdict(objects, api, web)).toBe('deny');
    expect(verdict(objects, web, api)).toBe('allow');
  });
  it('46 both give both, and rules of a type that is not listed are ignored', () => {
    const both = { selector: 'app == "web"', ingress: [allow], egress: [deny] };
    expect(verdict([np(both)], api, web)).toBe('allow');
    expect(verdict([np(both)], web, api)).toBe('deny');
    expect(verdict([np({ ...both, types: ['Ingress'] })], web, api)).toBe('allow');
  });
});

describe('47 order', () => {
  it.each([
    [1, 2, 'allow'],
    [2, 1, 'deny'],
    [1.5, 1.25, 'deny'],
    [undefined, 5, 'deny'],
    [1e9, undefined, 'allow'],
    [-1, 0, 'allow'],
  ])('47 Allow at %s, Deny at %s: %s', (a, d, expected) => {
    expect(verdict([gnp({ order: a, ingress: [allow] }), gnp({ order: d, ingress: [deny] })], web, api)).toBe(
      expected,
    );
  });
  it('47 ties break by name', () => {
    const named = (name: string, rule: object) => gnp({ order: 5, ingress: [rule] }, { name });
    expect(verdict([named('b', deny), named('a', allow)], web, api)).toBe('allow');
    expect(verdict([named('a', deny), named('b', allow)], web, api)).toBe('deny');
    const endless = (name: string, rule: object) => gnp({ ingress: [rule] }, { name });
    expect(verdict([endless('b', deny), endless('a', allow)], web, api)).toBe('allow');
  });
  it('47 tiers without an order go last, ties break by name', () => {
    const inTier = (name: string, rule: object) => gnp({ tier: name, ingress: [rule] });
    const endless = [tier('early', {}), inTier('early', deny), np({ ingress: [allow] })];
    expect(verdict(endless, web, api)).toBe('allow');
    const two = (x: string, y: string) => [
      tier(x, { order: 5 }),
      tier(y, { order: 5 }),
      inTier(x, allow),
      inTier(y, deny),
    ];
    expect(verdict(two('a', 'b'), web, api)).toBe('allow');
    expect(verdict(two('b', 'a'), web, api)).toBe('deny');
  });
  it('47 a tier that is not among the objects goes last of all and is said', () => {
    const objects = [gnp({ tier: 'gone', ingress: [deny] })];
    expect(verdict(objects, web, api)).toBe('deny');
    expect(verdict([...objects, np({ ingress: [allow] })], web, api)).toBe('allow');
    expect(notes(objects).join()).toContain('the tier gone is not among the objects');
  });
});

describe('48 the default action of a tier', () => {
  const security = tier('security', { order: 100 });
  it('48 fires only where some policy of the tier applies to the endpoint in that direction', () => {
    const objects = [security, gnp({ tier: 'security', selector: 'app == "api"', ingress: [] })];
    expect(verdict(objects, web, api)).toBe('deny');
    expect(verdict(objects, api, web)).toBe('allow');
    expect(verdict(objects, web, tool)).toBe('allow');
  });
  it('48 Pass as the default action goes on', () => {
    const open = tier('security', { order: 100, defaultAction: 'Pass' });
    const objects = [open, gnp({ tier: 'security', ingress: [] })];
    expect(verdict(objects, web, api)).toBe('allow');
    expect(verdict([...objects, np({ ingress: [] })], web, api)).toBe('deny');
  });
  it('48 a tier of staged policies only is skipped, unless they are asked for', () => {
    const staged: Objects = {
      'stagedglobalnetworkpolicies.projectcalico.org': [
        { kind: 'StagedGlobalNetworkPolicy', metadata: { name: 's' }, spec: { tier: 'security' } },
      ],
    };
    expect(verdict([security, staged], web, api)).toBe('allow');
    expect(verdict([security, staged], web, api, { includeStaged: true })).toBe('deny');
  });
  it('48 staged Delete takes the enforced policy away, Set replaces it, Ignore changes nothing', () => {
    const enforced = np({ ingress: [deny] }, { name: 'x' });
    const staged = (spec: object): Objects => ({
      'stagednetworkpolicies.projectcalico.org': [
        { kind: 'StagedNetworkPolicy', metadata: { name: 'x', namespace: 'shop' }, spec },
      ],
    });
    const asked = { includeStaged: true };
    expect(verdict([enforced, staged({ stagedAction: 'Delete' })], web, api, asked)).toBe('allow');
    expect(verdict([enforced, staged({ ingress: [allow] })], web, api, asked)).toBe('allow');
    expect(verdict([enforced, staged({ stagedAction: 'Ignore' })], web, api, asked)).toBe('deny');
    expect(verdict([enforced, staged({ stagedAction: 'Delete' })], web, api)).toBe('deny');
  });
  it('48 a staged Kubernetes policy is a NetworkPolicy of the default tier', () => {
    const staged: Objects = {
      'stagedkubernetesnetworkpolicies.projectcalico.org': [
        {
          kind: 'StagedKubernetesNetworkPolicy',
          metadata: { name: 'k', namespace: 'shop' },
          spec: { stagedAction: 'Set', podSelector: {} },
        },
      ],
    };
    expect(verdict([staged], web, api)).toBe('allow');
    expect(verdict([staged], web, api, { includeStaged: true })).toBe('deny');
  });
});

describe('49 Pass, and the profiles', () => {
  const security = tier('security', { order: 100 });
  it('49 Pass leaves the tier, not only the policy', () => {
    const objects = [
      security,
      gnp({ tier: 'security', order: 1, ingress: [pass, deny] }),
      gnp({ tier: 'security', order: 2, ingress: [deny] }),
    ];
    expect(verdict(objects, web, api)).toBe('allow');
    expect(verdict([...objects, np({ ingress: [] })], web, api)).toBe('deny');
  });
  it('49 after the last tier the profile of the namespace allows all', () => {
    expect(verdict([np({ ingress: [pass] })], web, api)).toBe('allow');
  });
  it('49 what no profile allows is denied', () => {
    const closed = profile('kns.shop', { ingress: [], egress: [allow] });
    expect(verdict([closed], web, api)).toBe('deny');
    expect(verdict([closed, np({ ingress: [pass] })], web, api)).toBe('deny');
    expect(verdict([closed, np({ ingress: [allow] })], web, api)).toBe('allow');
    expect(verdict([closed], api, tool)).toBe('allow');
    const account = profile('ksa.shop.default', { ingress: [allow] });
    expect(verdict([closed, account], web, api)).toBe('allow');
  });
  it('49 Log goes on to the next rule', () => {
    expect(verdict([np({ ingress: [{ action: 'Log' }, allow] })], web, api)).toBe('allow');
    expect(verdict([np({ ingress: [{ action: 'Log' }] })], web, api)).toBe('deny');
  });
});

describe('50 the fixed tiers', () => {
  const inTier = (order: number, rule: object) => [tier('t', { order }), gnp({ tier: 't', ingress: [rule] })];
  const admin = (action: string): Objects => ({
    'adminnetworkpolicies.policy.networking.k8s.io': [
      {
        kind: 'AdminNetworkPolicy',
        metadata: { name: 'anp' },
        spec: {
          priority: 5,
          subject: { namespaces: {} },
          ingress: [{ action, from: [{ namespaces: {} }] }],
        },
      },
    ],
  });
  const kubernetes: Objects = {
    'networkpolicies.networking.k8s.io': [
      { kind: 'NetworkPolicy', metadata: { name: 'k', namespace: 'shop' }, spec: { podSelector: {} } },
    ],
  };
  it('50 kube-admin stands at 1000', () => {
    expect(verdict([...inTier(999, allow), admin('Deny')], web, api)).toBe('allow');
    expect(verdict([...inTier(1001, allow), admin('Deny')], web, api)).toBe('deny');
    expect(verdict([...inTier(1001, deny), admin('Allow')], web, api)).toBe('allow');
    expect(verdict([...inTier(1001, deny), admin('Pass')], web, api)).toBe('deny');
  });
  it('50 default stands at 1000000 and holds the Kubernetes NetworkPolicies at order 1000', () => {
    expect(verdict([...inTier(999_999, allow), kubernetes], web, api)).toBe('allow');
    expect(verdict([...inTier(1_000_001, allow), kubernetes], web, api)).toBe('deny');
    expect(verdict([np({ order: 1001, ingress: [allow] }), kubernetes], web, api)).toBe('allow');
    const open: Objects = {
      'networkpolicies.networking.k8s.io': [
        {
          kind: 'NetworkPolicy',
          metadata: { name: 'k', namespace: 'shop' },
          spec: { podSelector: {}, ingress: [{}] },
        },
      ],
    };
    expect(verdict([np({ order: 999, ingress: [deny] }), open], web, api)).toBe('deny');
    expect(verdict([np({ order: 1001, ingress: [deny] }), open], web, api)).toBe('allow');
  });
  it('50 kube-baseline stands at 10000000 with the default action Pass', () => {
    const baseline: Objects = {
      'baselineadminnetworkpolicies.policy.networking.k8s.io': [
        {
          kind: 'BaselineAdminNetworkPolicy',
          metadata: { name: 'default' },
          spec: {
            subject: { namespaces: {} },
            ingress: [{ action: 'Deny', from: [{ namespaces: { matchLabels: { team: 'ops' } } }] }],
          },
        },
      ],
    };
    expect(verdict([baseline], tool, api)).toBe('deny');
    expect(verdict([baseline], web, api)).toBe('allow');
    expect(verdict([baseline, ...inTier(9_999_999, allow)], tool, api)).toBe('allow');
    expect(verdict([baseline, ...inTier(10_000_001, deny)], web, api)).toBe('deny');
  });
  it('50 ICMP of an isolated pod is denied, unlike what NetworkPolicy leaves open', () => {
    expect(verdict([kubernetes], web, api, { protocol: 'ICMP', port: 2048 })).toBe('deny');
  });
});

describe('51 labels that are not there', () => {
  it.each([
    ['tier != "x"', 'allow'],
    ['tier not in {"x"}', 'allow'],
    ['!has(tier)', 'allow'],
    ['tier == "x"', 'deny'],
    ['!(tier == "x")', 'allow'],
    ['tier contains "x"', 'deny'],
  ])('51 %s matches a pod without the label, and nothing outside of Calico: %s', (selector, expected) => {
    expect(verdict(only({ selector }), web, api)).toBe(expected);
    expect(verdict(only({ selector }), outside, api)).toBe('deny');
    expect(verdict(only({ selector }), 'ops/host', api)).toBe('deny');
  });
  it('51 notSelector: has(x) also matches external addresses', () => {
    expect(verdict(only({ notSelector: 'has(tier)' }), outside, api)).toBe('allow');
    expect(verdict(only({ notSelector: 'has(tier)' }), web, api)).toBe('allow');
    expect(verdict(only({ notSelector: 'has(app)' }), web, api)).toBe('deny');
  });
  it('51 in a NetworkPolicy notSelector limits the rule to its namespace too', () => {
    const objects = [np({ ingress: [{ action: 'Allow', source: { notSelector: 'has(tier)' } }] })];
    expect(verdict(objects, web, api)).toBe('allow');
    expect(verdict(objects, tool, api)).toBe('deny');
    expect(verdict(objects, outside, api)).toBe('deny');
  });
});

describe('52 namespaces in rules', () => {
  const ruled = (source: object) => [
    np({ selector: 'app == "api"', ingress: [{ action: 'Allow', source }] }),
  ];
  it('52 NetworkPolicy with an empty namespaceSelector: its own namespace', () => {
    expect(verdict(ruled({ selector: 'all()' }), web, api)).toBe('allow');
    expect(verdict(ruled({ selector: 'all()' }), tool, api)).toBe('deny');
    expect(verdict(ruled({ selector: 'all()', namespaceSelector: 'all()' }), tool, api)).toBe('allow');
    expect(verdict(ruled({ namespaceSelector: 'team == "ops"' }), tool, api)).toBe('allow');
    expect(verdict(ruled({ namespaceSelector: 'team == "ops"' }), web, api)).toBe('deny');
  });
  it('52 without any selector the rule is not limited', () => {
    expect(verdict(ruled({}), tool, api)).toBe('allow');
    expect(verdict(ruled({ nets: ['198.51.100.0/24'] }), outside, api)).toBe('allow');
  });
  it('52 GlobalNetworkPolicy: all namespaces, network sets and host endpoints', () => {
    expect(verdict(only({ selector: 'all()' }), tool, api)).toBe('allow');
    const partners = netSet(['198.51.100.0/24'], { name: 'partners', labels: { zone: 'partner' } });
    expect(verdict([...only({ selector: 'all()' }), partners], outside, api)).toBe('allow');
    expect(verdict([...only({ selector: 'zone == "partner"' }), partners], outside, api)).toBe('allow');
    expect(verdict(only({ selector: 'zone == "partner"' }), outside, api)).toBe('deny');
  });
  it('52 global(): only GlobalNetworkSets and HostEndpoints', () => {
    const rule = ruled({ namespaceSelector: 'global()' });
    const set = (metadata: object) => netSet(['198.51.100.0/24'], { name: 'n', ...metadata });
    expect(verdict(rule, web, api)).toBe('deny');
    expect(verdict([...rule, set({})], outside, api)).toBe('allow');
    expect(verdict([...rule, set({ namespace: 'shop' })], outside, api)).toBe('deny');
    const endpoint: Objects = {
      'hostendpoints.projectcalico.org': [
        {
          kind: 'HostEndpoint',
          metadata: { name: 'n2', labels: { role: 'node' } },
          spec: { node: 'n2', interfaceName: '*', expectedIPs: ['192.168.0.2'] },
        },
      ],
    };
    expect(verdict([...rule, endpoint], 'n2', api)).toBe('allow');
    expect(verdict([...rule, endpoint], 'ops/host', api)).toBe('allow');
    expect(verdict([...only({ selector: 'role == "node"' }), endpoint], 'n2', api)).toBe('allow');
    expect(notes([endpoint]).join()).toContain('not evaluated');
  });
  it('52 a NetworkSet has the labels of its namespace, and its namespace', () => {
    const set = netSet(['198.51.100.0/24'], { name: 'n', namespace: 'ops' });
    expect(verdict([...ruled({ namespaceSelector: 'team == "ops"' }), set], outside, api)).toBe('allow');
    expect(verdict([...ruled({ namespaceSelector: 'team == "shop"' }), set], outside, api)).toBe('deny');
    expect(verdict([...ruled({ selector: 'all()' }), set], outside, api)).toBe('deny');
  });
  it('52 a namespaceSelector that wants no label also matches what is in no namespace', () => {
    const set = netSet(['198.51.100.0/24'], { name: 'n' });
    expect(verdict([...ruled({ namespaceSelector: 'team != "ops"' }), set], outside, api)).toBe('allow');
    expect(verdict([...ruled({ namespaceSelector: 'team == "shop"' }), set], outside, api)).toBe('deny');
  });
  it('52 hostNetwork pods are no endpoints: nothing selects them, nets match the address of their node', () => {
    expect(verdict([gnp({ selector: 'app == "host"' })], web, 'ops/host')).toBe('allow');
    expect(verdict(only({ selector: 'app == "host"' }), 'ops/host', api)).toBe('deny');
    expect(verdict(only({ nets: ['192.168.0.0/24'] }), 'ops/host', api)).toBe('allow');
  });
});

describe('53 the selector grammar, by what it selects', () => {
  it.each([
    ['app == "web"', true],
    ["app == 'web'", true],
    ['app != "web"', false],
    ['app in {"x", "web"}', true],
    ['app in { }', false],
    ['app not in {"x"}', true],
    ['app notin {"web",}', false],
    ['has(app)', true],
    ['!has( app )', false],
    ['app contains "e"', true],
    ['app starts with "we"', true],
    ['app ends with "we"', false],
    ['all()', true],
    ['', true],
    ['! all()', false],
    ['!!has(app)', true],
    ['has(none) && has(app) || app == "web"', true],
    ['has(none) && (has(app) || app == "web")', false],
    ['app == "we\\b"', false],
    ['projectcalico.org/namespace == "shop"', true],
    ['projectcalico.org/orchestrator == "k8s"', true],
    ['pcns.team == "shop"', true],
    ['pcns.projectcalico.org/name == "shop"', true],
    ['pcsa.projectcalico.org/name == "default"', true],
    ['projectcalico.org/serviceaccount == "robot"', false],
  ])('53 %s selects shop/web: %s', (selector, selected) => {
    expect(verdict([gnp({ selector, ingress: [deny] })], tool, web)).toBe(selected ? 'deny' : 'allow');
  });
  it('53 serviceAccountSelector and serviceAccounts', () => {
    const subject = gnp({ serviceAccountSelector: 'role == "robot"', ingress: [deny] });
    expect(verdict([subject], web, tool)).toBe('deny');
    expect(verdict([subject], tool, web)).toBe('allow');
    expect(verdict(only({ serviceAccounts: { names: ['robot'] } }), tool, api)).toBe('allow');
    expect(verdict(only({ serviceAccounts: { names: ['robot'] } }), web, api)).toBe('deny');
    expect(verdict(only({ serviceAccounts: { selector: 'role == "robot"' } }), tool, api)).toBe('allow');
    const neither = { serviceAccounts: { names: ['robot'], selector: 'role == "x"' } };
    expect(verdict(only(neither), tool, api)).toBe('deny');
  });
});

describe('protocols and ports', () => {
  const rule = (match: object) => [
    np({ selector: 'app == "api"', ingress: [{ action: 'Allow', ...match }] }),
  ];
  const at = (port: number, protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP' | 'ICMPv6' = 'TCP') => ({
    port,
    protocol,
  });
  it.each([
    [{ protocol: 'TCP', destination: { ports: [80, '443:445'] } }, at(444), 'allow'],
    [{ protocol: 'TCP', destination: { ports: [80, '443:445'] } }, at(446), 'deny'],
    [{ protocol: 6, destination: { ports: ['http'] } }, at(8080), 'allow'],
    [{ protocol: 'UDP', destination: { ports: ['http'] } }, at(8080, 'UDP'), 'deny'],
    [{ destination: { ports: ['http'] } }, at(8080), 'allow'],
    [{ protocol: 'TCP', destination: { notPorts: ['http'] } }, at(8080), 'deny'],
    [{ protocol: 'TCP', destination: { notPorts: ['http'] } }, at(8081), 'allow'],
    [{ protocol: 'TCP', destination: { ports: ['1:65535'], notPorts: [22] } }, at(22), 'deny'],
    [{ notProtocol: 'TCP' }, at(53, 'UDP'), 'allow'],
    [{ notProtocol: 'TCP' }, at(53), 'deny'],
    [{ protocol: 'ICMP' }, at(2048, 'ICMP'), 'allow'],
    [{ protocol: 'ICMP', icmp: { type: 8 } }, at(2049, 'ICMP'), 'allow'],
    [{ protocol: 'ICMP', icmp: { type: 8, code: 0 } }, at(2049, 'ICMP'), 'deny'],
    [{ protocol: 'ICMP', notICMP: { type: 8 } }, at(2048, 'ICMP'), 'deny'],
    [{ protocol: 'ICMP', notICMP: { type: 8 } }, at(0, 'ICMP'), 'allow'],
    [{ protocol: 'UDPLite' }, at(80, 'UDP'), 'deny'],
    [{ ipVersion: 4 }, at(80), 'allow'],
    [{ ipVersion: 6 }, at(80), 'deny'],
    [{ source: { notNets: ['10.9.0.0/16'] } }, at(80), 'allow'],
    [{ source: { notNets: ['fd00::/8'] } }, at(80), 'deny'],
    [{ protocol: 'TCP', source: { ports: [1000] } }, at(80), 'conditional'],
    [{ protocol: 'TCP', source: { ports: [1000] } }, at(80, 'UDP'), 'deny'],
    [{ http: { methods: ['GET'] } }, at(80), 'conditional'],
  ] as const)('%o for %o: %s', (match, question, expected) => {
    expect(verdict(rule(match), web, api, question)).toBe(expected);
  });
  it('a rule for one family is not certain between two ends that have both', () => {
    expect(verdict(rule({ ipVersion: 4 }), 'ops/dual', api)).toBe('conditional');
    expect(verdict(rule({ ipVersion: 4 }), 'ops/dual', api, at(2048, 'ICMP'))).toBe('allow');
    expect(verdict(rule({ ipVersion: 4 }), 'ops/dual', api, at(32768, 'ICMPv6'))).toBe('deny');
    expect(verdict(rule({ ipVersion: 6 }), '2001:db8::1', api)).toBe('allow');
  });
  it('services: the endpoints of a Service at their ports, for egress; their addresses, for ingress', () => {
    const service: Objects = {
      services: [
        {
          metadata: { name: 'front', namespace: 'shop' },
          spec: {
            clusterIP: '10.96.0.1',
            selector: { app: 'api' },
            ports: [{ port: 80, targetPort: 'http' }],
          },
        },
      ],
    };
    const egress = np({
      selector: 'app == "web"',
      egress: [{ action: 'Allow', destination: { services: { name: 'front' } } }],
    });
    expect(verdict([service, egress], web, api, at(8080))).toBe('allow');
    expect(verdict([service, egress], web, api, at(80))).toBe('deny');
    expect(verdict([service, egress], web, tool, at(8080))).toBe('deny');
    expect(verdict([egress], web, api, at(8080))).toBe('deny');
    const from = gnp({
      selector: 'app == "web"',
      ingress: [{ action: 'Allow', source: { services: { name: 'front', namespace: 'shop' } } }],
    });
    expect(verdict([service, from], api, web, at(1))).toBe('allow');
    expect(verdict([service, from], tool, web, at(1))).toBe('deny');
    const slices: Objects = {
      'endpointslices.discovery.k8s.io': [
        {
          addressType: 'IPv4',
          metadata: {
            name: 's',
            namespace: 'shop',
            labels: { 'kubernetes.io/service-name': 'front' },
          },
          // Ready or not: Felix takes every endpoint.
          endpoints: [{ addresses: ['198.51.100.1'], conditions: { ready: false } }],
          ports: [{ name: '', port: 9000 }],
        },
      ],
    };
    expect(verdict([service, egress, slices], web, outside, at(9000))).toBe('allow');
    expect(verdict([service, egress, slices], web, api, at(8080))).toBe('deny');
  });
  it('both ends of a rule count', () => {
    const rules = [{ action: 'Deny', destination: { selector: 'app == "api"' } }, allow];
    expect(verdict([np({ ingress: rules })], web, api)).toBe('deny');
    expect(verdict([np({ ingress: rules })], api, web)).toBe('allow');
  });
});

describe('what is not known or not valid', () => {
  it('an invalid Allow allows nothing, an invalid Deny or Pass leaves the verdict open', () => {
    const bad = (action: string, next: object) => [np({ ingress: [{ action, form: {} }, next] })];
    expect(verdict(bad('Allow', deny), web, api)).toBe('deny');
    expect(verdict(bad('Allow', allow), web, api)).toBe('allow');
    expect(verdict(bad('Deny', deny), web, api)).toBe('deny');
    expect(verdict(bad('Deny', allow), web, api)).toBe('conditional');
    expect(verdict(bad('Pass', deny), web, api)).toBe('conditional');
    expect(notes(bad('Allow', deny))).toEqual(['spec.ingress[0].form is no field of the API']);
  });
  it('labels of namespaces and service accounts that were not collected', () => {
    const rule = (source: object) => only(source);
    const without = (objects: Objects[], from: string) =>
      verdictIn(worldOf(objects, ['namespaces', 'serviceaccounts']), from, api);
    expect(without(rule({ namespaceSelector: 'team == "ops"' }), tool)).toBe('conditional');
    expect(without(rule({ namespaceSelector: 'team == "ops"' }), outside)).toBe('deny');
    expect(without(rule({ namespaceSelector: 'projectcalico.org/name == "ops"' }), tool)).toBe('allow');
    expect(without(rule({ namespaceSelector: 'kubernetes.io/metadata.name == "ops"' }), web)).toBe('deny');
    expect(without(rule({ serviceAccounts: { selector: 'role == "x"' } }), tool)).toBe('conditional');
    const subject = gnp({ namespaceSelector: 'team == "shop"', ingress: [deny] });
    expect(without([subject], web)).toBe('conditional');
  });
  it('policies for host endpoints only do nothing at pods', () => {
    const objects = [gnp({ preDNAT: true, applyOnForward: true, ingress: [deny] })];
    expect(verdict(objects, web, api)).toBe('allow');
    expect(notes(objects)).toEqual(['preDNAT policies are for host endpoints: not evaluated']);
  });
  it('a broken list makes every verdict conditional', () => {
    const world = worldOf([]);
    const cluster = { ...world.cluster, calico: { state: 'unknown', why: 'broken' } as const };
    expect(verdictIn({ ...world, cluster }, web, api)).toBe('conditional');
  });
});
