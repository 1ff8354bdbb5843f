/** Linkerd's inbound policy objects in normal form, by the rules of its policy controller (index and admission). */
import type { Selector } from '../../model/cluster.ts';
import {
  type LinkerdAuthorizationPolicy,
  type LinkerdClients,
  type LinkerdDefaultPolicy,
  type LinkerdMeshTlsAuthentication,
  type LinkerdNetwork,
  type LinkerdNetworkAuthentication,
  type LinkerdObjects,
  type LinkerdRoute,
  type LinkerdServer,
  type LinkerdServerAuthorization,
  linkerdDefaultPolicies,
} from '../../model/policies/linkerd.ts';
import { covers, type Prefix, parsePrefix } from '../../net/prefix.ts';
import type { JsonObject } from '../json.ts';
import type { ReadKind } from './cluster.ts';
import { attempt, onlyFields, type Problems, readItems, readValues, refuseOthers } from './mesh.ts';
import {
  boolOr,
  each,
  eachObject,
  labels,
  list,
  Mismatch,
  metadata,
  object,
  objectOrEmpty,
  port,
  string,
  stringOr,
} from './shape.ts';

const group = 'policy.linkerd.io';
const gateway = 'gateway.networking.k8s.io';

export function readLinkerd(read: ReadKind): LinkerdObjects {
  return {
    kind: 'linkerd',
    servers: read(`servers.${group}`, 'Server', readServer),
    serverAuthorizations: read(
      `serverauthorizations.${group}`,
      'ServerAuthorization',
      readServerAuthorization,
    ),
    authorizationPolicies: read(
      `authorizationpolicies.${group}`,
      'AuthorizationPolicy',
      readAuthorizationPolicy,
    ),
    meshTlsAuthentications: read(
      `meshtlsauthentications.${group}`,
      'MeshTLSAuthentication',
      readMeshTlsAuthentication,
    ),
    networkAuthentications: read(
      `networkauthentications.${group}`,
      'NetworkAuthentication',
      readNetworkAuthentication,
    ),
    routes: [
      ...read(`httproutes.${group}`, 'HTTPRoute', readRoute(group, 'HTTPRoute')),
      ...read(`httproutes.${gateway}`, 'HTTPRoute', readRoute(gateway, 'HTTPRoute')),
      ...read(`grpcroutes.${gateway}`, 'GRPCRoute', readRoute(gateway, 'GRPCRoute')),
    ].filter((route) => route.servers.length > 0),
  };
}

const protocols = ['unknown', 'HTTP/1', 'HTTP/2', 'gRPC', 'opaque', 'TLS'] as const;

function readServer(item: JsonObject): LinkerdServer {
  const { namespace, name, labels: own } = metadata(item);
  const spec = object(item.spec, 'spec');
  const problems: Problems = [];
  const pods = spec.podSelector !== undefined && spec.podSelector !== null;
  const external = spec.externalWorkloadSelector !== undefined && spec.externalWorkloadSelector !== null;
  if (pods === external)
    throw new Mismatch('spec', 'needs either a podSelector or an externalWorkloadSelector');
  onlyFields(
    spec,
    'spec',
    ['podSelector', 'externalWorkloadSelector', 'port', 'proxyProtocol', 'accessPolicy'],
    problems,
  );
  const number = attempt(problems, () => readPort(spec.port));
  const protocol = attempt(problems, () => stringOr(spec.proxyProtocol, 'spec.proxyProtocol', 'unknown'));
  const known = protocols.find((candidate) => candidate === protocol);
  if (known === undefined && protocol !== undefined)
    problems.push({ field: 'spec.proxyProtocol', why: `is unknown: ${JSON.stringify(protocol)}` });
  return {
    namespace,
    name,
    labels: own,
    ...(pods ? { podSelector: readSelector(spec.podSelector, 'spec.podSelector') } : {}),
    ...(number === undefined ? {} : { port: number }),
    protocol: known ?? 'unknown',
    accessPolicy: readAccessPolicy(spec, problems),
    problems,
  };
}

