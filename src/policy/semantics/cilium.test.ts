/**
 * One test for each rule of Cilium's policies; the numbers are the lines of the list of semantics. Engine and reference are asked both.
 * Quotations are from cilium/cilium v1.20, Documentation/security/policy and pkg/policy.
 */
import { describe, expect, it } from 'vitest';
import {
  apiServerAt,
  ask,
  ccnp,
  clusterOf,
  cnp,
  config,
  np,
  object,
  verdict,
} from '../../../test/support/cilium-policies.ts';
import { unknown } from '../../model/known.ts';
import { ciliumNotes } from '../kinds/cilium-notes.ts';
import { defaultReading } from '../options.ts';

const web = 'shop/web';
const api = 'shop/api';
const tool = 'ops/tool';
const agent = 'ops/agent';
const outside = '192.0.2.1';
const tcp = (port: string) => [{ ports: [{ port, protocol: 'TCP' }] }];

describe('54 default deny is per direction, switched on by the presence of a section', () => {
  it.each([
    ['ingress', { ingress: [{}] }, 'deny', 'allow'],
    ['egress', { egress: [{}] }, 'allow', 'deny'],
    ['both', { ingress: [{}], egress: [{}] }, 'deny', 'deny'],
    // "If omitted or empty, this rule does not apply at ingress."
    ['an empty list', { ingress: [] }, 'allow', 'allow'],
    ['enableDefaultDeny without a rule', { enableDefaultDeny: { ingress: true } }, 'allow', 'allow'],
    ['a deny rule', { ingressDeny: [{ fromEntities: ['none'] }] }, 'deny', 'allow'],
  ])('54 %s', (_, spec, into, out) => {
    expect(verdict([cnp('ops', spec)], web, tool)).toBe(into);
    expect(verdict([cnp('ops', spec)], tool, web)).toBe(out);
  });
  it('54 `ingress: [{}]` allows nothing, unlike in a NetworkPolicy', () => {
    expect(verdict([cnp('ops', { ingress: [{}] })], web, tool)).toBe('deny');
    expect(verdict([np('ops', { ingress: [{}] })], web, tool)).toBe('allow');
  });
  it('54 `toPorts: [{}]` allows nothing, and ports without peers are for everybody', () => {
    expect(verdict([cnp('ops', { ingress: [{ toPorts: [{}] }] })], web, tool)).toBe('deny');
    expect(verdict([cnp('ops', { ingress: [{ toPorts: tcp('80') }] })], outside, tool)).toBe('allow');
    expect(verdict([cnp('ops', { ingress: [{ toPorts: tcp('81') }] })], outside, tool)).toBe('deny');
  });
  it('54 every spec of a policy counts', () => {
    const specs = [
      { endpointSelector: {}, ingress: [{}] },
      { endpointSelector: {}, ingress: [{ fromEntities: ['cluster'] }] },
    ];
    const policy = object('CiliumNetworkPolicy', 'ops', { specs });
    expect(verdict([policy], web, tool)).toBe('allow');
    expect(verdict([policy], outside, tool)).toBe('deny');
  });
});

describe('55 enableDefaultDeny: false opts out; any other policy that asks for it wins', () => {
  const open = { enableDefaultDeny: { ingress: false }, ingress: [{ fromEntities: ['none'] }] };
  it.each([
    ['alone', [cnp('ops', open)], 'allow'],
    ['beside one that isolates', [cnp('ops', open), cnp('ops', { ingress: [{}] })], 'deny'],
    ['beside a NetworkPolicy', [cnp('ops', open), np('ops', {})], 'deny'],
    ['of the other direction', [cnp('ops', { ...open, enableDefaultDeny: { egress: false } })], 'deny'],
  ])('55 %s', (_, objects, expected) => expect(verdict(objects, web, tool)).toBe(expected));
  it('55 its deny rules deny all the same', () => {
    const policy = cnp('ops', { ...open, ingressDeny: [{ fromEntities: ['world'] }] });
    expect(verdict([policy], web, tool)).toBe('allow');
    expect(verdict([policy], outside, tool)).toBe('deny');
  });
  it('55 "does not apply to layer-7 policy": what the rule does not name is dropped', () => {
    const rules = { http: [{ path: '/' }] };
    const policy = cnp('ops', { ...open, ingress: [{ toPorts: [{ ...tcp('80')[0], rules }] }] });
    expect(verdict([policy], web, tool)).toBe('conditional');
    expect(verdict([policy], web, tool, { port: 'TCP 81' })).toBe('allow');
  });
});

