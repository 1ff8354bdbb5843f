/** toPorts and icmps of Cilium's policies. */
import type { CiliumPort, CiliumPorts, CiliumProtocol } from '../../model/policies/cilium.ts';
import type { JsonObject } from '../json.ts';
import {
  eachObject,
  intOr,
  isAbsent,
  list,
  Mismatch,
  object,
  objectOrEmpty,
  onlyFields,
  string,
  stringOr,
  strings,
} from './cilium-shape.ts';

export interface PortContext {
  readonly direction: 'ingress' | 'egress';
  readonly deny: boolean;
}

const denyFields = ['ports'];
const allowFields = [...denyFields, 'terminatingTLS', 'originatingTLS', 'serverNames', 'listener', 'rules'];

/** One item of toPorts. Without ports it matches nothing. */
export function readToPorts(item: unknown, field: string, context: PortContext): CiliumPorts {
  const raw = object(item, field);
  onlyFields(raw, field, context.deny ? denyFields : allowFields);
  const ports = eachObject(raw.ports, `${field}.ports`, readPort);
  const l7 = readL7(raw, field, context, ports);
  return { field, ports, ...(l7 === undefined ? {} : { l7 }) };
}

function readPort(item: JsonObject, field: string): CiliumPort {
  onlyFields(item, field, ['port', 'endPort', 'protocol']);
  const text = stringOr(item.port, `${field}.port`, '');
  const protocol = stringOr(item.protocol, `${field}.protocol`, '') || 'ANY';
  const number = protocolNumbers.get(protocol);
  if (number !== undefined) {
    if (text !== '' && text !== '0')
      throw new Mismatch(`${field}.port`, `must be left out with ${protocol}, which has no ports`);
    return { kind: 'protocol', number };
  }
  const protocols = withPorts.get(protocol);
  if (protocols === undefined)
    throw new Mismatch(`${field}.protocol`, `is unknown: ${JSON.stringify(protocol)}`);
  if (text === '') throw new Mismatch(`${field}.port`, 'must be given');
  // The name is compared without case; endPort is ignored beside it (PortProtocol in pkg/policy/api/l4.go).
  if (isServiceName(text)) return { kind: 'named', protocols, name: text.toLowerCase() };
  const from = portNumber(text, `${field}.port`);
  const end = intOr(item.endPort, `${field}.endPort`, 0);
  if (from === 0 && end === 0) return { kind: 'range', protocols, from: 0, to: 65535 };
  if (end !== 0 && (end < from || end > 65535))
    throw new Mismatch(`${field}.endPort`, 'must be a port, not lower than port');
  return { kind: 'range', protocols, from, to: end === 0 ? from : end };
}

/** ANY is every protocol that has ports (L4Proto in pkg/policy/api/l4.go): ICMP is not among them. */
const withPorts: ReadonlyMap<string, readonly CiliumProtocol[]> = new Map<string, readonly CiliumProtocol[]>(
  Object.entries({
    TCP: ['TCP'],
    UDP: ['UDP'],
    SCTP: ['SCTP'],
    ANY: ['TCP', 'UDP', 'SCTP'],
  }),
);

const protocolNumbers: ReadonlyMap<string, number> = new Map(Object.entries({ VRRP: 112, IGMP: 2 }));

/** RFC 6335: at most 15 letters, digits and single hyphens, with a letter. */
const isServiceName = (text: string): boolean =>
  /^[A-Za-z0-9-]{1,15}$/.test(text) && /[A-Za-z]/.test(text) && !/^-|-$|--/.test(text);

function portNumber(text: string, field: string): number {
  const number = /^(0|[1-9][0-9]{0,4})$/.test(text) ? Number(text) : Number.NaN;
  if (!(number <= 65535))
    throw new Mismatch(field, `must be a port number or a port's name, is ${JSON.stringify(text)}`);
  return number;
}

