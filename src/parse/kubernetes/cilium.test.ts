import { describe, expect, it } from 'vitest';
import type { CiliumRule, CiliumSection } from '../../model/policies/cilium.ts';
import { prefix } from '../../net/prefix.ts';
import { parsed } from '../result.ts';
import { clusterOf } from './cluster.ts';

const plurals = {
  CiliumNetworkPolicy: 'ciliumnetworkpolicies.cilium.io',
  CiliumClusterwideNetworkPolicy: 'ciliumclusterwidenetworkpolicies.cilium.io',
  CiliumCIDRGroup: 'ciliumcidrgroups.cilium.io',
};

function read(kind: keyof typeof plurals, body: object) {
  const object = { kind, metadata: { name: 'p', namespace: 'shop' }, ...body };
  const cluster = clusterOf((plural) =>
    plural === plurals[kind] ? { where: plural, objects: parsed([{ object }]) } : undefined,
  );
  if (cluster.cilium.state === 'unknown') throw new Error(cluster.cilium.why);
  return { ...cluster.cilium.value, problems: cluster.problems };
}

function policy(spec: object, kind: keyof typeof plurals = 'CiliumNetworkPolicy') {
  const { policies, problems } = read(kind, { spec });
  const [only] = policies;
  if (only === undefined) throw new Error(problems.map(({ text }) => text).join());
  return only;
}

const all = { endpointSelector: {} };

/** The section of the policy's first spec, and its problems. */
function section(direction: 'ingress' | 'egress', spec: object): CiliumSection & { readonly why: string[] } {
  const { specs, problems } = policy({ ...all, ...spec });
  const found = specs[0]?.[direction];
  if (found === undefined) throw new Error('no section');
  return { ...found, why: problems.map((one) => `${one.field} ${one.why}`) };
}

const firstOf = (rules: readonly CiliumRule[]): CiliumRule => {
  const [rule] = rules;
  if (rule === undefined) throw new Error('no rule');
  return rule;
};
const ingress = (rule: object) => firstOf(section('ingress', { ingress: [rule] }).allow);
const egress = (rule: object) => firstOf(section('egress', { egress: [rule] }).allow);
const denied = (rule: object) => firstOf(section('ingress', { ingressDeny: [rule] }).deny);
const whyIngress = (rule: object) => section('ingress', { ingress: [rule] }).why;
const whyEgress = (rule: object) => section('egress', { egress: [rule] }).why;

describe('specs', () => {
  it('reads spec and specs of both kinds', () => {
    const rule = { ...all, ingress: [{}] };
    const { policies } = read('CiliumNetworkPolicy', { spec: rule, specs: [rule, rule] });
    expect(policies[0]?.specs.map(({ field }) => field)).toEqual(['spec', 'specs[0]', 'specs[1]']);
    expect(policies[0]).toMatchObject({ kind: 'CiliumNetworkPolicy', namespace: 'shop', name: 'p' });
    const clusterwide = policy(rule, 'CiliumClusterwideNetworkPolicy');
    expect(clusterwide).not.toHaveProperty('namespace');
    expect(clusterwide.specs[0]?.subject).toEqual({ kind: 'endpoints', selector: [] });
  });

  it.each([
    [{}, 'spec or specs must be given'],
    [{ spec: {} }, 'spec must have one of endpointSelector and nodeSelector'],
    [{ spec: { ...all, nodeSelector: {} } }, 'spec must have one of endpointSelector and nodeSelector'],
    [{ spec: { nodeSelector: {} } }, 'spec.nodeSelector is for clusterwide policies only'],
    [
      { spec: { endpointSelector: { matchlabels: {} } } },
      'spec.endpointSelector.matchlabels is no field of the API',
    ],
    [{ specs: [{}] }, 'specs[0] must have one of endpointSelector and nodeSelector'],
  ])('leaves out what selects nobody knows whom: %j', (body, text) => {
    const { policies, problems } = read('CiliumNetworkPolicy', body);
    expect(policies).toEqual([]);
    expect(problems.map((one) => one.text)).toEqual([`CiliumNetworkPolicy shop/p: ${text}`]);
  });

  it('has a section only where there are rules', () => {
    const { specs, problems } = policy({ ...all, ingress: [], egress: [{}] });
    expect(specs[0]).not.toHaveProperty('ingress');
    expect(specs[0]?.egress).toMatchObject({
      defaultDeny: true,
      deny: [],
      allow: [{ field: 'spec.egress[0]' }],
    });
    expect(problems).toEqual([]);
    expect(policy({ ...all, ingress: [] }).problems).toEqual([
      { field: 'spec', why: 'has no rules, so it has no effect' },
    ]);
  });

  it('reads enableDefaultDeny, and isolates where it cannot be read', () => {
    const config = (enableDefaultDeny: object) => section('ingress', { ingress: [{}], enableDefaultDeny });
    expect(config({ ingress: false }).defaultDeny).toBe(false);
    expect(config({ egress: false }).defaultDeny).toBe(true);
    expect(config({ ingress: 'no' })).toMatchObject({
      defaultDeny: true,
      why: ['spec.enableDefaultDeny.ingress must be true or false, is a string'],
    });
  });

  it('names unknown fields, and isolates for a section that is no list', () => {
    expect(section('ingress', { ingress: {}, ingres: [] })).toMatchObject({
      allow: [{ field: 'spec.ingress', peers: [] }],
      why: ['spec.ingres is no field of the API', 'spec.ingress must be a list, is an object'],
    });
  });
});