describe('56 deny beats every allow, and switches default deny on', () => {
  const deny = ccnp({ ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: 'web' } }] }] });
  it.each([
    ['a CiliumNetworkPolicy', cnp('ops', { ingress: [{ fromEntities: ['all'] }] })],
    ['a NetworkPolicy', np('ops', { ingress: [{}] })],
  ])('56 over %s', (_, allow) => {
    expect(verdict([allow], web, tool)).toBe('allow');
    expect(verdict([allow, deny], web, tool)).toBe('deny');
    expect(verdict([allow, deny], outside, tool)).toBe('allow');
  });
  it('56 a deny rule alone isolates', () => expect(verdict([deny], outside, tool)).toBe('deny'));
  it('56 the table of "Deny Policies"', () => {
    const http = { ingress: [{ toPorts: [{ ...tcp('80')[0], rules: { http: [{}] } }] }] };
    const allows = [
      cnp('ops', http),
      cnp('ops', { ingress: [{ toPorts: tcp('80') }, { toPorts: tcp('81') }] }),
      cnp('ops', {
        ingress: [{ fromEndpoints: [{ matchLabels: { 'io.kubernetes.pod.namespace': 'shop' } }] }],
      }),
    ];
    const l4 = cnp('ops', { ingressDeny: [{ toPorts: tcp('80') }] });
    const answers = (...denies: readonly ReturnType<typeof cnp>[]) =>
      ['TCP 81', 'TCP 80', 'ICMP 8'].map((port) => verdict([...allows, ...denies], web, tool, { port }));
    expect(answers()).toEqual(['allow', 'allow', 'allow']);
    expect(answers(l4)).toEqual(['allow', 'deny', 'allow']);
    expect(answers(deny)).toEqual(['deny', 'deny', 'deny']);
    expect(answers(l4, deny)).toEqual(['deny', 'deny', 'deny']);
  });
  it('56 an invalid deny rule does not vanish', () => {
    const broken = cnp('ops', {
      ingress: [{ fromEntities: ['all'] }],
      ingressDeny: [{ fromEntities: ['moon'] }],
    });
    expect(verdict([broken], web, tool)).toBe('conditional');
  });
});

describe('57 CIDR rules match neither managed endpoints nor nodes', () => {
  const everywhere = ['0.0.0.0/0', '::/0'];
  const policy = cnp('ops', { egress: [{ toCIDR: everywhere }] });
  const nodes = { reading: { ciliumCidrMatchesNodes: true } };
  it.each([
    [outside, 'allow', 'allow'],
    ['2001:db8::1', 'allow', 'allow'],
    [web, 'deny', 'deny'],
    ['n1', 'deny', 'allow'],
  ] as const)('57 to %s: %s, and %s with policy-cidr-match-mode: nodes', (dst, plain, withNodes) => {
    expect(verdict([policy], tool, dst)).toBe(plain);
    expect(verdict([policy], tool, dst, nodes)).toBe(withNodes);
    const kubernetes = np('ops', {
      policyTypes: ['Egress'],
      egress: [{ to: everywhere.map((cidr) => ({ ipBlock: { cidr } })) }],
    });
    expect(verdict([kubernetes], tool, dst)).toBe(plain);
    expect(verdict([kubernetes], tool, dst, nodes)).toBe(withNodes);
  });
  it('57 except counts inside its own item only', () => {
    const item = { cidr: '192.0.2.0/24', except: ['192.0.2.0/25'] };
    const set = (...toCIDRSet: readonly object[]) => [cnp('ops', { egress: [{ toCIDRSet }] })];
    expect(verdict(set(item), tool, outside)).toBe('deny');
    expect(verdict(set(item), tool, '192.0.2.200')).toBe('allow');
    expect(verdict(set(item, { cidr: '192.0.2.1/32' }), tool, outside)).toBe('allow');
  });
  it('57 CIDR groups, by name and by label', () => {
    const group = {
      kind: 'CiliumCIDRGroup',
      metadata: { name: 'g', labels: { use: 'x' } },
      spec: { externalCIDRs: ['192.0.2.0/24'] },
    };
    const set = (item: object) => [group, cnp('ops', { egress: [{ toCIDRSet: [item] }] })];
    expect(verdict(set({ cidrGroupRef: 'g' }), tool, outside)).toBe('allow');
    expect(verdict(set({ cidrGroupRef: 'g', except: ['192.0.2.1/32'] }), tool, outside)).toBe('deny');
    expect(verdict(set({ cidrGroupRef: 'h' }), tool, outside)).toBe('deny');
    expect(verdict(set({ cidrGroupSelector: { matchLabels: { use: 'x' } } }), tool, outside)).toBe('allow');
    expect(verdict(set({ cidrGroupSelector: { matchLabels: { use: 'y' } } }), tool, outside)).toBe('deny');
  });
});

