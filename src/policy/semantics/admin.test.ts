/**
 * One test for each rule of the admin kinds; the numbers are the lines of the list of semantics. Engine and reference are asked both.
 * Quotations are from kubernetes-sigs/network-policy-api: apis/v1alpha1/*_types.go and apis/v1alpha2/clusternetworkpolicy_types.go.
 */
import { describe, expect, it } from 'vitest';
import {
  anp,
  banp,
  clusterOf,
  cnp,
  conditions,
  everyone,
  from,
  np,
  type Policy,
  policy,
  tcp,
  to,
  verdict,
} from '../../../test/support/admin-policies.ts';
import type { Cluster } from '../../model/cluster.ts';
import { unknown } from '../../model/known.ts';
import { adminNotes } from '../kinds/admin.ts';
import { defaultReading } from '../options.ts';

const web = 'shop/web';
const api = 'shop/api';
const tool = 'ops/tool';
const outside = '198.51.100.1';

describe('36 a lower priority number wins', () => {
  const allow = { egress: [to('Allow')] };
  const deny = { egress: [to('Deny')] };
  it.each([
    [1, 2, 'allow'],
    [2, 1, 'deny'],
    [9, 10, 'allow'],
    [1000, 0, 'deny'],
  ] as const)('36 Allow at %i, Deny at %i: %s', (a, d, expected) => {
    expect(verdict([anp(a, allow), anp(d, deny)], web, api)).toBe(expected);
    expect(verdict([anp(d, deny), anp(a, allow)], web, api)).toBe(expected);
  });
  it('36 equal priorities are undefined where they disagree', () => {
    expect(verdict([anp(5, allow), anp(5, deny)], web, api)).toBe('conditional');
    // Pass goes on to a NetworkPolicy tier that is open here.
    expect(verdict([anp(5, { egress: [to('Pass')] }), anp(5, deny)], web, api)).toBe('conditional');
  });
  it('36 equal priorities that agree, or of which one matches, are certain', () => {
    expect(verdict([anp(5, deny), anp(5, deny)], web, api)).toBe('deny');
    expect(verdict([anp(5, allow), anp(5, { egress: [to('Pass')] })], web, api)).toBe('allow');
    const other = { egress: [to('Deny', { namespaces: { matchLabels: { team: 'ops' } } })] };
    expect(verdict([anp(5, allow), anp(5, other)], web, api)).toBe('allow');
    expect(verdict([anp(5, allow), anp(5, other)], web, tool)).toBe('conditional');
    expect(verdict([anp(4, deny), anp(5, allow), anp(5, other)], web, tool)).toBe('deny');
  });
  it('36 both versions share the admin tier', () => {
    const accept = { egress: [to('Accept')] };
    expect(verdict([anp(2, deny), cnp('Admin', 1, accept)], web, api)).toBe('allow');
    expect(verdict([anp(1, deny), cnp('Admin', 2, accept)], web, api)).toBe('deny');
    expect(verdict([anp(1, deny), cnp('Admin', 1, accept)], web, api)).toBe('conditional');
  });
  it('36 inside of a policy the first rule that matches wins', () => {
    expect(verdict([anp(1, { egress: [to('Allow'), to('Deny')] })], web, api)).toBe('allow');
    expect(verdict([anp(1, { egress: [to('Deny'), to('Allow')] })], web, api)).toBe('deny');
  });
});

describe('37 Pass skips the rest of the tier', () => {
  const pass = cnp('Admin', 1, { egress: [to('Pass'), to('Deny')] });
  it('37 not only of the policy', () => {
    expect(verdict([pass, cnp('Admin', 2, { egress: [to('Deny')] })], web, api)).toBe('allow');
  });
  it('37 and goes on to NetworkPolicy, then to the baseline tier', () => {
    const isolate = np({ podSelector: {}, policyTypes: ['Egress'] });
    expect(verdict([pass, isolate], web, api)).toBe('deny');
    expect(verdict([pass, cnp('Baseline', 1, { egress: [to('Deny')] })], web, api)).toBe('deny');
  });
});

