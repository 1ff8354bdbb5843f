/** Linkerd's authorization of one flow, as its policy controller decides it (policy-controller/k8s/index/src/inbound). */
import type { Pod } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import {
  type LinkerdAuthorizationPolicy,
  type LinkerdClients,
  type LinkerdDefaultPolicy,
  type LinkerdNetwork,
  type LinkerdObjects,
  type LinkerdServer,
  linkerdDefaultPolicies,
} from '../../model/policies/linkerd.ts';
import { contains, prefix } from '../../net/prefix.ts';
import { endpointOf, type FlowEnd, type PolicyFlow, resolveNamedPort } from '../endpoint.ts';
import type { PolicyWorld } from '../options.ts';
import { matchesSelector } from '../selector.ts';
import { either, type Outcome } from './contract.ts';
import { allowedIf, type Tri, triAll, triAny, triIf } from './tri.ts';

/** What the destination's proxy says to the flow. */
export function linkerdOutcome(world: PolicyWorld, flow: PolicyFlow): Outcome {
  const { src, dst } = flow;
  // The proxy takes TCP only, and is no more than a container of the pod.
  if (flow.protocol !== 'TCP' || dst.kind !== 'pod' || dst.pod.hostNetwork || !hasProxy(world, dst.pod))
    return 'allow';
  if (isExempt(src, dst.pod)) return 'allow';
  const { linkerd, namespaces } = world.cluster;
  if (linkerd.state === 'unknown' || namespaces.state === 'unknown') return 'conditional';
  const { pod } = dst;
  // Helm's default: Galera replication.
  if (isListed(annotation(world, pod, 'skip-inbound-ports') ?? '4567,4568', flow.port)) return 'allow';
  const servers = linkerd.value.servers.filter((server) => governs(server, pod, flow.port));
  // More than one may not be (the admission webhook refuses it): which one counts is not defined.
  const answers = servers.map((server) => allowedIf(serverAdmits(world, linkerd.value, server, src)));
  const [first, ...others] = answers;
  if (first !== undefined) return others.reduce(either, first);
  return allowedIf(byDefault(world, defaultPolicy(world, pod, flow.port), src));
}

/** A manifest that no API server has seen yet gets its proxy on creation, where it or its namespace asks for it. */
export function hasProxy(world: PolicyWorld, pod: Pod): boolean {
  if (pod.containers.some(({ name }) => name === 'linkerd-proxy')) return true;
  if (pod.origin === undefined || pod.node !== '' || pod.addresses.length > 0) return false;
  const space = orElse(world.cluster.namespaces, []).find((one) => one.name === pod.namespace);
  const inject = pod.annotations['linkerd.io/inject'] ?? space?.annotations['linkerd.io/inject'];
  return inject === 'enabled' || inject === 'ingress';
}

const isExempt = (src: FlowEnd, pod: Pod): boolean =>
  src.kind === 'node'
    ? src.node.name === pod.node
    : src.kind === 'pod' &&
      ((src.pod.namespace === pod.namespace && src.pod.name === pod.name) ||
        (src.pod.hostNetwork && src.pod.node !== '' && src.pod.node === pod.node));

/** Of the pod, else of its namespace, as the injector inherits it. */
function annotation(world: PolicyWorld, pod: Pod, name: string): string | undefined {
  const key = `config.linkerd.io/${name}`;
  const space = orElse(world.cluster.namespaces, []).find((one) => one.name === pod.namespace);
  return pod.annotations[key] ?? space?.annotations[key];
}

/** `80,443,8000-8010` */
export function isListed(text: string, port: number): boolean {
  return text.split(',').some((part) => {
    const [from, to] = part.split('-').map((end) => (end.trim() === '' ? Number.NaN : Number(end.trim())));
    return from !== undefined && port >= from && port <= (to ?? from);
  });
}

function governs(server: LinkerdServer, pod: Pod, port: number): boolean {
  if (server.namespace !== pod.namespace || server.podSelector === undefined) return false;
  if (!matchesSelector(server.podSelector, pod.labels)) return false;
  return typeof server.port === 'string'
    ? resolveNamedPort({ kind: 'pod', pod }, server.port, 'TCP').includes(port)
    : server.port === port;
}

function serverAdmits(world: PolicyWorld, objects: LinkerdObjects, server: LinkerdServer, src: FlowEnd): Tri {
  const admits = (policy: LinkerdAuthorizationPolicy) => policyAdmits(world, objects, policy, src);
  const local = objects.authorizationPolicies.filter(({ namespace }) => namespace === server.namespace);
  const direct = triAny([
    ...objects.serverAuthorizations
      .filter(
        (one) =>
          one.namespace === server.namespace &&
          (one.server.kind === 'name'
            ? one.server.name === server.name
            : matchesSelector(one.server.selector, server.labels)),
      )
      .map((one) =>
        one.clients === undefined
          ? 'no'
          : triAll([clientIs(world, one.clients, src), triIf(isWithin(one.networks, src))]),
      ),
    ...local
      .filter(
        ({ target }) =>
          target.kind === 'Namespace' || (target.kind === 'Server' && target.name === server.name),
      )
      .map(admits),
    byDefault(world, { policy: server.accessPolicy, authenticated: false }, src),
  ]);
  const kind = server.protocol === 'gRPC' ? 'GRPCRoute' : 'HTTPRoute';
  const routed = server.protocol !== 'opaque' && server.protocol !== 'TLS';
  const routes = objects.routes.filter(
    (route) =>
      routed &&
      route.routeKind === kind &&
      route.namespace === server.namespace &&
      route.servers.includes(server.name),
  );
  if (routes.length === 0) return direct;
  // With routes only requests that match one of them are served, by the Server's authorizations or the route's.
  const routeAdmits = local
    .filter(
      ({ target }) =>
        target.kind === 'route' &&
        routes.some(
          (route) =>
            route.name === target.name &&
            route.group === target.group &&
            route.routeKind === target.routeKind,
        ),
    )
    .map(admits);
  return triAny([direct, ...routeAdmits]) === 'no' ? 'no' : 'maybe';
}

