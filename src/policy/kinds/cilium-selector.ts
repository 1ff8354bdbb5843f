/** Cilium's selectors and peers as endpoint expressions, with what is certain apart from what is only possible. */
import type { CiliumRequirement, CiliumSelector } from '../../model/policies/cilium.ts';
import { addressBits } from '../../net/address.ts';
import { type Prefix, prefix } from '../../net/prefix.ts';
import { apiServerAddresses, ciliumClusterName } from '../cilium-facts.ts';
import { and, anyEndpoint, type EndpointExpr, kinds, noEndpoint, not, or } from '../ir.ts';
import type { PolicyWorld } from '../options.ts';

/** Endpoints that are meant in any case, and those that may be meant. The second set holds the first. */
export interface Reach {
  readonly certain: EndpointExpr;
  readonly possible: EndpointExpr;
}

export const exactly = (expr: EndpointExpr): Reach => ({ certain: expr, possible: expr });

const perhaps = (possible: EndpointExpr): Reach => ({ certain: noEndpoint, possible });

const isExact = ({ certain, possible }: Reach): boolean => certain === possible;

export const bothOf = (parts: readonly Reach[]): Reach => join(parts, allExprs);

export const oneOf = (parts: readonly Reach[]): Reach => join(parts, anyExpr);

/** What is certain in every part stays one expression: `certain === possible` tells that nothing is in doubt. */
function join(parts: readonly Reach[], joined: (exprs: readonly EndpointExpr[]) => EndpointExpr): Reach {
  const possible = joined(parts.map((part) => part.possible));
  if (parts.every(isExact)) return exactly(possible);
  return { certain: joined(parts.map((part) => part.certain)), possible };
}

const except = (reach: Reach): Reach =>
  isExact(reach)
    ? exactly(not(reach.certain))
    : { certain: not(reach.possible), possible: not(reach.certain) };

export function allExprs(parts: readonly EndpointExpr[]): EndpointExpr {
  if (parts.some(({ is }) => is === 'none')) return noEndpoint;
  const [only, ...more] = parts.filter(({ is }) => is !== 'any');
  if (only === undefined) return anyEndpoint;
  return more.length === 0 ? only : and(only, ...more);
}

export function anyExpr(parts: readonly EndpointExpr[]): EndpointExpr {
  if (parts.some(({ is }) => is === 'any')) return anyEndpoint;
  const [only, ...more] = parts.filter(({ is }) => is !== 'none');
  if (only === undefined) return noEndpoint;
  return more.length === 0 ? only : or(only, ...more);
}

/** What the lowering reads of the world, looked up once. */
export interface CiliumScope {
  readonly world: PolicyWorld;
  readonly clusterName: string;
  /** Kinds of endpoints that a CIDR rule can match. */
  readonly cidrKinds: EndpointExpr;
  /** Host prefixes of the API server; undefined where they are not known. */
  readonly apiServer: readonly Prefix[] | undefined;
  /** Every `namespace/name` of a service account that a pod runs under. */
  readonly accounts: readonly string[];
}

export function ciliumScope(world: PolicyWorld): CiliumScope {
  const pods = world.cluster.pods.state === 'known' ? world.cluster.pods.value : [];
  return {
    world,
    clusterName: ciliumClusterName(world),
    cidrKinds: world.reading.ciliumCidrMatchesNodes ? outsidePods : kinds('external'),
    apiServer: apiServerAddresses(world)?.map(({ family, value }) => ({
      family,
      value,
      length: addressBits(family),
    })),
    accounts: [...new Set(pods.map(({ namespace, serviceAccount }) => `${namespace}/${serviceAccount}`))],
  };
}

export const onNodes: EndpointExpr = kinds('node', 'host-pod');
const outsidePods: EndpointExpr = kinds('external', 'node', 'host-pod');

/** Endpoints of the kinds with an address in a prefix. */
export const addressed = (
  of: EndpointExpr,
  prefixes: readonly Prefix[],
  holes: readonly Prefix[] = [],
): EndpointExpr => (prefixes.length === 0 ? noEndpoint : and(of, { is: 'address', prefixes, except: holes }));

/** The API server's addresses; a pod that serves under one of them keeps the identity of its labels. */
export const apiServerReach = ({ apiServer }: CiliumScope): Reach =>
  apiServer === undefined ? perhaps(outsidePods) : exactly(addressed(outsidePods, apiServer));

/** `host-subject`: the selector stands for the policy's own node, which is `host` to itself. */
export type SelectorUse = 'peer' | 'pod-subject' | 'host-subject';

export function selectorReach(scope: CiliumScope, selector: CiliumSelector, use: SelectorUse): Reach {
  const ends = endsOf(selector, use);
  if (scope.apiServer === undefined && ends !== podsOnly && selector.some(readsApiServer)) {
    // Either none of the endpoints outside of pods is the API server, or any of them.
    const readings = [[], [prefix('0.0.0.0/0'), prefix('::/0')]].map((apiServer) =>
      selectorReach({ ...scope, apiServer }, selector, use),
    );
    return {
      certain: allExprs(readings.map(({ certain }) => certain)),
      possible: anyExpr(readings.map(({ possible }) => possible)),
    };
  }
  return bothOf([exactly(ends), ...selector.map((one) => requirementReach(scope, one, use, ends))]);
}

