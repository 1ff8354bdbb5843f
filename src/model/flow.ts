import type { Address } from '../net/address.ts';

export type FlowProtocol = 'tcp' | 'udp' | 'sctp' | 'icmp';

/** One end of a flow, resolved against a snapshot. */
export type Endpoint =
  | { readonly kind: 'pod'; readonly namespace: string; readonly name: string; readonly address: Address }
  | { readonly kind: 'node'; readonly name: string; readonly address: Address }
  | { readonly kind: 'service'; readonly namespace: string; readonly name: string; readonly address: Address }
  | { readonly kind: 'external'; readonly address: Address };

export interface Flow {
  readonly src: Endpoint;
  readonly dst: Endpoint;
  readonly protocol: FlowProtocol;
  /** 0 for icmp. */
  readonly dstPort: number;
  readonly srcPort?: number;
  /** IP packet size asked about; absent: a small packet and a full-size one must both pass. */
  readonly sizeBytes?: number;
  /** The host name that the user gave as destination: DNS is then part of the flow. */
  readonly hostName?: string;
}
