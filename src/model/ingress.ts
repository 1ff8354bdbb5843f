/** What is let into the cluster from outside by name: Ingresses, and OpenShift's Routes. */
import type { ObjectOrigin } from './cluster.ts';

export interface EntryPoint {
  readonly kind: 'Ingress' | 'Route';
  readonly namespace: string;
  readonly name: string;
  /** The Services that requests are handed to. */
  readonly backends: readonly EntryBackend[];
  readonly origin?: ObjectOrigin;
}

export interface EntryBackend {
  /** In the entry point's own namespace. */
  readonly service: string;
  /**
   * `service`: a port of the Service, by number or name. `target`: the pod's port, as a Route names it (the name of a Service port counts
   * too). Absent: every port of the Service.
   */
  readonly port?: { readonly of: 'service' | 'target'; readonly value: number | string };
  /** `spec.rules[0].http.paths[0].backend` */
  readonly field: string;
}
