import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../json.ts';
import { parsed } from '../result.ts';
import { clusterOf } from './cluster.ts';

function read(plural: string, spec: unknown, metadata: JsonObject = {}) {
  const object = { metadata: { namespace: 'shop', name: 'x', ...metadata }, spec };
  const cluster = clusterOf((asked) =>
    asked === plural ? { where: plural, objects: parsed([{ object }]) } : undefined,
  );
  if (cluster.istio.state === 'unknown') throw new Error(cluster.istio.why);
  return { objects: cluster.istio.value, left: cluster.problems.map(({ field }) => field) };
}

const authorization = (spec: unknown, metadata?: JsonObject) => {
  const { objects, left } = read('authorizationpolicies.security.istio.io', spec, metadata);
  return { policy: objects.authorizationPolicies[0], left };
};

const rule = (part: JsonObject) => ({ rules: [part] });
const source = (fields: JsonObject) => rule({ from: [{ source: fields }] });
const operation = (fields: JsonObject) => rule({ to: [{ operation: fields }] });
const when = (fields: JsonObject) => rule({ when: [fields] });

describe('AuthorizationPolicy', () => {
  it('has the defaults of the API: ALLOW, every workload, no rules', () => {
    expect(authorization({}).policy).toMatchObject({
      action: 'ALLOW',
      matchLabels: {},
      targetRefs: [],
      rules: [],
      problems: [],
    });
    expect(authorization(undefined).policy?.rules).toEqual([]);
  });

  it('reads sources, operations and conditions', () => {
    const { policy } = authorization(
      rule({
        from: [{ source: { serviceAccounts: ['web', 'a/b'], notIpBlocks: ['10.0.0.1', '10.1.2.3/8'] } }],
        to: [{ operation: { ports: ['80'], notPaths: ['/x'], methods: ['GET'] } }],
        when: [
          { key: 'destination.port', notValues: ['443'] },
          { key: 'request.auth.claims[iss]', values: ['me'] },
        ],
      }),
    );
    expect(policy?.problems).toEqual([]);
    const [found] = policy?.rules ?? [];
    expect(found?.sources[0]?.serviceAccounts.values).toEqual(['shop/web', 'a/b']);
    expect(found?.sources[0]?.ipBlocks.notValues.map(({ length }) => length)).toEqual([32, 8]);
    expect(found?.operations[0]).toMatchObject({ ports: { values: [80] }, http: ['methods', 'notPaths'] });
    expect(found?.when.map(({ key }) => key)).toEqual(['destination.port', 'request']);
    expect(found).toMatchObject({ understood: true, field: 'spec.rules[0]' });
  });

  it.each([
    ['an unknown field of the spec', { rule: [] }, 'spec.rule'],
    ['an action it does not have', { action: 'BLOCK' }, 'spec.action'],
    ['DENY without rules', { action: 'DENY' }, 'spec.rules'],
    ['CUSTOM without a provider', { action: 'CUSTOM', rules: [{}] }, 'spec.provider.name'],
    ['a provider without CUSTOM', { provider: { name: 'x' } }, 'spec.provider'],
    ['a typo in a rule', rule({ form: [] }), 'spec.rules[0].form'],
    ['an empty from', rule({ from: [] }), 'spec.rules[0].from'],
    ['a from without a source', rule({ from: [{}] }), 'spec.rules[0].from[0].source'],
    ['an empty source', source({}), 'spec.rules[0].from[0].source'],
    ['a typo in a source', source({ namespace: ['a'] }), 'spec.rules[0].from[0].source.namespace'],
    ['a broken block', source({ ipBlocks: ['10.0.0.0/40'] }), 'spec.rules[0].from[0].source.ipBlocks[0]'],
    [
      'accounts beside namespaces',
      source({ serviceAccounts: ['a'], namespaces: ['b'] }),
      'spec.rules[0].from[0].source.serviceAccounts',
    ],
    [
      'a wildcard account',
      source({ serviceAccounts: ['a/*'] }),
      'spec.rules[0].from[0].source.serviceAccounts[0]',
    ],
    ['an empty value', source({ principals: [''] }), 'spec.rules[0].from[0].source.principals[0]'],
    ['a port as a number', operation({ ports: [80] }), 'spec.rules[0].to[0].operation.ports[0]'],
    ['a port beyond 65535', operation({ notPorts: ['70000'] }), 'spec.rules[0].to[0].operation.notPorts[0]'],
    ['an empty operation', operation({}), 'spec.rules[0].to[0].operation'],
    ['an unknown attribute', when({ key: 'source.colour', values: ['x'] }), 'spec.rules[0].when[0].key'],
    ['a condition without values', when({ key: 'source.ip' }), 'spec.rules[0].when[0]'],
  ])('names the field of %s', (_, spec, field) => {
    const { policy, left } = authorization(spec);
    expect(left).toEqual([]);
    expect(policy?.problems.map((problem) => problem.field)).toContain(field);
    for (const one of policy?.rules ?? [])
      if (one.field === 'spec.rules[0]' && field.startsWith('spec.rules['))
        expect(one.understood).toBe(false);
  });

  it('an external authorizer gets no identities', () => {
    const { policy } = authorization({
      action: 'CUSTOM',
      provider: { name: 'x' },
      ...source({ principals: ['*'] }),
    });
    expect(policy?.problems.map(({ field }) => field)).toEqual(['spec.rules[0].from[0].source']);
  });

  it.each([
    ['a selector beside targetRefs', { selector: {}, targetRefs: [{ kind: 'Service', name: 'x' }] }, 'spec'],
    [
      'matchExpressions, which it does not have',
      { selector: { matchExpressions: [] } },
      'spec.selector.matchExpressions',
    ],
    ['a wildcard label', { selector: { matchLabels: { app: '*' } } }, 'spec.selector.matchLabels'],
    ['a targetRef without a kind', { targetRefs: [{ name: 'x' }] }, 'spec.targetRefs[0].kind'],
  ])('is left out with %s: nobody can say whom it selects', (_, spec, field) => {
    const { policy, left } = authorization(spec);
    expect(policy).toBeUndefined();
    expect(left).toEqual([field]);
  });

  it('dry-run is what Go takes for true', () => {
    const dryRun = (text: string) =>
      authorization({}, { annotations: { 'istio.io/dry-run': text } }).policy?.dryRun;
    expect(['true', 'T', '1', 'yes', 'false'].map(dryRun)).toEqual([true, true, true, false, false]);
  });
});

