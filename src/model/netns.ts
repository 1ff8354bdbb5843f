/** One network namespace's recorded state: a node's, or a pod's. Field names follow iproute2. */
import type { Address, Family } from '../net/address.ts';
import type { MadeUpPorts } from '../net/made-up.ts';
import type { Prefix } from '../net/prefix.ts';
import type { IpcacheEntry, LbService, LxcEntry, PolicyEntry } from './cilium-maps.ts';
import type { VirtualServer } from './ipvs.ts';
import type { Known } from './known.ts';
import type { IpSet, Ruleset } from './netfilter.ts';
import type { NftTable } from './nft.ts';
import type { SourceRef } from './source.ts';
import type { Tunnel, WireGuardDevice } from './tunnel.ts';

export interface Netns {
  /** `node1`, or `node1/shop_web-1` for a pod's namespace. */
  readonly id: string;
  readonly node: string;
  /** Absent for a node's own namespace. */
  readonly pod?: { readonly namespace: string; readonly name: string };
  /** From ip-link.json, addresses from ip-addr.json. */
  readonly devices: Known<readonly Device[]>;
  readonly routes: Known<readonly Route[]>;
  readonly routes6: Known<readonly Route[]>;
  /** Next hop objects of both families. Needed only where routes name one and do not spell it out (nexthop_compat_mode=0). */
  readonly nexthops: Known<readonly NextHopObject[]>;
  readonly rules: Known<readonly RoutingRule[]>;
  readonly rules6: Known<readonly RoutingRule[]>;
  readonly neighbours: Known<readonly Neighbour[]>;
  readonly fdb: Known<readonly FdbEntry[]>;
  readonly bridgePorts: Known<readonly BridgePort[]>;
  /** WireGuard devices with their peers. */
  readonly wireguard: Known<readonly WireGuardDevice[]>;
  /** Every rule set recorded for the namespace: ip/ip6, nft and legacy backends. An empty save is a rule set without tables. */
  readonly rulesets: Known<readonly Ruleset[]>;
  /** Every nftables table, also those that iptables-nft made (their rules stand in `rulesets` too). */
  readonly nftTables: Known<readonly NftTable[]>;
  readonly ipsets: Known<readonly IpSet[]>;
  /** Virtual servers of IPVS; known and empty where the kernel has none. */
  readonly ipvs: Known<readonly VirtualServer[]>;
  /** Maps of Cilium's eBPF programs, on nodes. `cilium-dbg bpf lb list`. */
  readonly ciliumServices: Known<readonly LbService[]>;
  /** `cilium-dbg bpf ipcache list` */
  readonly ciliumIpcache: Known<readonly IpcacheEntry[]>;
  /** `cilium-dbg bpf endpoint list` */
  readonly ciliumEndpoints: Known<readonly LxcEntry[]>;
  /** `cilium-dbg bpf policy get --all -n`, by endpoint id. */
  readonly ciliumPolicies: Known<ReadonlyMap<number, readonly PolicyEntry[]>>;
  /** `net.ipv4.ip_forward` -> `1`. Device names keep the kernel's spelling (`flannel/1` for flannel.1). */
  readonly sysctls: Known<ReadonlyMap<string, string>>;
  readonly sockets: Known<readonly Socket[]>;
  readonly conntrack: Known<readonly ConntrackEntry[]>;
  /** /proc/net/snmp and netstat flattened: `IpInAddrErrors`, `TcpExtIPReversePathFilter`. */
  readonly counters: Known<ReadonlyMap<string, number>>;
  readonly resolver: Known<Resolver>;
}

export interface Device {
  readonly index: number;
  readonly name: string;
  /** `veth`, `bridge`, `vxlan`, `loopback`, `ether` (a plain NIC) or whatever info_kind says. */
  readonly kind: string;
  /** The UP flag: administratively up. */
  readonly up: boolean;
  /** LOWER_UP: the carrier. */
  readonly carrier: boolean;
  readonly mtuBytes: number;
  /** Number of the device group; absent where it has a name that only the host knows. */
  readonly group?: number;
  readonly mac?: string;
  /** Bridge or VRF that this device is a port of. */
  readonly master?: string;
  /** Of a VRF: the table that packets of its ports are routed by. */
  readonly vrfTable?: string;
  /** ifindex of the other end (veth) or lower device, in `peerNetns` where that is another namespace. */
  readonly peerIndex?: number;
  /** Name of the lower device in the same namespace, as `link` (vlan, macvlan, vxlan underlay). */
  readonly lower?: string;
  readonly addresses: readonly DeviceAddress[];
  /** What the device puts around packets, if it is a tunnel and that was recorded. */
  readonly tunnel?: Tunnel;
  readonly stacked?: Stacked;
  /** Of a bridge: ports pass only the VLANs that they are members of. */
  readonly vlanFiltering?: boolean;
  /** Of a bond: the slave that sends, where its mode has one. */
  readonly activeSlave?: string;
  readonly source: SourceRef;
}

export interface DeviceAddress {
  readonly address: Address;
  readonly prefix: Prefix;
  readonly scope: string;
}

/** A device that shares another one's frames. */
export type Stacked =
  /** `bridge`, `private`, `vepa`, `passthru`, `source` */
  | { readonly kind: 'macvlan'; readonly mode: string }
  /** mode `l2`, `l3`, `l3s`; flag `bridge`, `private`, `vepa` */
  | { readonly kind: 'ipvlan'; readonly mode: string; readonly flag: string }
  | { readonly kind: 'vlan'; readonly id: number };

export type RouteType =
  | 'unicast'
  | 'local'
  | 'broadcast'
  | 'multicast'
  | 'anycast'
  | 'blackhole'
  | 'unreachable'
  | 'prohibit'
  | 'throw'
  | 'nat';

