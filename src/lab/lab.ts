/** The lab as the rest of podpath uses it: network namespaces on this kernel, with Kubernetes objects beside them. */
import type { ExecOptions, ExecResult } from '../system/exec.ts';
import type { LabNode, LabPod, LabState } from './state.ts';

export { downLab, sweepLabs } from './down.ts';
export { listLabs, openLab } from './handle.ts';
export { type UpOptions, upLab } from './up.ts';

/** A raw Kubernetes object, as the API returns it. */
export interface RawObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

/** File names of cluster/: plural, with the API group where it has one. */
export type Plural =
  | 'pods'
  | 'services'
  | 'endpointslices.discovery.k8s.io'
  | 'networkpolicies.networking.k8s.io'
  | 'namespaces'
  | 'nodes'
  | 'configmaps'
  | 'deployments.apps'
  | 'replicasets.apps'
  | 'daemonsets.apps';

/** One socket that a pod listens on. */
export interface ServerSpec {
  /** `shop/api-1` */
  readonly pod: string;
  readonly protocol: 'tcp' | 'udp';
  /** Bind address: `0.0.0.0`, `::` (both families), `127.0.0.1` ... */
  readonly address: string;
  readonly port: number;
  /** http: GET / names the pod, POST counts bytes. echo: sends back what comes. dns: answers cluster names. */
  readonly kind: 'http' | 'echo' | 'dns';
}

export interface Lab {
  readonly state: LabState;
  /** The lab's state directory: lab.json, cluster/, servers.json. */
  readonly dir: string;
  /** Runs a command inside a network namespace of the lab by `ip netns exec`. Never rejects; see ExecResult. */
  exec(netns: string, argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Throws PodpathError, naming the nearest names, if there is none. */
  node(name: string): LabNode;
  /** `namespace/name`. Throws PodpathError, naming the nearest names, if there is none. */
  pod(name: string): LabPod;
  /** The items of cluster/<plural>.json; empty if the file does not exist. */
  objects<T = RawObject>(plural: Plural): Promise<T[]>;
  writeObjects(plural: Plural, items: readonly unknown[]): Promise<void>;
  /** Renders kube-proxy's rules from the objects and restores them on the nodes (default: all), as a kube-proxy sync does. */
  syncServices(nodes?: readonly string[]): Promise<void>;
  /** Renders the NetworkPolicy sets and rules and restores them on the nodes (default: all). */
  syncPolicies(nodes?: readonly string[]): Promise<void>;
  /** What the pods listen on. */
  servers(): Promise<ServerSpec[]>;
  /** Replaces what the pods listen on and restarts the lab's server process; resolves once all sockets listen. */
  setServers(specs: readonly ServerSpec[]): Promise<void>;
  /** Writes the changed state to lab.json and to `state`. */
  saveState(patch: Partial<LabState>): Promise<void>;
}
