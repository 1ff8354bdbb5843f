/** AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy in the intermediate form: a tier before NetworkPolicy and one after. */
import type { AdminPolicy, AdminPort, AdminRule, AdminTier } from '../../model/policies/admin.ts';
import { everyPort, noPorts, type PortSet, portRange, unionPorts } from '../../net/port-set.ts';
import {
  anyEndpoint,
  type Condition,
  type LoweredPolicy,
  type NamedPort,
  noEndpoint,
  or,
  type PolicyGroup,
  type PolicyId,
  type PolicyProgramNote,
  type Ports,
  type Rule,
  type RuleAction,
  type Tier,
} from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import { unknownPolicies } from '../unknown.ts';
import { lowerPeer, lowerPods, type Match } from './admin-peers.ts';

/** AdminNetworkPolicies and the ClusterNetworkPolicies of the admin tier, by priority; undefined where there are none. */
export const lowerAdminTier = (world: PolicyWorld): Tier | undefined => lowerTier(world, 'admin');

/** The ClusterNetworkPolicies of the baseline tier by priority, after them BaselineAdminNetworkPolicy; undefined where there are none. */
export const lowerBaselineTier = (world: PolicyWorld): Tier | undefined => lowerTier(world, 'baseline');

function lowerTier(world: PolicyWorld, tier: AdminTier): Tier | undefined {
  const groups = groupsOf(world, tier);
  // These kinds never isolate: what no rule matches goes on to the next tier.
  return groups.length === 0 ? undefined : { name: `${tier} tier`, groups, otherwise: 'pass' };
}

function groupsOf(world: PolicyWorld, tier: AdminTier): readonly PolicyGroup[] {
  const { adminPolicies } = world.cluster;
  if (adminPolicies.state === 'unknown')
    return [[unknownPolicies('admin and baseline policy', adminPolicies.why)]];
  const groups = new Map<number, LoweredPolicy[]>();
  const unplaced: PolicyGroup[] = [];
  for (const policy of adminPolicies.value) {
    if (policy.tier !== tier && policy.tier !== 'unknown') continue;
    const lowered = lowerPolicy(world, policy);
    // Wherever a policy belongs that may not be there at all: asked first, it leaves both its own answer and all others possible.
    if (policy.rank === 'unknown') unplaced.push([lowered]);
    else {
      const rank = policy.rank === 'last' ? Number.POSITIVE_INFINITY : policy.rank;
      const group = groups.get(rank);
      if (group === undefined) groups.set(rank, [lowered]);
      else group.push(lowered);
    }
  }
  const placed = [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, group]) => group);
  return [...unplaced, ...placed];
}

const idOf = ({ kind, name }: AdminPolicy): PolicyId => ({ kind, name });

function lowerPolicy(world: PolicyWorld, policy: AdminPolicy): LoweredPolicy {
  const { origin, subject, doubt } = policy;
  const selected = lowerPods(world, subject);
  const condition = doubt === undefined ? selected.condition : refused(policy, doubt);
  const lower = (rules: readonly AdminRule[]) => ({
    isolates: false,
    rules: rules.flatMap((rule) => lowerRule(world, policy, rule)),
  });
  return {
    id: idOf(policy),
    ...(origin === undefined ? {} : { origin }),
    subject: selected.expr,
    ...(condition === undefined ? {} : { condition }),
    // "CNPs with no ingress rules do not affect ingress traffic."
    ...(policy.ingress.length === 0 ? {} : { ingress: lower(policy.ingress) }),
    ...(policy.egress.length === 0 ? {} : { egress: lower(policy.egress) }),
  };
}

const refused = ({ kind, name }: AdminPolicy, doubt: string): Condition => ({
  code: 'not-understood',
  text: `${kind} ${name} is invalid as a whole: ${doubt}`,
});

function lowerRule(world: PolicyWorld, { kind, name }: AdminPolicy, rule: AdminRule): Rule[] {
  const { action, field } = rule;
  const mystery: Condition = {
    code: 'not-understood',
    text: `${kind} ${name} ${field} has no action known here`,
  };
  if (!rule.understood) {
    const all = { ports: { set: everyPort, named: [] }, field };
    if (action === 'unknown') return anyAction({ ...all, peer: anyEndpoint, condition: mystery });
    // The API: an Accept rule that is not understood matches nothing, Deny and Pass deny everything.
    return action === 'allow'
      ? [{ ...all, action, peer: noEndpoint }]
      : [{ ...all, action: 'deny', peer: anyEndpoint }];
  }
  const ports = lowerPorts(rule.ports);
  return matches(rule, world).flatMap(({ expr, condition }) => {
    if (action === 'unknown') return anyAction({ peer: expr, ports, field, condition: mystery });
    return [{ action, peer: expr, ports, field, ...(condition === undefined ? {} : { condition }) }];
  });
}

/** The peers that are certain as one, then each that is not: all have the same action, so their order makes no difference. */
function matches(rule: AdminRule, world: PolicyWorld): readonly Match[] {
  const all = rule.peers.flatMap((peer) => lowerPeer(world, peer));
  const certain = all.filter(({ condition }) => condition === undefined).map(({ expr }) => expr);
  const [first] = certain;
  const joined = first === undefined ? [] : [{ expr: certain.length === 1 ? first : or(...certain) }];
  return [...joined, ...all.filter(({ condition }) => condition !== undefined)];
}

const actions: readonly RuleAction[] = ['allow', 'deny', 'pass'];

/** A rule that may do any of the three, or nothing. */
const anyAction = (rule: Omit<Rule, 'action'>): Rule[] => actions.map((action) => ({ ...rule, action }));

function lowerPorts(ports: readonly AdminPort[] | undefined): Ports {
  if (ports === undefined) return { set: everyPort, named: [] };
  let set: PortSet = noPorts;
  const named: NamedPort[] = [];
  for (const port of ports) {
    if (port.kind === 'numbers') set = unionPorts(set, portRange(port.protocol, port.from, port.to));
    // The API gives no protocol with a name: whichever container port has it.
    else for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) named.push({ protocol, name: port.name });
  }
  return { set, named };
}

/** What was left out or could not be judged, and what the API does not say about the policies there are. */
export function adminNotes(world: PolicyWorld): readonly PolicyProgramNote[] {
  const { adminPolicies } = world.cluster;
  if (adminPolicies.state === 'unknown') return [];
  const notes: PolicyProgramNote[] = [];
  for (const policy of adminPolicies.value) {
    const at = { policy: idOf(policy), ...(policy.origin === undefined ? {} : { origin: policy.origin }) };
    for (const { field, why } of policy.problems) notes.push({ ...at, field, text: `${field} ${why}` });
  }
  const ofBaseline = adminPolicies.value.filter(({ tier }) => tier === 'baseline');
  const old = ofBaseline.find(({ kind }) => kind === 'BaselineAdminNetworkPolicy');
  if (old !== undefined && ofBaseline.some(({ kind }) => kind === 'ClusterNetworkPolicy'))
    notes.push({
      policy: idOf(old),
      text: 'BaselineAdminNetworkPolicy is asked after the ClusterNetworkPolicies of the baseline tier: it has no priority, and no API says how the two versions go together',
    });
  return notes;
}
