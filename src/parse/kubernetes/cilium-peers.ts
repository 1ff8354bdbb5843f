/** The peers of a rule of Cilium's policies: from* and to*. */
import type { Selector } from '../../model/cluster.ts';
import { type CiliumEntity, type CiliumPeer, ciliumEntities } from '../../model/policies/cilium.ts';
import { parseAddress } from '../../net/address.ts';
import { contains, type Prefix, parsePrefix } from '../../net/prefix.ts';
import type { JsonObject } from '../json.ts';
import { describeName } from './cilium-ports.ts';
import { readNodes, readPeerSelector, readSelector } from './cilium-selector.ts';
import { cidr, each, isAbsent, Mismatch, object, onlyFields, string, stringOr } from './cilium-shape.ts';

export type ReadPeer = (item: unknown, field: string) => CiliumPeer;

/** The fields that name peers -> the reader of one item. `emptyIsNobody`: an empty list selects nobody, elsewhere it is as if absent. */
export interface PeerField {
  readonly name: string;
  readonly read: ReadPeer;
  readonly emptyIsNobody: boolean;
}

/** mergeEndpointSelectors in pkg/policy/utils says which empty lists select nobody. */
export function peerFields(
  direction: 'ingress' | 'egress',
  deny: boolean,
  namespace: string | undefined,
): readonly PeerField[] {
  const side = direction === 'ingress' ? 'from' : 'to';
  const endpoints: ReadPeer = (item, field) => ({
    kind: 'endpoints',
    selector: readPeerSelector(item, field, namespace),
    field,
  });
  const fields: PeerField[] = [
    { name: `${side}Endpoints`, read: endpoints, emptyIsNobody: true },
    {
      name: `${side}Nodes`,
      read: (item, field) => ({ kind: 'nodes', selector: readNodes(item, field), field }),
      emptyIsNobody: true,
    },
    { name: `${side}Entities`, read: readEntity, emptyIsNobody: true },
    { name: `${side}CIDR`, read: readCidr, emptyIsNobody: true },
    { name: `${side}CIDRSet`, read: readCidrRule, emptyIsNobody: true },
    { name: `${side}Groups`, read: readGroups, emptyIsNobody: false },
  ];
  if (direction === 'ingress') return fields;
  fields.push({ name: 'toServices', read: readService, emptyIsNobody: false });
  if (!deny) fields.push({ name: 'toFQDNs', read: readFqdn, emptyIsNobody: false });
  return fields;
}

const isEntity = (text: string): text is CiliumEntity => (ciliumEntities as readonly string[]).includes(text);

function readEntity(item: unknown, field: string): CiliumPeer {
  const entity = string(item, field);
  if (!isEntity(entity)) throw new Mismatch(field, `is no entity: ${JSON.stringify(entity)}`);
  return { kind: 'entity', entity, field };
}

/** A bare address stands for itself. */
function readCidr(item: unknown, field: string): CiliumPeer {
  const text = string(item, field);
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new Mismatch(field, `is no CIDR prefix: ${JSON.stringify(text)}`);
  return { kind: 'cidr', cidr: prefix, except: [], field };
}

function readCidrRule(item: unknown, field: string): CiliumPeer {
  const raw = object(item, field);
  onlyFields(raw, field, ['cidr', 'cidrGroupRef', 'cidrGroupSelector', 'except']);
  const text = stringOr(raw.cidr, `${field}.cidr`, '');
  const group = stringOr(raw.cidrGroupRef, `${field}.cidrGroupRef`, '');
  const bySelector = !isAbsent(raw.cidrGroupSelector);
  if ([text !== '', group !== '', bySelector].filter(Boolean).length !== 1)
    throw new Mismatch(field, 'must have one of cidr, cidrGroupRef and cidrGroupSelector');
  if (text === '')
    return {
      kind: 'cidr-groups',
      groups: bySelector ? plainSelector(raw.cidrGroupSelector, `${field}.cidrGroupSelector`) : group,
      except: each(raw.except, `${field}.except`, cidr),
      field,
    };
  const prefix = cidr(text, `${field}.cidr`);
  return {
    kind: 'cidr',
    cidr: prefix,
    except: each(raw.except, `${field}.except`, (value, path) => exceptOf(prefix, value, path)),
    field,
  };
}

/** Its address must lie inside of the prefix; CIDRRule.sanitize does not ask for the length. */
function exceptOf(outer: Prefix, value: unknown, field: string): Prefix {
  const inner = cidr(value, field);
  const text = string(value, field);
  const base = parseAddress(text.slice(0, text.indexOf('/')));
  if (base === undefined || !contains(outer, base))
    throw new Mismatch(field, `must lie inside cidr: ${JSON.stringify(text)}`);
  return inner;
}

function readService(item: unknown, field: string): CiliumPeer {
  const raw = object(item, field);
  onlyFields(raw, field, ['k8sService', 'k8sServiceSelector']);
  if (isAbsent(raw.k8sService) === isAbsent(raw.k8sServiceSelector))
    throw new Mismatch(field, 'must have one of k8sService and k8sServiceSelector');
  if (!isAbsent(raw.k8sServiceSelector)) {
    const path = `${field}.k8sServiceSelector`;
    const selector = object(raw.k8sServiceSelector, path);
    onlyFields(selector, path, ['selector', 'namespace']);
    return {
      kind: 'services',
      services: plainSelector(selector.selector, `${path}.selector`),
      ...namespaceOf(selector, path),
      field,
    };
  }
  const path = `${field}.k8sService`;
  const service = object(raw.k8sService, path);
  onlyFields(service, path, ['serviceName', 'namespace']);
  const name = string(service.serviceName, `${path}.serviceName`);
  if (name === '') throw new Mismatch(`${path}.serviceName`, 'is empty');
  return { kind: 'services', services: name, ...namespaceOf(service, path), field };
}

/** An empty namespace is any. */
function namespaceOf(item: JsonObject, field: string): { readonly namespace?: string } {
  const namespace = stringOr(item.namespace, `${field}.namespace`, '');
  return namespace === '' ? {} : { namespace };
}

/** Labels of objects, which have no source. */
function plainSelector(value: unknown, field: string): Selector {
  const matchExpressions = readSelector(value, field).map(({ source, key, operator, values }) => {
    if (source !== 'any') throw new Mismatch(field, `is no label key: ${JSON.stringify(`${source}:${key}`)}`);
    return { key, operator, values };
  });
  return { matchLabels: {}, matchExpressions };
}

const readFqdn: ReadPeer = (item, field) => ({
  kind: 'fqdn',
  name: describeName(object(item, field), field),
  field,
});

const readGroups: ReadPeer = (item, field) => {
  object(item, field);
  return { kind: 'groups', field };
};
