/** What Cilium's eBPF programs look up, as `cilium-dbg bpf ...` prints it on one node. */
import type { Address } from '../net/address.ts';
import type { Prefix } from '../net/prefix.ts';
import type { SourceRef } from './source.ts';

export interface LbService {
  readonly address: Address;
  readonly port: number;
  /** Absent: older versions do not tell protocols apart. */
  readonly protocol?: 'tcp' | 'udp' | 'sctp';
  /** The entry for clients inside of the cluster, where a traffic policy makes two of one Service. */
  readonly internal: boolean;
  /** As printed: `ClusterIP`, `InternalLocal`, `two-scopes`, `l7-load-balancer`, `sessionAffinity`. */
  readonly flags: readonly string[];
  readonly backends: readonly LbBackend[];
  /** Slots whose backend is not in the backend map. */
  readonly missing: readonly SourceRef[];
  readonly source: SourceRef;
}

export interface LbBackend {
  readonly address: Address;
  readonly port: number;
  readonly source: SourceRef;
}

export interface IpcacheEntry {
  readonly prefix: Prefix;
  readonly identity: number;
  /** The node behind which it is; absent for this node and for the world. */
  readonly tunnelEndpoint?: Address;
  readonly encryptKey: number;
  /** `skiptunnel`, `hastunnel`. */
  readonly flags: readonly string[];
  readonly source: SourceRef;
}

/** An address of this node: of the host, or of an endpoint. */
export type LxcEntry =
  | { readonly kind: 'host'; readonly address: Address; readonly source: SourceRef }
  | {
      readonly kind: 'endpoint';
      readonly address: Address;
      readonly id: number;
      /** Security identity; absent where the version does not print it. */
      readonly identity?: number;
      readonly ifindex: number;
      readonly mac: string;
      readonly source: SourceRef;
    };

export interface PolicyEntry {
  readonly action: 'allow' | 'deny';
  readonly direction: 'ingress' | 'egress';
  /** A number, 0 for any; or labels whose number the dump does not tell. */
  readonly identity: { readonly id: number } | { readonly labels: readonly string[] };
  /** IP protocol number; absent is any. */
  readonly protocol?: number;
  /** Absent is any; a masked port is a range. */
  readonly ports?: { readonly from: number; readonly to: number };
  /** The L7 proxy that takes it. */
  readonly proxyPort?: number;
  /** `disabled`, `spire` ... */
  readonly auth: string;
  readonly source: SourceRef;
}
