/** Istio's numbered rules, through the reference and the engine. */
import { expect, it } from 'vitest';
import { address } from '../../net/address.ts';
import type { JsonObject } from '../../parse/json.ts';
import { clusterOf } from '../../parse/kubernetes/cluster.ts';
import { parsed } from '../../parse/result.ts';
import type { FlowEnd } from '../endpoint.ts';
import { createEngine } from '../engine/engine.ts';
import { ambientRewrites, istioLayer, istioTraits } from '../kinds/istio.ts';
import { defaultReading } from '../options.ts';
import { istioOutcome } from '../reference/istio.ts';

type Raw = Readonly<Record<string, readonly JsonObject[]>>;

const sidecar = { name: 'istio-proxy' };
const pod = (namespace: string, name: string, ip: string, more: JsonObject = {}): JsonObject => ({
  kind: 'Pod',
  metadata: { namespace, name, labels: { app: name, ...(more.labels as object) } },
  spec: {
    serviceAccountName: name,
    nodeName: ip,
    containers: [{ name: 'main' }, ...(more.proxy === false ? [] : [sidecar])],
  },
  status: { phase: 'Running', podIP: ip },
});

/** Two pods with sidecars, one without a proxy, and two ambient pods, one of them behind a waypoint. */
const pods = [
  pod('shop', 'web', '10.0.0.1'),
  pod('shop', 'api', '10.0.0.2'),
  pod('other', 'plain', '10.0.0.3', { proxy: false }),
  pod('mesh', 'one', '10.0.0.4', { proxy: false, labels: { 'istio.io/dataplane-mode': 'ambient' } }),
  pod('mesh', 'two', '10.0.0.5', { proxy: false, labels: { 'istio.io/dataplane-mode': 'ambient' } }),
];
const service: JsonObject = {
  kind: 'Service',
  metadata: { namespace: 'shop', name: 'api' },
  spec: {
    selector: { app: 'api' },
    ports: [
      { name: 'http', port: 80, targetPort: 8080 },
      { name: 'tcp', port: 5432 },
    ],
  },
};

const clusterWith = (raw: Raw) =>
  clusterOf((plural) => {
    const given = { services: [service], pods, ...raw }[plural] ?? [];
    return {
      where: plural,
      objects: parsed(
        given.map((object: JsonObject, i) => ({ object, origin: { file: plural, document: i, path: '' } })),
      ),
    };
  });

/** `verdict(raw, 'shop/web', 'shop/api', 8080)`; both ways to the answer must agree. */
function verdict(raw: Raw, src: string, dst: string, port: number, protocol: 'TCP' | 'UDP' = 'TCP'): string {
  const cluster = clusterWith(raw);
  const world = { cluster, reading: defaultReading };
  const end = (id: string): FlowEnd => {
    if (!id.includes('/')) return { kind: 'external', address: address(id) };
    const found = cluster.pods.state === 'known' ? cluster.pods.value : [];
    const one = found.find(({ namespace, name }) => `${namespace}/${name}` === id);
    if (one === undefined) throw new Error(`no pod ${id}`);
    return { kind: 'pod', pod: one };
  };
  const flow = { src: end(src), dst: end(dst), protocol, port };
  const layer = istioLayer(world);
  const engine = createEngine(world, { layers: layer === undefined ? [] : [layer], notes: [] }, [
    istioTraits,
  ]);
  const answer = istioOutcome(world, flow);
  expect(engine.verdict(flow).verdict).toBe(answer);
  return answer;
}

const policies = (...specs: readonly JsonObject[]): Raw => ({
  'authorizationpolicies.security.istio.io': specs.map((spec, i) => ({
    kind: 'AuthorizationPolicy',
    metadata: { namespace: (spec.in as string | undefined) ?? 'shop', name: `p${i}` },
    spec: Object.fromEntries(Object.entries(spec).filter(([key]) => key !== 'in')),
  })),
});

const peers = (...specs: readonly JsonObject[]): Raw => ({
  'peerauthentications.security.istio.io': specs.map((spec, i) => ({
    kind: 'PeerAuthentication',
    metadata: { namespace: (spec.in as string | undefined) ?? 'shop', name: `m${i}` },
    spec: Object.fromEntries(Object.entries(spec).filter(([key]) => key !== 'in')),
  })),
});

