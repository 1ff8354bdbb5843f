/** Rules of Calico policies and profiles, with the validation of its API (libcalico-go/lib/validator/v3, api/policy_common.go). */
import type { PolicyProblem } from '../../model/cluster.ts';
import type { CalicoEntity, CalicoIcmp, CalicoPort, CalicoRule } from '../../model/policies/calico.ts';
import { type Prefix, parsePrefix } from '../../net/prefix.ts';
import type { JsonObject } from '../json.ts';
import { parseCalicoSelector, usesGlobal } from './calico-selector.ts';
import { each, intOr, list, Mismatch, object, objectOrEmpty, string, stringOr } from './shape.ts';

/** Where a rule stands decides what it may say. */
export interface RulePlace {
  readonly direction: 'ingress' | 'egress';
  /** Of the policy; undefined for global kinds and profiles. */
  readonly namespace?: string;
  /** Profiles cannot pass. */
  readonly profile?: boolean;
}

/** `rules` are in their order. What the API would refuse is named in `problems`, and such a rule allows nothing. */
export function readCalicoRules(
  value: unknown,
  path: string,
  place: RulePlace,
  problems: PolicyProblem[],
): CalicoRule[] {
  const items = attempt(problems, path, () => list(value, path));
  if (items === undefined) return [refused('Deny', `${path} is no list`, path)];
  return items.map((item, i) => {
    const field = `${path}[${i}]`;
    const action = actionOf(item, place);
    try {
      return readRule(object(item, field), field, place);
    } catch (error) {
      if (!(error instanceof Mismatch)) throw error;
      problems.push({ field: error.field, why: error.why });
      return refused(action, `${error.field} ${error.why}`, field);
    }
  });
}

/** Undefined, with a line in `problems`, where `read` finds a wrong shape. */
export function attempt<T>(problems: PolicyProblem[], field: string, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    problems.push({ field: error.field || field, why: error.why });
    return undefined;
  }
}

/** What is not understood, or not allowed where it stands, becomes the action that cannot open anything. */
function actionOf(item: unknown, { profile }: RulePlace): CalicoRule['action'] {
  const action = typeof item === 'object' && item !== null ? (item as JsonObject).action : undefined;
  if (action === 'Pass' && profile) return 'Deny';
  return action === 'Allow' || action === 'Pass' || action === 'Log' ? action : 'Deny';
}

const refused = (action: CalicoRule['action'], invalid: string, field: string): CalicoRule => ({
  action,
  source: {},
  destination: {},
  invalid,
  field,
});

const present = (value: unknown): boolean => value !== undefined && value !== null;

/** A field name that is not known is a typing error: without it the rule would match more than its author meant. */
export function onlyKeys(item: JsonObject, field: string, known: readonly string[]): void {
  for (const key of Object.keys(item))
    if (!known.includes(key)) throw new Mismatch(`${field}.${key}`, 'is no field of the API');
}

const ruleKeys = [
  'action',
  'ipVersion',
  'protocol',
  'icmp',
  'notProtocol',
  'notICMP',
  'source',
  'destination',
  'http',
  'metadata',
];

