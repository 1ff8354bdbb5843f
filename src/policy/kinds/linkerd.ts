/** Linkerd in the intermediate form: one layer, enforced at destinations that have a proxy. */
import type { Pod } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import {
  type LinkerdAuthorizationPolicy,
  type LinkerdObjects,
  type LinkerdServer,
  linkerdDefaultPolicies,
} from '../../model/policies/linkerd.ts';
import {
  complementPorts,
  noPorts,
  type PortSet,
  portRange,
  subtractPorts,
  unionPorts,
  wholeProtocol,
} from '../../net/port-set.ts';
import { selectorExpr } from '../expr.ts';
import {
  anyEndpoint,
  type Condition,
  type EndpointExpr,
  type Layer,
  type LoweredPolicy,
  noEndpoint,
  type PortRewrite,
  type Ports,
  type Rule,
  type Tier,
} from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import { matchesSelector } from '../selector.ts';
import { unknownPolicies } from '../unknown.ts';
import {
  type Accounts,
  account,
  clientsExpr,
  defaultExpr,
  meshed,
  networksExpr,
  source,
  sourceUnsure,
  withTls,
} from './linkerd-clients.ts';
import { keyOf, linkerdTraits, linkerdView, type PodFacts, traits } from './linkerd-facts.ts';
import { groupBy } from './lookup.ts';
import { allOf, both, exactly, isExact, never, type Ternary, trait } from './mesh-expr.ts';

export { linkerdTraits };

const tcp = wholeProtocol('TCP');
const atProxy = trait(traits.at);
const portsOf = (set: PortSet): Ports => ({ set, named: [] });

/** Undefined where the cluster has no proxy of Linkerd's: nobody then enforces anything. */
export function linkerdLayer(world: PolicyWorld): Layer | undefined {
  const { linkerd, namespaces } = world.cluster;
  const view = linkerdView(world);
  const proxied = orElse(world.cluster.pods, []).flatMap((pod: Pod) => view(pod) ?? []);
  if (proxied.length === 0) return undefined;
  const why =
    linkerd.state === 'unknown' ? linkerd.why : namespaces.state === 'unknown' ? namespaces.why : '';
  if (linkerd.state === 'unknown' || namespaces.state === 'unknown') {
    const { egress: _, ...ingressOnly } = unknownPolicies('Server', why);
    return layerOf([], [{ ...ingressOnly, subject: atProxy }], []);
  }
  const objects = linkerd.value;
  const context = { objects, accounts: accountsOf(world) };
  const servers = objects.servers.flatMap((server) => lowerServer(server, context));
  return layerOf(skipped(proxied), servers, defaults(proxied));
}

/** Servers of one namespace are one group: where two of them govern a port, which one counts is not defined. */
function layerOf(
  skips: readonly LoweredPolicy[],
  servers: readonly LoweredPolicy[],
  others: readonly LoweredPolicy[],
): Layer {
  const tiers: readonly Tier[] = [
    {
      name: 'traffic that no proxy sees',
      groups: [passes('only TCP is redirected to the proxy', atProxy, complementPorts(tcp)), ...skips].map(
        (policy) => [policy],
      ),
      otherwise: 'pass',
    },
    {
      name: 'Linkerd Server',
      groups: [...groupBy(servers, ({ id }) => id.namespace ?? '').values()],
      otherwise: 'pass',
    },
    { name: 'Linkerd default policy', groups: others.map((policy) => [policy]), otherwise: 'pass' },
  ];
  return {
    name: 'linkerd',
    tiers: tiers.filter(({ groups }) => groups.length > 0),
    finally: 'allow',
    rewrites: [],
    // The controller authorizes the kubelet's HTTP probes by itself.
    exemptsSelfAndOwnNode: true,
  };
}

const passes = (name: string, subject: EndpointExpr, set: PortSet): LoweredPolicy => ({
  id: { kind: 'Linkerd', name },
  subject,
  ingress: {
    isolates: false,
    rules: [{ action: 'allow', peer: anyEndpoint, ports: portsOf(set), field: '' }],
  },
});

const distinct = (sets: readonly PortSet[]): readonly PortSet[] => [
  ...new Map(sets.filter((set) => set.length > 0).map((set) => [keyOf(set), set] as const)).values(),
];

const skipped = (pods: readonly PodFacts[]): readonly LoweredPolicy[] =>
  distinct(pods.map(({ skips }) => skips)).map((set) =>
    passes('config.linkerd.io/skip-inbound-ports', trait(traits.skips(keyOf(set))), set),
  );