const everything = { rules: [{}] };
const fromWeb = { rules: [{ from: [{ source: { principals: ['cluster.local/ns/shop/sa/web'] } }] }] };

it('62 order: CUSTOM and DENY before ALLOW; no ALLOW policy allows, an ALLOW policy that does not match denies', () => {
  expect(verdict(policies(), 'shop/web', 'shop/api', 8080)).toBe('allow');
  expect(verdict(policies(fromWeb), 'shop/web', 'shop/api', 8080)).toBe('allow');
  expect(verdict(policies(fromWeb), 'other/plain', 'shop/api', 8080)).toBe('deny');
  expect(verdict(policies(everything, { action: 'DENY', ...fromWeb }), 'shop/web', 'shop/api', 8080)).toBe(
    'deny',
  );
  const custom = { action: 'CUSTOM', provider: { name: 'opa' }, rules: [{}] };
  expect(verdict(policies(everything, custom), 'shop/web', 'shop/api', 8080)).toBe('conditional');
  expect(verdict(policies(custom, { action: 'DENY', rules: [{}] }), 'shop/web', 'shop/api', 8080)).toBe(
    'deny',
  );
  expect(verdict(policies({ action: 'AUDIT', rules: [{}] }), 'shop/web', 'shop/api', 8080)).toBe('allow');
});

// authorization_policy.proto: "If not set, the match will never occur"; "An empty rule is always matched".
it('63 `spec: {}` denies all, `rules: [{}]` matches all, DENY without rules never matches', () => {
  expect(verdict(policies({}), 'shop/web', 'shop/api', 8080)).toBe('deny');
  expect(verdict(policies(everything), 'other/plain', 'shop/api', 8080)).toBe('allow');
  expect(verdict(policies({ action: 'DENY' }), 'shop/web', 'shop/api', 8080)).toBe('allow');
});

// pilot/pkg/security/authz/model checkError; on a sniffed port (9999) nobody can say which of the two it is.
it('64 HTTP fields on TCP: ALLOW never matches, DENY drops them', () => {
  const get = { rules: [{ to: [{ operation: { methods: ['GET'] } }] }] };
  expect(verdict(policies(get), 'shop/web', 'shop/api', 5432)).toBe('deny');
  expect(verdict(policies(get), 'shop/web', 'shop/api', 8080)).toBe('conditional');
  expect(verdict(policies(get), 'shop/web', 'shop/api', 9999)).toBe('conditional');
  const denyGet = { action: 'DENY', ...get };
  expect(verdict(policies(denyGet), 'shop/web', 'shop/api', 5432)).toBe('deny');
  expect(verdict(policies(denyGet), 'shop/web', 'shop/api', 8080)).toBe('conditional');
  // One HTTP field spoils the whole ALLOW rule on TCP, another source of it too.
  const mixed = {
    rules: [{ from: [{ source: { requestPrincipals: ['*'] } }, { source: { ipBlocks: ['10.0.0.0/8'] } }] }],
  };
  expect(verdict(policies(mixed), 'shop/web', 'shop/api', 5432)).toBe('deny');
  expect(verdict(policies(mixed), 'shop/web', 'shop/api', 8080)).toBe('allow');
});

it('64 ztunnel: ALLOW with HTTP fields never matches, DENY is what remains, and uncertain where nothing remains', () => {
  const get = { in: 'mesh', rules: [{ to: [{ operation: { methods: ['GET'] } }] }] };
  expect(verdict(policies(get), 'mesh/one', 'mesh/two', 80)).toBe('deny');
  expect(verdict(policies({ ...get, action: 'DENY' }), 'mesh/one', 'mesh/two', 80)).toBe('conditional');
  const withPort = {
    in: 'mesh',
    action: 'DENY',
    rules: [{ to: [{ operation: { methods: ['GET'], ports: ['80'] } }] }],
  };
  expect(verdict(policies(withPort), 'mesh/one', 'mesh/two', 80)).toBe('deny');
  expect(verdict(policies(withPort), 'mesh/one', 'mesh/two', 81)).toBe('allow');
});

