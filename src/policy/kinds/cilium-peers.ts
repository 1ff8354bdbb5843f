/** The peers and ports of Cilium's rules in the intermediate form. */
import type { Selector, Service } from '../../model/cluster.ts';
import type { CiliumEntity, CiliumPeer, CiliumPort, CiliumPorts } from '../../model/policies/cilium.ts';
import { addressBits } from '../../net/address.ts';
import {
  everyPort,
  noPorts,
  type PortSet,
  portRange,
  protocolNumber,
  unionPorts,
} from '../../net/port-set.ts';
import type { Prefix } from '../../net/prefix.ts';
import { selectorExpr } from '../expr.ts';
import { and, anyEndpoint, type Condition, type EndpointExpr, kinds, noEndpoint, type Ports } from '../ir.ts';
import { matchesSelector } from '../selector.ts';
import {
  addressed,
  apiServerReach,
  type CiliumScope,
  exactly,
  oneOf,
  onNodes,
  type Reach,
  selectorReach,
  worldOf,
} from './cilium-selector.ts';

/** `condition` says why `possible` is more than `certain`. */
export interface PeerReach extends Reach {
  readonly condition: Condition;
}

export function peerReach(scope: CiliumScope, peer: CiliumPeer): PeerReach {
  switch (peer.kind) {
    case 'endpoints':
    case 'nodes':
      return { ...selectorReach(scope, peer.selector, 'peer'), condition: notKnown };
    case 'entity':
      return { ...entityReach(scope, peer.entity), condition: notKnown };
    case 'cidr':
      return { ...exactly(addressed(scope.cidrKinds, [peer.cidr], peer.except)), condition: notKnown };
    case 'cidr-groups':
      return {
        ...exactly(addressed(scope.cidrKinds, groupCidrs(scope, peer.groups), peer.except)),
        condition: notKnown,
      };
    case 'services':
      return { ...servicesReach(scope, peer), condition: notKnown };
    case 'fqdn':
      return {
        certain: noEndpoint,
        // "Selects remote, non-cluster, peers using DNS names."
        possible: kinds('external'),
        condition: {
          code: 'fqdn',
          text: `only for addresses that Cilium's DNS proxy has seen for ${peer.name}`,
        },
      };
    case 'groups':
      return {
        certain: noEndpoint,
        possible: scope.cidrKinds,
        condition: {
          code: 'not-understood',
          text: 'only for addresses of the groups that the cloud reports',
        },
      };
  }
}

/** All selectors that read it say the same. */
export const notKnown: Condition = {
  code: 'not-collected',
  text: 'the objects do not tell who the peer is (the API server, a namespace, or a Service)',
};

function entityReach(scope: CiliumScope, entity: CiliumEntity): Reach {
  switch (entity) {
    case 'all':
      return exactly(anyEndpoint);
    case 'world':
      return exactly(kinds('external'));
    case 'world-ipv4':
    case 'world-ipv6':
      return exactly(worldOf(entity));
    case 'cluster':
    case 'cluster-mesh': {
      // InitEntities: everything inside, and the API server wherever it is. One that is not known does not open the world.
      const inside = exactly(kinds('pod', 'node', 'host-pod'));
      return scope.apiServer === undefined ? inside : oneOf([inside, apiServerReach(scope)]);
    }
    case 'remote-node':
      return exactly(onNodes);
    case 'kube-apiserver':
      return apiServerReach(scope);
    // The subject's own node, whose traffic is exempt.
    case 'host':
    // No pod, node or outside address is one of these.
    case 'init':
    case 'ingress':
    case 'health':
    case 'unmanaged':
    case 'none':
      return exactly(noEndpoint);
  }
}

function groupCidrs({ world }: CiliumScope, wanted: string | Selector): readonly Prefix[] {
  const { cilium } = world.cluster;
  if (cilium.state === 'unknown') return [];
  return cilium.value.cidrGroups.flatMap(({ name, labels, cidrs }) =>
    (typeof wanted === 'string' ? wanted === name : matchesSelector(wanted, labels)) ? cidrs : [],
  );
}