function readRule(item: JsonObject, field: string, place: RulePlace): CalicoRule {
  onlyKeys(item, field, ruleKeys);
  const action = string(item.action, `${field}.action`);
  if (action !== 'Allow' && action !== 'Deny' && action !== 'Log' && action !== 'Pass')
    throw new Mismatch(`${field}.action`, `is unknown: ${JSON.stringify(action)}`);
  if (action === 'Pass' && place.profile)
    throw new Mismatch(`${field}.action`, 'must not be Pass in a profile');
  const ipVersion = readIpVersion(item.ipVersion, `${field}.ipVersion`);
  const protocol = readProtocol(item.protocol, `${field}.protocol`);
  const notProtocol = readProtocol(item.notProtocol, `${field}.notProtocol`);
  const icmp = readIcmp(item.icmp, `${field}.icmp`, protocol);
  const notIcmp = readIcmp(item.notICMP, `${field}.notICMP`, protocol);
  const rule: CalicoRule = {
    action,
    ...(ipVersion === undefined ? {} : { ipVersion }),
    ...(protocol === undefined ? {} : { protocol }),
    ...(notProtocol === undefined ? {} : { notProtocol }),
    ...(icmp === undefined ? {} : { icmp }),
    ...(notIcmp === undefined ? {} : { notIcmp }),
    source: readEntity(item.source, `${field}.source`, place, place.direction === 'ingress', protocol),
    destination: readEntity(
      item.destination,
      `${field}.destination`,
      place,
      place.direction === 'egress',
      protocol,
    ),
    ...(present(item.http) ? { http: readHttp(item, field, place, protocol) } : {}),
    field,
  };
  const { service, ports, notPorts } = rule.destination;
  if (service !== undefined && (ports !== undefined || notPorts !== undefined))
    throw new Mismatch(`${field}.destination`, 'must not have ports beside services');
  checkFamilies(rule, field);
  return rule;
}

function readIpVersion(value: unknown, field: string): 4 | 6 | undefined {
  if (!present(value)) return undefined;
  if (value !== 4 && value !== 6) throw new Mismatch(field, 'must be 4 or 6');
  return value;
}

const protocolNames: ReadonlyMap<string, number> = new Map([
  ['TCP', 6],
  ['UDP', 17],
  ['ICMP', 1],
  ['ICMPv6', 58],
  ['SCTP', 132],
  ['UDPLite', 136],
]);

function readProtocol(value: unknown, field: string): number | undefined {
  if (!present(value)) return undefined;
  const named = typeof value === 'string' ? protocolNames.get(value) : undefined;
  if (named !== undefined) return named;
  // A number may be written as a text (numorstring.Protocol.NumValue).
  const number = typeof value === 'string' && /^[0-9]{1,3}$/.test(value) ? Number(value) : value;
  if (!Number.isInteger(number) || (number as number) < 1 || (number as number) > 255)
    throw new Mismatch(field, `is no protocol: ${JSON.stringify(value)}`);
  return number as number;
}

function readIcmp(value: unknown, field: string, protocol: number | undefined): CalicoIcmp | undefined {
  if (!present(value)) return undefined;
  if (protocol !== 1 && protocol !== 58)
    throw new Mismatch(field, 'needs the protocol ICMP or ICMPv6 in its rule');
  const item = object(value, field);
  onlyKeys(item, field, ['type', 'code']);
  if (!present(item.type)) {
    if (present(item.code)) throw new Mismatch(`${field}.code`, 'needs a type');
    return undefined;
  }
  const type = within(item.type, `${field}.type`, 254);
  return { type, ...(present(item.code) ? { code: within(item.code, `${field}.code`, 255) } : {}) };
}

function within(value: unknown, field: string, last: number): number {
  const number = intOr(value, field, Number.NaN);
  if (!(number >= 0 && number <= last)) throw new Mismatch(field, `must be 0 to ${last}`);
  return number;
}

const entityKeys = [
  'nets',
  'notNets',
  'selector',
  'notSelector',
  'namespaceSelector',
  'services',
  'ports',
  'notPorts',
  'serviceAccounts',
];