// source fields of authorization_policy.proto: "This field requires mTLS enabled".
it('65 identities need mTLS: plaintext clients match no principal or namespace, and every negative one', () => {
  const any = { rules: [{ from: [{ source: { principals: ['*'] } }] }] };
  expect(verdict(policies(any), 'shop/web', 'shop/api', 8080)).toBe('allow');
  expect(verdict(policies(any), 'other/plain', 'shop/api', 8080)).toBe('deny');
  const namespaces = { rules: [{ from: [{ source: { namespaces: ['other'] } }] }] };
  expect(verdict(policies(namespaces), 'other/plain', 'shop/api', 8080)).toBe('deny');
  const others = {
    action: 'DENY',
    rules: [{ from: [{ source: { notPrincipals: ['cluster.local/ns/shop/sa/web'] } }] }],
  };
  expect(verdict(policies(others), 'other/plain', 'shop/api', 8080)).toBe('deny');
  expect(verdict(policies(others), '192.0.2.1', 'shop/api', 8080)).toBe('deny');
  expect(verdict(policies(others), 'shop/web', 'shop/api', 8080)).toBe('allow');
  // Another trust domain may be the mesh's own, or an alias.
  const foreign = { rules: [{ from: [{ source: { principals: ['prod.example/ns/shop/sa/web'] } }] }] };
  expect(verdict(policies(foreign), 'shop/web', 'shop/api', 8080)).toBe('conditional');
  expect(verdict(policies(foreign), 'mesh/one', 'shop/api', 8080)).toBe('deny');
  // A star in the middle is no wildcard.
  const middle = { rules: [{ from: [{ source: { principals: ['cluster.local/ns/*/sa/web'] } }] }] };
  expect(verdict(policies(middle), 'shop/web', 'shop/api', 8080)).toBe('deny');
});

it('65 a DestinationRule without the mesh TLS makes the identity uncertain', () => {
  const override: Raw = {
    'destinationrules.networking.istio.io': [
      {
        kind: 'DestinationRule',
        metadata: { namespace: 'shop', name: 'd' },
        spec: { host: 'api', trafficPolicy: { tls: { mode: 'DISABLE' } } },
      },
    ],
  };
  expect(verdict({ ...policies(fromWeb), ...override }, 'shop/web', 'shop/api', 8080)).toBe('conditional');
});

it('66 STRICT rejects plaintext, PERMISSIVE is the default, port over workload over namespace over mesh', () => {
  const strict = { mtls: { mode: 'STRICT' } };
  const permissive = { mtls: { mode: 'PERMISSIVE' } };
  const api = { selector: { matchLabels: { app: 'api' } } };
  const mesh = { in: 'istio-system', ...strict };
  const asks = (raw: Raw, port = 8080) => verdict(raw, 'other/plain', 'shop/api', port);
  expect(asks(peers(api))).toBe('allow');
  expect(asks(peers(strict))).toBe('deny');
  expect(verdict(peers(strict), 'shop/web', 'shop/api', 8080)).toBe('allow');
  expect(asks(peers(mesh))).toBe('deny');
  expect(asks(peers(mesh, permissive))).toBe('allow');
  expect(asks(peers(mesh, permissive, { ...api, ...strict }))).toBe('deny');
  const byPort = { ...api, ...strict, portLevelMtls: { '8080': { mode: 'PERMISSIVE' } } };
  expect(asks(peers(byPort))).toBe('allow');
  expect(asks(peers(byPort), 80)).toBe('deny');
  // UNSET inherits; a selector in the root namespace has no effect.
  expect(asks(peers(mesh, { ...api, mtls: { mode: 'UNSET' } }))).toBe('deny');
  expect(asks(peers({ in: 'istio-system', ...api, ...strict }))).toBe('allow');
  // Two of one place: the older one counts, and nobody knows which it is.
  expect(asks(peers(strict, permissive))).toBe('conditional');
});

it('66 where the port does not take mTLS, sidecars send plaintext without an identity', () => {
  const raw = { ...policies(fromWeb), ...peers({ mtls: { mode: 'DISABLE' } }) };
  expect(verdict(raw, 'shop/web', 'shop/api', 8080)).toBe('deny');
});

