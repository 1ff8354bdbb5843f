/** Nodes, Namespaces, Services, EndpointSlices, ConfigMaps. */
import type {
  ConfigMap,
  EndpointSlice,
  Namespace,
  Node,
  Service,
  ServiceAccount,
  ServicePort,
} from '../../model/cluster.ts';
import type { Address } from '../../net/address.ts';
import type { JsonObject } from '../json.ts';
import {
  address,
  boolOr,
  cidr,
  each,
  eachObject,
  intOr,
  labels,
  Mismatch,
  metadata,
  objectOrEmpty,
  optionalString,
  port,
  protocol,
  string,
  stringOr,
} from './shape.ts';
import { conditions } from './workloads.ts';

export function readNode(item: JsonObject): Node {
  const meta = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const status = objectOrEmpty(item.status, 'status');
  const podCidrs = each(spec.podCIDRs, 'spec.podCIDRs', cidr);
  const single = stringOr(spec.podCIDR, 'spec.podCIDR', '');
  const addressesOf = (type: string) =>
    eachObject(status.addresses, 'status.addresses', (entry, field) =>
      entry.type === type ? address(entry.address, `${field}.address`) : undefined,
    ).filter((entry) => entry !== undefined);
  const external = addressesOf('ExternalIP');
  return {
    name: meta.name,
    labels: meta.labels,
    annotations: labels(meta.raw.annotations, 'metadata.annotations'),
    internalAddresses: addressesOf('InternalIP'),
    ...(external.length === 0 ? {} : { externalAddresses: external }),
    podCidrs: podCidrs.length > 0 || single === '' ? podCidrs : [cidr(single, 'spec.podCIDR')],
    conditions: Object.fromEntries(conditions(status).map(({ type, ...rest }) => [type, rest])),
    taints: eachObject(spec.taints, 'spec.taints', readTaint),
  };
}

/** `key=value:effect`, `key:effect`: as kubectl writes them. */
function readTaint(item: JsonObject, field: string): string {
  const value = stringOr(item.value, `${field}.value`, '');
  const key = string(item.key, `${field}.key`);
  return `${key}${value === '' ? '' : `=${value}`}:${string(item.effect, `${field}.effect`)}`;
}

/** The label that the API server sets on every Namespace; objects that never met a server lack it. */
const nameLabel = 'kubernetes.io/metadata.name';

export function readNamespace(item: JsonObject): Namespace {
  const { name, labels: own, raw } = metadata(item);
  return {
    name,
    labels: Object.assign(Object.create(null) as Record<string, string>, own, { [nameLabel]: name }),
    annotations: labels(raw.annotations, 'metadata.annotations'),
  };
}

export function readServiceAccount(item: JsonObject): ServiceAccount {
  const { namespace, name, labels: own } = metadata(item);
  return { namespace, name, labels: own };
}

export function readService(item: JsonObject): Service {
  const meta = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const type = stringOr(spec.type, 'spec.type', 'ClusterIP');
  const clusterIp = stringOr(spec.clusterIP, 'spec.clusterIP', '');
  const many = each(spec.clusterIPs, 'spec.clusterIPs', string);
  const texts = (many.length > 0 ? many : [clusterIp]).filter((text) => text !== '');
  const headless = texts.includes('None');
  return {
    namespace: meta.namespace,
    name: meta.name,
    type,
    clusterIps:
      headless || type === 'ExternalName'
        ? []
        : texts.map((text, i) => address(text, many.length > 0 ? `spec.clusterIPs[${i}]` : 'spec.clusterIP')),
    headless,
    selector: labels(spec.selector, 'spec.selector'),
    ...(Object.keys(meta.labels).length === 0 ? {} : { labels: meta.labels }),
    ports: eachObject(spec.ports, 'spec.ports', readServicePort),
    internalTrafficPolicy: stringOr(spec.internalTrafficPolicy, 'spec.internalTrafficPolicy', 'Cluster'),
    ...readExternal(item, spec),
  };
}

