/**
 * Calico's policy objects. They are served as projectcalico.org/v3 by its API server, and stored as crd.projectcalico.org/v1, where a
 * policy's name begins with its tier: `default.allow-dns`. A collection may hold the same object twice.
 */
import type { PolicyProblem } from '../../model/cluster.ts';
import type {
  CalicoHostEndpoint,
  CalicoNetworkSet,
  CalicoObjects,
  CalicoPolicy,
  CalicoProfile,
  CalicoRule,
  CalicoSelector,
  CalicoStagedAction,
  CalicoStagedKubernetesPolicy,
  CalicoTier,
} from '../../model/policies/calico.ts';
import type { JsonObject } from '../json.ts';
import { attempt, onlyKeys, readCalicoRules, readNet } from './calico-rule.ts';
import { parseCalicoSelector, usesGlobal } from './calico-selector.ts';
import type { ReadKind } from './cluster.ts';
import { readNetworkPolicy } from './policy.ts';
import {
  address,
  each,
  labels,
  list,
  type Metadata,
  Mismatch,
  metadata,
  objectOrEmpty,
  string,
  stringOr,
} from './shape.ts';

const groups = ['projectcalico.org', 'crd.projectcalico.org'] as const;

export function readCalico(read: ReadKind): CalicoObjects {
  const both = <T extends Named>(plural: string, kind: string, readItem: (item: JsonObject) => T): T[] =>
    distinct(groups.flatMap((group) => read(`${plural}.${group}`, kind, readItem)));
  const policies = (plural: string, kind: CalicoPolicy['kind']) =>
    both(plural, kind, (item) => readCalicoPolicy(item, kind));
  return {
    policies: [
      ...policies('networkpolicies', 'NetworkPolicy'),
      ...policies('globalnetworkpolicies', 'GlobalNetworkPolicy'),
    ],
    stagedPolicies: [
      ...policies('stagednetworkpolicies', 'StagedNetworkPolicy'),
      ...policies('stagedglobalnetworkpolicies', 'StagedGlobalNetworkPolicy'),
    ],
    stagedKubernetesPolicies: both(
      'stagedkubernetesnetworkpolicies',
      'StagedKubernetesNetworkPolicy',
      readStagedKubernetesPolicy,
    ),
    tiers: both('tiers', 'Tier', readTier),
    networkSets: [
      ...both('networksets', 'NetworkSet', (item) => readNetworkSet(item, true)),
      ...both('globalnetworksets', 'GlobalNetworkSet', (item) => readNetworkSet(item, false)),
    ],
    profiles: both('profiles', 'Profile', readProfile),
    hostEndpoints: both('hostendpoints', 'HostEndpoint', readHostEndpoint),
  };
}

type Named =
  | { readonly name: string; readonly namespace?: string; readonly tier?: string }
  | { readonly policy: { readonly name: string; readonly namespace: string } };

function distinct<T extends Named>(items: readonly T[]): T[] {
  const found = new Map<string, T>();
  for (const item of items) {
    const { namespace, name } = 'policy' in item ? item.policy : item;
    const tier = 'tier' in item ? item.tier : '';
    const key = `${namespace ?? ''}/${tier}/${name}`;
    if (!found.has(key)) found.set(key, item);
  }
  return [...found.values()];
}

const specKeys = [
  'tier',
  'order',
  'ingress',
  'egress',
  'selector',
  'types',
  'serviceAccountSelector',
  'performanceHints',
];
const globalKeys = ['namespaceSelector', 'doNotTrack', 'preDNAT', 'applyOnForward'];