/** Every required authentication must hold; one that does not exist makes the policy void. */
function policyAdmits(
  world: PolicyWorld,
  objects: LinkerdObjects,
  policy: LinkerdAuthorizationPolicy,
  src: FlowEnd,
): Tri {
  if (policy.required === undefined) return 'no';
  return triAll(policy.required.map((ref) => requirementHolds(world, objects, ref, src)));
}

function requirementHolds(
  world: PolicyWorld,
  objects: LinkerdObjects,
  ref: NonNullable<LinkerdAuthorizationPolicy['required']>[number],
  src: FlowEnd,
): Tri {
  const isIt = (one: { readonly namespace: string; readonly name: string }) =>
    one.namespace === ref.namespace && one.name === ref.name;
  switch (ref.kind) {
    case 'ServiceAccount':
      return clientIs(
        world,
        { kind: 'identities', identities: [], serviceAccounts: [ref], namespaces: [] },
        src,
      );
    case 'MeshTLSAuthentication': {
      const clients = objects.meshTlsAuthentications.find(isIt)?.clients;
      return clients === undefined ? 'no' : clientIs(world, clients, src);
    }
    case 'NetworkAuthentication': {
      const networks = objects.networkAuthentications.find(isIt)?.networks ?? [];
      return triIf(networks.length > 0 && isWithin(networks, src));
    }
  }
}

/** Whether the client arrives with mesh TLS. Ports that its own proxy skips are Service ports, which nobody sees here. */
function meshed(world: PolicyWorld, src: FlowEnd): Tri {
  if (src.kind !== 'pod' || src.pod.hostNetwork || !hasProxy(world, src.pod)) return 'no';
  return (annotation(world, src.pod, 'skip-outbound-ports') ?? '').trim() === '' ? 'yes' : 'maybe';
}

function clientIs(world: PolicyWorld, clients: LinkerdClients, src: FlowEnd): Tri {
  switch (clients.kind) {
    case 'anyone':
      return 'yes';
    case 'any-tls':
      return meshed(world, src);
    case 'identities': {
      if (src.kind !== 'pod') return 'no';
      const { namespace, serviceAccount } = src.pod;
      const named = triAny([
        ...clients.identities.map((pattern) => identityFits(pattern, serviceAccount, namespace)),
        triIf(
          clients.serviceAccounts.some((one) => one.namespace === namespace && one.name === serviceAccount),
        ),
        triIf(clients.namespaces.includes(namespace)),
      ]);
      return triAll([meshed(world, src), named]);
    }
  }
}

/**
 * `<account>.<namespace>.serviceaccount.identity.<control plane's namespace>.<trust domain>`. Taken to be linkerd and cluster.local; a
 * pattern with another ending may name the true ones.
 */
function identityFits(pattern: string, account: string, namespace: string): Tri {
  const head = `${account}.${namespace}`;
  const middle = '.serviceaccount.identity.';
  const own = `${head}${middle}linkerd.cluster.local`;
  if (pattern === '*' || pattern === own) return 'yes';
  if (pattern.startsWith('*.') && own.endsWith(pattern.slice(1))) return 'yes';
  const at = pattern.indexOf(middle);
  if (at < 0) return pattern.startsWith('*.') ? 'maybe' : 'no';
  if (pattern.slice(at + middle.length) === 'linkerd.cluster.local') return 'no';
  const first = pattern.slice(0, at);
  return triIf(first === head || first === `*.${namespace}`) === 'yes' ? 'maybe' : 'no';
}

/** Helm's clusterNetworks. */
const clusterNetworks = ['10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16', 'fd00::/8'].map(
  (text) => prefix(text),
);

/** No networks: those of the cluster, which hold every pod whatever its address. */
function isWithin(networks: readonly LinkerdNetwork[], src: FlowEnd): boolean {
  const { addresses, kind } = endpointOf(src);
  if (networks.length === 0)
    return (
      kind === 'pod' || addresses.some((one) => clusterNetworks.some((network) => contains(network, one)))
    );
  return networks.some(({ cidr, except }) =>
    addresses.some((one) => contains(cidr, one) && !except.some((hole) => contains(hole, one))),
  );
}

interface Default {
  readonly policy: LinkerdDefaultPolicy;
  readonly authenticated: boolean;
}

function byDefault(world: PolicyWorld, { policy, authenticated }: Default, src: FlowEnd): Tri {
  if (policy === 'deny') return 'no';
  // audit lets everything through and logs it.
  if (policy === 'audit') return 'yes';
  return triAll([
    triIf(!policy.startsWith('cluster-') || isWithin([], src)),
    authenticated || policy.endsWith('-authenticated') ? meshed(world, src) : 'yes',
  ]);
}

function defaultPolicy(world: PolicyWorld, pod: Pod, port: number): Default {
  const text = annotation(world, pod, 'default-inbound-policy');
  const policy =
    linkerdDefaultPolicies.find((one) => one === text) ?? world.reading.linkerdDefaultInboundPolicy;
  const required = annotation(world, pod, 'proxy-require-identity-inbound-ports') ?? '';
  return { policy, authenticated: isListed(required, port) };
}