export interface Route {
  readonly family: Family;
  readonly type: RouteType;
  readonly dst: Prefix;
  /** `main`, `local`, `default`, or the number as text. */
  readonly table: string;
  readonly nexthops: readonly NextHop[];
  readonly prefsrc?: Address;
  readonly scope: string;
  readonly metric: number;
  readonly protocol: string;
  readonly mtuBytes?: number;
  /** `mtu lock`: packets go without DF. `ip -j` does not print it, `ip route` as text does. */
  readonly mtuLocked?: boolean;
  readonly advmssBytes?: number;
  /** Only packets of this type of service take it (IPv4). */
  readonly tos?: number;
  /** Only packets from there take it (IPv6 subtrees). */
  readonly from?: Prefix;
  /** IPv6 router preference, RFC 4191; absent is medium. */
  readonly preference?: 'low' | 'medium' | 'high';
  /** Id of the next hop object that it uses; `nexthops` then is what that object says. */
  readonly nexthopId?: number;
  readonly source: SourceRef;
}

/** `ip nexthop`: a next hop, a group of others with weights, or a black hole. */
export interface NextHopObject {
  readonly id: number;
  readonly hop?: NextHop;
  readonly group?: readonly { readonly id: number; readonly weight: number }[];
  readonly blackhole: boolean;
  readonly source: SourceRef;
}

export interface NextHop {
  readonly gateway?: Address;
  readonly device?: string;
  readonly onlink: boolean;
  /** dead or linkdown, as `ip route` flags it. */
  readonly dead: boolean;
  /** Lightweight tunnel or other action on the packet (`encap mpls`), which is not followed. */
  readonly encap?: string;
  readonly weight: number;
}

export interface RoutingRule {
  readonly priority: number;
  readonly not: boolean;
  readonly from?: Prefix;
  readonly to?: Prefix;
  readonly iif?: string;
  readonly oif?: string;
  readonly fwmark?: { readonly value: number; readonly mask: number };
  /** Type of service, one of the eight-bit values that `ip rule` takes. */
  readonly tos?: number;
  /** IP protocol number. */
  readonly protocol?: number;
  /** Inclusive. */
  readonly srcPorts?: Range;
  readonly dstPorts?: Range;
  /** User ids of the sending socket; of a packet that came in, 0. */
  readonly uids?: Range;
  readonly suppressPrefixLength?: number;
  /** Routes by devices of this group do not count. */
  readonly suppressGroup?: number;
  readonly action:
    | { readonly kind: 'table'; readonly table: string }
    /** The table of the VRF that the packet came by or goes to. */
    | { readonly kind: 'l3mdev' }
    | { readonly kind: 'goto'; readonly priority: number }
    | { readonly kind: 'blackhole' | 'unreachable' | 'prohibit' | 'nop' };
  /** Selectors that were present and are not understood (tun_id, flowlabel ...): the rule then matches "unknown". */
  readonly notUnderstood: readonly string[];
  readonly source: SourceRef;
}

export interface Range {
  readonly from: number;
  readonly to: number;
}

export interface Neighbour {
  readonly address: Address;
  readonly device: string;
  readonly mac?: string;
  /** `REACHABLE`, `STALE`, `DELAY`, `PROBE`, `PERMANENT`, `NOARP`, `FAILED`, `INCOMPLETE` */
  readonly states: readonly string[];
  readonly proxy: boolean;
  readonly source: SourceRef;
}

export interface FdbEntry {
  readonly mac: string;
  readonly device: string;
  readonly master?: string;
  /** Remote VTEP of a vxlan entry. */
  readonly remote?: Address;
  readonly vni?: number;
  readonly self: boolean;
  readonly state: string;
  readonly source: SourceRef;
}

export interface BridgePort {
  readonly device: string;
  readonly bridge: string;
  /** `forwarding`, `disabled`, ... */
  readonly state: string;
  readonly hairpin: boolean;
  readonly isolated: boolean;
}

export interface Socket {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** LISTEN for tcp, UNCONN for udp. */
  readonly state: string;
  /** Undefined is any address of both families (`*`); 0.0.0.0 is any of IPv4; [::] any of IPv6 (and of IPv4 unless v6only). */
  readonly local?: Address;
  /** Bound to one device: `0.0.0.0%eth0`. */
  readonly device?: string;
  readonly port: number;
  readonly process?: string;
  readonly source: SourceRef;
}

export interface ConntrackEntry {
  readonly family: Family;
  readonly protocol: string;
  readonly state?: string;
  readonly original: Tuple;
  readonly reply: Tuple;
  /** ASSURED, UNREPLIED ... */
  readonly flags: readonly string[];
  readonly mark: number;
  /** Ids of the zone as each direction sees it; absent is the default zone. */
  readonly zone?: { readonly original: number; readonly reply: number };
  /** Where accounting is on. */
  readonly volume?: Readonly<
    Record<'original' | 'reply', { readonly packets: number; readonly bytes: number }>
  >;
  readonly helper?: string;
  /** Seconds until it is forgotten; `conntrack -L` leaves it out of offloaded entries. */
  readonly expiresSeconds?: number;
  /** Names or numbers of connlabels; absent where the dump does not show them. */
  readonly labels?: readonly string[];
  readonly source: SourceRef;
}

export interface Tuple {
  readonly src: Address;
  readonly dst: Address;
  readonly srcPort: number;
  readonly dstPort: number;
  /** Ports that are not known: the kernel made them up. */
  readonly madeUp?: MadeUpPorts;
}

export interface Resolver {
  readonly nameservers: readonly Address[];
  readonly search: readonly string[];
  readonly ndots: number;
}