describe('selectors', () => {
  const peers = (selector: object, kind?: keyof typeof plurals) => {
    const [spec] = policy({ ...all, ingress: [{ fromEndpoints: [selector] }] }, kind).specs;
    const peer = spec?.ingress?.allow[0]?.peers?.[0];
    return peer?.kind === 'endpoints'
      ? peer.selector.map(({ source, key, operator, values }) => `${source}:${key} ${operator} ${values}`)
      : peer;
  };
  const inShop = 'k8s:io.kubernetes.pod.namespace In shop';
  const inAny = 'k8s:io.kubernetes.pod.namespace Exists ';

  it.each([
    [{}, [inShop], [inAny]],
    [{ matchLabels: { app: 'web' } }, ['any:app In web', inShop], ['any:app In web', inAny]],
    [{ matchLabels: { 'k8s:app': 'web' } }, ['k8s:app In web', inShop], ['k8s:app In web', inAny]],
    [
      { matchLabels: { 'io.kubernetes.pod.namespace': 'ops' } },
      ['any:io.kubernetes.pod.namespace In ops'],
      ['any:io.kubernetes.pod.namespace In ops'],
    ],
    [
      { matchLabels: { 'io.cilium.k8s.namespace.labels.team': 'x' } },
      ['any:io.cilium.k8s.namespace.labels.team In x'],
      ['any:io.cilium.k8s.namespace.labels.team In x', inAny],
    ],
    [{ matchLabels: { 'reserved:host': '' } }, ['reserved:host In '], ['reserved:host In ']],
    [{ matchLabels: { $host: '' } }, ['reserved:host In '], ['reserved:host In ']],
    [
      { matchExpressions: [{ key: 'reserved.init', operator: 'DoesNotExist' }] },
      ['reserved:init DoesNotExist '],
      ['reserved:init DoesNotExist '],
    ],
  ])('fills the namespace in: %j', (selector, namespaced, clusterwide) => {
    expect(peers(selector)).toEqual(namespaced);
    expect(peers(selector, 'CiliumClusterwideNetworkPolicy')).toEqual(clusterwide);
  });

  it('keeps endpointSelector in the policy’s namespace', () => {
    const endpointSelector = { matchLabels: { 'k8s:io.kubernetes.pod.namespace': 'ops', app: 'web' } };
    const [spec] = policy({ endpointSelector, ingress: [{}] }).specs;
    expect(spec?.subject.selector.map(({ key, values }) => `${key} ${values}`)).toEqual([
      'app web',
      'io.kubernetes.pod.namespace shop',
    ]);
  });

  it('reads nodes as remote nodes', () => {
    const rule = ingress({ fromNodes: [{ matchLabels: { tier: 'x' } }] });
    expect(rule.peers?.[0]).toMatchObject({
      kind: 'nodes',
      selector: [{ key: 'tier' }, { source: 'reserved', key: 'remote-node', operator: 'Exists' }],
    });
  });
});