describe('38 a NetworkPolicy that selects the pod decides finally', () => {
  const admit = np({ podSelector: {}, ingress: [{}] });
  const shut = np({ podSelector: {}, policyTypes: ['Ingress'] });
  it('38 the baseline tier is not asked then', () => {
    expect(verdict([admit, banp({ ingress: [from('Deny')] })], web, api)).toBe('allow');
    expect(verdict([shut, banp({ ingress: [from('Allow')] })], web, api)).toBe('deny');
    expect(verdict([banp({ ingress: [from('Deny')] })], web, api)).toBe('deny');
  });
  it('38 for its own direction only', () => {
    expect(verdict([admit, banp({ egress: [to('Deny')] })], web, api)).toBe('deny');
  });
  it('38 pods that it does not select are left to the baseline tier', () => {
    expect(verdict([admit, banp({ ingress: [from('Deny')] })], web, tool)).toBe('deny');
  });
  it('38 the admin tier comes before it', () => {
    expect(verdict([shut, anp(1, { ingress: [from('Allow')] })], web, api)).toBe('allow');
    expect(verdict([admit, anp(1, { ingress: [from('Deny')] })], web, api)).toBe('deny');
  });
});

it('39 no rules in a direction have no effect there: nothing is isolated', () => {
  const admit = { ingress: [from('Allow', { namespaces: { matchLabels: { team: 'ops' } } })] };
  expect(verdict([anp(1, { ingress: [], egress: [] })], web, api)).toBe('allow');
  expect(verdict([anp(1, admit)], web, api)).toBe('allow');
  expect(verdict([anp(1, admit)], api, tool)).toBe('allow');
});

describe('40 words and tiers of the versions', () => {
  it('40 v1alpha2 says Accept, v1alpha1 says Allow; the other word is not understood', () => {
    const late = { egress: [to('Deny')] };
    expect(verdict([cnp('Admin', 1, { egress: [to('Accept')] }), anp(2, late)], web, api)).toBe('allow');
    expect(verdict([cnp('Admin', 1, { egress: [to('Allow')] }), anp(2, late)], web, api)).toBe('conditional');
    expect(verdict([anp(1, { egress: [to('Accept')] })], web, api)).toBe('conditional');
  });
  it('40 the baseline tier of v1alpha2 has priorities and Pass', () => {
    const deny = cnp('Baseline', 5, { egress: [to('Deny')] });
    expect(verdict([deny, cnp('Baseline', 4, { egress: [to('Accept')] })], web, api)).toBe('allow');
    expect(verdict([deny, cnp('Baseline', 4, { egress: [to('Pass')] })], web, api)).toBe('allow');
    expect(verdict([deny, cnp('Baseline', 6, { egress: [to('Pass')] })], web, api)).toBe('deny');
  });
  it('40 BaselineAdminNetworkPolicy comes after them, has no Pass, and is named default', () => {
    const old = banp({ egress: [to('Deny')] });
    const accept = cnp('Baseline', 1000, { egress: [to('Accept')] });
    expect(verdict([old, accept], web, api)).toBe('allow');
    const cluster = clusterOf([old, accept]);
    expect(adminNotes({ cluster, reading: defaultReading })).toHaveLength(1);
    expect(verdict([banp({ egress: [to('Pass'), to('Deny')] })], web, api)).toBe('conditional');
    const other = policy('BaselineAdminNetworkPolicy', { egress: [to('Deny')] }, 'other');
    expect(verdict([other], web, api)).toBe('conditional');
  });
});