describe('58 entities', () => {
  // EntitySelectorMapping and InitEntities in pkg/policy/api/entity.go: `cluster` holds the API server too.
  const server = apiServerAt('192.0.2.1', '192.168.0.3');
  const ends = [web, agent, 'n3', outside, '198.51.100.1', '2001:db8::1'];
  const reached = (entity: string, objects = [server]) =>
    ends.filter((dst) => {
      // From shop, so that ops/agent is on another node than the source.
      const policy = cnp('shop', { egress: [{ toEntities: [entity] }] });
      const from = dst === web ? api : web;
      return verdict([...objects, policy], from, dst) === 'allow';
    });
  it.each([
    ['all', ends],
    ['cluster', [web, agent, 'n3', outside]],
    ['world', [outside, '198.51.100.1', '2001:db8::1']],
    ['world-ipv4', [outside, '198.51.100.1']],
    ['world-ipv6', ['2001:db8::1']],
    ['remote-node', [agent, 'n3']],
    ['kube-apiserver', ['n3', outside]],
    ['host', []],
    ['health', []],
    ['init', []],
    ['ingress', []],
    ['unmanaged', []],
    ['none', []],
  ])('58 %s', (entity, expected) => expect(reached(entity)).toEqual(expected));
  it('58 an API server that nobody knows may be any node and any address outside, and does not open `cluster`', () => {
    const to = (entity: string) => [cnp('ops', { egress: [{ toEntities: [entity] }] })];
    expect(verdict(to('kube-apiserver'), tool, outside)).toBe('conditional');
    expect(verdict(to('kube-apiserver'), tool, 'n1')).toBe('conditional');
    expect(verdict(to('kube-apiserver'), tool, web)).toBe('deny');
    expect(verdict(to('cluster'), tool, outside)).toBe('deny');
  });
  it('58 a pod that serves the API keeps the identity of its labels', () => {
    const policy = cnp('ops', { egress: [{ toEntities: ['kube-apiserver'] }] });
    expect(verdict([policy, apiServerAt('10.1.0.2')], tool, web)).toBe('deny');
  });
  it('58 reserved labels select the same as entities', () => {
    const policy = cnp('ops', {
      egress: [{ toEndpoints: [{ matchLabels: { 'reserved:remote-node': '' } }] }],
    });
    expect(verdict([policy], tool, 'n1')).toBe('allow');
    expect(verdict([policy], tool, web)).toBe('deny');
    const notInit = { matchExpressions: [{ key: 'reserved:init', operator: 'DoesNotExist' }] };
    expect(verdict([cnp('ops', { egress: [{ toEndpoints: [notInit] }] })], tool, outside)).toBe('allow');
  });
  it('58 nodes by their labels', () => {
    const policy = cnp('ops', { egress: [{ toNodes: [{ matchLabels: { zone: 'n3' } }] }] });
    expect(verdict([policy], tool, 'n3')).toBe('allow');
    expect(verdict([policy], tool, 'n1')).toBe('deny');
  });
});

