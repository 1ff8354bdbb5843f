/**
 * A cluster's network layer as Cilium enforces it: one tier in which deny rules come before all others, and what no rule allows is
 * denied where some policy switched default deny on. NetworkPolicies are allow rules among the others.
 */
import type {
  CiliumPolicy,
  CiliumRule,
  CiliumSection,
  CiliumSelector,
  CiliumSpec,
} from '../../model/policies/cilium.ts';
import { ciliumSwitch } from '../cilium-facts.ts';
import {
  anyEndpoint,
  type Condition,
  type Direction,
  type EndpointExpr,
  kinds,
  type Layer,
  type LoweredDirection,
  type LoweredPolicy,
  not,
  type Rule,
  type Tier,
} from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import { unknownPolicies } from '../unknown.ts';
import { lowerAdminTier, lowerBaselineTier } from './admin.ts';
import { isEmpty, joinPorts, notKnown, peerReach, splitPorts, withCidrKinds } from './cilium-peers.ts';
import { type Narrowed, narrowings, type Requirer } from './cilium-requires.ts';
import {
  allExprs,
  anyExpr,
  type CiliumScope,
  ciliumScope,
  oneOf,
  type Reach,
  selectorReach,
} from './cilium-selector.ts';
import { lowerNetworkPolicies } from './network-policy.ts';

/**
 * Traffic between a pod and its own node is exempt. So of the entities `host` and `remote-node` only the second is ever asked about: a
 * node that is not the subject's own is always `remote-node`. Admin and baseline policies are asked before and after, as
 * their API says and Cilium 1.20 does with ClusterNetworkPolicy.
 */
export function ciliumLayer(world: PolicyWorld): Layer {
  return {
    name: 'network',
    tiers: world.reading.ciliumEnforcement === 'never' ? [] : tiersOf(world),
    finally: 'allow',
    rewrites: [],
    exemptsSelfAndOwnNode: true,
  };
}

function tiersOf(world: PolicyWorld): readonly Tier[] {
  const cilium: Tier = {
    name: 'Cilium',
    groups: lowerAll(world).map((policy) => [policy]),
    otherwise: 'deny',
  };
  return [lowerAdminTier(world), cilium, lowerBaselineTier(world)].filter((tier) => tier !== undefined);
}

/** The order in which the rules of all policies are asked. Authentication that some rule asks for narrows what the others allow. */
const stages = ['deny', 'authentication', 'allow', 'kubernetes', 'l7'] as const;
type Stage = (typeof stages)[number];

function lowerAll(world: PolicyWorld): readonly LoweredPolicy[] {
  const { cluster, reading } = world;
  const scope = ciliumScope(world);
  const always = reading.ciliumEnforcement === 'always' ? [alwaysIsolates] : [];
  const policies = cluster.cilium.state === 'known' ? cluster.cilium.value.policies : [];
  // computePolicyEnforcementAndRules: without the host firewall a node has no policy. Where nobody knows, the policy itself is the sign.
  const hostPolicies = ciliumSwitch(world, 'enable-host-firewall') !== 'off';
  const specs = policies.flatMap((policy) =>
    policy.specs
      .filter(({ subject }) => hostPolicies || subject.kind === 'endpoints')
      .map((spec) => specOf(scope, policy, spec)),
  );
  const requiring = specs.filter(({ spec }) => rulesIn(spec).some(({ requires }) => requires.length > 0));
  const staged = stages.flatMap((stage) =>
    stage === 'kubernetes'
      ? kubernetes(scope)
      : specs.flatMap((spec) => lowerSpec(scope, requiring, spec, stage)),
  );
  const unknown =
    cluster.cilium.state === 'unknown' ? [unknownPolicies('Cilium policy', cluster.cilium.why)] : [];
  return [...unknown, ...always, ...staged];
}

const alwaysIsolates: LoweredPolicy = {
  id: { kind: 'ConfigMap', name: 'cilium-config: enable-policy is always' },
  subject: kinds('pod'),
  ingress: { isolates: true, rules: [] },
  egress: { isolates: true, rules: [] },
};

