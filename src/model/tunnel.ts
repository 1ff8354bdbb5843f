/** What a tunnel device puts around a packet, as `ip -d link` shows it; of WireGuard also what `wg show` adds. */
import type { Address } from '../net/address.ts';
import type { Prefix } from '../net/prefix.ts';
import type { SourceRef } from './source.ts';

export type Tunnel = Vxlan | Geneve | IpTunnel | Gre | WireGuard;

export interface Vxlan {
  readonly kind: 'vxlan';
  readonly vni: number;
  readonly port: number;
  readonly local?: Address;
  readonly remote?: Address;
  /** Underlay device name. */
  readonly underlay?: string;
  readonly learning: boolean;
  /** Whether the outer header gets DF: `unset`, `set`, `inherit`. */
  readonly df: string;
  /** Whoever hands the packet over says where it goes: eBPF programs, Open vSwitch. */
  readonly external: boolean;
}

export interface Geneve {
  readonly kind: 'geneve';
  readonly vni: number;
  readonly port: number;
  readonly remote?: Address;
  readonly df: string;
  readonly external: boolean;
}

/** An IP packet as the payload of another one. */
export interface IpTunnel {
  readonly kind: 'ipip' | 'sit' | 'ip6tnl';
  /** Absent: any. */
  readonly local?: Address;
  /** Absent: each packet's own next hop. */
  readonly remote?: Address;
  readonly underlay?: string;
  /** What the device takes: IPv4, IPv6 or both. */
  readonly carries: readonly (4 | 6)[];
  /** Whether the outer header always gets DF; without, it has the inner one's. */
  readonly pmtuDiscovery: boolean;
  readonly external: boolean;
  /** Of ip6tnl: a destination option of 8 bytes in every outer header. */
  readonly encapLimit: boolean;
}

export interface Gre {
  readonly kind: 'gre';
  /** True for gretap: whole frames inside. */
  readonly frames: boolean;
  readonly local?: Address;
  readonly remote?: Address;
  readonly underlay?: string;
  /** As printed, `0.0.0.7`. */
  readonly inKey?: string;
  readonly outKey?: string;
  /** Checksums and sequence numbers take 4 bytes each. */
  readonly outOptionsBytes: number;
  readonly pmtuDiscovery: boolean;
  readonly external: boolean;
}

/** `ip link` shows nothing but the kind: keys, ports and peers are in `Netns.wireguard`. */
export interface WireGuard {
  readonly kind: 'wireguard';
}

/** Of `wg show`; private and preshared keys are never read. */
export interface WireGuardDevice {
  readonly device: string;
  readonly publicKey?: string;
  readonly listenPort?: number;
  /** Mark of the packets that carry the tunnel; 0 for none. */
  readonly fwmark: number;
  readonly peers: readonly WireGuardPeer[];
  readonly source: SourceRef;
}

export interface WireGuardPeer {
  readonly publicKey: string;
  readonly endpoint?: { readonly address: Address; readonly port: number };
  readonly allowedIps: readonly Prefix[];
  /** Seconds since 1970; 0 for never, undefined for not recorded. */
  readonly latestHandshake?: number;
  readonly source: SourceRef;
}

/** The parameters of a VXLAN device, where they were recorded. */
export const vxlanOf = ({ tunnel }: { readonly tunnel?: Tunnel }): Vxlan | undefined =>
  tunnel?.kind === 'vxlan' ? tunnel : undefined;
