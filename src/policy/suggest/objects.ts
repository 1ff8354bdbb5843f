/** Manifests that admit one flow in one direction, in the words of each kind. */
import type { Manifest, SuggestedKind } from '../../model/policy-suggestion.ts';
import { type Address, addressBits, formatAddress } from '../../net/address.ts';
import type { LineProtocol } from '../../net/port-set.ts';
import type { Direction } from '../ir.ts';
import type { LabelChoice } from './labels.ts';

/** The other end as a rule can name it. */
export type PeerChoice =
  | {
      readonly is: 'pods';
      readonly namespace: string;
      readonly labels: LabelChoice;
      /** `namespace/name` */
      readonly serviceAccount: string;
    }
  | { readonly is: 'addresses'; readonly addresses: readonly Address[] };

export interface Wanted {
  readonly direction: Direction;
  readonly name: string;
  /** Of the subject. */
  readonly namespace: string;
  readonly subject: LabelChoice;
  readonly peer: PeerChoice;
  readonly protocol: LineProtocol;
  readonly port: number;
  /** Of the kinds that are asked in an order: in front of what decides now. */
  readonly rank?: number;
  /** Calico. */
  readonly tier?: string;
  /** Calico: something that is no pod has labels too. */
  readonly pinPods?: boolean;
  /** The API of admin policies that the cluster uses. */
  readonly adminApi: 'v1alpha1' | 'v1alpha2';
}

const namespaceName = 'kubernetes.io/metadata.name';

/** Undefined where the kind has no words for it; `why` says which. */
export type Made = { readonly object: Manifest } | { readonly why: string };

export function manifestOf(kind: SuggestedKind, wanted: Wanted): Made {
  if (wanted.protocol !== 'TCP' && wanted.protocol !== 'UDP' && wanted.protocol !== 'SCTP')
    return { why: `${wanted.protocol} has no port that a rule could name` };
  switch (kind) {
    case 'network-policy':
      return { object: networkPolicy(wanted) };
    case 'admin':
      return wanted.adminApi === 'v1alpha1' ? adminPolicy(wanted) : clusterPolicy(wanted);
    case 'calico':
      return { object: calicoPolicy(wanted) };
    case 'cilium':
      return { object: ciliumPolicy(wanted) };
    case 'istio':
      return istioPolicy(wanted);
  }
}

const kubernetesSelector = ({ labels, absent }: LabelChoice): Manifest => ({
  ...(Object.keys(labels).length === 0 ? {} : { matchLabels: labels }),
  ...(absent.length === 0
    ? {}
    : { matchExpressions: absent.map((key) => ({ key, operator: 'DoesNotExist' })) }),
});

const hostPrefix = (address: Address): string => `${formatAddress(address)}/${addressBits(address.family)}`;
const metadata = ({ name, namespace }: Wanted): Manifest => ({ name, namespace });
const typeOf = (direction: Direction): string => (direction === 'ingress' ? 'Ingress' : 'Egress');
const peersKey = (direction: Direction): string => (direction === 'ingress' ? 'from' : 'to');

function networkPolicy(wanted: Wanted): Manifest {
  const { direction, namespace, subject, peer, protocol, port } = wanted;
  const peers =
    peer.is === 'addresses'
      ? peer.addresses.map((one) => ({ ipBlock: { cidr: hostPrefix(one) } }))
      : [
          {
            ...(peer.namespace === namespace
              ? {}
              : { namespaceSelector: { matchLabels: { [namespaceName]: peer.namespace } } }),
            podSelector: kubernetesSelector(peer.labels),
          },
        ];
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: metadata(wanted),
    spec: {
      podSelector: kubernetesSelector(subject),
      policyTypes: [typeOf(direction)],
      [direction]: [{ [peersKey(direction)]: peers, ports: [{ protocol, port }] }],
    },
  };
}

const pods = (namespace: string, labels: LabelChoice): Manifest => ({
  pods: {
    namespaceSelector: { matchLabels: { [namespaceName]: namespace } },
    podSelector: kubernetesSelector(labels),
  },
});

function adminPeers({ direction, peer }: Wanted): readonly Manifest[] | undefined {
  if (peer.is === 'pods') return [pods(peer.namespace, peer.labels)];
  return direction === 'egress' ? [{ networks: peer.addresses.map(hostPrefix) }] : undefined;
}

const noSource: Made = { why: 'an admin policy cannot name a source outside the cluster' };