function servicesReach(scope: CiliumScope, peer: CiliumPeer & { kind: 'services' }): Reach {
  const { services } = scope.world.cluster;
  if (services.state === 'unknown')
    return oneOf([kinds('pod'), scope.cidrKinds].map((possible) => ({ certain: noEndpoint, possible })));
  const isWanted = ({ namespace, name, labels }: Service): boolean =>
    (peer.namespace === undefined || namespace === peer.namespace) &&
    (typeof peer.services === 'string'
      ? name === peer.services
      : matchesSelector(peer.services, labels ?? {}));
  return oneOf(services.value.filter(isWanted).map((service) => serviceReach(scope, service)));
}

function serviceReach(scope: CiliumScope, { namespace, name, selector }: Service): Reach {
  if (Object.keys(selector).length > 0)
    return exactly(
      and(
        kinds('pod'),
        { is: 'namespace', names: [namespace] },
        selectorExpr({ matchLabels: selector, matchExpressions: [] }),
      ),
    );
  // "The IPs in the service's EndpointSlices are converted to CIDR selectors. CIDR selectors cannot select pods."
  const { endpointSlices } = scope.world.cluster;
  if (endpointSlices.state === 'unknown') return { certain: noEndpoint, possible: scope.cidrKinds };
  const backends = endpointSlices.value
    .filter((slice) => slice.namespace === namespace && slice.service === name)
    .flatMap(({ endpoints }) => endpoints)
    .flatMap(({ addresses }) => addresses)
    .map(({ family, value }) => ({ family, value, length: addressBits(family) }));
  return exactly(addressed(scope.cidrKinds, backends));
}

/** Ports that ask for nothing more, and those that do, each with what it asks for. */
export interface SplitPorts {
  readonly plain: Ports;
  readonly l7: readonly (readonly [ports: Ports, condition: Condition])[];
}

const every: Ports = { set: everyPort, named: [] };
const none: Ports = { set: noPorts, named: [] };

export const isEmpty = ({ set, named }: Ports): boolean => set.length === 0 && named.length === 0;

export function splitPorts(items: readonly CiliumPorts[] | undefined): SplitPorts {
  if (items === undefined) return { plain: every, l7: [] };
  let plain = none;
  const l7: (readonly [Ports, Condition])[] = [];
  for (const item of items) {
    const ports = joinPorts(item.ports.map(lowerPort));
    if (item.l7 === undefined) plain = joinPorts([plain, ports]);
    else l7.push([ports, { code: 'l7', text: `only for ${item.l7}` }]);
  }
  return { plain, l7 };
}

export const joinPorts = (parts: readonly Ports[]): Ports => ({
  set: parts.reduce<PortSet>((set, part) => unionPorts(set, part.set), noPorts),
  named: parts.flatMap(({ named }) => named),
});

function lowerPort(port: CiliumPort): Ports {
  switch (port.kind) {
    case 'range':
      return {
        set: port.protocols.reduce<PortSet>(
          (set, protocol) => unionPorts(set, portRange(protocol, port.from, port.to)),
          noPorts,
        ),
        named: [],
      };
    case 'named':
      return { set: noPorts, named: port.protocols.map((protocol) => ({ protocol, name: port.name })) };
    case 'icmp':
      return {
        set: portRange(port.family === 4 ? 'ICMP' : 'ICMPv6', port.type * 256, port.type * 256 + 255),
        named: [],
      };
    case 'protocol':
      return { set: protocolNumber(port.number), named: [] };
  }
}

/** An ipBlock's addresses, without the nodes that Cilium tells by their identity. */
export function withCidrKinds(scope: CiliumScope, expr: EndpointExpr): EndpointExpr {
  switch (expr.is) {
    case 'address':
      return and(scope.cidrKinds, expr);
    case 'and':
    case 'or':
      return { is: expr.is, of: expr.of.map((part) => withCidrKinds(scope, part)) };
    case 'not':
      return { is: 'not', of: withCidrKinds(scope, expr.of) };
    default:
      return expr;
  }
}