interface Context {
  readonly objects: LinkerdObjects;
  readonly accounts: Accounts;
}

function accountsOf(world: PolicyWorld): Accounts {
  const found = new Map<string, readonly [string, string]>();
  for (const { namespace, serviceAccount } of orElse(world.cluster.pods, []))
    found.set(`${namespace}/${serviceAccount}`, [namespace, serviceAccount]);
  return [...found.values()];
}

/** A Server decides every flow to its port: what no authorization admits is denied. */
function lowerServer(server: LinkerdServer, context: Context): LoweredPolicy[] {
  const { namespace, name, port, podSelector, origin } = server;
  if (port === undefined || podSelector === undefined) return [];
  const ports: Ports =
    typeof port === 'string'
      ? { set: noPorts, named: [{ protocol: 'TCP', name: port }] }
      : portsOf(portRange('TCP', port, port));
  const routes = routesOf(server, context.objects);
  const grants = [...grantsOf(server, context), ...routeGrants(server, routes, context)];
  const allowed = grants.flatMap(({ peer, field, by }) =>
    allowing(peer, ports, field, routes.length > 0).map(
      (rule): Rule => ({
        ...rule,
        ...(by === undefined ? {} : { by }),
      }),
    ),
  );
  return [
    {
      id: { kind: 'Server', namespace, name },
      ...(origin === undefined ? {} : { origin }),
      subject: allOf([atProxy, { is: 'namespace', names: [namespace] }, selectorExpr(podSelector)]),
      ingress: {
        isolates: false,
        rules: [...allowed, { action: 'deny', peer: anyEndpoint, ports, field: 'spec.port' }],
      },
    },
  ];
}

/** Certain first. Where routes are attached, requests that match none of them are not served. */
function allowing(peer: Ternary, ports: Ports, field: string, routed: boolean): Rule[] {
  const base = { action: 'allow' as const, ports, field };
  if (routed)
    return peer.may === noEndpoint
      ? []
      : [
          {
            ...base,
            peer: peer.may,
            condition: { code: 'l7', text: 'only for requests that match a route of the Server' },
          },
        ];
  return [
    ...(peer.certain === noEndpoint ? [] : [{ ...base, peer: peer.certain }]),
    ...(isExact(peer) || peer.may === noEndpoint ? [] : [{ ...base, peer: peer.may, condition: unsure }]),
  ];
}

const unsure: Condition = {
  code: 'identity',
  text: "it depends on the mesh's trust domain and on whether the client's proxy skips the port",
};

interface Grant {
  readonly peer: Ternary;
  readonly field: string;
  readonly by?: NonNullable<Rule['by']>;
}

function grantsOf(server: LinkerdServer, context: Context): readonly Grant[] {
  const { objects } = context;
  const own = objects.serverAuthorizations.filter(
    (one) =>
      one.namespace === server.namespace &&
      (one.server.kind === 'name'
        ? one.server.name === server.name
        : matchesSelector(one.server.selector, server.labels)),
  );
  const policies = objects.authorizationPolicies.filter(
    ({ namespace, target }) =>
      namespace === server.namespace &&
      (target.kind === 'Namespace' || (target.kind === 'Server' && target.name === server.name)),
  );
  return [
    ...own.map(
      (one): Grant => ({
        peer:
          one.clients === undefined
            ? never
            : both([clientsExpr(one.clients, context.accounts), exactly(networksExpr(one.networks))]),
        field: 'spec.client',
        by: byObject('ServerAuthorization', one),
      }),
    ),
    ...policies.map((policy) => policyGrant(policy, context)),
    { peer: defaultExpr(server.accessPolicy, false), field: 'spec.accessPolicy' },
  ];
}

const byObject = (
  kind: string,
  { namespace, name, origin }: Pick<LinkerdServer, 'namespace' | 'name' | 'origin'>,
): NonNullable<Rule['by']> => ({
  id: { kind, namespace, name },
  ...(origin === undefined ? {} : { origin }),
});

const policyGrant = (policy: LinkerdAuthorizationPolicy, context: Context): Grant => ({
  peer: requiredExpr(policy, context),
  field: 'spec.requiredAuthenticationRefs',
  by: byObject('AuthorizationPolicy', policy),
});

