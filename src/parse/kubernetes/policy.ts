/** NetworkPolicy (networking.k8s.io/v1) in normal form, with the API server's defaults and validation. */
import type { NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule, Selector } from '../../model/cluster.ts';
import { covers } from '../../net/prefix.ts';
import type { JsonObject } from '../json.ts';
import {
  cidr,
  each,
  eachObject,
  itemPath,
  labels,
  list,
  Mismatch,
  metadata,
  object,
  objectOrEmpty,
  partPath,
  port,
  protocol,
  string,
  type Writable,
} from './shape.ts';

type Problem = NetworkPolicy['problems'][number];
type Fields = readonly string[];
type Operator = Selector['matchExpressions'][number]['operator'];

/**
 * Throws Mismatch only where nobody can say which pods are selected. Every other invalid part is named in `problems` and
 * matches nothing: an invalid policy that allowed more than it says would be worse.
 */
export function readNetworkPolicy(item: JsonObject): NetworkPolicy {
  const meta = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const problems: Problem[] = [];
  attempt(problems, 'spec', () => onlyFields(spec, specFields, ''));
  const { ingress, egress } = policyTypes(spec, problems);
  const policy: Writable<NetworkPolicy> = {
    namespace: meta.namespace,
    name: meta.name,
    // Omitted is the same as empty: every pod of the namespace.
    podSelector: selector(spec.podSelector ?? {}, 'spec.podSelector'),
    problems,
  };
  if (ingress) policy.ingress = readRules(spec.ingress, 'spec.ingress', 'from', problems);
  if (egress) policy.egress = readRules(spec.egress, 'spec.egress', 'to', problems);
  const given = { ingress, egress };
  const ignored = (['ingress', 'egress'] as const).filter((direction) => {
    const rules = spec[direction];
    return !given[direction] && Array.isArray(rules) && rules.length > 0;
  });
  if (ignored.length > 0) policy.ignored = ignored;
  return policy;
}

/** Missing or empty: Ingress always, Egress only if there are egress rules (pkg/apis/networking/v1/defaults.go). */
function policyTypes(spec: JsonObject, problems: Problem[]): { ingress: boolean; egress: boolean } {
  const types = attempt(problems, 'spec.policyTypes', () =>
    each(spec.policyTypes, 'spec.policyTypes', string),
  );
  if (types === undefined || types.length === 0)
    return { ingress: true, egress: Array.isArray(spec.egress) && spec.egress.length > 0 };
  const found = { ingress: false, egress: false };
  for (const [i, type] of types.entries())
    if (type === 'Ingress') found.ingress = true;
    else if (type === 'Egress') found.egress = true;
    else
      problems.push({
        field: `spec.policyTypes[${i}]`,
        why: `must be Ingress or Egress, is ${JSON.stringify(type)}`,
      });
  return found;
}

const specFields: Fields = ['podSelector', 'policyTypes', 'ingress', 'egress'];
const ruleFields: Readonly<Record<'from' | 'to', Fields>> = { from: ['from', 'ports'], to: ['to', 'ports'] };
const peerFields: Fields = ['podSelector', 'namespaceSelector', 'ipBlock'];
const blockFields: Fields = ['cidr', 'except'];
const portFields: Fields = ['protocol', 'port', 'endPort'];
const selectorFields: Fields = ['matchLabels', 'matchExpressions'];
const expressionFields: Fields = ['key', 'operator', 'values'];

/** Refuses fields that the API has not: a typo, or a newer API's word that may narrow the part. */
function onlyFields(raw: JsonObject, known: Fields, field: string): JsonObject {
  for (const key in raw)
    if (!known.includes(key)) throw new Mismatch(`${field}.${key}`, 'is no field of the API');
  return raw;
}

/** Undefined, with a line in `problems`, where `read` finds a wrong shape. Paths that begin with a dot continue `field`. */
function attempt<T>(problems: Problem[], field: string, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    const inside = error.field === '' || error.field.startsWith('.');
    problems.push({ field: inside ? field + error.field : error.field, why: error.why });
    return undefined;
  }
}

function readRules(
  value: unknown,
  path: string,
  peerKey: 'from' | 'to',
  problems: Problem[],
): readonly PolicyRule[] {
  const items = attempt(problems, path, () => list(value, path)) ?? [];
  const rules: PolicyRule[] = [];
  for (let i = 0; i < items.length; i++) {
    const field = itemPath(path, i);
    // A misspelt `from` must not make a rule for everybody: a rule with a strange field allows nothing.
    const item = attempt(problems, field, () => onlyFields(object(items[i], field), ruleFields[peerKey], ''));
    if (item === undefined) continue;
    const rule: Writable<PolicyRule> = { field };
    const peers = readParts(item[peerKey], partPath(field, peerKey), problems, readPeer);
    const ports = readParts(item.ports, partPath(field, 'ports'), problems, readPort);
    if (peers !== undefined) rule.peers = peers;
    if (ports !== undefined) rule.ports = ports;
    rules.push(rule);
  }
  return rules;
}

