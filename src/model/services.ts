/** What a Service's objects promise: the endpoints behind one of its ports. */
import type { Address } from '../net/address.ts';
import type { Cluster, Service, ServicePort } from './cluster.ts';
import { orElse } from './known.ts';

export interface Backend {
  readonly address: Address;
  readonly port: number;
  readonly node?: string;
}

/** Every address that the nodes translate for a Service. */
export const addressesOf = (service: Service): readonly Address[] => [
  ...service.clusterIps,
  ...(service.externalIps ?? []),
  ...(service.loadBalancerIps ?? []),
];

export function servicePort(service: Service, port: number, protocol: string): ServicePort | undefined {
  return service.ports.find((p) => p.port === port && p.protocol === protocol.toUpperCase());
}

/** Ready endpoints of a Service port as its EndpointSlices list them: what kube-proxy programs. */
export function backendsOf(
  cluster: Cluster,
  service: Service,
  port: ServicePort,
  family: 4 | 6,
): readonly Backend[] {
  return orElse(cluster.endpointSlices, [])
    .filter((slice) => slice.namespace === service.namespace && slice.service === service.name)
    .flatMap((slice) => {
      const slicePort = slice.ports.find((p) => p.name === port.name && p.protocol === port.protocol);
      if (slicePort === undefined) return [];
      return slice.endpoints
        .filter((endpoint) => endpoint.ready)
        .flatMap((endpoint) =>
          endpoint.addresses
            .filter((a) => a.family === family)
            .map((a) => ({
              address: a,
              port: slicePort.port,
              ...(endpoint.node === undefined ? {} : { node: endpoint.node }),
            })),
        );
    });
}