/** Cilium reads an ipBlock as a CIDR rule: it matches no pod, and nodes only if the agent is told so. */
function kubernetes(scope: CiliumScope): readonly LoweredPolicy[] {
  const { world } = scope;
  const reading = { ...world.reading, ipBlockMatchesPods: false };
  const lower = (direction: LoweredDirection): LoweredDirection => ({
    ...direction,
    rules: direction.rules.map((rule) => ({ ...rule, peer: withCidrKinds(scope, rule.peer) })),
  });
  return lowerNetworkPolicies({ ...world, reading }).map((policy) => ({
    ...policy,
    ...(policy.ingress === undefined ? {} : { ingress: lower(policy.ingress) }),
    ...(policy.egress === undefined ? {} : { egress: lower(policy.egress) }),
  }));
}

interface LoweredSpec {
  readonly policy: CiliumPolicy;
  readonly spec: CiliumSpec;
  readonly subject: Reach;
}

const rulesIn = ({ ingress, egress }: CiliumSpec): readonly CiliumRule[] =>
  [ingress, egress].flatMap((section) => (section === undefined ? [] : [...section.allow, ...section.deny]));

const specOf = (scope: CiliumScope, policy: CiliumPolicy, spec: CiliumSpec): LoweredSpec => ({
  policy,
  spec,
  subject: selectorReach(
    scope,
    spec.subject.selector,
    spec.subject.kind === 'nodes' ? 'host-subject' : 'pod-subject',
  ),
});

/** One policy, or two where the spec may select more than it selects for certain. */
function lowerSpec(
  scope: CiliumScope,
  requiring: readonly LoweredSpec[],
  own: LoweredSpec,
  stage: Exclude<Stage, 'kubernetes'>,
): readonly LoweredPolicy[] {
  const lower = (direction: Direction): LoweredDirection | undefined => {
    const section = own.spec[direction];
    return section && lowerSection(scope, section, stage, requirersOf(requiring, own, direction, stage));
  };
  const ingress = lower('ingress');
  const egress = lower('egress');
  if (ingress === undefined && egress === undefined) return [];
  const { kind, namespace, name, origin } = own.policy;
  const whole = [kind, namespace, name, own.policy.specs.indexOf(own.spec)].join('/');
  const policyFor = (subject: EndpointExpr, condition?: Condition): LoweredPolicy => ({
    id: { kind, ...(namespace === undefined ? {} : { namespace }), name },
    ...(origin === undefined ? {} : { origin }),
    subject,
    whole,
    ...(condition === undefined ? {} : { condition }),
    ...(ingress === undefined ? {} : { ingress }),
    ...(egress === undefined ? {} : { egress }),
  });
  const { certain, possible } = own.subject;
  if (certain === possible) return [policyFor(certain)];
  return [policyFor(certain), policyFor(allExprs([possible, not(certain)]), notKnown)];
}

/** Undefined where the stage has nothing to say. Isolation is said in the stage of the allow rules. */
function lowerSection(
  scope: CiliumScope,
  section: CiliumSection,
  stage: Exclude<Stage, 'kubernetes'>,
  requirers: readonly Requirer[],
): LoweredDirection | undefined {
  const rules = section[stage === 'deny' ? 'deny' : 'allow'].flatMap((rule) =>
    lowerRule(scope, rule, stage, requirers),
  );
  if (stage === 'allow') return { isolates: section.defaultDeny, rules };
  return rules.length === 0 ? undefined : { isolates: false, rules };
}

function requirersOf(
  requiring: readonly LoweredSpec[],
  own: LoweredSpec,
  direction: Direction,
  stage: Stage,
): readonly Requirer[] {
  const list = stage === 'deny' ? 'deny' : 'allow';
  return requiring.flatMap(({ policy, spec, subject }): readonly Requirer[] => {
    const requires = spec[direction]?.[list].flatMap((rule) => rule.requires) ?? [];
    if (requires.length === 0 || spec.subject.kind !== own.spec.subject.kind) return [];
    // Policies of two namespaces have no subject in common.
    const meets = [policy.namespace, own.policy.namespace];
    if (!meets.includes(undefined) && meets[0] !== meets[1]) return [];
    return [{ subject, requires, isOwn: spec === own.spec }];
  });
}