/** What is there for callers from outside, and affinity: most Services have none of it. */
function readExternal(item: JsonObject, spec: JsonObject): Partial<Service> {
  const policy = stringOr(spec.externalTrafficPolicy, 'spec.externalTrafficPolicy', 'Cluster');
  const externalIps = each(spec.externalIPs, 'spec.externalIPs', string).map((text, i) =>
    address(text, `spec.externalIPs[${i}]`),
  );
  const status = objectOrEmpty(item.status, 'status');
  const balancer = objectOrEmpty(status.loadBalancer, 'status.loadBalancer');
  const ingress = eachObject(balancer.ingress, 'status.loadBalancer.ingress', (one, field) => {
    const ip = stringOr(one.ip, `${field}.ip`, '');
    // Mode Proxy: the balancer sends to the nodes, which are not to translate its address.
    return ip === '' || one.ipMode === 'Proxy' ? [] : [address(ip, `${field}.ip`)];
  }).flat();
  const affinity = objectOrEmpty(spec.sessionAffinityConfig, 'spec.sessionAffinityConfig');
  const clientIp = objectOrEmpty(affinity.clientIP, 'spec.sessionAffinityConfig.clientIP');
  const seconds = intOr(
    clientIp.timeoutSeconds,
    'spec.sessionAffinityConfig.clientIP.timeoutSeconds',
    10_800,
  );
  return {
    ...(policy === 'Cluster' ? {} : { externalTrafficPolicy: policy }),
    ...(externalIps.length === 0 ? {} : { externalIps }),
    ...(ingress.length === 0 ? {} : { loadBalancerIps: ingress }),
    ...(spec.sessionAffinity === 'ClientIP' ? { affinitySeconds: seconds } : {}),
  };
}

function readServicePort(item: JsonObject, field: string): ServicePort {
  const number = port(item.port, `${field}.port`);
  const target = item.targetPort;
  const nodePort = intOr(item.nodePort, `${field}.nodePort`, 0);
  const appProtocol = stringOr(item.appProtocol, `${field}.appProtocol`, '');
  return {
    name: stringOr(item.name, `${field}.name`, ''),
    port: number,
    protocol: protocol(item.protocol, `${field}.protocol`),
    // Left out, null, 0 and "" all mean the same port.
    targetPort:
      target === undefined || target === null || target === 0 || target === ''
        ? number
        : typeof target === 'string'
          ? target
          : port(target, `${field}.targetPort`),
    ...(nodePort === 0 ? {} : { nodePort }),
    ...(appProtocol === '' ? {} : { appProtocol }),
  };
}

export function readEndpointSlice(item: JsonObject): EndpointSlice {
  const meta = metadata(item);
  const type = stringOr(item.addressType, 'addressType', 'IPv4');
  return {
    namespace: meta.namespace,
    name: meta.name,
    service: meta.labels['kubernetes.io/service-name'] ?? '',
    // FQDN endpoints are names: no data plane sends to them.
    endpoints:
      type === 'FQDN'
        ? []
        : eachObject(item.endpoints, 'endpoints', (entry, field) =>
            readEndpoint(entry, field, meta.namespace),
          ),
    ports: eachObject(item.ports, 'ports', (entry, field) => ({
      name: stringOr(entry.name, `${field}.name`, ''),
      port: port(entry.port, `${field}.port`),
      protocol: protocol(entry.protocol, `${field}.protocol`),
    })),
  };
}

/** Absent conditions: ready means true, serving follows ready, terminating means false (discovery/v1 types.go). */
function readEndpoint(
  item: JsonObject,
  field: string,
  namespace: string,
): EndpointSlice['endpoints'][number] {
  const state = objectOrEmpty(item.conditions, `${field}.conditions`);
  const target = objectOrEmpty(item.targetRef, `${field}.targetRef`);
  const node = optionalString(item.nodeName, `${field}.nodeName`);
  const ready = boolOr(state.ready, `${field}.conditions.ready`, true);
  const addresses: readonly Address[] = each(item.addresses, `${field}.addresses`, address);
  if (addresses.length === 0) throw new Mismatch(`${field}.addresses`, 'is empty');
  const isPod = target.kind === 'Pod';
  return {
    addresses,
    ready,
    serving: boolOr(state.serving, `${field}.conditions.serving`, ready),
    terminating: boolOr(state.terminating, `${field}.conditions.terminating`, false),
    ...(node === undefined ? {} : { node }),
    ...(isPod
      ? {
          pod: {
            namespace: stringOr(target.namespace, `${field}.targetRef.namespace`, namespace),
            name: string(target.name, `${field}.targetRef.name`),
          },
        }
      : {}),
  };
}

export function readConfigMap(item: JsonObject): ConfigMap {
  const meta = metadata(item);
  return { namespace: meta.namespace, name: meta.name, data: labels(item.data, 'data') };
}
