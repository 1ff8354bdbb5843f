/** Whom a rule of Cilium's policies names, asked of one endpoint at a time in the documentation's words. */
import type { Selector } from '../../model/cluster.ts';
import type {
  CiliumEntity,
  CiliumPeer,
  CiliumPort,
  CiliumRequirement,
  CiliumSelector,
} from '../../model/policies/cilium.ts';
import { type Address, sameAddress } from '../../net/address.ts';
import { contains, type Prefix } from '../../net/prefix.ts';
import { apiServerAddresses, ciliumClusterName } from '../cilium-facts.ts';
import {
  endpointOf,
  type FlowEnd,
  namespaceLabelsOf,
  type PolicyFlow,
  resolveNamedPort,
} from '../endpoint.ts';
import type { PolicyWorld } from '../options.ts';
import { matchesSelector } from '../selector.ts';

export type Match = 'yes' | 'no' | 'maybe';

export const anyMatch = (matches: readonly Match[]): Match =>
  matches.includes('yes') ? 'yes' : matches.includes('maybe') ? 'maybe' : 'no';

export const everyMatch = (matches: readonly Match[]): Match =>
  matches.includes('no') ? 'no' : matches.includes('maybe') ? 'maybe' : 'yes';

const certain = (holds: boolean): Match => (holds ? 'yes' : 'no');

interface SourcedLabel {
  readonly source: string;
  readonly key: string;
  readonly value: string;
}

const reserved = (key: string): SourcedLabel => ({ source: 'reserved', key, value: '' });

/**
 * The labels of an endpoint's identity. A pod on its node's network has the node's identity, which is `remote-node` to every endpoint
 * on another node; traffic inside of one node is not asked about.
 */
function identityLabels(world: PolicyWorld, end: FlowEnd): readonly SourcedLabel[] {
  const endpoint = endpointOf(end);
  switch (endpoint.kind) {
    case 'pod':
      return podLabels(world, end);
    case 'node':
    case 'host-pod':
      return [reserved('remote-node'), ...nodeLabels(world, endpoint.node, 'node')];
    case 'external':
      return [reserved('world'), reserved(endpoint.addresses[0]?.family === 6 ? 'world-ipv6' : 'world-ipv4')];
  }
}

const namespaceKey = 'io.kubernetes.pod.namespace';
const namespaceLabels = 'io.cilium.k8s.namespace.labels.';

function podLabels(world: PolicyWorld, end: FlowEnd): readonly SourcedLabel[] {
  if (end.kind !== 'pod') return [];
  const { pod } = end;
  const k8s = (key: string, value: string): SourcedLabel => ({ source: 'k8s', key, value });
  // Of a namespace that is not known the label is known that the API server sets on every one.
  const ofNamespace = namespaceLabelsOf(world.cluster, pod.namespace);
  const spaceLabels =
    ofNamespace.state === 'known' ? ofNamespace.value : { 'kubernetes.io/metadata.name': pod.namespace };
  return [
    ...Object.entries(pod.labels)
      // Labels that look like Cilium's own are taken off the pod (RemoveCiliumLabels in pkg/k8s/utils).
      .filter(([key]) => key !== namespaceKey && !key.startsWith('io.cilium.k8s'))
      .map(([key, value]) => k8s(key, value)),
    k8s(namespaceKey, pod.namespace),
    k8s('io.cilium.k8s.policy.serviceaccount', pod.serviceAccount),
    k8s('io.cilium.k8s.policy.cluster', ciliumClusterName(world)),
    ...Object.entries(spaceLabels).map(([key, value]) => k8s(`${namespaceLabels}${key}`, value)),
  ];
}

function nodeLabels(world: PolicyWorld, name: string, source: string): readonly SourcedLabel[] {
  const nodes = world.cluster.nodes.state === 'known' ? world.cluster.nodes.value : [];
  const node = nodes.find((candidate) => candidate.name === name);
  return Object.entries(node?.labels ?? {}).map(([key, value]) => ({ source, key, value }));
}

/** Whether the endpoint's address is the API server's. A pod's identity is made of its labels, whatever it serves. */
function isApiServer(world: PolicyWorld, end: FlowEnd): Match {
  const endpoint = endpointOf(end);
  if (endpoint.kind === 'pod') return 'no';
  const known = apiServerAddresses(world);
  if (known === undefined) return 'maybe';
  return certain(endpoint.addresses.some((own) => known.some((address) => sameAddress(own, address))));
}

