/** NetworkPolicy (networking.k8s.io/v1) in normal form, with the API server's defaults and validation. */
import type { NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule, Selector } from '../../model/cluster.ts';
import { covers } from '../../net/prefix.ts';
import type { JsonObject } from '../json.ts';
import {
  cidr,
  each,
  eachObject,
  labels,
  list,
  Mismatch,
  metadata,
  object,
  objectOrEmpty,
  port,
  protocol,
  string,
} from './shape.ts';

type Problem = NetworkPolicy['problems'][number];
type Operator = Selector['matchExpressions'][number]['operator'];

/**
 * Throws Mismatch only where nobody can say which pods are selected. Every other invalid part is named in `problems` and
 * matches nothing: an invalid policy that allowed more than it says would be worse.
 */
export function readNetworkPolicy(item: JsonObject): NetworkPolicy {
  const meta = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const problems: Problem[] = [];
  const types = policyTypes(spec, problems);
  return {
    namespace: meta.namespace,
    name: meta.name,
    // Omitted is the same as empty: every pod of the namespace.
    podSelector: selector(spec.podSelector ?? {}, 'spec.podSelector'),
    ...(types.has('Ingress') ? { ingress: readRules(spec, 'ingress', 'from', problems) } : {}),
    ...(types.has('Egress') ? { egress: readRules(spec, 'egress', 'to', problems) } : {}),
    problems,
  };
}

/** Missing or empty: Ingress always, Egress only if there are egress rules (pkg/apis/networking/v1/defaults.go). */
function policyTypes(spec: JsonObject, problems: Problem[]): ReadonlySet<string> {
  const found = attempt(problems, 'spec.policyTypes', () =>
    each(spec.policyTypes, 'spec.policyTypes', string),
  );
  const types = found ?? [];
  for (const [i, type] of types.entries())
    if (type !== 'Ingress' && type !== 'Egress')
      problems.push({
        field: `spec.policyTypes[${i}]`,
        why: `must be Ingress or Egress, is ${JSON.stringify(type)}`,
      });
  if (types.length > 0) return new Set(types);
  const egress = spec.egress;
  return new Set(Array.isArray(egress) && egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress']);
}

/** Undefined, with a line in `problems`, where `read` finds a wrong shape. */
function attempt<T>(problems: Problem[], field: string, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    problems.push({ field: error.field || field, why: error.why });
    return undefined;
  }
}

function readRules(
  spec: JsonObject,
  direction: 'ingress' | 'egress',
  peerKey: 'from' | 'to',
  problems: Problem[],
): readonly PolicyRule[] {
  const path = `spec.${direction}`;
  const items = attempt(problems, path, () => list(spec[direction], path)) ?? [];
  const rules: PolicyRule[] = [];
  for (const [i, item] of items.entries()) {
    const field = `${path}[${i}]`;
    const rule = attempt(problems, field, () => object(item, field));
    if (rule === undefined) continue;
    const peers = readParts(rule[peerKey], `${field}.${peerKey}`, problems, readPeer);
    const ports = readParts(rule.ports, `${field}.ports`, problems, readPort);
    rules.push({
      ...(peers === undefined ? {} : { peers }),
      ...(ports === undefined ? {} : { ports }),
      field,
    });
  }
  return rules;
}

/** Undefined (any) where missing, null or empty. A list of which every item is invalid is an empty list: it matches nothing. */
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
  for (const [i, item] of items.entries()) {
    const field = `${path}[${i}]`;
    const part = attempt(problems, field, () => read(object(item, field), field));
    if (part !== undefined) parts.push(part);
  }
  return parts;
}

function readPeer(item: JsonObject, field: string): PolicyPeer {
  const present = (key: string) => item[key] !== undefined && item[key] !== null;
  const hasNamespaces = present('namespaceSelector');
  const hasPods = present('podSelector');
  if (present('ipBlock')) {
    if (hasNamespaces || hasPods) throw new Mismatch(field, 'has an ipBlock beside a selector');
    return readIpBlock(object(item.ipBlock, `${field}.ipBlock`), field);
  }
  if (!hasNamespaces && !hasPods)
    throw new Mismatch(field, 'names no peer: it needs podSelector, namespaceSelector or ipBlock');
  return {
    kind: 'pods',
    ...(hasNamespaces
      ? { namespaceSelector: selector(item.namespaceSelector, `${field}.namespaceSelector`) }
      : {}),
    ...(hasPods ? { podSelector: selector(item.podSelector, `${field}.podSelector`) } : {}),
    field,
  };
}

function readIpBlock(block: JsonObject, field: string): PolicyPeer {
  const network = cidr(block.cidr, `${field}.ipBlock.cidr`);
  const except = each(block.except, `${field}.ipBlock.except`, (item, path) => {
    const inner = cidr(item, path);
    // A strict subset: the API server refuses an except that is the whole cidr (ValidateIPBlock).
    if (!covers(network, inner) || inner.length === network.length)
      throw new Mismatch(path, `must lie inside cidr: ${JSON.stringify(item)}`);
    return inner;
  });
  return { kind: 'ip-block', cidr: network, except, field };
}

function readPort(item: JsonObject, field: string): PolicyPort {
  const transport = protocol(item.protocol, `${field}.protocol`);
  const value = item.port;
  const end = item.endPort;
  const hasEnd = end !== undefined && end !== null;
  if (value === undefined || value === null) {
    if (hasEnd) throw new Mismatch(`${field}.endPort`, 'needs a port');
    return { protocol: transport, field };
  }
  if (typeof value === 'string') {
    if (hasEnd) throw new Mismatch(`${field}.endPort`, 'needs a numeric port');
    return { protocol: transport, port: portName(value, `${field}.port`), field };
  }
  const number = port(value, `${field}.port`);
  if (!hasEnd) return { protocol: transport, port: number, field };
  const endPort = port(end, `${field}.endPort`);
  if (endPort < number) throw new Mismatch(`${field}.endPort`, 'must not be lower than port');
  return { protocol: transport, port: number, endPort, field };
}

/** An IANA service name: `"80"` is neither a number nor a name, and the API server refuses it (IsValidPortName). */
function portName(text: string, field: string): string {
  const valid = /^[a-z0-9-]{1,15}$/.test(text) && /[a-z]/.test(text) && !/^-|-$|--/.test(text);
  if (!valid) throw new Mismatch(field, `is no port name: ${JSON.stringify(text)}`);
  return text;
}

const isOperator = (text: string): text is Operator =>
  text === 'In' || text === 'NotIn' || text === 'Exists' || text === 'DoesNotExist';

function selector(value: unknown, field: string): Selector {
  const raw = object(value, field);
  return {
    matchLabels: labels(raw.matchLabels, `${field}.matchLabels`),
    matchExpressions: eachObject(raw.matchExpressions, `${field}.matchExpressions`, readExpression),
  };
}

/** In and NotIn need values, the others must have none (ValidateLabelSelectorRequirement). */
function readExpression(item: JsonObject, field: string): Selector['matchExpressions'][number] {
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