describe('59 fromEndpoints: [{}] is the own namespace in a CNP, every pod in a CCNP; [] is nobody', () => {
  // getEndpointSelector in pkg/k8s/apis/cilium.io/utils.
  const any = { ingress: [{ fromEndpoints: [{}] }] };
  it.each([
    ['CNP, same namespace', cnp('shop', any), web, api, 'allow'],
    ['CNP, other namespace', cnp('ops', any), web, tool, 'deny'],
    ['CCNP, other namespace', ccnp(any), web, tool, 'allow'],
    ['CCNP, outside', ccnp(any), outside, tool, 'deny'],
    ['CCNP, a node', ccnp(any), 'n1', tool, 'deny'],
    ['CCNP, a hostNetwork pod', ccnp(any), agent, web, 'deny'],
    ['[] selects none', ccnp({ ingress: [{ fromEndpoints: [] }] }), web, tool, 'deny'],
    ['[] with ports', ccnp({ ingress: [{ fromEndpoints: [], toPorts: tcp('80') }] }), web, tool, 'deny'],
  ])('59 %s', (_, policy, src, dst, expected) => expect(verdict([policy], src, dst)).toBe(expected));
  it.each([
    ['namespace', { matchLabels: { 'k8s:io.kubernetes.pod.namespace': 'shop' } }],
    ['any namespace', { matchExpressions: [{ key: 'io.kubernetes.pod.namespace', operator: 'Exists' }] }],
    ['labels of the namespace', { matchLabels: { 'k8s:io.cilium.k8s.namespace.labels.team': 'shop' } }],
    [
      'cluster',
      { matchLabels: { 'io.cilium.k8s.policy.cluster': 'default', 'io.kubernetes.pod.namespace': 'shop' } },
    ],
  ])('59 a selector that names the %s reaches over', (_, selector) => {
    const policy = cnp('ops', { ingress: [{ fromEndpoints: [selector] }] });
    expect(verdict([policy], web, tool)).toBe('allow');
    expect(verdict([policy], outside, tool)).toBe('deny');
  });
  it('59 service accounts and sources of labels', () => {
    const from = (matchLabels: object) => [ccnp({ ingress: [{ fromEndpoints: [{ matchLabels }] }] })];
    const account = 'io.cilium.k8s.policy.serviceaccount';
    expect(verdict(from({ [account]: 'robot' }), tool, web)).toBe('allow');
    expect(verdict(from({ [account]: 'default' }), tool, web)).toBe('deny');
    expect(verdict(from({ 'k8s:app': 'tool' }), tool, web)).toBe('allow');
    expect(verdict(from({ 'any:app': 'tool' }), tool, web)).toBe('allow');
    expect(verdict(from({ 'container:app': 'tool' }), tool, web)).toBe('deny');
    const east = [config({ 'cluster-name': 'east' }), ...from({ 'io.cilium.k8s.policy.cluster': 'east' })];
    expect(verdict(east, tool, web)).toBe('allow');
  });
  it('59 the endpointSelector of a CNP never leaves its namespace', () => {
    const elsewhere = { matchLabels: { 'k8s:io.kubernetes.pod.namespace': 'shop' } };
    const policy = cnp('ops', { endpointSelector: elsewhere, ingress: [{}] });
    expect(verdict([policy], tool, web)).toBe('allow');
    expect(verdict([policy], web, tool)).toBe('deny');
  });
  it('59 requirements hold for the endpoints of every rule of the same subject', () => {
    const allow = ccnp({ ingress: [{ fromEndpoints: [{}] }, { fromEntities: ['world'] }] });
    const web_ = [{ matchLabels: { app: 'web', 'io.kubernetes.pod.namespace': 'shop' } }];
    const requires = cnp('ops', { ingress: [{ fromRequires: web_ }] });
    expect(verdict([allow, requires], web, tool)).toBe('allow');
    expect(verdict([allow, requires], api, tool)).toBe('deny');
    expect(verdict([allow, requires], outside, tool)).toBe('allow');
    expect(verdict([allow, requires], tool, api)).toBe('allow');
  });
});

describe('59 requirements', () => {
  it('59 of a policy that can select no pod narrow nothing', () => {
    const never = { matchLabels: { 'reserved:kube-apiserver': '' } };
    const requires = [{ matchLabels: { app: 'none' } }];
    const other = cnp('shop', { endpointSelector: never, egress: [{ toRequires: requires }] });
    const allow = cnp('shop', { egress: [{ toEndpoints: [{}] }] });
    expect(verdict([other, allow], web, api)).toBe('allow');
    const deny = cnp('shop', { egressDeny: [{ toEndpoints: [{}] }] });
    const narrowed = { endpointSelector: never, egressDeny: [{ toRequires: requires }] };
    expect(verdict([deny, cnp('shop', narrowed)], web, api)).toBe('deny');
  });
});