/**
 * Where nobody knows whether the endpoint is the API server, both readings are asked. `nodeSource`: where the labels of its node come
 * from in `labels`; of a node that was not collected any may be there.
 */
function matchesLabels(
  world: PolicyWorld,
  selector: CiliumSelector,
  end: FlowEnd,
  labels: readonly SourcedLabel[],
  nodeSource: string,
): Match {
  const isNode = end.kind === 'pod' && end.pod.hostNetwork;
  const unseen = isNode && world.cluster.nodes.state === 'unknown' ? nodeSource : undefined;
  const ask = (own: readonly SourcedLabel[]): Match =>
    everyMatch(selector.map((requirement) => fulfils(world, requirement, end, own, unseen)));
  const asServer = (): Match => ask([...labels, reserved('kube-apiserver')]);
  switch (isApiServer(world, end)) {
    case 'no':
      return ask(labels);
    case 'yes':
      return asServer();
    case 'maybe': {
      const without = ask(labels);
      return without === asServer() ? without : 'maybe';
    }
  }
}

function fulfils(
  world: PolicyWorld,
  { source, key, operator, values }: CiliumRequirement,
  end: FlowEnd,
  labels: readonly SourcedLabel[],
  unseen: string | undefined,
): Match {
  // EndpointSelector.Matches: the label reserved:all is everybody.
  if (source === 'reserved' && key === 'all' && operator === 'In') return 'yes';
  const found = labels.filter((label) => label.key === key && (source === 'any' || label.source === source));
  const ofPods = source === 'any' || source === 'k8s';
  if (found.length === 0 && ofPods && key.startsWith(namespaceLabels) && !knowsNamespace(world, end))
    return 'maybe';
  // Cilium's own labels of pods are on no node.
  const ofNodes = unseen !== undefined && key !== namespaceKey && !key.startsWith('io.cilium.k8s');
  if (found.length === 0 && ofNodes && (source === 'any' || source === unseen)) return 'maybe';
  switch (operator) {
    case 'In':
      return certain(found.some(({ value }) => values.includes(value)));
    case 'NotIn':
      return certain(!found.some(({ value }) => values.includes(value)));
    case 'Exists':
      return certain(found.length > 0);
    case 'DoesNotExist':
      return certain(found.length === 0);
  }
}

/** False for pods of which the namespace's labels are not known. */
const knowsNamespace = ({ cluster }: PolicyWorld, end: FlowEnd): boolean =>
  endpointOf(end).kind !== 'pod' || cluster.namespaces.state === 'known';

export const matchesPeerSelector = (world: PolicyWorld, selector: CiliumSelector, end: FlowEnd): Match =>
  matchesLabels(world, selector, end, identityLabels(world, end), 'node');

/** `endpointSelector`: pods with a network of their own. */
export const selectsEndpoint = (world: PolicyWorld, selector: CiliumSelector, end: FlowEnd): Match =>
  endpointOf(end).kind === 'pod' ? matchesPeerSelector(world, selector, end) : 'no';

/** `nodeSelector`: nodes, and the pods on their network, by the node's labels. */
export function selectsNode(world: PolicyWorld, selector: CiliumSelector, end: FlowEnd): Match {
  const { kind, node } = endpointOf(end);
  if (kind !== 'node' && kind !== 'host-pod') return 'no';
  return matchesLabels(world, selector, end, [reserved('host'), ...nodeLabels(world, node, 'k8s')], 'k8s');
}

export function matchesPeer(world: PolicyWorld, peer: CiliumPeer, end: FlowEnd): Match {
  const endpoint = endpointOf(end);
  switch (peer.kind) {
    case 'endpoints':
      return matchesPeerSelector(world, peer.selector, end);
    case 'nodes':
      return matchesPeerSelector(world, peer.selector, end);
    case 'entity':
      return matchesEntity(world, peer.entity, end);
    case 'cidr':
      return certain(inCidrs(world, end, [peer.cidr], peer.except));
    case 'cidr-groups':
      return certain(inCidrs(world, end, groupCidrs(world, peer.groups), peer.except));
    case 'services':
      return matchesServices(world, peer, end);
    case 'fqdn':
      // "Selects remote, non-cluster, peers using DNS names."
      return endpoint.kind === 'external' ? 'maybe' : 'no';
    case 'groups':
      return takesCidrs(world, end) ? 'maybe' : 'no';
  }
}

