/** Linkerd's numbered rules, through the reference and the engine. */
import { expect, it } from 'vitest';
import { address } from '../../net/address.ts';
import type { JsonObject } from '../../parse/json.ts';
import { clusterOf } from '../../parse/kubernetes/cluster.ts';
import { parsed } from '../../parse/result.ts';
import type { FlowEnd } from '../endpoint.ts';
import { createEngine } from '../engine/engine.ts';
import { linkerdLayer, linkerdRewrites, linkerdTraits } from '../kinds/linkerd.ts';
import { defaultReading } from '../options.ts';
import { linkerdOutcome } from '../reference/linkerd.ts';

type Raw = Readonly<Record<string, readonly JsonObject[]>>;

const pod = (name: string, ip: string, proxied: boolean, annotations: JsonObject = {}): JsonObject => ({
  kind: 'Pod',
  metadata: { namespace: 'shop', name, labels: { app: name }, annotations },
  spec: {
    serviceAccountName: name,
    containers: [{ name: 'main', ports: [{ name: 'http', containerPort: 8080 }] }],
    // A native sidecar.
    initContainers: proxied ? [{ name: 'linkerd-proxy', restartPolicy: 'Always' }] : [],
  },
  status: { phase: 'Running', podIP: ip },
});
const defaultPolicy = 'config.linkerd.io/default-inbound-policy';
const pods = [
  pod('web', '10.0.0.1', true),
  pod('api', '10.0.0.2', true),
  pod('plain', '10.0.0.3', false),
  pod('shut', '10.0.0.4', true, { [defaultPolicy]: 'deny' }),
  pod('tls', '10.0.0.5', true, { [defaultPolicy]: 'all-authenticated' }),
];

const clusterWith = (raw: Raw) =>
  clusterOf((plural) => {
    const given = { pods, ...raw }[plural] ?? [];
    return {
      where: plural,
      objects: parsed(
        given.map((object: JsonObject, i) => ({ object, origin: { file: plural, document: i, path: '' } })),
      ),
    };
  });

/** Both ways to the answer must agree. */
function verdict(raw: Raw, src: string, dst: string, port: number, protocol: 'TCP' | 'UDP' = 'TCP'): string {
  const cluster = clusterWith(raw);
  const world = { cluster, reading: defaultReading };
  const end = (name: string): FlowEnd => {
    if (name.includes('.')) return { kind: 'external', address: address(name) };
    const found = cluster.pods.state === 'known' ? cluster.pods.value : [];
    const one = found.find((candidate) => candidate.name === name);
    if (one === undefined) throw new Error(`no pod ${name}`);
    return { kind: 'pod', pod: one };
  };
  const flow = { src: end(src), dst: end(dst), protocol, port };
  const layer = linkerdLayer(world);
  const engine = createEngine(world, { layers: layer === undefined ? [] : [layer], notes: [] }, [
    linkerdTraits,
  ]);
  const answer = linkerdOutcome(world, flow);
  expect(engine.verdict(flow).verdict).toBe(answer);
  return answer;
}

const group = 'policy.linkerd.io';
const object = (kind: string, name: string, spec: JsonObject): JsonObject => ({
  kind,
  metadata: { namespace: 'shop', name, labels: { app: name } },
  spec,
});
const server = (more: JsonObject = {}, name = 'api'): JsonObject =>
  object('Server', name, { podSelector: { matchLabels: { app: 'api' } }, port: 8080, ...more });
const servers = (...list: readonly JsonObject[]): Raw => ({ [`servers.${group}`]: list });
const authorization = (client: JsonObject): Raw => ({
  [`serverauthorizations.${group}`]: [
    object('ServerAuthorization', 'saz', { server: { name: 'api' }, client }),
  ],
});

it('69 a Server on a port denies by default; other ports follow the default inbound policy', () => {
  expect(verdict(servers(server()), 'web', 'api', 8080)).toBe('deny');
  expect(verdict(servers(server({ port: 'http' })), 'web', 'api', 8080)).toBe('deny');
  expect(verdict(servers(server()), 'web', 'api', 9999)).toBe('allow');
  expect(verdict(servers(server({ accessPolicy: 'all-unauthenticated' })), 'plain', 'api', 8080)).toBe(
    'allow',
  );
  expect(verdict({}, 'web', 'shut', 80)).toBe('deny');
  expect(verdict({}, 'web', 'tls', 80)).toBe('allow');
  expect(verdict({}, 'plain', 'tls', 80)).toBe('deny');
});

it('69 Servers may not overlap: where they disagree nobody can say', () => {
  const open = server({ accessPolicy: 'all-unauthenticated' }, 'open');
  expect(verdict(servers(server(), open), 'web', 'api', 8080)).toBe('conditional');
  expect(verdict(servers(server(), server({}, 'again')), 'web', 'api', 8080)).toBe('deny');
});

