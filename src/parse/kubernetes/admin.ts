/**
 * AdminNetworkPolicy, BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1) and ClusterNetworkPolicy (v1alpha2) in normal form,
 * with the validation of their CRDs.
 */
import type { PolicyProblem } from '../../model/cluster.ts';
import type { AdminPods, AdminPolicy, AdminRule } from '../../model/policies/admin.ts';
import type { JsonObject } from '../json.ts';
import { attempt, onlyFields, present, strictSelector } from './admin-fields.ts';
import { type AdminDialect, readPeers, readPods, readPorts } from './admin-rule.ts';
import type { ReadKind } from './cluster.ts';
import { list, Mismatch, metadata, object, string } from './shape.ts';

export function readAdminPolicies(read: ReadKind): readonly AdminPolicy[] {
  return [
    ...read('adminnetworkpolicies.policy.networking.k8s.io', 'AdminNetworkPolicy', readAdmin),
    ...read(
      'baselineadminnetworkpolicies.policy.networking.k8s.io',
      'BaselineAdminNetworkPolicy',
      readBaseline,
    ),
    ...read('clusternetworkpolicies.policy.networking.k8s.io', 'ClusterNetworkPolicy', readCluster),
    // Amazon's VPC CNI serves the kind under its own group; it was made before `protocols` took the place of `ports`.
    ...read('clusternetworkpolicies.networking.k8s.aws', 'ClusterNetworkPolicy', readClusterAws),
  ];
}

const v1alpha1: AdminDialect = {
  actions: { Allow: 'allow', Deny: 'deny', Pass: 'pass' },
  ports: ['ports'],
  maxRules: 100,
  maxItems: 100,
  needsNamespaceSelector: true,
};
/** BaselineAdminNetworkPolicyRuleAction has no Pass: there is no tier to pass to. */
const baseline: AdminDialect = { ...v1alpha1, actions: { Allow: 'allow', Deny: 'deny' } };
const v1alpha2: AdminDialect = {
  actions: { Accept: 'allow', Deny: 'deny', Pass: 'pass' },
  ports: ['protocols'],
  maxRules: 25,
  maxItems: 25,
  needsNamespaceSelector: false,
};
const aws: AdminDialect = { ...v1alpha2, ports: ['ports', 'protocols'] };

function readAdmin(item: JsonObject): AdminPolicy {
  const draft = open(item, ['priority'], v1alpha1);
  const rank = draft.read(() => priority(draft.spec)) ?? 'unknown';
  return { ...close(draft, v1alpha1), kind: 'AdminNetworkPolicy', tier: 'admin', rank };
}

function readBaseline(item: JsonObject): AdminPolicy {
  const draft = open(item, [], baseline);
  // A singleton: the CRD's validation rule refuses every other name.
  draft.read(() => {
    if (draft.name !== 'default')
      throw new Mismatch('metadata.name', `must be "default", is ${JSON.stringify(draft.name)}`);
  });
  return { ...close(draft, baseline), kind: 'BaselineAdminNetworkPolicy', tier: 'baseline', rank: 'last' };
}

const readCluster = (item: JsonObject): AdminPolicy => readClusterAs(item, v1alpha2);
const readClusterAws = (item: JsonObject): AdminPolicy => readClusterAs(item, aws);

function readClusterAs(item: JsonObject, dialect: AdminDialect): AdminPolicy {
  const draft = open(item, ['tier', 'priority'], dialect);
  const tier = draft.read(() => readTier(draft.spec)) ?? 'unknown';
  const rank = draft.read(() => priority(draft.spec)) ?? 'unknown';
  return { ...close(draft, dialect), kind: 'ClusterNetworkPolicy', tier, rank };
}

interface Draft {
  readonly name: string;
  readonly spec: JsonObject;
  readonly subject: AdminPods;
  readonly problems: PolicyProblem[];
  /** Undefined, with a line in `problems`, where a part that concerns the whole object is wrong. */
  readonly read: <T>(read: () => T) => T | undefined;
  readonly doubt: () => string | undefined;
}

/** Throws Mismatch where nobody can say which pods are selected. */
function open(item: JsonObject, fields: readonly string[], dialect: AdminDialect): Draft {
  const { name } = metadata(item);
  const spec = object(item.spec, 'spec');
  const problems: PolicyProblem[] = [];
  let doubt: string | undefined;
  const read = <T>(part: () => T): T | undefined => {
    const before = problems.length;
    const found = attempt(problems, part);
    const problem = problems[before];
    if (problem !== undefined) doubt ??= `${problem.field} ${problem.why}`;
    return found;
  };
  const draft = { name, spec, subject: readSubject(spec, dialect), problems, read, doubt: () => doubt };
  read(() => onlyFields(spec, ['subject', 'ingress', 'egress', ...fields], 'spec'));
  return draft;
}

