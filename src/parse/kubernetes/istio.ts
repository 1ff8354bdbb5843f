/** Istio's policy objects in normal form, by the rules of Istio's own validation (pkg/config/validation). */
import type { Labels } from '../../model/cluster.ts';
import type {
  IstioAuthorizationPolicy,
  IstioDestinationRule,
  IstioMtlsMode,
  IstioObjects,
  IstioPeerAuthentication,
  IstioRule,
  IstioTargetRef,
} from '../../model/policies/istio.ts';
import type { JsonObject } from '../json.ts';
import type { ReadKind } from './cluster.ts';
import { readIstioRule } from './istio-rule.ts';
import { attempt, onlyFields, type Problems, readItems, refuseOthers } from './mesh.ts';
import {
  eachObject,
  labels,
  Mismatch,
  metadata,
  objectOrEmpty,
  optionalString,
  port,
  string,
  stringOr,
} from './shape.ts';

export function readIstio(read: ReadKind): IstioObjects {
  return {
    kind: 'istio',
    authorizationPolicies: read(
      'authorizationpolicies.security.istio.io',
      'AuthorizationPolicy',
      readAuthorizationPolicy,
    ),
    peerAuthentications: read(
      'peerauthentications.security.istio.io',
      'PeerAuthentication',
      readPeerAuthentication,
    ),
    destinationRules: read('destinationrules.networking.istio.io', 'DestinationRule', readDestinationRule),
  };
}

function readAuthorizationPolicy(item: JsonObject): IstioAuthorizationPolicy {
  const { namespace, name, raw } = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const problems: Problems = [];
  const { matchLabels, targetRefs } = readTarget(spec);
  const fieldsKnown = onlyFields(spec, 'spec', specFields, problems);
  const action = readAction(spec, problems);
  const rules = readItems(spec.rules, 'spec.rules', problems, (rule, field) =>
    readIstioRule(rule, field, namespace, action, problems),
  );
  // What could not be read may have been a rule: as ALLOW it allows nothing, as DENY it may deny everything.
  const lost: readonly IstioRule[] =
    fieldsKnown && rules.items.length === listLength(spec.rules)
      ? []
      : [{ sources: [], operations: [], when: [], understood: false, field: 'spec.rules' }];
  const read = fieldsKnown ? rules.items : rules.items.map((rule) => ({ ...rule, understood: false }));
  return {
    namespace,
    name,
    action,
    dryRun: readDryRun(labels(raw.annotations, 'metadata.annotations')),
    matchLabels,
    targetRefs,
    rules: [...read, ...lost],
    problems,
  };
}

const specFields = ['selector', 'targetRef', 'targetRefs', 'rules', 'action', 'provider'];

const listLength = (value: unknown): number =>
  Array.isArray(value) ? value.length : value === undefined || value === null ? 0 : -1;

/** strconv.ParseBool: what it does not take for true is enforced. */
const readDryRun = (annotations: Labels): boolean =>
  ['1', 't', 'T', 'TRUE', 'true', 'True'].includes(annotations['istio.io/dry-run'] ?? '');

function readAction(spec: JsonObject, problems: Problems): IstioAuthorizationPolicy['action'] {
  const action = attempt(problems, () => stringOr(spec.action, 'spec.action', 'ALLOW'));
  switch (action) {
    case undefined:
      return 'unknown';
    case 'ALLOW':
    case 'DENY':
    case 'CUSTOM':
    case 'AUDIT':
      break;
    default:
      problems.push({ field: 'spec.action', why: `is unknown: ${JSON.stringify(action)}` });
      return 'unknown';
  }
  if (spec.rules === undefined && (action === 'DENY' || action === 'CUSTOM'))
    problems.push({ field: 'spec.rules', why: `is missing: ${action} without rules never matches` });
  if (action === 'CUSTOM') {
    const provider = attempt(problems, () => objectOrEmpty(spec.provider, 'spec.provider'));
    if (provider !== undefined && !provider.name)
      problems.push({ field: 'spec.provider.name', why: 'is missing' });
  } else if (spec.provider !== undefined)
    problems.push({ field: 'spec.provider', why: `must not be set with the action ${action}` });
  return action;
}

/** Whom the policy is for. What is wrong here leaves the object out: nobody could say whom it selects. */
function readTarget(spec: JsonObject): { matchLabels: Labels; targetRefs: readonly IstioTargetRef[] } {
  const targetRefs = [
    ...eachObject(spec.targetRefs, 'spec.targetRefs', readTargetRef),
    ...(spec.targetRef === undefined || spec.targetRef === null
      ? []
      : [readTargetRef(objectOrEmpty(spec.targetRef, 'spec.targetRef'), 'spec.targetRef')]),
  ];
  if (targetRefs.length > 0 && spec.selector !== undefined && spec.selector !== null)
    throw new Mismatch('spec', 'has a selector beside targetRefs');
  return { matchLabels: readSelector(spec), targetRefs };
}

