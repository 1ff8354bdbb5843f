/** Services on the walk: what their objects promise, where kube-proxy's own rules cannot be read or are missing. */
import type { Service, ServicePort } from '../model/cluster.ts';
import { orElse } from '../model/known.ts';
import { objectRef } from '../model/source.ts';
import type { Reason } from '../model/verdict.ts';
import { type Address, formatAddress } from '../net/address.ts';
import type { Cursor, StepDetail } from './cursor.ts';
import type { World } from './world.ts';

export interface Backend {
  readonly address: Address;
  readonly port: number;
  readonly node?: string;
}

export function servicePort(service: Service, port: number, protocol: string): ServicePort | undefined {
  return service.ports.find((p) => p.port === port && p.protocol === protocol.toUpperCase());
}

/** Ready endpoints of a Service port as its EndpointSlices list them: what kube-proxy programs. */
export function backendsOf(
  world: World,
  service: Service,
  port: ServicePort,
  family: 4 | 6,
): readonly Backend[] {
  return orElse(world.snapshot.cluster.endpointSlices, [])
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

/** A packet that is still addressed to a Service after PREROUTING: no rule translated it, so it will go astray. */
export function untranslatedService(
  world: World,
  cursor: Cursor,
): readonly [reason: Reason, text: string, detail: StepDetail] | undefined {
  const { packet, netns } = cursor;
  if (netns.pod !== undefined) return undefined;
  const service = world.service(packet.dst);
  if (service === undefined) return undefined;
  const name = `${service.namespace}/${service.name}`;
  const port = servicePort(service, packet.dstPort, packet.protocol);
  const sources = [objectRef('Service', service.namespace, service.name, 'spec.ports')];
  if (port === undefined) {
    const text = `Service ${name} has no port ${packet.protocol}/${packet.dstPort}`;
    return ['service-rules-missing', text, { facts: { service: name, declared: 'no' }, sources }];
  }
  const declared = backendsOf(world, service, port, packet.dst.family);
  if (declared.length === 0) {
    return [
      'no-endpoints',
      `Service ${name} has no ready endpoints for ${packet.protocol}/${packet.dstPort}`,
      { facts: { service: name }, sources },
    ];
  }
  return [
    'service-rules-missing',
    `${netns.id} does not translate ${formatAddress(packet.dst)}:${packet.dstPort} (Service ${name})`,
    { facts: { service: name, node: netns.node }, sources },
  ];
}