function lowerRule(
  scope: CiliumScope,
  rule: CiliumRule,
  stage: Exclude<Stage, 'kubernetes'>,
  requirers: readonly Requirer[],
): readonly Rule[] {
  // `ingress: [{}]` names neither peers nor ports and matches nothing.
  if (rule.peers === undefined && rule.ports === undefined) return [];
  if (stage === 'authentication' && rule.authentication === undefined) return [];
  if (stage === 'l7' && !(rule.ports ?? []).some(({ l7 }) => l7 !== undefined)) return [];
  return peersOf(scope, rule, requirers).flatMap((peers) => rulesOf(rule, stage, peers));
}

/** Peers that are certain (no condition) or possible. */
interface Peers {
  readonly peer: EndpointExpr;
  readonly self?: EndpointExpr;
  readonly condition?: Condition;
}

function peersOf(scope: CiliumScope, rule: CiliumRule, requirers: readonly Requirer[]): readonly Peers[] {
  if (rule.peers === undefined) return [{ peer: anyEndpoint }];
  const endpoints = rule.peers.filter(({ kind }) => kind === 'endpoints');
  const others = rule.peers.filter(({ kind }) => kind !== 'endpoints');
  const narrowed =
    endpoints.length === 0
      ? []
      : narrowings(
          oneOf(endpoints.map((peer) => peerReach(scope, peer))),
          requirers,
          (selector: CiliumSelector) => selectorReach(scope, selector, 'peer'),
        );
  const certain = anyExpr(others.map((peer) => peerReach(scope, peer).certain));
  const found: Peers[] = certain.is === 'none' ? [] : [{ peer: certain }];
  for (const peer of others) {
    const reach = peerReach(scope, peer);
    if (reach.possible !== reach.certain) found.push({ peer: reach.possible, condition: reach.condition });
  }
  return [...narrowed.flatMap(peersOfNarrowed), ...found];
}

function peersOfNarrowed({ certain, possible, self, condition }: Narrowed): readonly Peers[] {
  const at = self === undefined ? {} : { self };
  const sure: Peers = { peer: certain, ...at };
  return certain === possible ? [sure] : [sure, { peer: possible, ...at, condition: condition ?? notKnown }];
}

function rulesOf(
  rule: CiliumRule,
  stage: Exclude<Stage, 'kubernetes'>,
  { peer, self, condition }: Peers,
): readonly Rule[] {
  if (peer.is === 'none') return [];
  const { plain, l7 } = splitPorts(rule.ports);
  const make = (action: Rule['action'], ports: Rule['ports'], why: Condition | undefined): readonly Rule[] =>
    isEmpty(ports)
      ? []
      : [
          {
            action,
            peer,
            ...(self === undefined ? {} : { self }),
            ports,
            ...(why === undefined ? {} : { condition: why }),
            field: rule.field,
          },
        ];
  switch (stage) {
    case 'deny':
      return make('deny', plain, condition ?? uncertainty(rule));
    case 'authentication':
      return make('deny', joinPorts([plain, ...l7.map(([ports]) => ports)]), authenticates(rule));
    case 'allow':
      return make('allow', plain, condition);
    case 'l7':
      // "Adding a layer-7 rule that does not include a layer-7 allow-all will cause drops, even when default-deny is explicitly disabled."
      return l7.flatMap(([ports, why]) => [...make('allow', ports, why), ...make('deny', ports, condition)]);
  }
}

const uncertainty = ({ uncertain }: CiliumRule): Condition | undefined =>
  uncertain === undefined ? undefined : { code: 'not-understood', text: `the rule is invalid: ${uncertain}` };

const authenticates = ({ authentication }: CiliumRule): Condition => ({
  code: 'identity',
  text:
    authentication === 'test-always-fail'
      ? 'the rule asks for an authentication that always fails, unless a more specific rule switches it off'
      : 'only where both ends authenticate each other',
});