describe('PeerAuthentication', () => {
  const peer = (spec: unknown) =>
    read('peerauthentications.security.istio.io', spec).objects.peerAuthentications[0];

  it('reads modes; nothing is UNSET', () => {
    expect(peer({})).toMatchObject({ mode: 'UNSET', ports: [], problems: [] });
    expect(
      peer({
        selector: { matchLabels: { app: 'x' } },
        mtls: { mode: 'STRICT' },
        portLevelMtls: { '8080': { mode: 'DISABLE' }, '9090': {} },
      }),
    ).toMatchObject({
      mode: 'STRICT',
      ports: [
        { port: 8080, mode: 'DISABLE' },
        { port: 9090, mode: 'UNSET' },
      ],
      problems: [],
    });
  });

  it.each([
    ['an unknown mode', { mtls: { mode: 'LAX' } }, 'spec.mtls.mode'],
    ['a typo', { mtls: { mod: 'STRICT' } }, 'spec.mtls.mod'],
    ['ports without a selector', { portLevelMtls: { '80': { mode: 'STRICT' } } }, 'spec.portLevelMtls'],
  ])('names the field of %s', (_, spec, field) => {
    expect(peer(spec)?.problems.map((problem) => problem.field)).toContain(field);
  });
});

it('a DestinationRule overrides TLS for all, for a port or for a subset', () => {
  const overrides = (spec: JsonObject) =>
    read('destinationrules.networking.istio.io', { host: 'x', ...spec }).objects.destinationRules[0]
      ?.overridesTls;
  const policy = (mode: string) => ({ trafficPolicy: { tls: { mode } } });
  expect(overrides({})).toBe(false);
  expect(overrides(policy('ISTIO_MUTUAL'))).toBe(false);
  expect(overrides(policy('DISABLE'))).toBe(true);
  expect(overrides({ trafficPolicy: { portLevelSettings: [{ tls: { mode: 'SIMPLE' } }] } })).toBe(true);
  expect(overrides({ subsets: [{ name: 'v1', ...policy('DISABLE') }] })).toBe(true);
});