describe('60 what only the traffic can tell', () => {
  const codes = (objects: Parameters<typeof clusterOf>[0], src: string, dst: string) =>
    ask(clusterOf(objects), src, dst).conditions.map(({ code }) => code);
  it('60 toFQDNs is conditional, for addresses outside only', () => {
    const policy = cnp('ops', { egress: [{ toFQDNs: [{ matchName: 'a.example' }], toPorts: tcp('80') }] });
    expect(codes([policy], tool, outside)).toEqual(['fqdn']);
    expect(verdict([policy], tool, web)).toBe('deny');
    expect(verdict([policy], tool, outside, { port: 'TCP 81' })).toBe('deny');
    expect(verdict([policy, cnp('ops', { egress: [{ toCIDR: ['192.0.2.0/24'] }] })], tool, outside)).toBe(
      'allow',
    );
  });
  // Layer 7 Policies: "the layer 7 portions of the latter rule will have no effect".
  const http = cnp('ops', {
    ingress: [{ toPorts: [{ ...tcp('80')[0], rules: { http: [{ method: 'GET' }] } }] }],
  });
  it('60 layer 7 rules are conditional, and do not narrow what is allowed plainly', () => {
    expect(codes([http], web, tool)).toEqual(['l7']);
    expect(verdict([http], web, tool, { port: 'TCP 81' })).toBe('deny');
    expect(verdict([http, cnp('ops', { ingress: [{ toPorts: tcp('80') }] })], web, tool)).toBe('allow');
    expect(verdict([http, np('ops', { ingress: [{}] })], web, tool)).toBe('allow');
  });
  it('60 "if no rules are specified, then all traffic is permitted"', () => {
    const none = { ...tcp('80')[0], rules: { http: [] } };
    expect(verdict([cnp('ops', { ingress: [{ toPorts: [none] }] })], web, tool)).toBe('allow');
  });
  it.each([
    { serverNames: ['a.example'] },
    { terminatingTLS: { secret: { name: 's' } } },
    { rules: { dns: [{ matchPattern: '*' }] } },
    { listener: { name: 'l', envoyConfig: { name: 'e' } } },
  ])('60 so are %j', (more) => {
    const policy = cnp('ops', { egress: [{ toPorts: [{ ...tcp('80')[0], ...more }] }] });
    expect(codes([policy], tool, web)).toEqual(['l7']);
  });
  it('60 authentication narrows what other rules allow', () => {
    const authentication = { mode: 'required' };
    const policy = cnp('ops', { ingress: [{ fromEntities: ['cluster'], authentication }] });
    expect(codes([policy], web, tool)).toEqual(['identity']);
    expect(verdict([policy, np('ops', { ingress: [{}] })], web, tool)).toBe('conditional');
    expect(verdict([policy], outside, tool)).toBe('deny');
  });
  it('60 groups of a cloud are not understood', () => {
    const policy = cnp('ops', { egress: [{ toGroups: [{ aws: { securityGroupsIds: ['sg-1'] } }] }] });
    expect(codes([policy], tool, outside)).toEqual(['not-understood']);
    expect(verdict([policy], tool, web)).toBe('deny');
  });
});

describe('61 the enforcement mode changes everything', () => {
  const mode = (ciliumEnforcement: 'default' | 'always' | 'never') => ({ reading: { ciliumEnforcement } });
  it.each([
    ['default', [], 'allow'],
    ['always', [], 'deny'],
    ['never', [cnp('ops', { ingress: [{}] }), np('ops', {})], 'allow'],
    ['always', [ccnp({ ingress: [{ fromEndpoints: [{}] }], egress: [{ toEndpoints: [{}] }] })], 'allow'],
  ] as const)('61 %s %#', (name, objects, expected) =>
    expect(verdict(objects, web, tool, mode(name))).toBe(expected),
  );
  it('61 always isolates even where enableDefaultDeny is false', () => {
    const open = { enableDefaultDeny: { ingress: false, egress: false } };
    const rules = { ingress: [{ fromEntities: ['none'] }], egress: [{ toEntities: ['none'] }] };
    expect(verdict([ccnp({ ...open, ...rules })], web, tool)).toBe('allow');
    expect(verdict([ccnp({ ...open, ...rules })], web, tool, mode('always'))).toBe('deny');
  });
});