function matchesEntity(world: PolicyWorld, entity: CiliumEntity, end: FlowEnd): Match {
  const { kind, addresses } = endpointOf(end);
  switch (entity) {
    case 'all':
      return 'yes';
    case 'world':
      return certain(kind === 'external');
    case 'world-ipv4':
      return certain(kind === 'external' && addresses[0]?.family === 4);
    case 'world-ipv6':
      return certain(kind === 'external' && addresses[0]?.family === 6);
    case 'cluster':
    case 'cluster-mesh':
      // An API server outside of the cluster belongs to it, where it is known (InitEntities).
      return certain(kind !== 'external' || isApiServer(world, end) === 'yes');
    case 'remote-node':
      return certain(kind === 'node' || kind === 'host-pod');
    case 'kube-apiserver':
      return isApiServer(world, end);
    case 'host':
      // The subject's own node, whose traffic is not asked about.
      return 'no';
    case 'init':
    case 'ingress':
    case 'health':
    case 'unmanaged':
    case 'none':
      // No pod, node or outside address is one of these.
      return 'no';
  }
}

/** "By default, CIDR-based selectors do not match in-cluster entities (pods or nodes)." */
function takesCidrs(world: PolicyWorld, end: FlowEnd): boolean {
  const { kind } = endpointOf(end);
  if (kind === 'external') return true;
  return kind !== 'pod' && world.reading.ciliumCidrMatchesNodes;
}

export const inCidrs = (
  world: PolicyWorld,
  end: FlowEnd,
  cidrs: readonly Prefix[],
  except: readonly Prefix[],
): boolean =>
  takesCidrs(world, end) &&
  endpointOf(end).addresses.some(
    (own) => cidrs.some((cidr) => contains(cidr, own)) && !except.some((cidr) => contains(cidr, own)),
  );

function groupCidrs({ cluster }: PolicyWorld, wanted: string | Selector): readonly Prefix[] {
  const groups = cluster.cilium.state === 'known' ? cluster.cilium.value.cidrGroups : [];
  return groups
    .filter(({ name, labels }) =>
      typeof wanted === 'string' ? name === wanted : matchesSelector(wanted, labels),
    )
    .flatMap(({ cidrs }) => cidrs);
}

/** A Service stands for the pods that it selects; one without a selector for its endpoints' addresses outside of the cluster. */
function matchesServices(world: PolicyWorld, peer: CiliumPeer & { kind: 'services' }, end: FlowEnd): Match {
  const { cluster } = world;
  const { kind, namespace, labels, addresses } = endpointOf(end);
  if (kind !== 'pod' && !takesCidrs(world, end)) return 'no';
  if (cluster.services.state === 'unknown') return 'maybe';
  const services = cluster.services.value.filter(
    (service) =>
      (peer.namespace === undefined || peer.namespace === service.namespace) &&
      (typeof peer.services === 'string'
        ? peer.services === service.name
        : matchesSelector(peer.services, service.labels ?? {})),
  );
  return anyMatch(
    services.map((service) => {
      const selector = Object.entries(service.selector);
      if (selector.length > 0)
        return certain(
          kind === 'pod' &&
            namespace === service.namespace &&
            matchesSelector({ matchLabels: service.selector, matchExpressions: [] }, labels),
        );
      if (kind === 'pod') return 'no';
      if (cluster.endpointSlices.state === 'unknown') return 'maybe';
      const backends: readonly Address[] = cluster.endpointSlices.value
        .filter((slice) => slice.namespace === service.namespace && slice.service === service.name)
        .flatMap(({ endpoints }) => endpoints.flatMap((backend) => backend.addresses));
      return certain(addresses.some((own) => backends.some((backend) => sameAddress(own, backend))));
    }),
  );
}

export function matchesPort(port: CiliumPort, flow: PolicyFlow): boolean {
  const { protocol } = flow;
  switch (port.kind) {
    case 'range':
      return isIn(port.protocols, protocol) && flow.port >= port.from && flow.port <= port.to;
    case 'named':
      return (
        isIn(port.protocols, protocol) && resolveNamedPort(flow.dst, port.name, protocol).includes(flow.port)
      );
    case 'icmp':
      return (
        protocol === (port.family === 4 ? 'ICMP' : 'ICMPv6') && Math.floor(flow.port / 256) === port.type
      );
    case 'protocol':
      // Questions are about TCP, UDP, SCTP and ICMP.
      return false;
  }
}

const isIn = (list: readonly string[], text: string): boolean => list.includes(text);