function close(draft: Draft, dialect: AdminDialect): Omit<AdminPolicy, 'kind' | 'tier' | 'rank'> {
  const { name, spec, subject, problems } = draft;
  const ingress = readRules(spec, 'ingress', dialect, problems);
  const egress = readRules(spec, 'egress', dialect, problems);
  for (const [field, rules] of Object.entries({ ingress, egress }))
    draft.read(() => {
      if (rules.length > dialect.maxRules)
        throw new Mismatch(`spec.${field}`, `has ${rules.length} rules, the API takes ${dialect.maxRules}`);
    });
  const doubt = draft.doubt();
  return { name, subject, ingress, egress, problems, ...(doubt === undefined ? {} : { doubt }) };
}

function readSubject(spec: JsonObject, dialect: AdminDialect): AdminPods {
  const field = 'spec.subject';
  const raw = object(spec.subject, field);
  onlyFields(raw, ['namespaces', 'pods'], field);
  if (present(raw, 'namespaces') === present(raw, 'pods'))
    throw new Mismatch(field, 'must have exactly one of namespaces and pods');
  if (present(raw, 'pods')) return readPods(object(raw.pods, `${field}.pods`), `${field}.pods`, dialect);
  return {
    namespaceSelector: strictSelector(raw.namespaces, `${field}.namespaces`),
    podSelector: everything,
  };
}

const everything = { matchLabels: {}, matchExpressions: [] };

function readTier(spec: JsonObject): 'admin' | 'baseline' {
  const tier = string(spec.tier, 'spec.tier');
  if (tier === 'Admin') return 'admin';
  if (tier === 'Baseline') return 'baseline';
  throw new Mismatch('spec.tier', `must be Admin or Baseline, is ${JSON.stringify(tier)}`);
}

function priority(spec: JsonObject): number {
  const value = spec.priority;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 1000) return value;
  throw new Mismatch('spec.priority', 'must be a whole number, 0 to 1000');
}

function readRules(
  spec: JsonObject,
  direction: 'ingress' | 'egress',
  dialect: AdminDialect,
  problems: PolicyProblem[],
): readonly AdminRule[] {
  const path = `spec.${direction}`;
  const items = attempt(problems, () => list(spec[direction], path));
  if (items === undefined) return [anything(path)];
  return items.map((item, i) => {
    const field = `${path}[${i}]`;
    const raw = attempt(problems, () => object(item, field));
    return raw === undefined ? anything(field) : readRule(raw, field, direction, dialect, problems);
  });
}

/** What is there in place of a rule is not understood at all: it may do anything to any flow. */
const anything = (field: string): AdminRule => ({ action: 'unknown', understood: false, peers: [], field });

function readRule(
  raw: JsonObject,
  field: string,
  direction: 'ingress' | 'egress',
  dialect: AdminDialect,
  problems: PolicyProblem[],
): AdminRule {
  const action = attempt(problems, () => readAction(raw, field, dialect)) ?? 'unknown';
  const name = attempt(problems, () => readName(raw, field));
  const before = problems.length;
  const peerKey = direction === 'ingress' ? 'from' : 'to';
  attempt(problems, () => onlyFields(raw, ['name', 'action', peerKey, ...dialect.ports], field));
  const peers = readPeers(raw[peerKey], `${field}.${peerKey}`, direction, action, dialect, problems);
  const ports = readPorts(raw, field, dialect, problems);
  const nameless = peers.find((peer) => peer.kind !== 'pods');
  // The CRD's validation rule: nodes, networks and domain names have no named ports.
  for (const port of ports ?? [])
    if (port.kind === 'named' && nameless !== undefined)
      problems.push({
        field: port.field,
        why: `names a port beside the peer ${nameless.field}, which has no names`,
      });
  const head = { ...(name === undefined ? {} : { name }), action, field };
  if (problems.length > before) return { ...head, understood: false, peers: [] };
  return { ...head, understood: true, peers, ...(ports === undefined ? {} : { ports }) };
}

function readAction(raw: JsonObject, field: string, { actions }: AdminDialect): AdminRule['action'] {
  const text = string(raw.action, `${field}.action`);
  const action = Object.hasOwn(actions, text) ? actions[text] : undefined;
  if (action !== undefined) return action;
  const allowed = Object.keys(actions).join(', ');
  throw new Mismatch(`${field}.action`, `must be one of ${allowed}, is ${JSON.stringify(text)}`);
}

function readName(raw: JsonObject, field: string): string | undefined {
  if (!present(raw, 'name')) return undefined;
  const name = string(raw.name, `${field}.name`);
  if (name.length > 100) throw new Mismatch(`${field}.name`, 'is longer than 100 characters');
  return name;
}
