/**
 * Every end that a flow can have, in classes: the members of one class are the same to every policy. Classes have numbers in a row:
 * pods by namespace, then nodes, then the outside's addresses, one class for each prefix of the tree.
 */
import type { Cluster, Labels, Node, Pod } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import type { Prefix } from '../../net/prefix.ts';
import {
  endpointOf,
  type FlowEnd,
  isEndpointPod,
  type PolicyEndpoint,
  type TraitSource,
} from '../endpoint.ts';
import type { LabelOwner } from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import type { UsedFacts } from './facts.ts';
import { type PrefixTree, prefixTree } from './prefix-tree.ts';

export interface EndpointClass {
  readonly endpoint: PolicyEndpoint;
  readonly members: readonly FlowEnd[];
  /** Numbers in the prefix tree of its addresses; of an outside class its own. */
  readonly addressNodes: readonly number[];
  readonly traits: readonly string[];
  /** Of each used port name, `TCP/http` -> numbers; names that it has not are left out. */
  readonly portNumbers: ReadonlyMap<string, readonly number[]>;
}

export interface Universe {
  readonly classes: readonly EndpointClass[];
  /** Classes up to here, exclusive, are pods; then nodes up to `outsideFrom`. */
  readonly podsTo: number;
  readonly outsideFrom: number;
  readonly tree: PrefixTree;
  readonly facts: UsedFacts;
  readonly labelsOf: (endpoint: PolicyEndpoint, owner: LabelOwner) => Labels | undefined;
  /** Undefined for pods and nodes that the cluster does not hold. */
  readonly classOf: (end: FlowEnd) => number | undefined;
}

export function buildUniverse(
  world: PolicyWorld,
  facts: UsedFacts,
  traitSources: readonly TraitSource[],
): Universe {
  const { cluster } = world;
  const tree = prefixTree(facts.prefixes as readonly Prefix[]);
  const labelsOf = labelReader(cluster);
  const traitsOf = traitSources.map((source) => source(world));
  const describe = classifier(facts, tree, labelsOf, traitsOf);
  const pods = orElse(cluster.pods, []).filter(isEndpointPod);
  const nodes = orElse(cluster.nodes, []);
  const numbers = new Map<Pod | Node, number>();
  const classes: EndpointClass[] = [];
  const groupInto = (ends: readonly (readonly [object: Pod | Node, end: FlowEnd])[]) => {
    const groups = new Map<
      string,
      { readonly first: Described; readonly members: FlowEnd[]; readonly objects: (Pod | Node)[] }
    >();
    for (const [object, end] of ends) {
      const described = describe(end);
      const group = groups.get(described.key);
      if (group === undefined)
        groups.set(described.key, { first: described, members: [end], objects: [object] });
      else {
        group.members.push(end);
        group.objects.push(object);
      }
    }
    // The key begins with the namespace: a namespace's classes get numbers in a row.
    for (const [, { first, members, objects }] of [...groups].sort(([a], [b]) => (a < b ? -1 : 1))) {
      for (const object of objects) numbers.set(object, classes.length);
      classes.push({ ...first.value, members });
    }
  };
  groupInto(pods.map((pod) => [pod, { kind: 'pod', pod }]));
  const podsTo = classes.length;
  groupInto(nodes.map((node) => [node, { kind: 'node', node }]));
  const outsideFrom = classes.length;
  for (const [at, { prefix }] of tree.nodes.entries()) {
    const end: FlowEnd = { kind: 'external', address: { family: prefix.family, value: prefix.value } };
    classes.push({
      endpoint: endpointOf(end),
      members: [],
      addressNodes: [at],
      traits: [],
      portNumbers: new Map(),
    });
  }
  const byName = new Map<string, number>();
  for (const [object, number] of numbers) byName.set(nameOf(object), number);
  return {
    classes,
    podsTo,
    outsideFrom,
    tree,
    facts,
    labelsOf,
    classOf: (end) => {
      if (end.kind === 'external') return outsideFrom + tree.deepest(end.address);
      const object = end.kind === 'pod' ? end.pod : end.node;
      return numbers.get(object) ?? byName.get(nameOf(object));
    },
  };
}

const nameOf = (object: Pod | Node): string =>
  'namespace' in object ? `${object.namespace}/${object.name}` : object.name;