it('69 ServerAuthorization: unauthenticated, identities, service accounts, and the cluster networks where none are named', () => {
  const anyone = { ...servers(server()), ...authorization({ unauthenticated: true }) };
  expect(verdict(anyone, 'plain', 'api', 8080)).toBe('allow');
  expect(verdict(anyone, '192.168.7.7', 'api', 8080)).toBe('allow');
  expect(verdict(anyone, '192.0.2.1', 'api', 8080)).toBe('deny');
  const web = { ...servers(server()), ...authorization({ meshTLS: { serviceAccounts: [{ name: 'web' }] } }) };
  expect(verdict(web, 'web', 'api', 8080)).toBe('allow');
  expect(verdict(web, 'tls', 'api', 8080)).toBe('deny');
  expect(verdict(web, 'plain', 'api', 8080)).toBe('deny');
  const named = (identity: string) => ({
    ...servers(server()),
    ...authorization({ meshTLS: { identities: [identity] } }),
  });
  expect(verdict(named('*.shop.serviceaccount.identity.linkerd.cluster.local'), 'web', 'api', 8080)).toBe(
    'allow',
  );
  expect(verdict(named('web.shop.serviceaccount.identity.mesh.example.org'), 'web', 'api', 8080)).toBe(
    'conditional',
  );
  expect(verdict(named('web.shop.serviceaccount.identity.mesh.example.org'), 'tls', 'api', 8080)).toBe(
    'deny',
  );
});

it('69 AuthorizationPolicy: every required authentication holds; one that is missing voids it', () => {
  const policy = (...refs: readonly JsonObject[]): Raw => ({
    [`authorizationpolicies.${group}`]: [
      object('AuthorizationPolicy', 'p', {
        targetRef: { group, kind: 'Server', name: 'api' },
        requiredAuthenticationRefs: refs,
      }),
    ],
    [`networkauthentications.${group}`]: [
      object('NetworkAuthentication', 'net', { networks: [{ cidr: '10.0.0.0/24', except: ['10.0.0.3'] }] }),
    ],
    [`meshtlsauthentications.${group}`]: [object('MeshTLSAuthentication', 'all', { identities: ['*'] })],
  });
  const ask = (src: string, ...refs: readonly JsonObject[]) =>
    verdict({ ...servers(server()), ...policy(...refs) }, src, 'api', 8080);
  const network = { group, kind: 'NetworkAuthentication', name: 'net' };
  const tls = { group, kind: 'MeshTLSAuthentication', name: 'all' };
  expect(ask('192.0.2.1')).toBe('allow');
  expect(ask('web', network, tls)).toBe('allow');
  expect(ask('plain', network)).toBe('deny');
  expect(ask('192.0.2.1', tls)).toBe('deny');
  expect(ask('web', { ...tls, name: 'missing' })).toBe('deny');
  expect(ask('web', { kind: 'ServiceAccount', name: 'web' })).toBe('allow');
});

it('69 routes: only requests that match one are served', () => {
  const routed: Raw = {
    ...servers(server({ proxyProtocol: 'HTTP/1' })),
    [`httproutes.${group}`]: [
      object('HTTPRoute', 'r', { parentRefs: [{ group, kind: 'Server', name: 'api' }] }),
    ],
    [`authorizationpolicies.${group}`]: [
      object('AuthorizationPolicy', 'p', {
        targetRef: { group, kind: 'HTTPRoute', name: 'r' },
        requiredAuthenticationRefs: [{ kind: 'ServiceAccount', name: 'web' }],
      }),
    ],
  };
  expect(verdict(routed, 'web', 'api', 8080)).toBe('conditional');
  expect(verdict(routed, 'plain', 'api', 8080)).toBe('deny');
});

it('67 only pods with a proxy enforce, and only what passes it', () => {
  const everywhere = servers(object('Server', 'all', { podSelector: {}, port: 8080 }));
  expect(verdict(everywhere, 'web', 'plain', 8080)).toBe('allow');
  expect(verdict(everywhere, 'web', 'api', 8080, 'UDP')).toBe('allow');
  expect(verdict({}, 'web', 'shut', 4567)).toBe('allow');
});

it('68 opaque ports arrive at 4143, others where the transport header is used', () => {
  const rewrites = linkerdRewrites({ cluster: clusterWith({}), reading: defaultReading });
  expect(rewrites.every(({ to }) => to.port === 4143)).toBe(true);
  const certain = rewrites.filter(({ condition }) => condition === undefined);
  expect(certain.map(({ ports }) => [...ports])).toEqual([
    [25, 26, 587, 588, 3306, 3307, 4444, 4445, 5432, 5433, 6379, 6380, 9300, 9301, 11211, 11212],
  ]);
});

it('67 a manifest that was never applied gets its proxy on creation', () => {
  const bare = (name: string, inject: string): JsonObject => ({
    kind: 'Pod',
    metadata: {
      namespace: 'shop',
      name,
      annotations: { 'linkerd.io/inject': inject, [defaultPolicy]: 'all-authenticated' },
    },
    spec: { containers: [{ name: 'main' }] },
  });
  const raw = { pods: [bare('a', 'enabled'), bare('b', 'enabled'), bare('c', 'disabled')] };
  expect(verdict(raw, 'a', 'b', 80)).toBe('allow');
  expect(verdict(raw, 'c', 'b', 80)).toBe('deny');
  expect(verdict(raw, 'a', 'c', 80)).toBe('allow');
});
