import type { SourceRef } from './source.ts';

/** declared: an object says so. observed: kernel state shows it. simulated: the walk derived it. probed: a packet tried it. */
export type How = 'declared' | 'observed' | 'simulated' | 'probed';

export interface Evidence {
  readonly how: How;
  /** A full sentence without its final stop. */
  readonly statement: string;
  readonly source?: SourceRef;
}

export type ProbeKind = 'icmp' | 'tcp' | 'udp' | 'dns';

/** What really happened when a packet was sent. One entry of probes/*.json. */
export interface ProbeResult {
  /** `namespace/pod` or node name. */
  readonly src: string;
  /** Address or, for dns, the name that was asked for. */
  readonly dst: string;
  readonly kind: ProbeKind;
  /** 0 for icmp. */
  readonly port: number;
  /** Payload asked for; 0 is a small packet. With `df`, the whole IP packet's size. */
  readonly sizeBytes: number;
  readonly df?: boolean;
  /** For tcp transfers: who sends the `sizeBytes`. Absent: the source. */
  readonly bulk?: 'from-src' | 'from-dst';
  /** For dns: who was asked and what it said. No `rcode`: no answer came. */
  readonly dns?: {
    readonly server: string;
    readonly transport: 'udp' | 'tcp';
    readonly rcode?: string;
    /** Addresses of the answer section. */
    readonly answers: readonly string[];
  };
  readonly outcome: 'ok' | 'timeout' | 'refused' | 'unreachable' | 'too-big' | 'error';
  readonly ms: number;
  readonly command: string;
  readonly output: string;
}