function labelReader(cluster: Cluster): Universe['labelsOf'] {
  const namespaces = new Map(
    orElse(cluster.namespaces, []).map((namespace) => [namespace.name, namespace.labels]),
  );
  const accounts = new Map(
    orElse(cluster.serviceAccounts, []).map((account) => [
      `${account.namespace}/${account.name}`,
      account.labels,
    ]),
  );
  const nodes = new Map(orElse(cluster.nodes, []).map((node) => [node.name, node.labels]));
  return ({ end, namespace, labels, node }, owner) => {
    switch (owner) {
      case 'self':
        return labels;
      case 'namespace':
        // A namespace that the objects leave out exists all the same and has the label that the API server sets.
        return end.kind === 'pod'
          ? (namespaces.get(namespace) ?? { 'kubernetes.io/metadata.name': namespace })
          : undefined;
      case 'service-account':
        return end.kind === 'pod' ? accounts.get(`${namespace}/${end.pod.serviceAccount}`) : undefined;
      case 'node':
        return node === '' ? undefined : nodes.get(node);
    }
  };
}

interface Described {
  readonly key: string;
  readonly value: Omit<EndpointClass, 'members'>;
}

const separator = '\u0001';

/** One text for each list. No Kubernetes name or label may hold the separator; input that has it all the same gets a longer text. */
const joined = (parts: readonly string[]): string =>
  parts.some((part) => part.includes(separator)) ? JSON.stringify(parts) : parts.join(separator);

interface NamedPorts {
  readonly key: string;
  /** `TCP/http` -> numbers, sorted. */
  readonly numbers: ReadonlyMap<string, readonly number[]>;
}

const noNamedPorts: NamedPorts = { key: '', numbers: new Map() };

/** The names that policies use, as each pod has them. Pods have few ways to name their ports: one answer for each way. */
function portReader(used: ReadonlySet<string>): (end: FlowEnd) => NamedPorts {
  if (used.size === 0) return () => noNamedPorts;
  const known = new Map<string, NamedPorts>();
  return (end) => {
    // A pod on its node's network is no more than an address to policies, and an address has no names.
    if (end.kind !== 'pod' || end.pod.hostNetwork) return noNamedPorts;
    const found: [name: string, port: number][] = [];
    for (const { ports } of end.pod.containers)
      for (const { name, port, protocol } of ports)
        if (name !== undefined && used.has(`${protocol}/${name}`)) found.push([`${protocol}/${name}`, port]);
    if (found.length === 0) return noNamedPorts;
    found.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[1] - b[1]));
    const key = found.join(';');
    const before = known.get(key);
    if (before !== undefined) return before;
    const numbers = new Map<string, number[]>();
    for (const [name, port] of found) {
      const list = numbers.get(name) ?? [];
      if (!list.includes(port)) numbers.set(name, [...list, port]);
    }
    const made = { key, numbers };
    known.set(key, made);
    return made;
  };
}

function classifier(
  facts: UsedFacts,
  tree: PrefixTree,
  labelsOf: Universe['labelsOf'],
  traitsOf: readonly ((endpoint: PolicyEndpoint) => readonly string[])[],
): (end: FlowEnd) => Described {
  const owners: readonly (readonly [LabelOwner, readonly string[]])[] = [
    ['self', [...facts.labels.self]],
    ['service-account', [...facts.labels['service-account']]],
    ['node', [...facts.labels.node]],
  ];
  const named = portReader(facts.portNames);
  return (end) => {
    const endpoint = endpointOf(end);
    const isPod = endpoint.kind === 'pod';
    const parts: string[] = [endpoint.namespace, endpoint.kind];
    for (const [owner, keys] of owners) {
      if (keys.length === 0) continue;
      const labels = labelsOf(endpoint, owner);
      for (const key of keys) {
        const value = labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
        parts.push(value === undefined ? '' : `=${value}`);
      }
    }
    // Host-pods of two nodes differ in their own-node exemption even where no policy reads an address.
    const addressNodes =
      !isPod || facts.podAddresses ? endpoint.addresses.map((one) => tree.deepest(one)) : [];
    const traits =
      traitsOf.length === 0
        ? []
        : traitsOf.flatMap((read) => read(endpoint)).filter((name) => facts.traits.has(name));
    const { key: portKey, numbers: portNumbers } = named(end);
    parts.push(addressNodes.join(), traits.join(), portKey);
    if (facts.serviceAccounts && end.kind === 'pod') parts.push(end.pod.serviceAccount);
    return { key: joined(parts), value: { endpoint, addressNodes, traits, portNumbers } };
  };
}