it('67 root-namespace policies are mesh-wide; destinations without a proxy enforce nothing', () => {
  const nothing = { in: 'istio-system' };
  expect(verdict(policies(nothing), 'shop/web', 'shop/api', 8080)).toBe('deny');
  expect(verdict(policies(nothing), 'mesh/one', 'mesh/two', 80)).toBe('deny');
  expect(verdict(policies(nothing), 'shop/web', 'other/plain', 80)).toBe('allow');
  // Only TCP passes the proxy.
  expect(verdict(policies(nothing), 'shop/web', 'shop/api', 8080, 'UDP')).toBe('allow');
  expect(verdict(policies(nothing), 'shop/web', 'shop/api', 15021)).toBe('allow');
});

it('68 in an ambient mesh TCP arrives at 15008', () => {
  const world = { cluster: clusterWith({}), reading: defaultReading };
  const rewrites = ambientRewrites(world);
  expect(rewrites.map(({ to }) => to.port)).toEqual([15008, 15008, 15008]);
  const deny = {
    action: 'deny',
    peer: { is: 'any' },
    ports: { set: [0, 65536], named: [], not: { set: [15008, 15009], named: [] } },
    field: '',
  } as const;
  const engine = createEngine(
    world,
    {
      layers: [
        {
          name: 'network',
          tiers: [
            {
              name: 'only 15008',
              otherwise: 'pass',
              groups: [
                [
                  {
                    id: { kind: 'X', name: 'x' },
                    subject: { is: 'any' },
                    ingress: { isolates: false, rules: [deny] },
                  },
                ],
              ],
            },
          ],
          finally: 'allow',
          rewrites,
          exemptsSelfAndOwnNode: true,
        },
      ],
      notes: [],
    },
    [istioTraits],
  );
  const found = world.cluster.pods.state === 'known' ? world.cluster.pods.value : [];
  const ask = (src: number, dst: number) => {
    const [a, b] = [found[src], found[dst]];
    if (a === undefined || b === undefined) throw new Error('no such pod');
    return engine.verdict({
      src: { kind: 'pod', pod: a },
      dst: { kind: 'pod', pod: b },
      protocol: 'TCP',
      port: 80,
    }).verdict;
  };
  expect(ask(3, 4)).toBe('allow');
  expect(ask(3, 2)).toBe('deny');
  expect(ask(0, 4)).toBe('conditional');
});

it('68 between sidecar and ambient the identity depends on the installation', () => {
  const any = { in: 'mesh', rules: [{ from: [{ source: { principals: ['*'] } }] }] };
  expect(verdict(policies(any), 'mesh/one', 'mesh/two', 80)).toBe('allow');
  expect(verdict(policies(any), 'shop/web', 'mesh/two', 80)).toBe('conditional');
  expect(verdict(policies(any), 'other/plain', 'mesh/two', 80)).toBe('deny');
});

it('a policy with an invalid part fails closed', () => {
  const typo = { rules: [{ form: [{ source: { namespaces: ['shop'] } }] }] };
  expect(verdict(policies(typo), 'shop/web', 'shop/api', 8080)).toBe('deny');
  expect(verdict(policies({ action: 'DENY', ...typo }), 'shop/web', 'shop/api', 8080)).toBe('conditional');
});

it('67 a manifest that was never applied gets its sidecar from the webhook', () => {
  const bare = (name: string, labels: JsonObject = {}): JsonObject => ({
    kind: 'Pod',
    metadata: { namespace: 'new', name, labels },
    spec: { containers: [{ name: 'main' }] },
  });
  const namespaces = [
    { kind: 'Namespace', metadata: { name: 'new', labels: { 'istio-injection': 'enabled' } } },
  ];
  const raw = {
    ...policies({ in: 'new' }),
    namespaces,
    pods: [bare('a'), bare('b'), bare('c', { 'sidecar.istio.io/inject': 'false' })],
  };
  expect(verdict(raw, 'new/a', 'new/b', 80)).toBe('deny');
  expect(verdict(raw, 'new/a', 'new/c', 80)).toBe('allow');
});