function readEntity(
  value: unknown,
  field: string,
  place: RulePlace,
  isPeer: boolean,
  protocol: number | undefined,
): CalicoEntity {
  const item = objectOrEmpty(value, field);
  onlyKeys(item, field, entityKeys);
  const selector = readSelector(item.selector, `${field}.selector`);
  const notSelector = readSelector(item.notSelector, `${field}.notSelector`);
  const namespaceSelector = readSelector(item.namespaceSelector, `${field}.namespaceSelector`, true);
  const nets = readNets(item.nets, `${field}.nets`);
  const notNets = readNets(item.notNets, `${field}.notNets`);
  if (notNets?.some(({ length }) => length === 0))
    throw new Mismatch(`${field}.notNets`, 'leaves no address: such a rule matches nothing');
  const ports = readPorts(item.ports, `${field}.ports`, protocol);
  const notPorts = readPorts(item.notPorts, `${field}.notPorts`, protocol);
  const serviceAccounts = readAccounts(item.serviceAccounts, `${field}.serviceAccounts`);
  const service = present(item.services) ? readService(item, `${field}.services`, place, isPeer) : undefined;
  return {
    ...(nets === undefined ? {} : { nets }),
    ...(notNets === undefined ? {} : { notNets }),
    ...(selector === undefined ? {} : { selector }),
    ...(notSelector === undefined ? {} : { notSelector }),
    ...(namespaceSelector === undefined ? {} : { namespaceSelector }),
    ...(serviceAccounts === undefined ? {} : { serviceAccounts }),
    ...(service === undefined ? {} : { service }),
    ...(ports === undefined ? {} : { ports }),
    ...(notPorts === undefined ? {} : { notPorts }),
  };
}

/** Undefined where missing or empty. `global()` may stand in a rule's namespaceSelector only, and alone. */
function readSelector(value: unknown, field: string, mayBeGlobal = false) {
  const text = stringOr(value, field, '');
  if (text === '') return undefined;
  const selector = parseCalicoSelector(text, field);
  if (usesGlobal(selector) && !(mayBeGlobal && selector.is === 'global'))
    throw new Mismatch(field, 'has global(), which may stand in a namespaceSelector only, and alone');
  return selector;
}

/** Undefined where missing or empty. A bare address is a host prefix. */
function readNets(value: unknown, field: string): readonly Prefix[] | undefined {
  const nets = each(value, field, readNet);
  return nets.length === 0 ? undefined : nets;
}

export function readNet(value: unknown, field: string): Prefix {
  const text = string(value, field);
  const found = parsePrefix(text);
  if (found === undefined) throw new Mismatch(field, `is no CIDR prefix: ${JSON.stringify(text)}`);
  return found;
}

/** 6, 17 and 132 have ports. Names are looked up for any of them where the rule has no protocol. */
function readPorts(
  value: unknown,
  field: string,
  protocol: number | undefined,
): readonly CalicoPort[] | undefined {
  const ports = each(value, field, readPort);
  if (ports.length === 0) return undefined;
  const needs = 'need the protocol TCP, UDP or SCTP in their rule';
  if (protocol === undefined && ports.some((port) => 'from' in port)) throw new Mismatch(field, needs);
  if (protocol !== undefined && protocol !== 6 && protocol !== 17 && protocol !== 132)
    throw new Mismatch(field, needs);
  return ports;
}

/** `80`, `"80"`, `"80:90"` or a name. */
function readPort(value: unknown, field: string): CalicoPort {
  const text = typeof value === 'number' ? String(value) : string(value, field);
  const range = /^([0-9]{1,6})(?::([0-9]{1,6}))?$/.exec(text);
  if (range !== null) {
    const from = Number(range[1]);
    const to = Number(range[2] ?? range[1]);
    if (from < 1 || to > 65535 || from > to) throw new Mismatch(field, `is no port or range: ${text}`);
    return { from, to };
  }
  if (!/^[a-zA-Z0-9_.-]{1,128}$/.test(text) || typeof value === 'number')
    throw new Mismatch(field, `is no port, range or name: ${JSON.stringify(value)}`);
  return { name: text };
}

function readAccounts(value: unknown, field: string): CalicoEntity['serviceAccounts'] {
  if (!present(value)) return undefined;
  const item = object(value, field);
  onlyKeys(item, field, ['names', 'selector']);
  const names = each(item.names, `${field}.names`, string);
  const selector = readSelector(item.selector, `${field}.selector`);
  // An empty match restricts nothing (parseServiceAccounts gives the empty selector).
  if (names.length === 0 && selector === undefined) return undefined;
  return { names, ...(selector === undefined ? {} : { selector }) };
}

