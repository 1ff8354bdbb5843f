/** The kernel's load balancer (IPVS), as kube-proxy's ipvs mode fills it. */
import type { Address, Family } from '../net/address.ts';
import type { SourceRef } from './source.ts';

export interface VirtualServer {
  readonly key:
    | {
        readonly kind: 'address';
        readonly protocol: 'tcp' | 'udp' | 'sctp';
        readonly address: Address;
        /** 0 takes every port; only persistent services may have it. */
        readonly port: number;
      }
    | { readonly kind: 'fwmark'; readonly mark: number; readonly family: Family };
  /** `rr`, `wrr`, `lc`, `sh` ... */
  readonly scheduler: string;
  /** A client keeps its real server: kube-proxy's sessionAffinity ClientIP. */
  readonly persistent: boolean;
  readonly servers: readonly RealServer[];
  readonly source: SourceRef;
}

export interface RealServer {
  readonly address: Address;
  /** 0 is the port that was called. */
  readonly port: number;
  /** How packets get there. `local` leaves them as they are, for a socket of this machine. */
  readonly method: 'masq' | 'tunnel' | 'route' | 'local';
  /** 0 takes no new connections. */
  readonly weight: number;
  readonly source: SourceRef;
}
