/** A layer's policies of one direction, compiled: who is a subject, and which classes on which ports each rule means. */
import { complementIds, eachId, type IdSet, idRange, idsFrom, intersectIds } from '../../net/id-set.ts';
import { noPorts, type PortSet, portRange, subtractPorts, unionPorts } from '../../net/port-set.ts';
import type {
  Condition,
  Direction,
  Layer,
  LoweredPolicy,
  NamedPort,
  PolicyId,
  Ports,
  Rule,
  Tier,
} from '../ir.ts';
import type { Select } from './select.ts';
import type { EndpointClass, Universe } from './universe.ts';

/** A rule as one or more of these: a named port of an egress rule means other numbers at other destinations. */
export interface CompiledRule {
  readonly action: Rule['action'];
  readonly peers: IdSet;
  /** Undefined: named ports of an ingress rule, which the subject resolves. */
  readonly ports: PortSet | undefined;
  readonly self?: IdSet;
  readonly condition?: Condition;
  readonly rule: Rule;
}

export interface CompiledPolicy {
  /** A number of its own among the policies of the layer; of one group, in the order in which they stand. */
  readonly rank: number;
  readonly tier: number;
  readonly group: number;
  readonly policy: LoweredPolicy;
  readonly isolates: boolean;
  readonly subjects: IdSet;
  readonly rules: readonly CompiledRule[];
  /** True if subjects that it selects may still differ in what its rules mean for them. */
  readonly personal: boolean;
}

export interface CompiledLayer {
  readonly layer: Layer;
  readonly tiers: readonly Tier[];
  /** By rank; undefined where the policy says nothing in the direction, or was taken away. */
  readonly policies: Readonly<Record<Direction, readonly (CompiledPolicy | undefined)[]>>;
  /** Where a policy may be found; made when first asked for. Shared by edited layers, so look whether it is there. */
  readonly ranks: () => Map<string, number>;
}

export const policyKey = ({ kind, namespace, name }: PolicyId): string =>
  `${kind} ${namespace ?? ''}/${name}`;

/** Of several policies with one id (the parts of one object) the last. */
function rankIndex(policies: CompiledLayer['policies']): CompiledLayer['ranks'] {
  let made: Map<string, number> | undefined;
  return () => {
    if (made === undefined) {
      made = new Map();
      for (const list of [policies.egress, policies.ingress])
        for (const policy of list)
          if (policy !== undefined) made.set(policyKey(policy.policy.id), policy.rank);
    }
    return made;
  };
}

export function compileLayer(layer: Layer, universe: Universe, select: Select): CompiledLayer {
  const policies = {
    egress: [] as (CompiledPolicy | undefined)[],
    ingress: [] as (CompiledPolicy | undefined)[],
  };
  let rank = 0;
  for (const [tier, { groups }] of layer.tiers.entries())
    for (const [group, members] of groups.entries())
      for (const policy of members) {
        for (const direction of ['egress', 'ingress'] as const) {
          const compiled = compilePolicy(policy, direction, universe, select);
          policies[direction].push(compiled && Object.assign(compiled, { rank, tier, group }));
        }
        rank += 1;
      }
  return { layer, tiers: layer.tiers, policies, ranks: rankIndex(policies) };
}

/** Undefined where the policy says nothing in this direction. */
export function compilePolicy(
  policy: LoweredPolicy,
  direction: Direction,
  universe: Universe,
  select: Select,
): Omit<CompiledPolicy, 'rank' | 'tier' | 'group'> | undefined {
  const lowered = policy[direction];
  if (lowered === undefined) return undefined;
  const subjects = select(policy.subject);
  // An empty policy costs nothing: there is nobody to ask its rules.
  const rules =
    subjects.length === 0
      ? []
      : lowered.rules.flatMap((rule) => compileRule(rule, policy, direction, universe, select));
  return {
    policy,
    isolates: lowered.isolates,
    subjects,
    rules,
    personal: rules.some((rule) => rule.self !== undefined || rule.ports === undefined),
  };
}

function compileRule(
  rule: Rule,
  policy: LoweredPolicy,
  direction: Direction,
  universe: Universe,
  select: Select,
): CompiledRule[] {
  const peers = select(rule.peer);
  if (peers.length === 0) return [];
  const condition = rule.condition ?? policy.condition;
  const common = {
    action: rule.action,
    ...(rule.self === undefined ? {} : { self: select(rule.self) }),
    ...(condition === undefined ? {} : { condition }),
    rule,
  };
  const { set, named, not } = rule.ports;
  if (named.length === 0 && (not === undefined || not.named.length === 0))
    return [{ ...common, peers, ports: not === undefined ? set : subtractPorts(set, not.set) }];
  if (direction === 'ingress') return [{ ...common, peers, ports: undefined }];
  return byResolution(rule.ports, peers, universe).map(([ids, ports]) => ({ ...common, peers: ids, ports }));
}

/** The destinations among `peers`, grouped by what the names mean at them; those where no port is left are left out. */
function byResolution(ports: Ports, peers: IdSet, universe: Universe): [IdSet, PortSet][] {
  const groups = new Map<string, { readonly ports: PortSet; readonly ids: number[] }>();
  const pods = intersectIds(peers, idRange(0, universe.podsTo));
  for (const id of eachId(pods)) {
    const resolved = resolvePorts(ports, universe.classes[id] as EndpointClass);
    const key = resolved.join();
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { ports: resolved, ids: [id] });
    else group.ids.push(id);
  }
  const out: [IdSet, PortSet][] = [];
  for (const group of groups.values())
    if (group.ports.length > 0) out.push([idsFrom(group.ids), group.ports]);
  // Only pods have port names.
  const others = intersectIds(peers, complementIds(idRange(0, universe.podsTo), universe.classes.length));
  const unnamed = ports.not === undefined ? ports.set : subtractPorts(ports.set, ports.not.set);
  if (others.length > 0 && unnamed.length > 0) out.push([others, unnamed]);
  return out;
}

/** Names looked up on the destination. */
export function resolvePorts({ set, named, not }: Ports, destination: EndpointClass): PortSet {
  const wanted = unionPorts(set, namedSet(named, destination));
  return not === undefined
    ? wanted
    : subtractPorts(wanted, unionPorts(not.set, namedSet(not.named, destination)));
}

function namedSet(named: readonly NamedPort[], { portNumbers }: EndpointClass): PortSet {
  let out = noPorts;
  for (const { protocol, name } of named)
    for (const number of portNumbers.get(`${protocol}/${name}`) ?? [])
      out = unionPorts(out, portRange(protocol, number, number));
  return out;
}