describe('peers', () => {
  it.each([
    [{ fromEntities: ['world'] }, { kind: 'entity', entity: 'world' }],
    [{ fromCIDR: ['10.0.0.1'] }, { kind: 'cidr', cidr: prefix('10.0.0.1/32'), except: [] }],
    [
      { fromCIDRSet: [{ cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }] },
      { kind: 'cidr', cidr: prefix('10.0.0.0/8'), except: [prefix('10.1.0.0/16')] },
    ],
    [{ fromCIDRSet: [{ cidrGroupRef: 'g' }] }, { kind: 'cidr-groups', groups: 'g', except: [] }],
    [{ fromGroups: [{ aws: {} }] }, { kind: 'groups' }],
  ])('ingress %j', (rule, expected) => {
    expect(ingress(rule).peers).toMatchObject([expected]);
    expect(whyIngress(rule)).toEqual([]);
  });

  it.each([
    [
      { toServices: [{ k8sService: { serviceName: 's', namespace: 'ops' } }] },
      { kind: 'services', services: 's', namespace: 'ops' },
    ],
    [
      { toServices: [{ k8sServiceSelector: { selector: { matchLabels: { a: 'b' } } } }] },
      { services: { matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }] } },
    ],
    [{ toFQDNs: [{ matchPattern: '*.example.com' }] }, { kind: 'fqdn', name: '*.example.com' }],
  ])('egress %j', (rule, expected) => {
    expect(egress(rule).peers).toMatchObject([expected]);
    expect(whyEgress(rule)).toEqual([]);
  });

  it('tells no peers from nobody', () => {
    expect(ingress({})).not.toHaveProperty('peers');
    expect(ingress({ fromEndpoints: [] }).peers).toEqual([]);
    expect(ingress({ fromEndpoints: [], fromEntities: ['all'] }).peers).toEqual([]);
    expect(ingress({ fromGroups: [] })).not.toHaveProperty('peers');
    expect(egress({ toFQDNs: [] })).not.toHaveProperty('peers');
  });

  const entities = 'spec.ingress[0].fromEntities[0] is no entity: "moon"';
  const item = 'spec.ingress[0].fromCIDRSet[0]';
  it.each([
    [{ fromEntities: ['moon'] }, entities],
    [{ fromCIDR: ['10.0.0.0/33'] }, 'spec.ingress[0].fromCIDR[0] is no CIDR prefix: "10.0.0.0/33"'],
    [{ fromCIDRSet: [{ cidr: '10.0.0.1' }] }, `${item}.cidr is no CIDR prefix: "10.0.0.1"`],
    [{ fromCIDRSet: [{}] }, `${item} must have one of cidr, cidrGroupRef and cidrGroupSelector`],
    [
      { fromCIDRSet: [{ cidr: '10.0.0.0/8', except: ['11.0.0.0/8'] }] },
      `${item}.except[0] must lie inside cidr: "11.0.0.0/8"`,
    ],
    [{ fromCIDRSet: [{ cidr: '10.0.0.0/8', expect: [] }] }, `${item}.expect is no field of the API`],
    [
      { fromEndpoints: [{ matchExpressions: [{ key: 'a', operator: 'Is' }] }] },
      'spec.ingress[0].fromEndpoints[0].matchExpressions[0].operator is unknown: "Is"',
    ],
    [{ form: [{}] }, 'spec.ingress[0].form is no field of the API'],
    [
      { fromEntities: ['all'], fromCIDR: ['10.0.0.0/8'] },
      'spec.ingress[0].fromCIDR cannot be combined with fromEntities',
    ],
    [{ toServices: [] }, 'spec.ingress[0].toServices is no field of the API'],
    [{ fromEntities: 'all' }, 'spec.ingress[0].fromEntities must be a list, is a string'],
  ])('an invalid allow rule matches nobody: %j', (rule, why) => {
    expect(ingress(rule).peers).toEqual([]);
    expect(whyIngress(rule)).toEqual([why]);
  });

  it('an invalid peer leaves the others', () => {
    expect(ingress({ fromEntities: ['moon', 'world'] }).peers).toMatchObject([{ entity: 'world' }]);
  });
});