describe('ports', () => {
  const only = (port: object) => [ccnp({ ingress: [{ toPorts: [{ ports: [port] }] }] })];
  it.each([
    [{ port: '80' }, ['TCP 80', 'UDP 80', 'SCTP 80']],
    [{ port: '0' }, ['TCP 80', 'TCP 81', 'UDP 80', 'SCTP 80']],
    [{ port: '80', endPort: 90, protocol: 'TCP' }, ['TCP 80', 'TCP 81']],
  ])('%j', (port, expected) => {
    const asked = ['TCP 80', 'TCP 81', 'UDP 80', 'SCTP 80', 'ICMP 8'];
    expect(asked.filter((one) => verdict(only(port), web, tool, { port: one }) === 'allow')).toEqual(
      expected,
    );
  });
  it('a port name is looked up on the destination, in both directions', () => {
    const named = [{ ports: [{ port: 'HTTP', protocol: 'TCP' }] }];
    for (const spec of [{ ingress: [{ toPorts: named }] }, { egress: [{ toPorts: named }] }]) {
      expect(verdict([ccnp(spec)], tool, api, { port: 'TCP 8080' })).toBe('allow');
      expect(verdict([ccnp(spec)], web, tool, { port: 'TCP 8080' })).toBe('deny');
    }
  });
  it('"if any layer 4 policy is specified, then ICMP will be blocked", unless icmps names it', () => {
    const ping = { port: 'ICMP 8' };
    expect(verdict([ccnp({ ingress: [{ fromEntities: ['all'] }] })], web, tool, ping)).toBe('allow');
    expect(verdict([np('ops', { ingress: [{ ports: [{ port: 80 }] }] })], web, tool, ping)).toBe('deny');
    const icmps = [{ fields: [{ type: 'EchoRequest' }, { family: 'IPv6', type: 128 }] }];
    expect(verdict([ccnp({ ingress: [{ icmps }] })], web, tool, ping)).toBe('allow');
    expect(verdict([ccnp({ ingress: [{ icmps }] })], web, tool, { port: 'ICMP 8.9' })).toBe('allow');
    expect(verdict([ccnp({ ingress: [{ icmps }] })], web, tool, { port: 'ICMP 9.0' })).toBe('deny');
    expect(verdict([ccnp({ ingress: [{ icmps }] })], web, tool, { port: 'ICMP 0' })).toBe('deny');
    expect(verdict([ccnp({ ingress: [{ icmps }] })], web, tool, { port: 'ICMPv6 128' })).toBe('allow');
    expect(verdict([ccnp({ ingress: [{ icmps }] })], web, tool)).toBe('deny');
  });
});

describe('Services', () => {
  const service = (name: string, spec: object) => ({
    kind: 'Service',
    metadata: { name, namespace: 'shop', labels: { use: name } },
    spec: { ports: [{ port: 80 }], ...spec },
  });
  const slice = {
    ...apiServerAt('192.0.2.1', '10.1.0.2'),
    metadata: { name: 's', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'far' } },
  };
  const objects = [service('near', { selector: { app: 'web' } }), service('far', {}), slice];
  const to = (item: object) => [...objects, cnp('ops', { egress: [{ toServices: [item] }] })];
  it.each([
    ['one with a selector stands for its pods', { serviceName: 'near', namespace: 'shop' }, 'allow', 'deny'],
    ['of whatever namespace', { serviceName: 'near' }, 'allow', 'deny'],
    ['of another namespace', { serviceName: 'near', namespace: 'ops' }, 'deny', 'deny'],
    ['one without for addresses outside', { serviceName: 'far', namespace: 'shop' }, 'deny', 'allow'],
    ['that is not there', { serviceName: 'gone' }, 'deny', 'deny'],
  ])('%s', (_, k8sService, pod, address) => {
    expect(verdict(to({ k8sService }), tool, web)).toBe(pod);
    expect(verdict(to({ k8sService }), tool, outside)).toBe(address);
  });
  it('by label', () => {
    const k8sServiceSelector = { selector: { matchLabels: { use: 'near' } } };
    expect(verdict(to({ k8sServiceSelector }), tool, web)).toBe('allow');
    expect(verdict(to({ k8sServiceSelector }), tool, api)).toBe('deny');
  });
});

