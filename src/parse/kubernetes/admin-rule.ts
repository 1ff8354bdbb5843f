/** Peers and ports of the admin policies' rules, as both API versions write them. */
import type { PolicyProblem } from '../../model/cluster.ts';
import type { AdminPeer, AdminPods, AdminPort, AdminRule } from '../../model/policies/admin.ts';
import type { JsonObject } from '../json.ts';
import { attempt, oneOf, onlyFields, present, strictSelector } from './admin-fields.ts';
import { portName } from './policy.ts';
import { cidr, each, list, Mismatch, object, port, protocol, string } from './shape.ts';

/** Where the versions differ. */
export interface AdminDialect {
  readonly actions: Readonly<Record<string, AdminRule['action']>>;
  /** Names of the field with the ports. */
  readonly ports: readonly ('ports' | 'protocols')[];
  readonly maxRules: number;
  /** Of the peers and of the ports of a rule. */
  readonly maxItems: number;
  readonly needsNamespaceSelector: boolean;
}

/** CIDRs of one peer, and domain names of one peer. */
const maxOfPeer = 25;

export function readPeers(
  value: unknown,
  field: string,
  direction: 'ingress' | 'egress',
  action: AdminRule['action'],
  dialect: AdminDialect,
  problems: PolicyProblem[],
): readonly AdminPeer[] {
  const items = attempt(problems, () => {
    const found = list(value, field);
    if (found.length === 0) throw new Mismatch(field, 'must name at least one peer');
    if (found.length > dialect.maxItems)
      throw new Mismatch(field, `has ${found.length} peers, the API takes ${dialect.maxItems}`);
    return found;
  });
  const peers = (items ?? []).map((item, i) => {
    const path = `${field}[${i}]`;
    return attempt(problems, () => readPeer(object(item, path), path, direction, action, dialect));
  });
  return peers.filter((peer) => peer !== undefined);
}

const ingressPeers = ['namespaces', 'pods'];
const egressPeers = [...ingressPeers, 'nodes', 'networks', 'domainNames'];

function readPeer(
  raw: JsonObject,
  field: string,
  direction: 'ingress' | 'egress',
  action: AdminRule['action'],
  dialect: AdminDialect,
): AdminPeer {
  const key = oneOf(raw, direction === 'ingress' ? ingressPeers : egressPeers, field);
  const path = `${field}.${key}`;
  switch (key) {
    case 'namespaces':
      return {
        kind: 'pods',
        namespaceSelector: strictSelector(raw.namespaces, path),
        podSelector: { matchLabels: {}, matchExpressions: [] },
        field,
      };
    case 'pods':
      return { kind: 'pods', ...readPods(object(raw.pods, path), path, dialect), field };
    case 'nodes':
      return { kind: 'nodes', nodeSelector: strictSelector(raw.nodes, path), field };
    case 'networks':
      return { kind: 'networks', prefixes: some(raw.networks, path, cidr), field };
    default:
      if (action !== 'allow' && action !== 'unknown')
        throw new Mismatch(path, 'is supported for rules that accept only');
      return domains(some(raw.domainNames, path, domainName), field);
  }
}

/** v1alpha2 lets namespaceSelector be left out, for every namespace. */
export function readPods(raw: JsonObject, field: string, dialect: AdminDialect): AdminPods {
  onlyFields(raw, ['namespaceSelector', 'podSelector'], field);
  const spaces = dialect.needsNamespaceSelector ? raw.namespaceSelector : (raw.namespaceSelector ?? {});
  return {
    namespaceSelector: strictSelector(spaces, `${field}.namespaceSelector`),
    podSelector: strictSelector(raw.podSelector, `${field}.podSelector`),
  };
}

/** One item at least, 25 at most, no item twice (listType=set). */
function some<T>(value: unknown, field: string, read: (item: unknown, field: string) => T): readonly T[] {
  const items = list(value, field);
  if (items.length === 0) throw new Mismatch(field, 'must not be empty');
  if (items.length > maxOfPeer)
    throw new Mismatch(field, `has ${items.length} items, the API takes ${maxOfPeer}`);
  if (new Set(items).size < items.length) throw new Mismatch(field, 'names an item twice');
  return each(value, field, read);
}

