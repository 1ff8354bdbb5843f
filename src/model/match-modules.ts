/** What the less common match modules of iptables ask, for those that a packet and the recorded state can answer. */
import type { Address } from '../net/address.ts';
import type { PortRange } from './netfilter.ts';

/** `location = value, value`: a 32-bit word of the packet, reached by steps. */
export interface U32Test {
  readonly start: number;
  /** `at` jumps behind the value found so far and reads the word at `number` from there. */
  readonly steps: readonly {
    readonly operator: 'and' | 'left' | 'right' | 'at';
    readonly number: number;
  }[];
  readonly ranges: readonly PortRange[];
}

/** One instruction of classic BPF (struct sock_filter). */
export interface BpfInstruction {
  readonly code: number;
  readonly jumpTrue: number;
  readonly jumpFalse: number;
  readonly k: number;
}

export type ModuleTest =
  /** All of the tests. */
  | { readonly kind: 'u32'; readonly tests: readonly U32Test[] }
  | { readonly kind: 'bpf'; readonly program: readonly BpfInstruction[] }
  /** Bytes anywhere between two offsets from the start of the IP header. */
  | {
      readonly kind: 'string';
      readonly bytes: readonly number[];
      readonly from: number;
      readonly to: number;
      readonly ignoreCase: boolean;
    }
  | { readonly kind: 'socket'; readonly wildcard: boolean; readonly transparent: boolean }
  /** The sender's control group: of packets that a process here sent. */
  | { readonly kind: 'cgroup' }
  | { readonly kind: 'helper'; readonly name: string }
  | { readonly kind: 'ecn'; readonly field: 'ect'; readonly value: number }
  | { readonly kind: 'ecn'; readonly field: 'cwr' | 'ece' }
  | {
      readonly kind: 'connbytes';
      readonly from: number;
      /** Absent: no limit. */
      readonly to?: number;
      readonly direction: 'original' | 'reply' | 'both';
      readonly mode: 'packets' | 'bytes' | 'avgpkt';
    }
  /** More than `count` connections that share the address under the prefix length. */
  | {
      readonly kind: 'connlimit';
      readonly count: number;
      readonly prefixLength: number;
      readonly side: 'src' | 'dst';
    }
  | {
      readonly kind: 'devgroup';
      readonly direction: 'in' | 'out';
      readonly value: number;
      readonly mask: number;
    }
  | { readonly kind: 'tcpmss' }
  | { readonly kind: 'connlabel'; readonly label: string }
  /** A header of one of these IP protocols, whatever it must hold. */
  | { readonly kind: 'protocol-header'; readonly protocols: readonly number[] }
  /** An extension header of IPv6, whatever it must hold. */
  | { readonly kind: 'extension-header' }
  /** -m ipv6header: whether exactly (or, soft, at least) these headers are there. */
  | { readonly kind: 'header-list'; readonly headers: readonly string[]; readonly soft: boolean }
  /** IPsec, `none` is that no policy applies. */
  | { readonly kind: 'policy'; readonly direction: 'in' | 'out'; readonly wants: 'none' | 'ipsec' };

/** -j CT in the raw table, in front of connection tracking. */
export interface CtTarget {
  readonly zone?: { readonly id: number | 'mark'; readonly direction: 'both' | 'original' | 'reply' };
  readonly helper?: string;
}

export interface SetOperation {
  readonly how: 'add' | 'del' | 'map';
  readonly set: string;
  readonly directions: readonly ('src' | 'dst')[];
}

export interface TproxyTarget {
  /** 0 is the port that the packet is for. */
  readonly port: number;
  readonly address?: Address;
  readonly value: number;
  readonly mask: number;
}