describe('deny rules with an invalid part may match what the rest matches', () => {
  const everybody = [{ kind: 'entity', entity: 'all', field: 'spec.ingressDeny[0]' }];
  it('keeps valid ports', () => {
    const rule = denied({ fromEntities: ['moon'], toPorts: [{ ports: [{ port: '80' }] }] });
    expect(rule).toMatchObject({ peers: everybody, ports: [{ ports: [{ from: 80 }] }] });
    expect(rule.uncertain).toBe('spec.ingressDeny[0].fromEntities[0] is no entity: "moon"');
  });
  it('keeps valid peers', () => {
    const rule = denied({ fromEntities: ['world'], toPorts: [{ ports: [{ port: '70000' }] }] });
    expect(rule).toMatchObject({ peers: [{ entity: 'world' }] });
    expect(rule).not.toHaveProperty('ports');
  });
  it('keeps nothing where nothing can be read', () => {
    expect(denied([])).toMatchObject({
      peers: everybody,
      uncertain: 'spec.ingressDeny[0] must be an object, is a list',
    });
    expect(denied({ authentication: { mode: 'required' } }).peers).toEqual(everybody);
  });
});

describe('ports', () => {
  const port = (one: object) => ingress({ toPorts: [{ ports: [one] }] }).ports?.[0]?.ports[0];
  it.each([
    [{ port: '80' }, { kind: 'range', protocols: ['TCP', 'UDP', 'SCTP'], from: 80, to: 80 }],
    [
      { port: '80', protocol: 'TCP', endPort: 90 },
      { protocols: ['TCP'], from: 80, to: 90 },
    ],
    [
      { port: '0', protocol: 'UDP' },
      { protocols: ['UDP'], from: 0, to: 65535 },
    ],
    [
      { port: 'HTTP', protocol: 'TCP', endPort: 1 },
      { kind: 'named', protocols: ['TCP'], name: 'http' },
    ],
    [{ protocol: 'VRRP' }, { kind: 'protocol', number: 112 }],
    [
      { port: '0', protocol: 'IGMP' },
      { kind: 'protocol', number: 2 },
    ],
  ])('%j', (one, expected) => expect(port(one)).toMatchObject(expected));

  const path = 'spec.ingress[0].toPorts[0].ports[0]';
  it.each([
    [{ port: 80 }, `${path}.port must be a string, is a number`],
    [{ port: '65536' }, `${path}.port must be a port number or a port's name, is "65536"`],
    [{ protocol: 'TCP' }, `${path}.port must be given`],
    [{ port: '80', protocol: 'tcp' }, `${path}.protocol is unknown: "tcp"`],
    [{ port: '80', protocol: 'constructor' }, `${path}.protocol is unknown: "constructor"`],
    [{ port: '80', endPort: 79 }, `${path}.endPort must be a port, not lower than port`],
    [{ port: '80', protocol: 'VRRP' }, `${path}.port must be left out with VRRP, which has no ports`],
    [{ port: '80', portEnd: 81 }, `${path}.portEnd is no field of the API`],
  ])('invalid ports match nothing: %j', (one, why) => {
    expect(ingress({ toPorts: [{ ports: [one] }] }).ports).toEqual([]);
    expect(whyIngress({ toPorts: [{ ports: [one] }] })).toEqual([why]);
  });

  it('tells no ports from none', () => {
    expect(ingress({ toPorts: [] })).not.toHaveProperty('ports');
    expect(ingress({ toPorts: [{}] }).ports).toMatchObject([{ ports: [] }]);
    expect(ingress({ toPorts: [{}], icmps: [{}] }).ports).toEqual([]);
    expect(whyIngress({ toPorts: [{}], icmps: [{}] })).toEqual([
      'spec.ingress[0].icmps cannot be combined with toPorts',
    ]);
  });

  it('reads ICMP types by number and by name', () => {
    const fields = [{ type: 8 }, { type: 'EchoReply' }, { family: 'IPv6', type: 'EchoRequest' }];
    expect(ingress({ icmps: [{ fields }] }).ports?.[0]?.ports).toEqual([
      { kind: 'icmp', family: 4, type: 8 },
      { kind: 'icmp', family: 4, type: 0 },
      { kind: 'icmp', family: 6, type: 128 },
    ]);
    expect(whyIngress({ icmps: [{ fields: [{ type: 'toString' }] }] })).toEqual([
      'spec.ingress[0].icmps[0].fields[0].type is no type of IPv4: "toString"',
    ]);
  });

  const tcp = [{ port: '80', protocol: 'TCP' }];
  const l7 = (more: object, ports: readonly object[] = tcp) => egress({ toPorts: [{ ports, ...more }] });
  it.each([
    [{ rules: { http: [{ method: 'GET', path: '/m' }] } }, 'HTTP GET /m'],
    [{ rules: { http: [{}] } }, 'HTTP requests'],
    [{ rules: { dns: [{ matchPattern: '*' }] } }, 'DNS queries for *'],
    [{ rules: { kafka: [{}] } }, 'the Kafka requests of the rule'],
    [{ rules: { l7proto: 'r2d2', l7: [{}] } }, 'the r2d2 requests of the rule'],
    [{ serverNames: ['a.example'] }, 'TLS for a.example'],
    [{ terminatingTLS: {} }, 'TLS that the proxy ends'],
    [{ listener: {} }, 'what the Envoy listener lets pass'],
    [{ rules: { http: [] } }, undefined],
    [{ rules: {} }, undefined],
  ])('layer 7: %j', (more, text) => expect(l7(more).ports?.[0]?.l7).toBe(text));

  const rules = 'spec.egress[0].toPorts[0].rules';
  it.each([
    [{ rules: { http: [{}], dns: [{ matchName: 'a' }] } }, tcp, `${rules} must be of one protocol`],
    [{ rules: { http: [{}] } }, [{ port: '80' }], `${rules} needs protocol TCP`],
    [{ rules: { http: [{}] } }, [{ port: '0', protocol: 'TCP' }], `${rules} cannot be used with port 0`],
    [
      { rules: { dns: [{ matchName: 'a' }] } },
      [{ port: '53', endPort: 54 }],
      `${rules}.dns cannot be used with a range of ports`,
    ],
    [{ rules: { dns: [{}] } }, tcp, `${rules}.dns[0] must have one of matchName and matchPattern`],
    [{ rules: { l7: [{}] } }, tcp, `${rules}.l7 needs l7proto`],
    [{ rules: { html: [] } }, tcp, `${rules}.html is no field of the API`],
    [
      { listener: {}, rules: { http: [{}] } },
      tcp,
      'spec.egress[0].toPorts[0].listener must not stand beside rules',
    ],
  ])('invalid layer 7 matches nothing: %j', (more, ports, why) => {
    expect(l7(more, ports).ports).toEqual([]);
    expect(whyEgress({ toPorts: [{ ports, ...more }] })).toEqual([why]);
  });

  it('refuses DNS rules and listeners on ingress, and layer 7 in deny rules', () => {
    const dns = { ports: tcp, rules: { dns: [{ matchPattern: '*' }] } };
    expect(whyIngress({ toPorts: [dns] })).toEqual([
      'spec.ingress[0].toPorts[0].rules.dns is for egress only',
    ]);
    expect(denied({ toPorts: [dns] }).uncertain).toBe(
      'spec.ingressDeny[0].toPorts[0].rules is no field of the API',
    );
  });
});