describe('who is a subject', () => {
  it('hostNetwork pods and nodes are subjects of host policies only', () => {
    const host = ccnp({ nodeSelector: { matchLabels: { zone: 'n2' } }, ingress: [{}] });
    const pods = ccnp({ ingress: [{}] });
    expect(verdict([pods], web, agent)).toBe('allow');
    expect(verdict([host], web, agent)).toBe('deny');
    expect(verdict([host], web, 'n2')).toBe('deny');
    expect(verdict([host], web, 'n3')).toBe('allow');
    expect(verdict([host], web, tool)).toBe('allow');
  });
  it('host policies need the host firewall', () => {
    const host = ccnp({ nodeSelector: {}, ingress: [{}] });
    const firewall = (on: string) => config({ 'enable-host-firewall': on });
    expect(verdict([host, firewall('false')], web, agent)).toBe('allow');
    expect(verdict([host, firewall('true')], web, agent)).toBe('deny');
  });
  it('a pod and itself, and a pod and its own node, are never kept apart', () => {
    const closed = ccnp({ ingressDeny: [{ fromEntities: ['all'] }], egressDeny: [{ toEntities: ['all'] }] });
    expect(verdict([closed], tool, tool)).toBe('allow');
    expect(verdict([closed], 'n2', tool)).toBe('allow');
    expect(verdict([closed], tool, agent)).toBe('allow');
    expect(verdict([closed], 'n1', tool)).toBe('deny');
  });
});

describe('beside other kinds', () => {
  const admin = (kind: string, action: string, more: object = {}) =>
    object(kind, undefined, {
      spec: {
        subject: { namespaces: {} },
        ...more,
        ingress: [{ action, from: [{ namespaces: {} }] }],
      },
    });
  it('admin policies come before, and baseline after', () => {
    const allow = admin('AdminNetworkPolicy', 'Allow', { priority: 1 });
    const deny = ccnp({ ingressDeny: [{ fromEntities: ['all'] }] });
    expect(verdict([allow, deny], web, tool)).toBe('allow');
    const baseline = { ...admin('BaselineAdminNetworkPolicy', 'Deny'), metadata: { name: 'default' } };
    expect(verdict([baseline], web, tool)).toBe('deny');
    expect(verdict([baseline, ccnp({ ingress: [{ fromEndpoints: [{}] }] })], web, tool)).toBe('allow');
  });
  it('what is not known is never decided', () => {
    const cluster = clusterOf([]);
    for (const kind of ['cilium', 'networkPolicies'] as const)
      expect(ask({ ...cluster, [kind]: unknown('no access') }, web, tool).verdict).toBe('conditional');
    const open = clusterOf([
      ccnp({ ingress: [{ fromEntities: ['all'] }], egress: [{ toEntities: ['all'] }] }),
    ]);
    expect(ask({ ...open, networkPolicies: unknown('no access') }, web, tool).verdict).toBe('allow');
    const byLabel = { matchLabels: { 'io.cilium.k8s.namespace.labels.team': 'shop' } };
    const policy = clusterOf([cnp('ops', { ingress: [{ fromEndpoints: [byLabel] }] })]);
    expect(ask({ ...policy, namespaces: unknown('no access') }, web, tool).verdict).toBe('conditional');
  });
});

describe('notes', () => {
  const notes = (...objects: Parameters<typeof clusterOf>[0]) =>
    ciliumNotes({ cluster: clusterOf(objects), reading: defaultReading }).map(({ text }) => text);
  it.each([
    [cnp('ops', { ingress: [{ fromEntities: ['moon'] }] }), 'is no entity'],
    [ccnp({ nodeSelector: {}, ingress: [{}] }), 'host firewall'],
    [cnp('ops', { egress: [{ toNodes: [{}] }] }), 'enable-node-selector-labels'],
    [cnp('ops', { egress: [{ toCIDRSet: [{ cidrGroupRef: 'g' }] }] }), 'there is no CiliumCIDRGroup g'],
    [
      cnp('ops', { egress: [{ toServices: [{ k8sService: { serviceName: 's' } }] }] }),
      'there is no Service s',
    ],
    [cnp('ops', { egress: [{ toEntities: ['kube-apiserver'] }] }), 'default/kubernetes was not collected'],
    [
      cnp('ops', { ingress: [{ fromEndpoints: [{ matchLabels: { 'pod-template-hash': 'x' } }] }] }),
      'identity',
    ],
    [cnp('ops', { ingress: [{ fromRequires: [{}] }] }), '1.19 refuses them'],
    [object('CiliumCIDRGroup', undefined, { spec: { externalCIDRs: ['x'] } }), 'is no CIDR prefix'],
  ])('%#', (policy, text) => expect(notes(policy)).toEqual([expect.stringContaining(text)]));
  it('says nothing where there is nothing to say', () => {
    const plain = {
      matchLabels: { app: 'web', 'app.kubernetes.io/name': 'x', 'io.kubernetes.pod.namespace': 'a' },
    };
    expect(notes(cnp('ops', { ingress: [{ fromEndpoints: [plain] }] }))).toEqual([]);
  });
});