/**
 * Undefined (any) where missing, null or empty. A list of which every item is invalid is an empty list: it matches nothing. `read`
 * gets the item's path for its value; the paths in its errors begin after it.
 */
function readParts<T>(
  value: unknown,
  path: string,
  problems: Problem[],
  read: (item: JsonObject, field: string) => T,
): readonly T[] | undefined {
  const items = attempt(problems, path, () => list(value, path));
  if (items === undefined) return [];
  if (items.length === 0) return undefined;
  const parts: T[] = [];
  for (let i = 0; i < items.length; i++) {
    const field = itemPath(path, i);
    const part = attempt(problems, field, () => read(object(items[i], ''), field));
    if (part !== undefined) parts.push(part);
  }
  return parts;
}

function readPeer(item: JsonObject, field: string): PolicyPeer {
  onlyFields(item, peerFields, '');
  const present = (key: string) => item[key] !== undefined && item[key] !== null;
  const hasNamespaces = present('namespaceSelector');
  const hasPods = present('podSelector');
  if (present('ipBlock')) {
    if (hasNamespaces || hasPods) throw new Mismatch('', 'has an ipBlock beside a selector');
    return readIpBlock(object(item.ipBlock, '.ipBlock'), field);
  }
  if (!hasNamespaces && !hasPods)
    throw new Mismatch('', 'names no peer: it needs podSelector, namespaceSelector or ipBlock');
  const peer: Writable<Extract<PolicyPeer, { kind: 'pods' }>> = { kind: 'pods', field };
  if (hasNamespaces) peer.namespaceSelector = selector(item.namespaceSelector, '.namespaceSelector');
  if (hasPods) peer.podSelector = selector(item.podSelector, '.podSelector');
  return peer;
}

function readIpBlock(block: JsonObject, field: string): PolicyPeer {
  onlyFields(block, blockFields, '.ipBlock');
  const network = cidr(block.cidr, '.ipBlock.cidr');
  const except = each(block.except, '.ipBlock.except', (item, path) => {
    const inner = cidr(item, path);
    // A strict subset: the API server refuses an except that is the whole cidr (ValidateIPBlock).
    if (!covers(network, inner) || inner.length === network.length)
      throw new Mismatch(path, `must lie inside cidr: ${JSON.stringify(item)}`);
    return inner;
  });
  return { kind: 'ip-block', cidr: network, except, field };
}

function readPort(item: JsonObject, field: string): PolicyPort {
  onlyFields(item, portFields, '');
  const found: Writable<PolicyPort> = { protocol: protocol(item.protocol, '.protocol'), field };
  const value = item.port;
  const end = item.endPort;
  const hasEnd = end !== undefined && end !== null;
  if (value === undefined || value === null) {
    if (hasEnd) throw new Mismatch('.endPort', 'needs a port');
    return found;
  }
  if (typeof value === 'string') {
    if (hasEnd) throw new Mismatch('.endPort', 'needs a numeric port');
    found.port = portName(value, '.port');
    return found;
  }
  const number = port(value, '.port');
  found.port = number;
  if (!hasEnd) return found;
  const endPort = port(end, '.endPort');
  if (endPort < number) throw new Mismatch('.endPort', 'must not be lower than port');
  found.endPort = endPort;
  return found;
}

/** An IANA service name: `"80"` is neither a number nor a name, and the API server refuses it (IsValidPortName). */
export function portName(text: string, field: string): string {
  const valid = /^[a-z0-9-]{1,15}$/.test(text) && /[a-z]/.test(text) && !/^-|-$|--/.test(text);
  if (!valid) throw new Mismatch(field, `is no port name: ${JSON.stringify(text)}`);
  return text;
}

const isOperator = (text: string): text is Operator =>
  text === 'In' || text === 'NotIn' || text === 'Exists' || text === 'DoesNotExist';

export function selector(value: unknown, field: string): Selector {
  const raw = onlyFields(object(value, field), selectorFields, field);
  return {
    matchLabels: labels(raw.matchLabels, partPath(field, 'matchLabels')),
    matchExpressions: eachObject(raw.matchExpressions, partPath(field, 'matchExpressions'), readExpression),
  };
}

/** In and NotIn need values, the others must have none (ValidateLabelSelectorRequirement). */
function readExpression(item: JsonObject, field: string): Selector['matchExpressions'][number] {
  onlyFields(item, expressionFields, field);
  const operator = string(item.operator, `${field}.operator`);
  if (!isOperator(operator))
    throw new Mismatch(`${field}.operator`, `is unknown: ${JSON.stringify(operator)}`);
  const values = each(item.values, `${field}.values`, string);
  const needsValues = operator === 'In' || operator === 'NotIn';
  if (needsValues !== values.length > 0)
    throw new Mismatch(
      `${field}.values`,
      needsValues ? `must not be empty with ${operator}` : `must be empty with ${operator}`,
    );
  return { key: string(item.key, `${field}.key`), operator, values };
}