/** Throws Mismatch where nobody can say whom the policy selects, or where in the order it stands. */
function readCalicoPolicy(item: JsonObject, kind: CalicoPolicy['kind']): CalicoPolicy {
  const meta = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const problems: PolicyProblem[] = [];
  const global = kind === 'GlobalNetworkPolicy' || kind === 'StagedGlobalNetworkPolicy';
  const staged = kind === 'StagedNetworkPolicy' || kind === 'StagedGlobalNetworkPolicy';
  attempt(problems, 'spec', () =>
    onlyKeys(spec, 'spec', [...specKeys, ...(global ? globalKeys : []), ...(staged ? ['stagedAction'] : [])]),
  );
  const tier = stringOr(spec.tier, 'spec.tier', '') || 'default';
  const name = meta.name.startsWith(`${tier}.`) ? meta.name.slice(tier.length + 1) : meta.name;
  const accounts = optionalSelector(spec, 'serviceAccountSelector');
  const namespaces = global ? optionalSelector(spec, 'namespaceSelector') : undefined;
  const hostOnly = readHostOnly(spec, problems);
  const rulesOf = (direction: 'ingress' | 'egress'): readonly CalicoRule[] =>
    readCalicoRules(
      spec[direction],
      `spec.${direction}`,
      { direction, ...(global ? {} : { namespace: meta.namespace }) },
      problems,
    );
  const types = readTypes(spec, problems);
  return {
    kind,
    ...(global ? {} : { namespace: meta.namespace }),
    name,
    tier,
    order: readOrder(spec.order, 'spec.order'),
    selector: optionalSelector(spec, 'selector') ?? { is: 'all' },
    ...(accounts === undefined ? {} : { serviceAccountSelector: accounts }),
    ...(namespaces === undefined ? {} : { namespaceSelector: namespaces }),
    ...(types.has('Ingress') ? { ingress: rulesOf('ingress') } : {}),
    ...(types.has('Egress') ? { egress: rulesOf('egress') } : {}),
    ...(hostOnly === undefined ? {} : { hostOnly }),
    ...(staged ? { stagedAction: readStagedAction(spec) } : {}),
    problems,
  };
}

function optionalSelector(spec: JsonObject, key: string): CalicoSelector | undefined {
  const field = `spec.${key}`;
  const text = stringOr(spec[key], field, '');
  if (text === '') return undefined;
  const selector = parseCalicoSelector(text, field);
  if (usesGlobal(selector)) throw new Mismatch(field, 'has global(), which may stand in rules only');
  return selector;
}

/** Infinity where missing: a policy or tier without an order comes last (felix/calc/policy_sorter.go). */
function readOrder(value: unknown, field: string): number {
  if (value === undefined || value === null) return Number.POSITIVE_INFINITY;
  if (typeof value !== 'number' || Number.isNaN(value)) throw new Mismatch(field, 'must be a number');
  return value;
}

/** The default follows the rules: Egress alone where there are only egress rules, unlike in Kubernetes. */
function readTypes(spec: JsonObject, problems: PolicyProblem[]): ReadonlySet<string> {
  const found = attempt(problems, 'spec.types', () => each(spec.types, 'spec.types', string)) ?? [];
  const types = found.filter((type, i) => {
    if (type === 'Ingress' || type === 'Egress') return true;
    problems.push({
      field: `spec.types[${i}]`,
      why: `must be Ingress or Egress, is ${JSON.stringify(type)}`,
    });
    return false;
  });
  if (types.length > 0) return new Set(types);
  const has = (value: unknown) =>
    Array.isArray(value) ? value.length > 0 : value !== undefined && value !== null;
  if (!has(spec.egress)) return new Set(['Ingress']);
  return new Set(has(spec.ingress) ? ['Ingress', 'Egress'] : ['Egress']);
}

function readHostOnly(spec: JsonObject, problems: PolicyProblem[]): CalicoPolicy['hostOnly'] {
  const flag = (key: string): boolean => {
    const value = spec[key] ?? false;
    if (typeof value === 'boolean') return value;
    throw new Mismatch(`spec.${key}`, 'must be true or false');
  };
  const doNotTrack = flag('doNotTrack');
  const preDnat = flag('preDNAT');
  const onForward = flag('applyOnForward');
  if (doNotTrack && preDnat)
    problems.push({ field: 'spec.preDNAT', why: 'must not stand beside doNotTrack' });
  if ((doNotTrack || preDnat) && !onForward)
    problems.push({ field: 'spec.applyOnForward', why: 'must be true with doNotTrack or preDNAT' });
  return doNotTrack ? 'doNotTrack' : preDnat ? 'preDNAT' : undefined;
}

function readStagedAction(spec: JsonObject): CalicoStagedAction {
  const action = stringOr(spec.stagedAction, 'spec.stagedAction', 'Set') || 'Set';
  if (action !== 'Set' && action !== 'Delete' && action !== 'Learn' && action !== 'Ignore')
    throw new Mismatch('spec.stagedAction', `is unknown: ${JSON.stringify(action)}`);
  return action;
}