function readService(
  item: JsonObject,
  field: string,
  place: RulePlace,
  isPeer: boolean,
): { readonly namespace: string; readonly name: string } {
  if (!isPeer)
    throw new Mismatch(field, 'may stand in the source of ingress and the destination of egress rules only');
  for (const key of ['selector', 'notSelector', 'namespaceSelector', 'nets', 'notNets', 'serviceAccounts']) {
    const other = item[key];
    const empty = other === '' || (Array.isArray(other) && other.length === 0);
    if (present(other) && !empty) throw new Mismatch(field, `must not stand beside ${key}`);
  }
  const match = object(item.services, field);
  onlyKeys(match, field, ['name', 'namespace']);
  const name = stringOr(match.name, `${field}.name`, '');
  if (name === '') throw new Mismatch(`${field}.name`, 'is missing');
  const namespace = stringOr(match.namespace, `${field}.namespace`, '') || place.namespace;
  if (namespace === undefined) throw new Mismatch(`${field}.namespace`, 'is missing in a global policy');
  return { namespace, name };
}

/** `GET, HEAD on /api*, =/health`. Application layer policy is for allow rules at the destination of TCP. */
function readHttp(rule: JsonObject, path: string, place: RulePlace, protocol: number | undefined): string {
  const field = `${path}.http`;
  if (place.direction === 'egress') throw new Mismatch(field, 'is not allowed in an egress rule');
  if (rule.action !== 'Allow') throw new Mismatch(field, 'may stand in Allow rules only');
  if (protocol !== undefined && protocol !== 6) throw new Mismatch(field, 'needs the protocol TCP or none');
  const item = object(rule.http, field);
  onlyKeys(item, field, ['methods', 'paths']);
  const methods = each(item.methods, `${field}.methods`, string);
  const paths = each(item.paths, `${field}.paths`, (one, at) => {
    const match = object(one, at);
    onlyKeys(match, at, ['exact', 'prefix']);
    const exact = stringOr(match.exact, `${at}.exact`, '');
    const prefix = stringOr(match.prefix, `${at}.prefix`, '');
    if ((exact === '') === (prefix === '')) throw new Mismatch(at, 'needs one of exact and prefix');
    if (!/^\/[^? #]*$/.test(exact || prefix))
      throw new Mismatch(at, 'must begin with / and have no ?, # or blank');
    return exact === '' ? `${prefix}*` : exact;
  });
  const what = methods.length === 0 ? 'requests' : methods.join(', ');
  return paths.length === 0 ? what : `${what} on ${paths.join(', ')}`;
}

/** All prefixes of a rule are of one family, which is also its ipVersion if it has one. ICMP is IPv4, ICMPv6 is IPv6. */
function checkFamilies(rule: CalicoRule, field: string): void {
  const { source, destination, ipVersion } = rule;
  const nets = [source.nets, source.notNets, destination.nets, destination.notNets].flatMap(
    (one) => one ?? [],
  );
  const families = new Set(nets.map(({ family }) => family));
  if (families.size > 1) throw new Mismatch(field, 'has both IPv4 and IPv6 prefixes');
  for (const family of families)
    if (ipVersion !== undefined && family !== ipVersion)
      throw new Mismatch(field, `has prefixes of IPv${family} and ipVersion ${ipVersion}`);
  for (const protocol of [rule.protocol, rule.notProtocol]) {
    if (ipVersion === 6 && protocol === 1) throw new Mismatch(field, 'has protocol ICMP with ipVersion 6');
    if (ipVersion === 4 && protocol === 58) throw new Mismatch(field, 'has protocol ICMPv6 with ipVersion 4');
  }
}