/** gRPC Servers have GRPCRoutes, opaque and TLS ones none, all others HTTPRoutes. */
function routesOf(
  { namespace, name, protocol }: LinkerdServer,
  objects: LinkerdObjects,
): LinkerdObjects['routes'] {
  if (protocol === 'opaque' || protocol === 'TLS') return [];
  const wanted = protocol === 'gRPC' ? 'GRPCRoute' : 'HTTPRoute';
  return objects.routes.filter(
    (route) => route.namespace === namespace && route.routeKind === wanted && route.servers.includes(name),
  );
}

const routeGrants = (
  server: LinkerdServer,
  routes: LinkerdObjects['routes'],
  context: Context,
): readonly Grant[] => {
  const keys = new Set(routes.map(({ group, routeKind, name }) => `${group}/${routeKind}/${name}`));
  return context.objects.authorizationPolicies
    .filter(
      ({ namespace, target }) =>
        namespace === server.namespace &&
        target.kind === 'route' &&
        keys.has(`${target.group}/${target.routeKind}/${target.name}`),
    )
    .map((policy) => policyGrant(policy, context));
};

function requiredExpr({ required }: LinkerdAuthorizationPolicy, context: Context): Ternary {
  if (required === undefined) return never;
  const { meshTlsAuthentications, networkAuthentications } = context.objects;
  return both(
    required.map(({ kind, namespace, name }) => {
      const named = <T extends { readonly namespace: string; readonly name: string }>(list: readonly T[]) =>
        list.find((one) => one.name === name && one.namespace === namespace);
      if (kind === 'ServiceAccount') return withTls(account([`${namespace}/${name}`]));
      if (kind === 'MeshTLSAuthentication') {
        const clients = named(meshTlsAuthentications)?.clients;
        return clients === undefined ? never : clientsExpr(clients, context.accounts);
      }
      const networks = named(networkAuthentications)?.networks ?? [];
      return networks.length === 0 ? never : exactly(networksExpr(networks));
    }),
  );
}

/** Ports that no Server governs. Some of them may ask for an identity beyond what the policy says. */
function defaults(pods: readonly PodFacts[]): readonly LoweredPolicy[] {
  const identified = distinct(pods.map(({ needsIdentity }) => needsIdentity));
  return linkerdDefaultPolicies
    .filter((policy) => pods.some((facts) => facts.policy === policy))
    .map((policy) => {
      const admitting = (needs: boolean, set: PortSet, self?: EndpointExpr): Rule[] =>
        [
          ...allowing(defaultExpr(policy, needs), portsOf(set), '', false),
          { action: 'deny' as const, peer: anyEndpoint, ports: portsOf(set), field: '' },
        ].map((rule): Rule => ({ ...rule, ...(self === undefined ? {} : { self }) }));
      const strict = policy.endsWith('-unauthenticated')
        ? identified.flatMap((set) => admitting(true, set, trait(traits.needsIdentity(keyOf(set)))))
        : [];
      return {
        id: { kind: 'Linkerd', name: `default-inbound-policy ${policy}` },
        subject: trait(traits.byDefault(policy)),
        ingress: { isolates: false, rules: [...strict, ...admitting(false, tcp)] },
      };
    });
}

/**
 * Between two proxies opaque ports arrive at 4143, and NetworkPolicies see only that port. With the transport header, the default of
 * newer versions, all others do too. Needs `linkerdTraits`.
 */
export function linkerdRewrites(world: PolicyWorld): readonly PortRewrite[] {
  const view = linkerdView(world);
  const proxied = orElse(world.cluster.pods, []).flatMap((pod) => view(pod) ?? []);
  const to = { protocol: 'TCP', port: 4143 } as const;
  const src = meshed.may;
  const skipping: Condition = {
    code: 'undefined-by-api',
    text: "the client's proxy skips some outbound ports, and which they are depends on the Service port",
  };
  const condition: Condition = {
    code: 'undefined-by-api',
    text: 'between Linkerd proxies traffic uses port 4143 where the transport mode is transport-header',
  };
  return [...new Map(proxied.map(({ carried }) => [carried.key, carried] as const))].flatMap(
    ([key, { opaque, plain }]): PortRewrite[] => {
      const dst = trait(traits.carried(key));
      const rest = { src, dst, ports: subtractPorts(tcp, unionPorts(opaque, plain)), to, condition };
      return opaque.length === 0
        ? [rest]
        : [
            { src: source, dst, ports: opaque, to },
            { src: sourceUnsure, dst, ports: opaque, to, condition: skipping },
            rest,
          ];
    },
  );
}