describe('the rest of a rule', () => {
  it.each([
    [{ mode: 'required' }, 'required', []],
    [{ mode: 'disabled' }, undefined, []],
    [{ mode: 'test-always-fail' }, 'test-always-fail', []],
    [{ mode: 'maybe' }, 'required', ['spec.ingress[0].authentication.mode is unknown: "maybe"']],
    [{}, 'required', ['spec.ingress[0].authentication.mode must be a string, is missing']],
  ])('authentication %j', (authentication, expected, why) => {
    expect(ingress({ authentication }).authentication).toBe(expected);
    expect(whyIngress({ authentication })).toEqual(why);
  });

  it('requirements have the namespace filled in, and one that cannot be read is fulfilled by nobody', () => {
    expect(ingress({ fromRequires: [{ matchLabels: { a: 'b' } }] }).requires).toMatchObject([
      [{ key: 'a' }, { key: 'io.kubernetes.pod.namespace', values: ['shop'] }],
    ]);
    expect(ingress({ fromRequires: [1] }).requires).toMatchObject([[{ source: 'reserved', key: 'none' }]]);
  });
});

it('reads CIDR groups, without the prefixes that are none', () => {
  const { cidrGroups } = read('CiliumCIDRGroup', { spec: { externalCIDRs: ['10.0.0.0/8', 'x'] } });
  expect(cidrGroups).toEqual([
    {
      name: 'p',
      labels: {},
      cidrs: [prefix('10.0.0.0/8')],
      problems: [{ field: 'spec.externalCIDRs[1]', why: 'is no CIDR prefix: "x"' }],
    },
  ]);
});
