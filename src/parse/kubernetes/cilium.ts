/** Cilium's policies and CIDR groups (cilium.io/v2) in normal form, with the API's defaults and validation. */
import type {
  CiliumCidrGroup,
  CiliumObjects,
  CiliumPolicy,
  CiliumRule,
  CiliumSection,
  CiliumSpec,
} from '../../model/policies/cilium.ts';
import type { JsonObject } from '../json.ts';
import { readRule } from './cilium-rule.ts';
import { readSelector, readSubject } from './cilium-selector.ts';
import {
  attempt,
  attemptEach,
  boolOr,
  cidr,
  isAbsent,
  list,
  Mismatch,
  metadata,
  object,
  objectOrEmpty,
  onlyFields,
  type Problems,
} from './cilium-shape.ts';
import type { ReadKind } from './cluster.ts';

export function readCilium(read: ReadKind): CiliumObjects {
  return {
    kind: 'cilium',
    policies: [
      ...read('ciliumnetworkpolicies.cilium.io', 'CiliumNetworkPolicy', (item) => readPolicy(item, true)),
      ...read('ciliumclusterwidenetworkpolicies.cilium.io', 'CiliumClusterwideNetworkPolicy', (item) =>
        readPolicy(item, false),
      ),
    ],
    cidrGroups: read('ciliumcidrgroups.cilium.io', 'CiliumCIDRGroup', readCidrGroup),
  };
}

/** Throws Mismatch only where nobody can say whom the policy selects. */
function readPolicy(item: JsonObject, namespaced: boolean): CiliumPolicy {
  const meta = metadata(item);
  const namespace = namespaced ? meta.namespace : undefined;
  const problems: Problems = [];
  const specs: CiliumSpec[] = [];
  if (!isAbsent(item.spec)) specs.push(readSpec(item.spec, 'spec', namespace, problems));
  for (const [i, spec] of list(item.specs, 'specs').entries())
    specs.push(readSpec(spec, `specs[${i}]`, namespace, problems));
  if (isAbsent(item.spec) && isAbsent(item.specs)) throw new Mismatch('spec', 'or specs must be given');
  return {
    kind: namespaced ? 'CiliumNetworkPolicy' : 'CiliumClusterwideNetworkPolicy',
    ...(namespace === undefined ? {} : { namespace }),
    name: meta.name,
    specs,
    problems,
  };
}

const specFields = [
  'endpointSelector',
  'nodeSelector',
  'ingress',
  'ingressDeny',
  'egress',
  'egressDeny',
  'enableDefaultDeny',
  'labels',
  'description',
  'log',
];

function readSpec(
  value: unknown,
  field: string,
  namespace: string | undefined,
  problems: Problems,
): CiliumSpec {
  const raw = object(value, field);
  attempt(problems, () => onlyFields(raw, field, specFields));
  const subject = readSpecSubject(raw, field, namespace);
  const ingress = readSection(raw, field, 'ingress', namespace, problems);
  const egress = readSection(raw, field, 'egress', namespace, problems);
  if (ingress === undefined && egress === undefined)
    problems.push({ field, why: 'has no rules, so it has no effect' });
  return {
    field,
    subject,
    ...(ingress === undefined ? {} : { ingress }),
    ...(egress === undefined ? {} : { egress }),
  };
}

function readSpecSubject(
  raw: JsonObject,
  field: string,
  namespace: string | undefined,
): CiliumSpec['subject'] {
  const ofNodes = !isAbsent(raw.nodeSelector);
  if (ofNodes === !isAbsent(raw.endpointSelector))
    throw new Mismatch(field, 'must have one of endpointSelector and nodeSelector');
  if (ofNodes && namespace !== undefined)
    throw new Mismatch(`${field}.nodeSelector`, 'is for clusterwide policies only');
  return ofNodes
    ? { kind: 'nodes', selector: readSelector(raw.nodeSelector, `${field}.nodeSelector`) }
    : {
        kind: 'endpoints',
        selector: readSubject(raw.endpointSelector, `${field}.endpointSelector`, namespace),
      };
}

/** Undefined where the direction has no rules: an empty list does not switch anything on (Rule.Sanitize). */
function readSection(
  raw: JsonObject,
  field: string,
  direction: 'ingress' | 'egress',
  namespace: string | undefined,
  problems: Problems,
): CiliumSection | undefined {
  const rules = (deny: boolean): CiliumRule[] => {
    const path = `${field}.${direction}${deny ? 'Deny' : ''}`;
    const value = raw[`${direction}${deny ? 'Deny' : ''}`];
    const items = attempt(problems, () => list(value, path));
    // A section that cannot be read is there all the same, so it isolates.
    if (items === undefined && !deny) return [{ field: path, peers: [], requires: [] }];
    return (items ?? [value]).map((item, i) =>
      readRule(item, `${path}[${i}]`, { direction, deny, namespace }, problems),
    );
  };
  const allow = rules(false);
  const deny = rules(true);
  if (allow.length === 0 && deny.length === 0) return undefined;
  const defaultDeny = attempt(problems, () => {
    const config = objectOrEmpty(raw.enableDefaultDeny, `${field}.enableDefaultDeny`);
    onlyFields(config, `${field}.enableDefaultDeny`, ['ingress', 'egress']);
    return boolOr(config[direction], `${field}.enableDefaultDeny.${direction}`, true);
  });
  return { defaultDeny: defaultDeny ?? true, allow, deny };
}

function readCidrGroup(item: JsonObject): CiliumCidrGroup {
  const meta = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const problems: Problems = [];
  attempt(problems, () => onlyFields(spec, 'spec', ['externalCIDRs']));
  const path = 'spec.externalCIDRs';
  const items = attempt(problems, () => list(spec.externalCIDRs, path)) ?? [];
  return {
    name: meta.name,
    labels: meta.labels,
    cidrs: attemptEach(problems, items, path, cidr),
    problems,
  };
}