const readPort = (value: unknown): number | string =>
  typeof value === 'string' && value !== '' ? value : port(value, 'spec.port');

/** The controller takes an accessPolicy that it does not know for none: deny (index/inbound/server.rs). */
function readAccessPolicy(spec: JsonObject, problems: Problems): LinkerdDefaultPolicy {
  const text = attempt(problems, () => stringOr(spec.accessPolicy, 'spec.accessPolicy', 'deny'));
  const found = linkerdDefaultPolicies.find((candidate) => candidate === text);
  if (found === undefined && text !== undefined)
    problems.push({ field: 'spec.accessPolicy', why: `is unknown: ${JSON.stringify(text)}` });
  return found ?? 'deny';
}

function readServerAuthorization(item: JsonObject): LinkerdServerAuthorization {
  const { namespace, name } = metadata(item);
  const spec = object(item.spec, 'spec');
  const problems: Problems = [];
  const server = object(spec.server, 'spec.server');
  const named = server.name !== undefined && server.name !== null;
  refuseOthers(server, 'spec.server', ['name', 'selector']);
  onlyFields(spec, 'spec', ['server', 'client'], problems);
  const client = attempt(problems, () => object(spec.client, 'spec.client')) ?? {};
  onlyFields(client, 'spec.client', ['networks', 'unauthenticated', 'meshTLS'], problems);
  const networks = readItems(client.networks, 'spec.client.networks', problems, readNetwork);
  const clients = attempt(problems, () => readClients(client, namespace, problems));
  return {
    namespace,
    name,
    // A name wins over a selector; with neither it is for every Server of the namespace (server_authorization.rs).
    server: named
      ? { kind: 'name', name: string(server.name, 'spec.server.name') }
      : { kind: 'selector', selector: readSelector(server.selector ?? {}, 'spec.server.selector') },
    // A client that was only half understood authorizes nobody.
    ...(clients === undefined || problems.length > 0 ? {} : { clients }),
    networks: networks.items,
    problems,
  };
}

function readClients(client: JsonObject, namespace: string, problems: Problems): LinkerdClients {
  const field = 'spec.client.meshTLS';
  const anyone = boolOr(client.unauthenticated, 'spec.client.unauthenticated', false);
  const tls =
    client.meshTLS === undefined || client.meshTLS === null ? undefined : object(client.meshTLS, field);
  if (anyone && tls !== undefined)
    throw new Mismatch('spec.client', 'must not have meshTLS beside unauthenticated');
  if (anyone) return { kind: 'anyone' };
  if (tls === undefined) throw new Mismatch('spec.client', 'authenticates no clients');
  onlyFields(tls, field, ['unauthenticatedTLS', 'identities', 'serviceAccounts'], problems);
  const identities = readValues(tls.identities, `${field}.identities`, problems, identity).items;
  const serviceAccounts = readItems(
    tls.serviceAccounts,
    `${field}.serviceAccounts`,
    problems,
    (one, path) => ({
      namespace: stringOr(one.namespace, `${path}.namespace`, '') || namespace,
      name: string(one.name, `${path}.name`),
    }),
  ).items;
  if (boolOr(tls.unauthenticatedTLS, `${field}.unauthenticatedTLS`, false)) {
    if (identities.length + serviceAccounts.length > 0)
      throw new Mismatch(`${field}.unauthenticatedTLS`, 'must not stand beside identities');
    return { kind: 'any-tls' };
  }
  if (identities.length + serviceAccounts.length === 0) throw new Mismatch(field, 'authorizes no clients');
  return { kind: 'identities', identities, serviceAccounts, namespaces: [] };
}

function identity(value: unknown, field: string): string {
  const text = string(value, field);
  const label = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
  if (!new RegExp(`^(\\*|${label})(\\.${label})*$`).test(text) && !/^spiffe:\/\/[^/]+(\/[^/]+)*$/.test(text))
    throw new Mismatch(field, `is no identity: ${JSON.stringify(text)}`);
  return text;
}

