/** Ingress (networking.k8s.io/v1, and the v1beta1 that it came from) and Route (route.openshift.io/v1): Services open to the outside. */
import type { ObjectProblem } from '../../model/cluster.ts';
import type { EntryBackend, EntryPoint } from '../../model/ingress.ts';
import type { JsonObject } from '../json.ts';
import type { Collection } from './collection.ts';
import { eachObject, Mismatch, metadata, objectOrEmpty, optionalString, port, string } from './shape.ts';

export interface EntryPoints {
  readonly entryPoints: readonly EntryPoint[];
  readonly problems: readonly ObjectProblem[];
}

const lists: readonly (readonly [plural: string, read: (item: JsonObject) => EntryPoint])[] = [
  ['ingresses.networking.k8s.io', readIngress],
  ['ingresses.extensions', readIngress],
  ['routes.route.openshift.io', readRoute],
];

export function readEntryPoints(objects: Pick<Collection, 'list'>): EntryPoints {
  const entryPoints: EntryPoint[] = [];
  const problems: ObjectProblem[] = [];
  for (const [plural, read] of lists)
    for (const { object, origin } of objects.list(plural)) {
      const at = origin === undefined ? {} : { origin };
      try {
        entryPoints.push({ ...read(object), ...at });
      } catch (error) {
        if (!(error instanceof Mismatch)) throw error;
        problems.push({
          text: `${String(object.kind)}: ${error.field} ${error.why}`,
          field: error.field,
          ...at,
        });
      }
    }
  return { entryPoints, problems };
}

function readIngress(item: JsonObject): EntryPoint {
  const meta = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const backends: (EntryBackend | undefined)[] = [];
  for (const key of ['defaultBackend', 'backend'])
    if (spec[key] !== undefined && spec[key] !== null)
      backends.push(readBackend(objectOrEmpty(spec[key], `spec.${key}`), `spec.${key}`));
  eachObject(spec.rules, 'spec.rules', (rule, field) => {
    const http = objectOrEmpty(rule.http, `${field}.http`);
    eachObject(http.paths, `${field}.http.paths`, (path, at) => {
      backends.push(readBackend(objectOrEmpty(path.backend, `${at}.backend`), `${at}.backend`));
    });
  });
  return {
    kind: 'Ingress',
    namespace: meta.namespace,
    name: meta.name,
    backends: backends.filter((backend) => backend !== undefined),
  };
}

/** A backend may be a `resource` (a bucket) in place of a Service: then no pod gets the request. */
function readBackend(backend: JsonObject, field: string): EntryBackend | undefined {
  const service = objectOrEmpty(backend.service, `${field}.service`);
  // v1beta1 had serviceName and servicePort.
  const name =
    optionalString(service.name, `${field}.service.name`) ??
    optionalString(backend.serviceName, `${field}.serviceName`);
  if (name === undefined) return undefined;
  const portObject = objectOrEmpty(service.port, `${field}.service.port`);
  const value = portObject.number ?? portObject.name ?? backend.servicePort;
  return {
    service: name,
    ...(value === undefined || value === null
      ? {}
      : { port: { of: 'service', value: portValue(value, `${field}.service.port`) } }),
    field,
  };
}

/** The Service that gets the requests, and those that share them. Without a port the router takes all of the Service's. */
function readRoute(item: JsonObject): EntryPoint {
  const meta = metadata(item);
  const spec = objectOrEmpty(item.spec, 'spec');
  const target = objectOrEmpty(spec.port, 'spec.port').targetPort;
  const chosen =
    target === undefined || target === null
      ? {}
      : { port: { of: 'target' as const, value: portValue(target, 'spec.port.targetPort') } };
  const read = (to: JsonObject, field: string): EntryBackend => ({
    service: string(to.name, `${field}.name`),
    ...chosen,
    field,
  });
  return {
    kind: 'Route',
    namespace: meta.namespace,
    name: meta.name,
    backends: [
      ...(spec.to === undefined || spec.to === null
        ? []
        : [read(objectOrEmpty(spec.to, 'spec.to'), 'spec.to')]),
      ...eachObject(spec.alternateBackends, 'spec.alternateBackends', read),
    ],
  };
}

const portValue = (value: unknown, field: string): number | string =>
  typeof value === 'string' ? value : port(value, field);
