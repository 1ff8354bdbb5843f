/** NetworkPolicy (networking.k8s.io/v1) in the intermediate form: rules only ever allow, and a selected pod is isolated. */
import type { NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from '../../model/cluster.ts';
import {
  everyPort,
  noPorts,
  type PortSet,
  portRange,
  unionPorts,
  wholeProtocol,
} from '../../net/port-set.ts';
import { selectorExpr } from '../expr.ts';
import {
  and,
  anyEndpoint,
  type Direction,
  type EndpointExpr,
  kinds,
  type LoweredDirection,
  type LoweredPolicy,
  type NamedPort,
  noEndpoint,
  or,
  type Ports,
  type Rule,
} from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import { unknownPolicies } from '../unknown.ts';

/** One lowered policy for each NetworkPolicy of the cluster, in the cluster's order. */
export function lowerNetworkPolicies(world: PolicyWorld): readonly LoweredPolicy[] {
  const policies = world.cluster.networkPolicies;
  if (policies.state === 'unknown') return [unknownPolicies('NetworkPolicy', policies.why)];
  return policies.value.map((policy) => lowerNetworkPolicy(policy, world.reading.ipBlockMatchesPods));
}

export function lowerNetworkPolicy(policy: NetworkPolicy, ipBlockMatchesPods: boolean): LoweredPolicy {
  const { namespace, name, origin, ingress, egress } = policy;
  const lower = (rules: readonly PolicyRule[], direction: Direction): LoweredDirection => ({
    isolates: true,
    rules: rules.flatMap((rule) => lowerRule(rule, namespace, direction, ipBlockMatchesPods)),
  });
  return {
    id: { kind: 'NetworkPolicy', namespace, name },
    ...(origin === undefined ? {} : { origin }),
    // hostNetwork pods are never subjects, and a policy's selector never crosses its namespace.
    subject: and(kinds('pod'), inNamespace(namespace), selectorExpr(policy.podSelector)),
    ...(ingress === undefined ? {} : { ingress: lower(ingress, 'ingress') }),
    ...(egress === undefined ? {} : { egress: lower(egress, 'egress') }),
  };
}

const inNamespace = (name: string): EndpointExpr => ({ is: 'namespace', names: [name] });

function lowerRule(
  rule: PolicyRule,
  namespace: string,
  direction: Direction,
  ipBlockMatchesPods: boolean,
): Rule[] {
  const ports = lowerPorts(rule.ports);
  const { field } = rule;
  if (rule.peers === undefined) return [{ action: 'allow', peer: anyEndpoint, ports, field }];
  const blocks: EndpointExpr[] = [];
  const pods: EndpointExpr[] = [];
  for (const peer of rule.peers) {
    if (peer.kind === 'ip-block') blocks.push(blockExpr(peer, ipBlockMatchesPods));
    else pods.push(podsExpr(peer, namespace));
  }
  // A named port beside an egress ipBlock is legal and matches nothing: names belong to pods, an ipBlock to addresses.
  if (direction === 'egress' && ports.named.length > 0 && blocks.length > 0)
    return [
      { action: 'allow', peer: anyOf(pods), ports, field },
      { action: 'allow', peer: anyOf(blocks), ports: { ...ports, named: [] }, field },
    ];
  return [{ action: 'allow', peer: anyOf([...pods, ...blocks]), ports, field }];
}

function anyOf(parts: readonly EndpointExpr[]): EndpointExpr {
  const [only] = parts;
  if (only === undefined) return noEndpoint;
  return parts.length === 1 ? only : or(...parts);
}

function podsExpr(peer: PolicyPeer & { kind: 'pods' }, namespace: string): EndpointExpr {
  const spaces =
    peer.namespaceSelector === undefined
      ? inNamespace(namespace)
      : selectorExpr(peer.namespaceSelector, 'namespace');
  const { field } = peer;
  return peer.podSelector === undefined
    ? { is: 'and', of: [kinds('pod'), spaces], field }
    : { is: 'and', of: [kinds('pod'), spaces, selectorExpr(peer.podSelector)], field };
}

function blockExpr(peer: PolicyPeer & { kind: 'ip-block' }, matchesPods: boolean): EndpointExpr {
  const block: EndpointExpr = { is: 'address', prefixes: [peer.cidr], except: peer.except };
  const { field } = peer;
  return { is: 'and', of: matchesPods ? [block] : [kinds('external', 'node', 'host-pod'), block], field };
}

function lowerPorts(ports: readonly PolicyPort[] | undefined): Ports {
  if (ports === undefined) return { set: everyPort, named: [] };
  let set: PortSet = noPorts;
  const named: NamedPort[] = [];
  for (const { protocol, port, endPort } of ports) {
    if (port === undefined) set = unionPorts(set, wholeProtocol(protocol));
    else if (typeof port === 'string') named.push({ protocol, name: port });
    else set = unionPorts(set, portRange(protocol, port, endPort ?? port));
  }
  return { set, named };
}