function readAuthorizationPolicy(item: JsonObject): LinkerdAuthorizationPolicy {
  const { namespace, name } = metadata(item);
  const spec = object(item.spec, 'spec');
  const problems: Problems = [];
  const target = readTarget(object(spec.targetRef, 'spec.targetRef'), namespace);
  onlyFields(spec, 'spec', ['targetRef', 'requiredAuthenticationRefs'], problems);
  const path = 'spec.requiredAuthenticationRefs';
  if (spec.requiredAuthenticationRefs === undefined || spec.requiredAuthenticationRefs === null)
    problems.push({ field: path, why: 'is missing' });
  const refs = readItems(spec.requiredAuthenticationRefs, path, problems, (ref, field) => ({
    kind: refKind(ref, field, authenticationKinds),
    namespace: stringOr(ref.namespace, `${field}.namespace`, '') || namespace,
    name: string(ref.name, `${field}.name`),
  })).items;
  const networks = refs.filter(({ kind }) => kind === 'NetworkAuthentication').length;
  if (networks > 1 || refs.length - networks > 1)
    problems.push({ field: path, why: 'names more than one identity or more than one network' });
  return { namespace, name, target, ...(problems.length > 0 ? {} : { required: refs }), problems };
}

const authenticationKinds = {
  'policy.linkerd.io/meshtlsauthentication': 'MeshTLSAuthentication',
  'policy.linkerd.io/networkauthentication': 'NetworkAuthentication',
  'core/serviceaccount': 'ServiceAccount',
} as const;

const targetKinds = {
  'policy.linkerd.io/server': 'Server',
  'core/namespace': 'Namespace',
  'policy.linkerd.io/httproute': 'HTTPRoute',
  'gateway.networking.k8s.io/httproute': 'HTTPRoute',
  'gateway.networking.k8s.io/grpcroute': 'GRPCRoute',
} as const;

/** Groups and kinds are compared without case, and no group is `core` (policy.rs, targets_kind). */
function refKind<K extends string>(ref: JsonObject, field: string, kinds: Readonly<Record<string, K>>): K {
  refuseOthers(ref, field, ['group', 'kind', 'name', 'namespace']);
  const kind = string(ref.kind, `${field}.kind`);
  const key = `${stringOr(ref.group, `${field}.group`, '') || 'core'}/${kind}`.toLowerCase();
  const found = Object.hasOwn(kinds, key) ? kinds[key] : undefined;
  if (found === undefined) throw new Mismatch(field, `must not name a ${JSON.stringify(kind)} of this group`);
  return found;
}

function readTarget(ref: JsonObject, namespace: string): LinkerdAuthorizationPolicy['target'] {
  const field = 'spec.targetRef';
  const kind = refKind(ref, field, targetKinds);
  const name = string(ref.name, `${field}.name`);
  if (kind === 'Server') return { kind, name };
  if (kind !== 'Namespace')
    return { kind: 'route', group: string(ref.group, `${field}.group`).toLowerCase(), routeKind: kind, name };
  if (name !== namespace) throw new Mismatch(`${field}.name`, 'names another namespace than its own');
  return { kind };
}