/** What a connection must have beyond its port, for people. Undefined: nothing. */
function readL7(
  item: JsonObject,
  field: string,
  context: PortContext,
  ports: readonly CiliumPort[],
): string | undefined {
  const rules = readRules(objectOrEmpty(item.rules, `${field}.rules`), `${field}.rules`, context, ports);
  const names = strings(item.serverNames, `${field}.serverNames`);
  if (names.includes('')) throw new Mismatch(`${field}.serverNames`, 'must not hold an empty name');
  if (!isAbsent(item.listener) && context.direction === 'ingress')
    throw new Mismatch(`${field}.listener`, 'is for egress only');
  if (!isAbsent(item.listener) && rules !== undefined)
    throw new Mismatch(`${field}.listener`, 'must not stand beside rules');
  const parts = [
    rules,
    names.length > 0 ? `TLS for ${names.join(', ')}` : undefined,
    isAbsent(item.listener) ? undefined : 'what the Envoy listener lets pass',
    isAbsent(item.terminatingTLS) && isAbsent(item.originatingTLS) ? undefined : 'TLS that the proxy ends',
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? undefined : parts.join(', ');
}

function readRules(
  rules: JsonObject,
  field: string,
  context: PortContext,
  ports: readonly CiliumPort[],
): string | undefined {
  onlyFields(rules, field, ['http', 'kafka', 'dns', 'l7proto', 'l7']);
  const http = eachObject(rules.http, `${field}.http`, describeHttp);
  const kafka = list(rules.kafka, `${field}.kafka`);
  const dns = eachObject(rules.dns, `${field}.dns`, describeName);
  const proto = stringOr(rules.l7proto, `${field}.l7proto`, '');
  if (list(rules.l7, `${field}.l7`).length > 0 && proto === '')
    throw new Mismatch(`${field}.l7`, 'needs l7proto');
  const used = [http.length > 0, kafka.length > 0, dns.length > 0, proto !== ''].filter(Boolean).length;
  if (used > 1) throw new Mismatch(field, 'must be of one protocol');
  // No rules let everything pass (L7Rules.IsEmpty).
  if (used === 0) return undefined;
  checkPorts(ports, field, dns.length > 0);
  if (dns.length > 0) {
    if (context.direction === 'ingress') throw new Mismatch(`${field}.dns`, 'is for egress only');
    return `DNS queries for ${dns.join(', ')}`;
  }
  if (http.length > 0) return `HTTP ${http.join(', ')}`;
  return kafka.length > 0 ? 'the Kafka requests of the rule' : `the ${proto} requests of the rule`;
}

/** PortRule.sanitize in pkg/policy/api/rule_validation.go. */
function checkPorts(ports: readonly CiliumPort[], field: string, dns: boolean): void {
  for (const port of ports) {
    if (port.kind === 'range' && port.from === 0) throw new Mismatch(field, 'cannot be used with port 0');
    if (dns) {
      if (port.kind === 'range' && port.to > port.from)
        throw new Mismatch(`${field}.dns`, 'cannot be used with a range of ports');
    } else if ((port.kind !== 'range' && port.kind !== 'named') || port.protocols.join() !== 'TCP')
      throw new Mismatch(field, 'needs protocol TCP');
  }
  if (dns && ports.length === 0) throw new Mismatch(`${field}.dns`, 'needs a port');
}

function describeHttp(item: JsonObject, field: string): string {
  const part = (key: string): string => stringOr(item[key], `${field}.${key}`, '');
  const words = [part('method'), part('host'), part('path')].filter((word) => word !== '');
  const conditions = ['headers', 'headerMatches'].some((key) => !isAbsent(item[key])) ? ' with headers' : '';
  return `${words.length === 0 ? 'requests' : words.join(' ')}${conditions}`;
}

/** An item of toFQDNs or rules.dns. */
export function describeName(item: JsonObject, field: string): string {
  onlyFields(item, field, ['matchName', 'matchPattern']);
  const name = stringOr(item.matchName, `${field}.matchName`, '');
  const pattern = stringOr(item.matchPattern, `${field}.matchPattern`, '');
  if ((name === '') === (pattern === ''))
    throw new Mismatch(field, 'must have one of matchName and matchPattern');
  const text = name === '' ? pattern : name;
  if (!/^[-a-zA-Z0-9._*]+$/.test(text) || (name !== '' && text.includes('*')))
    throw new Mismatch(field, `is no name: ${JSON.stringify(text)}`);
  return text;
}

/** One item of icmps. */
export function readIcmps(item: unknown, field: string): CiliumPorts {
  const raw = object(item, field);
  onlyFields(raw, field, ['fields']);
  return { field, ports: eachObject(raw.fields, `${field}.fields`, readIcmp) };
}

function readIcmp(item: JsonObject, field: string): CiliumPort {
  onlyFields(item, field, ['family', 'type']);
  const text = stringOr(item.family, `${field}.family`, 'IPv4');
  if (text !== 'IPv4' && text !== 'IPv6')
    throw new Mismatch(`${field}.family`, `must be IPv4 or IPv6, is ${JSON.stringify(text)}`);
  const family = text === 'IPv4' ? 4 : 6;
  const type = typeof item.type === 'number' ? String(item.type) : string(item.type, `${field}.type`);
  const names = family === 4 ? icmpTypes : icmpv6Types;
  const number = names.get(type) ?? (/^(0|[1-9][0-9]{0,2})$/.test(type) ? Number(type) : Number.NaN);
  if (!(number <= 255)) throw new Mismatch(`${field}.type`, `is no type of ${text}: ${JSON.stringify(type)}`);
  return { kind: 'icmp', family, type: number };
}

/** Names as the API spells them; the numbers are those of RFC 792 and its successors. */
const icmpTypes: ReadonlyMap<string, number> = new Map(
  Object.entries({
    EchoReply: 0,
    DestinationUnreachable: 3,
    Redirect: 5,
    Echo: 8,
    EchoRequest: 8,
    RouterAdvertisement: 9,
    RouterSelection: 10,
    TimeExceeded: 11,
    ParameterProblem: 12,
    Timestamp: 13,
    TimestampReply: 14,
    Photuris: 40,
    ExtendedEchoRequest: 42,
    ExtendedEchoReply: 43,
  }),
);

/** RFC 4443 and its successors. */
const icmpv6Types: ReadonlyMap<string, number> = new Map(
  Object.entries({
    DestinationUnreachable: 1,
    PacketTooBig: 2,
    TimeExceeded: 3,
    ParameterProblem: 4,
    EchoRequest: 128,
    EchoReply: 129,
    MulticastListenerQuery: 130,
    MulticastListenerReport: 131,
    MulticastListenerDone: 132,
    RouterSolicitation: 133,
    RouterAdvertisement: 134,
    NeighborSolicitation: 135,
    NeighborAdvertisement: 136,
    RedirectMessage: 137,
    RouterRenumbering: 138,
    ICMPNodeInformationQuery: 139,
    ICMPNodeInformationResponse: 140,
    InverseNeighborDiscoverySolicitation: 141,
    InverseNeighborDiscoveryAdvertisement: 142,
    HomeAgentAddressDiscoveryRequest: 144,
    HomeAgentAddressDiscoveryReply: 145,
    MobilePrefixSolicitation: 146,
    MobilePrefixAdvertisement: 147,
    DuplicateAddressRequestCodeSuffix: 157,
    DuplicateAddressConfirmationCodeSuffix: 158,
    ExtendedEchoRequest: 160,
    ExtendedEchoReply: 161,
  }),
);
