/** One rule of an Istio AuthorizationPolicy. */
import type {
  IstioAuthorizationPolicy,
  IstioCondition,
  IstioOperation,
  IstioRule,
  IstioSource,
  IstioValues,
} from '../../model/policies/istio.ts';
import { type Prefix, parsePrefix } from '../../net/prefix.ts';
import type { JsonObject } from '../json.ts';
import { onlyFields, type Problems, readItems, readValues } from './mesh.ts';
import { Mismatch, object, string } from './shape.ts';

type Action = IstioAuthorizationPolicy['action'];

export function readIstioRule(
  rule: JsonObject,
  field: string,
  namespace: string,
  action: Action,
  problems: Problems,
): IstioRule {
  const before = problems.length;
  onlyFields(rule, field, ['from', 'to', 'when'], problems);
  for (const key of ['from', 'to'])
    if (Array.isArray(rule[key]) && (rule[key] as readonly unknown[]).length === 0)
      problems.push({ field: `${field}.${key}`, why: 'must not be empty' });
  const from = readItems(rule.from, `${field}.from`, problems, (item, path) =>
    readSource(item, path, namespace, action, problems),
  );
  const to = readItems(rule.to, `${field}.to`, problems, (item, path) => readOperation(item, path, problems));
  const when = readItems(rule.when, `${field}.when`, problems, (item, path) =>
    readCondition(item, path, namespace, action, problems),
  );
  return {
    sources: from.items,
    operations: to.items,
    when: when.items,
    understood: problems.length === before,
    field,
  };
}

/** Istio passes no identity to an external authorizer's rules (ValidateAuthorizationPolicy). */
const identityFields = ['principals', 'namespaces', 'serviceAccounts', 'trustDomains', 'requestPrincipals'];

const sourceFields = [...identityFields, 'ipBlocks', 'remoteIpBlocks'];
const negative = (name: string): string => `not${name.charAt(0).toUpperCase()}${name.slice(1)}`;

function readSource(
  item: JsonObject,
  path: string,
  namespace: string,
  action: Action,
  problems: Problems,
): IstioSource {
  onlyFields(item, path, ['source'], problems);
  const field = `${path}.source`;
  const source = object(item.source, field);
  onlyFields(source, field, [...sourceFields, ...sourceFields.map(negative)], problems);
  const both = <T>(name: string, read: (value: unknown, at: string) => T): IstioValues<T> => ({
    values: readValues(source[name], `${field}.${name}`, problems, read).items,
    notValues: readValues(source[negative(name)], `${field}.${negative(name)}`, problems, read).items,
  });
  const isUsed = (values: IstioValues<unknown>) => values.values.length + values.notValues.length > 0;
  const principals = both('principals', filled);
  const namespaces = both('namespaces', filled);
  const serviceAccounts = both('serviceAccounts', (value, at) => accountName(value, at, namespace));
  const trustDomains = both('trustDomains', trustDomain);
  const ipBlocks = both('ipBlocks', block);
  const remote = isUsed(both('remoteIpBlocks', block));
  const request = isUsed(both('requestPrincipals', filled));
  const identified = [principals, namespaces, serviceAccounts, trustDomains].some(isUsed);
  if (!identified && !isUsed(ipBlocks) && !remote && !request)
    problems.push({ field, why: 'names no source' });
  if (isUsed(serviceAccounts) && (isUsed(principals) || isUsed(namespaces)))
    problems.push({
      field: `${field}.serviceAccounts`,
      why: 'must not stand beside principals or namespaces',
    });
  if (action === 'CUSTOM' && (identified || request))
    problems.push({ field, why: 'must not name identities with the action CUSTOM' });
  return {
    principals,
    namespaces,
    serviceAccounts,
    trustDomains,
    ipBlocks,
    remoteIpBlocks: remote,
    requestPrincipals: request,
    field,
  };
}

const httpFields = ['hosts', 'methods', 'paths'].flatMap((name) => [name, negative(name)]);