const readsApiServer = ({ source, key }: CiliumRequirement): boolean =>
  (source === 'reserved' || source === 'any') && key === 'kube-apiserver';

/** The kinds that can fulfil the selector at all: most can be pods only, and then no other endpoint's labels are read. */
function endsOf(selector: CiliumSelector, use: SelectorUse): EndpointExpr {
  if (use === 'pod-subject') return podsOnly;
  if (use === 'host-subject') return onNodes;
  const wants = (test: (requirement: CiliumRequirement) => boolean): boolean =>
    selector.some((one) => (one.operator === 'In' || one.operator === 'Exists') && test(one));
  if (wants(({ source, key }) => source === 'k8s' || (source === 'any' && ofPodsOnly(key)))) return podsOnly;
  if (wants(({ source, key }) => source === 'reserved' && key === 'remote-node')) return onNodes;
  return anyEndpoint;
}

const podsOnly: EndpointExpr = kinds('pod');

const namespaceKey = 'io.kubernetes.pod.namespace';
const ciliumPrefix = 'io.cilium.k8s';
const namespaceLabels = `${ciliumPrefix}.namespace.labels.`;
const ofPodsOnly = (key: string): boolean => key === namespaceKey || key.startsWith(ciliumPrefix);

function requirementReach(
  scope: CiliumScope,
  { source, key, operator, values }: CiliumRequirement,
  use: SelectorUse,
  ends: EndpointExpr,
): Reach {
  // The label reserved:all is everybody, whatever its value.
  if (source === 'reserved' && key === 'all' && operator === 'In') return exactly(anyEndpoint);
  const wanted = operator === 'In' || operator === 'NotIn' ? values : undefined;
  const has: Reach[] = [];
  if (use !== 'host-subject' && ends !== onNodes && (source === 'any' || source === 'k8s'))
    has.push(podLabel(scope, key, wanted));
  // No pod has a reserved label.
  const isReserved = (source === 'any' || source === 'reserved') && ends !== podsOnly;
  if (isReserved && (wanted === undefined || wanted.includes(''))) has.push(reservedLabel(scope, key, use));
  // Cilium's own labels of pods are on no node.
  if (
    ends !== podsOnly &&
    !ofPodsOnly(key) &&
    (source === 'any' || source === (use === 'host-subject' ? 'k8s' : 'node'))
  )
    has.push(exactly(and(onNodes, { is: 'label', of: 'node', key, test: testOf(wanted) })));
  const found = oneOf(has);
  return operator === 'In' || operator === 'Exists' ? found : except(found);
}

const testOf = (values: readonly string[] | undefined) =>
  values === undefined ? ({ op: 'exists' } as const) : ({ op: 'in', values } as const);

function podLabel(scope: CiliumScope, key: string, values: readonly string[] | undefined): Reach {
  if (key === namespaceKey)
    return exactly(values === undefined ? podsOnly : and(podsOnly, { is: 'namespace', names: values }));
  if (key.startsWith(namespaceLabels))
    return namespaceLabel(scope, key.slice(namespaceLabels.length), values);
  if (key === `${ciliumPrefix}.policy.serviceaccount`) return exactly(accountLabel(scope, values));
  if (key === `${ciliumPrefix}.policy.cluster`)
    return exactly(values === undefined || values.includes(scope.clusterName) ? podsOnly : noEndpoint);
  // Cilium takes labels that look like its own off the pod.
  if (key.startsWith(ciliumPrefix)) return exactly(noEndpoint);
  return exactly(and(podsOnly, { is: 'label', of: 'self', key, test: testOf(values) }));
}

function namespaceLabel(scope: CiliumScope, key: string, values: readonly string[] | undefined): Reach {
  if (scope.world.cluster.namespaces.state === 'known')
    return exactly(and(podsOnly, { is: 'label', of: 'namespace', key, test: testOf(values) }));
  // Of a namespace that is not known only the label is known that repeats its name.
  if (key !== 'kubernetes.io/metadata.name') return perhaps(podsOnly);
  return exactly(values === undefined ? podsOnly : and(podsOnly, { is: 'namespace', names: values }));
}

function accountLabel({ accounts }: CiliumScope, values: readonly string[] | undefined): EndpointExpr {
  if (values === undefined) return podsOnly;
  const names = accounts.filter((account) => values.includes(account.slice(account.indexOf('/') + 1)));
  return names.length === 0 ? noEndpoint : and(podsOnly, { is: 'service-account', names });
}

function reservedLabel(scope: CiliumScope, key: string, use: SelectorUse): Reach {
  switch (key) {
    case 'host':
      // As a peer it is the subject's own node, whose traffic is exempt.
      return exactly(use === 'host-subject' ? onNodes : noEndpoint);
    case 'remote-node':
      return exactly(use === 'host-subject' ? noEndpoint : onNodes);
    case 'world':
      return exactly(kinds('external'));
    case 'world-ipv4':
    case 'world-ipv6':
      return exactly(worldOf(key));
    case 'kube-apiserver':
      return apiServerReach(scope);
    default:
      return exactly(noEndpoint);
  }
}

export const worldOf = (key: 'world-ipv4' | 'world-ipv6'): EndpointExpr =>
  addressed(kinds('external'), [prefix(key === 'world-ipv4' ? '0.0.0.0/0' : '::/0')]);