describe('41 networks', () => {
  const deny = (...networks: string[]) => [cnp('Admin', 1, { egress: [to('Deny', { networks })] })];
  it('41 match pods of the cluster too', () => {
    expect(verdict(deny('0.0.0.0/0'), web, api)).toBe('deny');
    expect(verdict(deny('10.2.0.2/32'), web, api)).toBe('deny');
    expect(verdict(deny('10.2.0.2/32'), web, tool)).toBe('allow');
    expect(verdict(deny('::/0'), web, api)).toBe('allow');
  });
  it('41 match outside addresses, nodes and hostNetwork pods', () => {
    expect(verdict(deny('198.51.100.0/24'), web, outside)).toBe('deny');
    expect(verdict(deny('192.168.0.2/31'), web, 'n3')).toBe('deny');
    expect(verdict(deny('192.168.0.2/32'), web, 'ops/agent')).toBe('deny');
  });
  it('41 a Pass for all pods in front spares them', () => {
    const policies = [cnp('Admin', 1, { egress: [to('Pass'), to('Deny', { networks: ['0.0.0.0/0'] })] })];
    expect(verdict(policies, web, api)).toBe('allow');
    expect(verdict(policies, web, outside)).toBe('deny');
  });
});

describe('42 a peer that is not understood fails closed', () => {
  // "For Accept rules, fail closed means: treat the rule as matching no traffic. For Deny and Pass rules: as a 'Deny all' rule."
  it.each([{}, { serviceAccounts: {} }, { namespaces: { sameLabels: ['team'] } }])('42 %j', (peer) => {
    const shut = cnp('Admin', 9, { egress: [to('Deny')] });
    expect(verdict([cnp('Admin', 1, { egress: [to('Accept', peer)] }), shut], web, api)).toBe('deny');
    expect(verdict([cnp('Admin', 1, { egress: [to('Accept', peer)] })], web, api)).toBe('allow');
    for (const action of ['Deny', 'Pass']) {
      expect(verdict([cnp('Admin', 1, { egress: [to(action, peer)] })], web, api)).toBe('deny');
      expect(verdict([cnp('Admin', 1, { egress: [to(action, peer)] })], web, outside, 53, 'UDP')).toBe(
        'deny',
      );
    }
  });
  it('42 the whole rule, its other peers and its ports too', () => {
    const rule = { action: 'Accept', to: [everyone, {}] };
    const shut = to('Deny');
    expect(verdict([cnp('Admin', 1, { egress: [rule, shut] })], web, api)).toBe('deny');
    const icmp = { action: 'Deny', to: [everyone], protocols: [tcp(443), { icmp: {} }] };
    expect(verdict([cnp('Admin', 1, { egress: [icmp] })], web, api, 80)).toBe('deny');
  });
  it('42 other rules of the policy stay as they are', () => {
    expect(verdict([cnp('Admin', 1, { egress: [to('Accept'), to('Deny', {})] })], web, api)).toBe('allow');
    expect(verdict([cnp('Admin', 1, { egress: [to('Deny', {})] })], outside, api)).toBe('allow');
  });
});

describe('43 hostNetwork pods and nodes', () => {
  it('43 hostNetwork pods are no subjects and no pod peers', () => {
    expect(verdict([anp(1, { egress: [to('Deny')] })], 'ops/agent', web)).toBe('allow');
    expect(verdict([anp(1, { egress: [to('Deny')] })], web, 'ops/agent')).toBe('allow');
    const byLabel = { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: 'agent' } } } };
    expect(verdict([anp(1, { egress: [to('Deny', byLabel)] })], web, 'ops/agent')).toBe('allow');
  });
  it('43 nodes mean the addresses of the nodes with the labels', () => {
    const deny = (zone: string) => [anp(1, { egress: [to('Deny', { nodes: { matchLabels: { zone } } })] })];
    expect(verdict(deny('n2'), web, 'n2')).toBe('deny');
    expect(verdict(deny('n2'), web, 'n3')).toBe('allow');
    expect(verdict(deny('n2'), web, 'ops/agent')).toBe('deny');
    expect(verdict(deny('n2'), web, api)).toBe('allow');
    expect(verdict(deny('n2'), web, outside)).toBe('allow');
    // The ExternalIP of status.addresses.
    expect(verdict(deny('n2'), web, '203.0.113.2')).toBe('deny');
    expect(verdict([anp(1, { egress: [to('Deny', { nodes: {} })] })], web, 'n3')).toBe('deny');
  });
  it('43 a pod reaches itself and its own node whatever the policies say', () => {
    const deny = [anp(1, { egress: [to('Deny', { networks: ['0.0.0.0/0'] })], ingress: [from('Deny')] })];
    expect(verdict(deny, web, web)).toBe('allow');
    expect(verdict(deny, web, 'n1')).toBe('allow');
    expect(verdict(deny, web, 'n2')).toBe('deny');
    expect(verdict(deny, api, 'ops/agent')).toBe('allow');
  });
});

