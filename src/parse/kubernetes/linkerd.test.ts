import { describe, expect, it } from 'vitest';
import type { LinkerdObjects } from '../../model/policies/linkerd.ts';
import type { JsonObject } from '../json.ts';
import { parsed } from '../result.ts';
import { clusterOf } from './cluster.ts';

const group = 'policy.linkerd.io';

function read<K extends Exclude<keyof LinkerdObjects, 'kind'>>(key: K, plural: string, spec: unknown) {
  const object = { metadata: { namespace: 'shop', name: 'x' }, spec };
  const cluster = clusterOf((asked) =>
    asked === plural ? { where: plural, objects: parsed([{ object }]) } : undefined,
  );
  if (cluster.linkerd.state === 'unknown') throw new Error(cluster.linkerd.why);
  const [one] = cluster.linkerd.value[key];
  return {
    one: one as LinkerdObjects[K][number] | undefined,
    left: cluster.problems.map(({ field }) => field),
  };
}

const server = (spec: JsonObject) =>
  read('servers', `servers.${group}`, { podSelector: {}, port: 80, ...spec });
const authorization = (client: JsonObject) =>
  read('serverAuthorizations', `serverauthorizations.${group}`, { server: {}, client });
const policy = (spec: JsonObject) =>
  read('authorizationPolicies', `authorizationpolicies.${group}`, {
    targetRef: { group, kind: 'Server', name: 's' },
    requiredAuthenticationRefs: [],
    ...spec,
  });
const meshTls = (spec: JsonObject) => read('meshTlsAuthentications', `meshtlsauthentications.${group}`, spec);
const networks = (spec: JsonObject) =>
  read('networkAuthentications', `networkauthentications.${group}`, spec);
const fields = (one: { readonly problems: readonly { readonly field: string }[] } | undefined) =>
  one?.problems.map(({ field }) => field);

describe('Server', () => {
  it('has the defaults of the API', () => {
    expect(server({}).one).toMatchObject({
      port: 80,
      protocol: 'unknown',
      accessPolicy: 'deny',
      problems: [],
    });
    expect(server({ port: 'http', proxyProtocol: 'gRPC' }).one).toMatchObject({
      port: 'http',
      protocol: 'gRPC',
    });
  });

  it.each([
    ['a port that is none', { port: 0 }, 'spec.port'],
    ['an unknown protocol', { proxyProtocol: 'SMTP' }, 'spec.proxyProtocol'],
    ['an unknown access policy, which denies', { accessPolicy: 'open' }, 'spec.accessPolicy'],
    ['an unknown field', { ports: [80] }, 'spec.ports'],
  ])('names the field of %s', (_, spec, field) => {
    const { one } = server(spec);
    expect(fields(one)).toEqual([field]);
    expect(one?.accessPolicy).toBe('deny');
  });

  it('is left out where nobody can say what it selects', () => {
    expect(server({ podSelector: undefined }).left).toEqual(['spec']);
    expect(server({ externalWorkloadSelector: {} }).left).toEqual(['spec']);
    expect(server({ podSelector: { matchLabel: {} } }).left).toEqual(['spec.podSelector.matchLabel']);
  });
});

describe('ServerAuthorization', () => {
  it('reads who may call', () => {
    expect(authorization({ unauthenticated: true }).one?.clients).toEqual({ kind: 'anyone' });
    expect(authorization({ meshTLS: { unauthenticatedTLS: true } }).one?.clients).toEqual({
      kind: 'any-tls',
    });
    expect(authorization({ meshTLS: { serviceAccounts: [{ name: 'web' }] } }).one?.clients).toMatchObject({
      serviceAccounts: [{ namespace: 'shop', name: 'web' }],
    });
  });

  it.each([
    ['no clients', {}, 'spec.client'],
    ['both ways at once', { unauthenticated: true, meshTLS: {} }, 'spec.client'],
    ['no identity', { meshTLS: {} }, 'spec.client.meshTLS'],
    ['a broken identity', { meshTLS: { identities: ['A B'] } }, 'spec.client.meshTLS.identities[0]'],
    [
      'an except outside of its cidr',
      { unauthenticated: true, networks: [{ cidr: '10.0.0.0/8', except: ['192.168.0.0/16'] }] },
      'spec.client.networks[0].except[0]',
    ],
    ['a typo', { unauthenticated: true, network: [] }, 'spec.client.network'],
  ])('authorizes nobody with %s', (_, client, field) => {
    const { one } = authorization(client);
    expect(fields(one)).toContain(field);
    expect(one?.clients).toBeUndefined();
  });
});

describe('AuthorizationPolicy', () => {
  it('compares groups and kinds without case', () => {
    const { one } = policy({
      targetRef: { group: 'Policy.Linkerd.io', kind: 'SERVER', name: 's' },
      requiredAuthenticationRefs: [{ group: 'core', kind: 'serviceAccount', name: 'web' }],
    });
    expect(one).toMatchObject({
      target: { kind: 'Server', name: 's' },
      required: [{ kind: 'ServiceAccount', namespace: 'shop', name: 'web' }],
      problems: [],
    });
  });

  const net = { group, kind: 'NetworkAuthentication', name: 'n' };
  it.each([
    ['two networks', [net, net], 'spec.requiredAuthenticationRefs'],
    ['an unknown kind', [{ kind: 'Pod', name: 'p' }], 'spec.requiredAuthenticationRefs[0]'],
    ['none at all', undefined, 'spec.requiredAuthenticationRefs'],
  ])('authorizes nobody with %s', (_, requiredAuthenticationRefs, field) => {
    const { one } = policy({ requiredAuthenticationRefs });
    expect(fields(one)).toEqual([field]);
    expect(one?.required).toBeUndefined();
  });

  it('is left out where its target is unknown', () => {
    expect(policy({ targetRef: { kind: 'Pod', name: 'x' } }).left).toEqual(['spec.targetRef']);
    expect(policy({ targetRef: { kind: 'Namespace', name: 'other' } }).left).toEqual(['spec.targetRef.name']);
  });
});

it('authentications without identities or networks authenticate nobody', () => {
  expect(
    meshTls({ identities: ['*'], identityRefs: [{ kind: 'Namespace', name: 'a' }] }).one?.clients,
  ).toMatchObject({
    identities: ['*'],
    namespaces: ['a'],
  });
  expect(fields(meshTls({}).one)).toEqual(['spec']);
  expect(fields(meshTls({ identities: [] }).one)).toEqual(['spec']);
  expect(fields(networks({ networks: [] }).one)).toEqual(['spec.networks']);
  expect(networks({ networks: [{ cidr: '10.0.0.1' }] }).one?.networks.length).toBe(1);
});

it('only routes with a Server as parent are kept', () => {
  const route = (parent: JsonObject) =>
    read('routes', 'httproutes.gateway.networking.k8s.io', { parentRefs: [parent] }).one?.servers;
  expect(route({ group, kind: 'Server', name: 's' })).toEqual(['s']);
  expect(route({ kind: 'Service', name: 's' })).toBeUndefined();
});