function readStagedKubernetesPolicy(item: JsonObject): CalicoStagedKubernetesPolicy {
  const { stagedAction, ...spec } = objectOrEmpty(item.spec, 'spec');
  return { action: readStagedAction({ stagedAction }), policy: readNetworkPolicy({ ...item, spec }) };
}

/** Orders and default actions that the API fixes (crd.projectcalico.org/v1 tier_types.go). */
const fixedTiers: Readonly<Record<string, readonly [order: number, defaultAction: 'Deny' | 'Pass']>> = {
  'kube-admin': [1_000, 'Pass'],
  default: [1_000_000, 'Deny'],
  'kube-baseline': [10_000_000, 'Pass'],
};

function readTier(item: JsonObject): CalicoTier {
  const { name } = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const problems: PolicyProblem[] = [];
  attempt(problems, 'spec', () => onlyKeys(spec, 'spec', ['order', 'defaultAction']));
  const given = stringOr(spec.defaultAction, 'spec.defaultAction', '') || 'Deny';
  if (given !== 'Deny' && given !== 'Pass')
    problems.push({ field: 'spec.defaultAction', why: `must be Deny or Pass, is ${JSON.stringify(given)}` });
  const order = readOrder(spec.order, 'spec.order');
  const fixed = Object.hasOwn(fixedTiers, name) ? fixedTiers[name] : undefined;
  if (fixed === undefined)
    return { name, order, defaultAction: given === 'Pass' ? 'Pass' : 'Deny', problems };
  if (spec.order !== undefined && spec.order !== null && order !== fixed[0])
    problems.push({ field: 'spec.order', why: `must be ${fixed[0]} in the tier ${name}` });
  if (present(spec.defaultAction) && given !== fixed[1])
    problems.push({ field: 'spec.defaultAction', why: `must be ${fixed[1]} in the tier ${name}` });
  return { name, order: fixed[0], defaultAction: fixed[1], problems };
}

const present = (value: unknown): boolean => value !== undefined && value !== null;

/** Invalid nets are left out, as Felix leaves them out. */
function readNetworkSet(item: JsonObject, namespaced: boolean): CalicoNetworkSet {
  const meta = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const problems: PolicyProblem[] = [];
  attempt(problems, 'spec', () => onlyKeys(spec, 'spec', ['nets', 'allowedEgressDomains']));
  return {
    ...(namespaced ? { namespace: meta.namespace } : {}),
    name: meta.name,
    labels: meta.labels,
    nets: readValid(spec.nets, 'spec.nets', problems, readNet),
    problems,
  };
}

function readValid<T>(
  value: unknown,
  path: string,
  problems: PolicyProblem[],
  read: (item: unknown, field: string) => T,
): T[] {
  const items = attempt(problems, path, () => list(value, path)) ?? [];
  return items.flatMap((item, i) => {
    const field = `${path}[${i}]`;
    const found = attempt(problems, field, () => ({ value: read(item, field) }));
    return found === undefined ? [] : [found.value];
  });
}

function readProfile(item: JsonObject): CalicoProfile {
  const { name } = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const problems: PolicyProblem[] = [];
  attempt(problems, 'spec', () => onlyKeys(spec, 'spec', ['ingress', 'egress', 'labelsToApply']));
  const rulesOf = (direction: 'ingress' | 'egress') =>
    readCalicoRules(spec[direction], `spec.${direction}`, { direction, profile: true }, problems);
  return {
    name,
    ingress: rulesOf('ingress'),
    egress: rulesOf('egress'),
    labelsToApply: labels(spec.labelsToApply, 'spec.labelsToApply'),
    problems,
  };
}

function readHostEndpoint(item: JsonObject): CalicoHostEndpoint {
  const meta: Metadata = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const problems: PolicyProblem[] = [];
  return {
    name: meta.name,
    node: stringOr(spec.node, 'spec.node', ''),
    labels: meta.labels,
    expectedIps: readValid(spec.expectedIPs, 'spec.expectedIPs', problems, address),
    profiles: each(spec.profiles, 'spec.profiles', string),
    problems,
  };
}