function readMeshTlsAuthentication(item: JsonObject): LinkerdMeshTlsAuthentication {
  const { namespace, name } = metadata(item);
  const spec = object(item.spec, 'spec');
  const problems: Problems = [];
  onlyFields(spec, 'spec', ['identities', 'identityRefs'], problems);
  const identities = readValues(spec.identities, 'spec.identities', problems, identity).items;
  const refs = readItems(spec.identityRefs, 'spec.identityRefs', problems, (ref, field) => {
    const kind = refKind(ref, field, {
      'core/serviceaccount': 'ServiceAccount',
      'core/namespace': 'Namespace',
    });
    const own = stringOr(ref.namespace, `${field}.namespace`, '');
    if (kind === 'Namespace' && own !== '') throw new Mismatch(`${field}.namespace`, 'must not be set');
    return { kind, namespace: own || namespace, name: string(ref.name, `${field}.name`) };
  }).items;
  if (identities.length + refs.length === 0 && problems.length === 0)
    problems.push({ field: 'spec', why: 'names no identities' });
  return {
    namespace,
    name,
    ...(problems.length > 0
      ? {}
      : {
          clients: {
            kind: 'identities',
            identities,
            serviceAccounts: refs.filter(({ kind }) => kind === 'ServiceAccount'),
            namespaces: refs.filter(({ kind }) => kind === 'Namespace').map((ref) => ref.name),
          },
        }),
    problems,
  };
}

function readNetworkAuthentication(item: JsonObject): LinkerdNetworkAuthentication {
  const { namespace, name } = metadata(item);
  const spec = object(item.spec, 'spec');
  const problems: Problems = [];
  onlyFields(spec, 'spec', ['networks'], problems);
  const networks = readItems(spec.networks, 'spec.networks', problems, readNetwork).items;
  if (networks.length === 0 && problems.length === 0)
    problems.push({ field: 'spec.networks', why: 'names no network' });
  return { namespace, name, networks: problems.length > 0 ? [] : networks, problems };
}

function readNetwork(item: JsonObject, field: string): LinkerdNetwork {
  refuseOthers(item, field, ['cidr', 'except']);
  const cidr = block(item.cidr, `${field}.cidr`);
  const except = each(item.except, `${field}.except`, (value, path) => {
    const inner = block(value, path);
    if (!covers(cidr, inner) || inner.length === cidr.length)
      throw new Mismatch(path, `must lie inside cidr: ${JSON.stringify(value)}`);
    return inner;
  });
  return { cidr, except };
}

/** A single address or a prefix. */
function block(value: unknown, field: string): Prefix {
  const text = string(value, field);
  const found = parsePrefix(text);
  if (found === undefined) throw new Mismatch(field, `is no address or prefix: ${JSON.stringify(text)}`);
  return found;
}

/** Servers among the parents. What a route matches in a request is no question of ours. */
const readRoute =
  (own: string, routeKind: LinkerdRoute['routeKind']) =>
  (item: JsonObject): LinkerdRoute => {
    const { namespace, name } = metadata(item);
    const spec = objectOrEmpty(item.spec, 'spec');
    const parents = eachObject(spec.parentRefs, 'spec.parentRefs', (parent, field) => {
      const isServer =
        parent.kind === 'Server' &&
        parent.group === group &&
        (stringOr(parent.namespace, `${field}.namespace`, '') || namespace) === namespace;
      return isServer ? string(parent.name, `${field}.name`) : undefined;
    });
    return {
      namespace,
      name,
      group: own,
      routeKind,
      servers: parents.filter((parent) => parent !== undefined),
      problems: [],
    };
  };

/** As a Kubernetes selector; a field it does not have leaves the object out, since it would select others than meant. */
function readSelector(value: unknown, field: string): Selector {
  const raw = object(value, field);
  refuseOthers(raw, field, ['matchLabels', 'matchExpressions']);
  return {
    matchLabels: labels(raw.matchLabels, `${field}.matchLabels`),
    matchExpressions: eachObject(raw.matchExpressions, `${field}.matchExpressions`, (item, path) => {
      const operator = string(item.operator, `${path}.operator`);
      if (operator !== 'In' && operator !== 'NotIn' && operator !== 'Exists' && operator !== 'DoesNotExist')
        throw new Mismatch(`${path}.operator`, `is unknown: ${JSON.stringify(operator)}`);
      const values = list(item.values, `${path}.values`).map((one, i) => string(one, `${path}.values[${i}]`));
      return { key: string(item.key, `${path}.key`), operator, values };
    }),
  };
}