function readOperation(item: JsonObject, path: string, problems: Problems): IstioOperation {
  onlyFields(item, path, ['operation'], problems);
  const field = `${path}.operation`;
  const operation = object(item.operation, field);
  onlyFields(operation, field, ['ports', 'notPorts', ...httpFields], problems);
  const portList = (name: string) =>
    readValues(operation[name], `${field}.${name}`, problems, portText).items;
  const ports = { values: portList('ports'), notValues: portList('notPorts') };
  const http = httpFields.filter(
    (name) => readValues(operation[name], `${field}.${name}`, problems, filled).items.length > 0,
  );
  if (ports.values.length + ports.notValues.length + http.length === 0)
    problems.push({ field, why: 'names no operation' });
  return { ports, http, field };
}

function readCondition(
  item: JsonObject,
  field: string,
  namespace: string,
  action: Action,
  problems: Problems,
): IstioCondition {
  onlyFields(item, field, ['key', 'values', 'notValues'], problems);
  const key = string(item.key, `${field}.key`);
  const both = <T>(read: (value: unknown, at: string) => T): IstioValues<T> => {
    const is = {
      values: readValues(item.values, `${field}.values`, problems, read).items,
      notValues: readValues(item.notValues, `${field}.notValues`, problems, read).items,
    };
    if (is.values.length + is.notValues.length === 0)
      problems.push({ field, why: 'needs values or notValues' });
    return is;
  };
  if (
    action === 'CUSTOM' &&
    /^(source\.(namespace|serviceAccount|trustDomain|principal)$|request\.auth\.)/.test(key)
  )
    problems.push({ field: `${field}.key`, why: `${key} must not stand with the action CUSTOM` });
  switch (key) {
    case 'source.ip':
    case 'destination.ip':
      return { key, is: both(block), field };
    case 'destination.port':
      return { key, is: both(portText), field };
    case 'source.principal':
    case 'source.namespace':
      return { key, is: both(filled), field };
    case 'source.trustDomain':
      return { key, is: both(trustDomain), field };
    case 'source.serviceAccount':
      return { key, is: both((value, at) => accountName(value, at, namespace)), field };
    case 'remote.ip':
      both(block);
      return { key: 'other', name: key, field };
    case 'connection.sni':
      both(filled);
      return { key: 'other', name: key, field };
    case 'request.auth.principal':
    case 'request.auth.audiences':
    case 'request.auth.presenter':
      both(filled);
      return { key: 'request', name: key, field };
  }
  both(filled);
  if (/^request\.(headers|auth\.claims)\[.+\]$/.test(key)) return { key: 'request', name: key, field };
  if (/^experimental\.envoy\.filters\..+\[.+\]$/.test(key)) return { key: 'other', name: key, field };
  throw new Mismatch(`${field}.key`, `is no attribute: ${JSON.stringify(key)}`);
}

function filled(value: unknown, field: string): string {
  const text = string(value, field);
  if (text === '') throw new Mismatch(field, 'is empty');
  return text;
}

/** `name` of the policy's own namespace, or `namespace/name`; no wildcards (CheckServiceAccount). */
function accountName(value: unknown, field: string, namespace: string): string {
  const text = filled(value, field);
  if (!/^[^*/]+(\/[^*/]+)?$/.test(text))
    throw new Mismatch(field, `is no service account: ${JSON.stringify(text)}`);
  return text.includes('/') ? text : `${namespace}/${text}`;
}

function trustDomain(value: unknown, field: string): string {
  const text = filled(value, field);
  if (text.includes('/') || !/^\*?[^*]*$|^[^*]*\*$/.test(text))
    throw new Mismatch(field, `is no trust domain: ${JSON.stringify(text)}`);
  return text;
}

/** A single address or a prefix. */
function block(value: unknown, field: string): Prefix {
  const text = filled(value, field);
  const found = parsePrefix(text);
  if (found === undefined) throw new Mismatch(field, `is no address or prefix: ${JSON.stringify(text)}`);
  return found;
}

/** Ports are written as text here: `"80"` (ValidatePorts). */
function portText(value: unknown, field: string): number {
  const text = string(value, field);
  const number = /^[0-9]+$/.test(text) ? Number(text) : Number.NaN;
  if (!(number <= 65535)) throw new Mismatch(field, `is no port: ${JSON.stringify(text)}`);
  return number;
}