describe('44 domain names and named ports', () => {
  const accept = (name: string) => to('Accept', { domainNames: [name] });
  const shut = to('Deny', { networks: ['0.0.0.0/0'] });
  it('44 which addresses a name has is in DNS: conditional where it makes a difference', () => {
    expect(verdict([cnp('Admin', 1, { egress: [accept('example.com'), shut] })], web, outside)).toBe(
      'conditional',
    );
    expect(verdict([cnp('Admin', 1, { egress: [accept('example.com')] })], web, outside)).toBe('allow');
    expect(verdict([cnp('Admin', 1, { egress: [shut, accept('example.com')] })], web, outside)).toBe('deny');
  });
  it("44 pods have names of the cluster's DNS only", () => {
    const policies = (name: string) => [cnp('Admin', 1, { egress: [accept(name), shut] })];
    expect(verdict(policies('*.example.com'), web, api)).toBe('deny');
    expect(verdict(policies('api.shop.svc.cluster.local'), web, api)).toBe('conditional');
    expect(verdict(policies('*.cluster.local'), web, api)).toBe('conditional');
  });
  it('44 `*.x` is one or more labels in front of x, `x` alone is not among them: the condition names the pattern', () => {
    const policies = [cnp('Admin', 1, { egress: [accept('*.example.com'), shut] })];
    expect(conditions(policies, web, outside)).toEqual([
      { code: 'fqdn', text: expect.stringContaining('*.example.com') },
    ]);
  });
  it('44 they are for rules that accept: Deny fails closed', () => {
    const deny = [cnp('Admin', 1, { egress: [to('Deny', { domainNames: ['example.com'] })] })];
    expect(verdict(deny, web, api)).toBe('deny');
  });
  it('44 a named port beside networks, nodes or domain names is invalid', () => {
    const protocols = [{ destinationNamedPort: 'http' }];
    for (const peer of [{ networks: ['10.0.0.0/8'] }, { nodes: {} }, { domainNames: ['example.com'] }])
      expect(
        verdict(
          [cnp('Admin', 1, { egress: [to('Accept', peer, { protocols }), to('Deny')] })],
          web,
          api,
          8080,
        ),
      ).toBe('deny');
  });
  it('44 a named port is the destination pod, whatever the protocol', () => {
    const out = [
      cnp('Admin', 1, { egress: [to('Deny', everyone, { protocols: [{ destinationNamedPort: 'http' }] })] }),
    ];
    const into = [anp(1, { ingress: [from('Deny', everyone, { ports: [{ namedPort: 'http' }] })] })];
    for (const policies of [out, into]) {
      expect(verdict(policies, web, api, 8080)).toBe('deny');
      expect(verdict(policies, web, api, 8080, 'UDP')).toBe('allow');
      expect(verdict(policies, web, api, 8081, 'UDP')).toBe('deny');
      expect(verdict(policies, web, tool, 8080)).toBe('allow');
    }
  });
});