function readSelector(spec: JsonObject): Labels {
  const selector = objectOrEmpty(spec.selector, 'spec.selector');
  refuseOthers(selector, 'spec.selector', ['matchLabels']);
  const matchLabels = labels(selector.matchLabels, 'spec.selector.matchLabels');
  for (const [key, value] of Object.entries(matchLabels))
    if (key === '' || key.includes('*') || value.includes('*'))
      throw new Mismatch('spec.selector.matchLabels', `has a wildcard or an empty key: ${key}=${value}`);
  return matchLabels;
}

function readTargetRef(item: JsonObject, field: string): IstioTargetRef {
  refuseOthers(item, field, ['group', 'kind', 'name', 'namespace']);
  const group = stringOr(item.group, `${field}.group`, '');
  return {
    group: group === 'core' ? '' : group,
    kind: string(item.kind, `${field}.kind`),
    name: string(item.name, `${field}.name`),
  };
}

function readPeerAuthentication(item: JsonObject): IstioPeerAuthentication {
  const { namespace, name, raw } = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const problems: Problems = [];
  const matchLabels = readSelector(spec);
  const understood = onlyFields(spec, 'spec', ['selector', 'mtls', 'portLevelMtls'], problems);
  const ports = readPortModes(spec, problems);
  if (ports.length > 0 && Object.keys(matchLabels).length === 0)
    problems.push({ field: 'spec.portLevelMtls', why: 'needs a selector' });
  const created = optionalString(raw.creationTimestamp, 'metadata.creationTimestamp');
  return {
    namespace,
    name,
    matchLabels,
    mode: understood ? readMode(spec.mtls, 'spec.mtls', problems) : 'unknown',
    ports: Object.keys(matchLabels).length === 0 ? [] : ports,
    ...(created === undefined ? {} : { created }),
    problems,
  };
}

function readPortModes(spec: JsonObject, problems: Problems): IstioPeerAuthentication['ports'] {
  const path = 'spec.portLevelMtls';
  const raw = attempt(problems, () => objectOrEmpty(spec.portLevelMtls, path)) ?? {};
  return Object.entries(raw).flatMap(([key, value]) => {
    const field = `${path}[${JSON.stringify(key)}]`;
    const number = attempt(problems, () => port(/^[0-9]+$/.test(key) ? Number(key) : key, field));
    return number === undefined ? [] : [{ port: number, mode: readMode(value, field, problems) }];
  });
}

function readMode(value: unknown, field: string, problems: Problems): IstioMtlsMode | 'unknown' {
  const mode = attempt(problems, () => {
    const mtls = objectOrEmpty(value, field);
    refuseOthers(mtls, field, ['mode']);
    return stringOr(mtls.mode, `${field}.mode`, 'UNSET');
  });
  if (mode === 'UNSET' || mode === 'DISABLE' || mode === 'PERMISSIVE' || mode === 'STRICT') return mode;
  if (mode !== undefined)
    problems.push({ field: `${field}.mode`, why: `is unknown: ${JSON.stringify(mode)}` });
  return 'unknown';
}

/** Only the client's TLS mode is read: subsets and load balancing are no policy. */
function readDestinationRule(item: JsonObject): IstioDestinationRule {
  const { namespace, name } = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const overrides = (value: unknown, field: string): boolean => {
    const policy = objectOrEmpty(value, field);
    const sets = (part: JsonObject, path: string): boolean => {
      const mode = optionalString(objectOrEmpty(part.tls, `${path}.tls`).mode, `${path}.tls.mode`);
      return part.tls !== undefined && part.tls !== null && mode !== 'ISTIO_MUTUAL';
    };
    const ports = eachObject(policy.portLevelSettings, `${field}.portLevelSettings`, sets);
    return sets(policy, field) || ports.includes(true);
  };
  const subsets = eachObject(spec.subsets, 'spec.subsets', (subset, field) =>
    overrides(subset.trafficPolicy, `${field}.trafficPolicy`),
  );
  return {
    namespace,
    name,
    host: string(spec.host, 'spec.host'),
    overridesTls: overrides(spec.trafficPolicy, 'spec.trafficPolicy') || subsets.includes(true),
    problems: [],
  };
}
