/** The `services` match of Calico rules: the endpoints of a Service, and as a destination only their ports. */
import type { Cluster, Pod, Service } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import type { CalicoEntity } from '../../model/policies/calico.ts';
import {
  intersectPorts,
  noPorts,
  type PortSet,
  portRange,
  unionPorts,
  wholeProtocol,
} from '../../net/port-set.ts';
import { isEndpointPod } from '../endpoint.ts';
import { anyEndpoint, type EndpointExpr, kinds, type NamedPort, noEndpoint, type Ports } from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import { addressExpr, type Bounds, exactly, hostPrefix, joinAll, joinAny } from './calico-selector.ts';

type ServiceName = NonNullable<CalicoEntity['service']>;

export interface ServiceLowering {
  /** Alternatives; without a Service one that restricts nothing. */
  readonly destinations: (
    service: ServiceName | undefined,
    ports: Ports,
  ) => readonly { readonly bounds: Bounds; readonly ports: Ports }[];
  readonly sources: (service: ServiceName | undefined) => readonly Bounds[];
}

/** Endpoints with the ports that they have of the Service. */
interface Part {
  readonly endpoints: EndpointExpr;
  readonly ports: PortSet;
  readonly named: readonly NamedPort[];
}

export function serviceLowering({ cluster }: PolicyWorld): ServiceLowering {
  const unknown: Bounds = { sure: noEndpoint, possible: anyEndpoint };
  return {
    destinations: (service, ports) => {
      if (service === undefined) return [{ bounds: exactly(anyEndpoint), ports }];
      const parts = partsOf(cluster, service);
      if (parts === undefined) return [{ bounds: unknown, ports }];
      return parts.map((part) => ({
        bounds: exactly(part.endpoints),
        ports: {
          set: intersectPorts(ports.set, part.ports),
          named: part.named.filter(
            ({ protocol }) => intersectPorts(ports.set, wholeProtocol(protocol)).length > 0,
          ),
        },
      }));
    },
    sources: (service) => {
      if (service === undefined) return [exactly(anyEndpoint)];
      const parts = partsOf(cluster, service);
      if (parts === undefined) return [unknown];
      return [exactly(joinAny(parts.map((part) => part.endpoints)))];
    },
  };
}

/** Undefined where the objects do not tell. Felix reads EndpointSlices, ready or not; a Service's selector stands in for missing ones. */
function partsOf(cluster: Cluster, { namespace, name }: ServiceName): readonly Part[] | undefined {
  const slices = orElse(cluster.endpointSlices, []).filter(
    (slice) => slice.namespace === namespace && slice.service === name,
  );
  if (slices.length > 0)
    return slices.map((slice) => ({
      endpoints: addressExpr(slice.endpoints.flatMap(({ addresses }) => addresses.map(hostPrefix))),
      ports: unionOf(slice.ports.map(({ protocol, port }) => portRange(protocol, port, port))),
      named: [],
    }));
  if (cluster.services.state === 'unknown') return undefined;
  const service = cluster.services.value.find((one) => one.namespace === namespace && one.name === name);
  if (service === undefined) return [];
  if (Object.keys(service.selector).length === 0)
    return cluster.endpointSlices.state === 'unknown' ? undefined : [];
  return selectedParts(cluster, service);
}

function selectedParts(cluster: Cluster, service: Service): readonly Part[] {
  const { namespace, selector, ports } = service;
  const ownNetwork: Part = {
    endpoints: joinAll([
      kinds('pod'),
      { is: 'namespace', names: [namespace] },
      ...Object.entries(selector).map(
        ([key, value]): EndpointExpr => ({
          is: 'label',
          of: 'self',
          key,
          test: { op: 'in', values: [value] },
        }),
      ),
    ]),
    ports: unionOf(
      ports.flatMap(({ protocol, targetPort }) =>
        typeof targetPort === 'number' ? [portRange(protocol, targetPort, targetPort)] : [],
      ),
    ),
    named: ports.flatMap(({ protocol, targetPort }) =>
      typeof targetPort === 'string' ? [{ protocol, name: targetPort }] : [],
    ),
  };
  const onHost = orElse(cluster.pods, []).filter(
    (pod) =>
      pod.hostNetwork &&
      isEndpointPod(pod) &&
      pod.namespace === namespace &&
      Object.entries(selector).every(
        ([key, value]) => Object.hasOwn(pod.labels, key) && pod.labels[key] === value,
      ),
  );
  return [ownNetwork, ...onHost.map((pod) => hostPart(pod, ports))];
}

const hostPart = (pod: Pod, ports: Service['ports']): Part => ({
  endpoints: addressExpr(pod.addresses.map(hostPrefix)),
  ports: unionOf(
    ports.flatMap(({ protocol, targetPort }) => {
      const numbers =
        typeof targetPort === 'number'
          ? [targetPort]
          : pod.containers
              .flatMap((container) => container.ports)
              .filter((one) => one.name === targetPort && one.protocol === protocol)
              .map((one) => one.port);
      return numbers.map((number) => portRange(protocol, number, number));
    }),
  ),
  named: [],
});

const unionOf = (sets: readonly PortSet[]): PortSet => sets.reduce(unionPorts, noPorts);