describe('45 ports', () => {
  it('45 no ports and no protocols are all of them, ICMP included', () => {
    for (const deny of [anp(1, { egress: [to('Deny')] }), cnp('Admin', 1, { egress: [to('Deny')] })]) {
      expect(verdict([deny], web, api, 1, 'SCTP')).toBe('deny');
      expect(verdict([deny], web, api, 8 * 256, 'ICMP')).toBe('deny');
    }
  });
  it('45 ports leave ICMP and the other protocols out', () => {
    const range = { portRange: { start: 80, end: 90 } };
    const deny = [anp(1, { egress: [to('Deny', everyone, { ports: [range] })] })];
    expect(verdict(deny, web, api, 80)).toBe('deny');
    expect(verdict(deny, web, api, 90)).toBe('deny');
    expect(verdict(deny, web, api, 91)).toBe('allow');
    expect(verdict(deny, web, api, 80, 'UDP')).toBe('allow');
    expect(verdict(deny, web, api, 8 * 256, 'ICMP')).toBe('allow');
  });
});

describe('what is not known', () => {
  const byTeam = { namespaces: { matchLabels: { team: 'shop' } } };
  const byName = { namespaces: { matchLabels: { 'kubernetes.io/metadata.name': 'shop' } } };
  const blind = (policies: readonly Policy[]): Cluster => ({
    ...clusterOf(policies),
    namespaces: unknown('not collected'),
  });
  it('namespaces: only their names can be told', () => {
    expect(verdict(blind([anp(1, { egress: [to('Deny', byTeam)] })]), web, api)).toBe('conditional');
    expect(verdict(blind([anp(1, { egress: [to('Allow', byTeam)] })]), web, api)).toBe('allow');
    expect(verdict(blind([anp(1, { egress: [to('Deny', byName)] })]), web, api)).toBe('deny');
    expect(verdict(blind([anp(1, { egress: [to('Deny', byName)] })]), web, tool)).toBe('allow');
    const both = { matchLabels: { 'kubernetes.io/metadata.name': 'shop', team: 'shop' } };
    expect(verdict(blind([anp(1, { egress: [to('Deny', { namespaces: both })] })]), web, tool)).toBe('allow');
    expect(verdict(blind([anp(1, { egress: [to('Deny', { namespaces: both })] })]), web, api)).toBe(
      'conditional',
    );
    expect(verdict(blind([anp(1, { subject: byTeam, egress: [to('Deny')] })]), web, api)).toBe('conditional');
  });
  it('nodes: an address that is no pod may be a node', () => {
    const cluster = {
      ...clusterOf([anp(1, { egress: [to('Deny', { nodes: {} })] })]),
      nodes: unknown('not collected'),
    };
    expect(verdict(cluster, web, outside)).toBe('conditional');
    expect(verdict(cluster, web, 'ops/agent')).toBe('conditional');
    expect(verdict(cluster, web, api)).toBe('allow');
  });
  it('the policies: they may say anything, except where no policy is asked', () => {
    const cluster = { ...clusterOf([]), adminPolicies: unknown('not readable') };
    expect(verdict(cluster, web, api)).toBe('conditional');
    expect(verdict(cluster, web, web)).toBe('allow');
    expect(verdict(cluster, 'ops/agent', outside)).toBe('allow');
  });
  it('a priority or tier that nobody understands: the policy may be anywhere', () => {
    const lost = policy('AdminNetworkPolicy', { priority: 'first', egress: [to('Deny')] });
    expect(verdict([lost], web, api)).toBe('conditional');
    expect(verdict([lost, anp(1, { egress: [to('Deny')] })], web, api)).toBe('deny');
    const nowhere = policy('ClusterNetworkPolicy', { tier: 'Middle', priority: 1, egress: [to('Deny')] });
    const admit = np({ podSelector: {}, policyTypes: ['Egress'], egress: [{}] });
    expect(verdict([nowhere, admit], web, api)).toBe('conditional');
  });
});