/** The CRD's pattern, `A-z` included: it takes some punctuation too, which no DNS name has. */
const domainPattern =
  /^(\*\.)?([a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?$/;

function domainName(value: unknown, field: string): string {
  const name = string(value, field);
  if (!domainPattern.test(name)) throw new Mismatch(field, `is no domain name: ${JSON.stringify(name)}`);
  return name;
}

/**
 * The cluster's DNS makes names of pods: `web.shop.svc.cluster.local` of a headless Service, `10-0-0-1.shop.pod.cluster.local`. The
 * cluster's domain can be another one; the label in front of it cannot. A wildcard of the usual domain covers them.
 */
const ofPods = (name: string): boolean => {
  const labels = name.replace(/\.$/, '').toLowerCase().split('.');
  return labels.includes('svc') || labels.includes('pod') || labels.slice(-2).join('.') === 'cluster.local';
};

const domains = (names: readonly string[], field: string): AdminPeer => ({
  kind: 'domains',
  names,
  mayBePods: names.some(ofPods),
  field,
});

/** Undefined where the rule does not look at ports. */
export function readPorts(
  rule: JsonObject,
  field: string,
  dialect: AdminDialect,
  problems: PolicyProblem[],
): readonly AdminPort[] | undefined {
  const [key, ...more] = dialect.ports.filter((name) => present(rule, name));
  if (key === undefined) return undefined;
  const path = `${field}.${key}`;
  const items = attempt(problems, () => {
    if (more.length > 0) throw new Mismatch(field, 'has ports and protocols');
    const found = list(rule[key], path);
    if (found.length === 0) throw new Mismatch(path, 'must not be empty: leave it out for every port');
    if (found.length > dialect.maxItems)
      throw new Mismatch(path, `has ${found.length} items, the API takes ${dialect.maxItems}`);
    return found;
  });
  const read = key === 'ports' ? readPort : readProtocol;
  const ports = (items ?? []).map((item, i) => {
    const at = `${path}[${i}]`;
    return attempt(problems, () => read(object(item, at), at));
  });
  return ports.filter((found) => found !== undefined);
}

/** v1alpha1: `portNumber: {protocol, port}`, `portRange: {protocol, start, end}`, `namedPort`. */
function readPort(raw: JsonObject, field: string): AdminPort {
  const key = oneOf(raw, ['portNumber', 'portRange', 'namedPort'], field);
  const path = `${field}.${key}`;
  if (key === 'namedPort') return { kind: 'named', name: portName(string(raw.namedPort, path), path), field };
  const inner = object(raw[key], path);
  onlyFields(inner, ['protocol', ...(key === 'portNumber' ? ['port'] : ['start', 'end'])], path);
  const transport = protocol(inner.protocol, `${path}.protocol`);
  if (key === 'portRange') return { kind: 'numbers', protocol: transport, ...range(inner, path), field };
  const number = port(inner.port, `${path}.port`);
  return { kind: 'numbers', protocol: transport, from: number, to: number, field };
}

/** v1alpha2: `tcp: {destinationPort: {number}}` or `{range: {start, end}}`, and the same of udp and sctp; `destinationNamedPort`. */
function readProtocol(raw: JsonObject, field: string): AdminPort {
  const key = oneOf(raw, ['tcp', 'udp', 'sctp', 'destinationNamedPort'], field);
  const path = `${field}.${key}`;
  if (key === 'destinationNamedPort')
    return { kind: 'named', name: portName(string(raw[key], path), path), field };
  const transport = protocol(key.toUpperCase(), path);
  const inner = object(raw[key], path);
  // The documentation has `tcp: {}` for every TCP port, the CRD refuses it (MinProperties=1): the same as a field not known to us.
  oneOf(inner, ['destinationPort'], path);
  const at = `${path}.destinationPort`;
  const destination = object(inner.destinationPort, at);
  if (oneOf(destination, ['number', 'range'], at) === 'number') {
    const number = port(destination.number, `${at}.number`);
    return { kind: 'numbers', protocol: transport, from: number, to: number, field };
  }
  const span = object(destination.range, `${at}.range`);
  onlyFields(span, ['start', 'end'], `${at}.range`);
  return { kind: 'numbers', protocol: transport, ...range(span, `${at}.range`), field };
}

function range(raw: JsonObject, field: string): { readonly from: number; readonly to: number } {
  const from = port(raw.start, `${field}.start`);
  const to = port(raw.end, `${field}.end`);
  // The API wants start < end, but v1alpha1 does not enforce it, and a range of one port is no riddle.
  if (to < from) throw new Mismatch(`${field}.end`, 'must not be lower than start');
  return { from, to };
}