function adminPolicy(wanted: Wanted): Made {
  const { direction, namespace, subject, protocol, port, rank = 1000 } = wanted;
  const peers = adminPeers(wanted);
  if (peers === undefined) return noSource;
  const rule = {
    name: 'allow',
    action: 'Allow',
    [peersKey(direction)]: peers,
    ports: [{ portNumber: { protocol, port } }],
  };
  return {
    object: {
      apiVersion: 'policy.networking.k8s.io/v1alpha1',
      kind: 'AdminNetworkPolicy',
      metadata: { name: wanted.name },
      spec: { priority: rank, subject: pods(namespace, subject), [direction]: [rule] },
    },
  };
}

function clusterPolicy(wanted: Wanted): Made {
  const { direction, namespace, subject, protocol, port, rank = 1000 } = wanted;
  const peers = adminPeers(wanted);
  if (peers === undefined) return noSource;
  const rule = {
    name: 'accept',
    action: 'Accept',
    [peersKey(direction)]: peers,
    protocols: [{ [protocol.toLowerCase()]: { destinationPort: { number: port } } }],
  };
  return {
    object: {
      apiVersion: 'policy.networking.k8s.io/v1alpha2',
      kind: 'ClusterNetworkPolicy',
      metadata: { name: wanted.name },
      spec: { tier: 'Admin', priority: rank, subject: pods(namespace, subject), [direction]: [rule] },
    },
  };
}

/** String literals have no escapes; label values hold no quotes. */
const calicoSelector = ({ labels, absent }: LabelChoice): string => {
  const parts = [
    ...Object.entries(labels).map(([key, value]) => `${key} == '${value}'`),
    ...absent.map((key) => `!has(${key})`),
  ];
  return parts.length === 0 ? 'all()' : parts.join(' && ');
};

/** Calico labels every pod with it; a NetworkSet's addresses have it not, and a selector matches both. */
const podsOnly = "projectcalico.org/orchestrator == 'k8s'";

function calicoPolicy(wanted: Wanted): Manifest {
  const { direction, namespace, subject, peer, protocol, port, rank, tier = 'default' } = wanted;
  const entity =
    peer.is === 'addresses'
      ? { nets: peer.addresses.map(hostPrefix) }
      : {
          selector: `${calicoSelector(peer.labels)}${wanted.pinPods === true ? ` && ${podsOnly}` : ''}`,
          ...(peer.namespace === namespace
            ? {}
            : { namespaceSelector: `${namespaceName} == '${peer.namespace}'` }),
        };
  const ends =
    direction === 'ingress'
      ? { source: entity, destination: { ports: [port] } }
      : { destination: { ...entity, ports: [port] } };
  return {
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: { name: tier === 'default' ? wanted.name : `${tier}.${wanted.name}`, namespace },
    spec: {
      tier,
      ...(rank === undefined ? {} : { order: rank }),
      selector: calicoSelector(subject),
      types: [typeOf(direction)],
      [direction]: [{ action: 'Allow', protocol, ...ends }],
    },
  };
}

function ciliumPolicy(wanted: Wanted): Manifest {
  const { direction, namespace, subject, peer, protocol, port } = wanted;
  const side = direction === 'ingress' ? 'from' : 'to';
  const peers =
    peer.is === 'addresses'
      ? { [`${side}CIDR`]: peer.addresses.map(hostPrefix) }
      : { [`${side}Endpoints`]: [ciliumPods(peer, namespace)] };
  return {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: metadata(wanted),
    spec: {
      endpointSelector: kubernetesSelector(subject),
      [direction]: [{ ...peers, toPorts: [{ ports: [{ port: String(port), protocol }] }] }],
    },
  };
}

function ciliumPods(peer: PeerChoice & { is: 'pods' }, namespace: string): Manifest {
  if (peer.namespace === namespace) return kubernetesSelector(peer.labels);
  return kubernetesSelector({
    ...peer.labels,
    labels: { ...peer.labels.labels, 'k8s:io.kubernetes.pod.namespace': peer.namespace },
  });
}

function istioPolicy(wanted: Wanted): Made {
  const { direction, subject, peer, protocol, port } = wanted;
  if (direction === 'egress') return { why: 'an AuthorizationPolicy decides at the destination only' };
  if (protocol !== 'TCP') return { why: 'a proxy carries TCP only' };
  const [namespace, account] = peer.is === 'pods' ? peer.serviceAccount.split('/') : [];
  const source =
    peer.is === 'addresses'
      ? { ipBlocks: peer.addresses.map(hostPrefix) }
      : { principals: [`cluster.local/ns/${namespace}/sa/${account}`] };
  return {
    object: {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: metadata(wanted),
      spec: {
        ...(Object.keys(subject.labels).length === 0 ? {} : { selector: { matchLabels: subject.labels } }),
        action: 'ALLOW',
        rules: [{ from: [{ source }], to: [{ operation: { ports: [String(port)] } }] }],
      },
    },
  };
}
