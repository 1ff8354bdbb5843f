import type { Packet } from '../net/packet.ts';
import type { Evidence } from './evidence.ts';
import type { Flow } from './flow.ts';
import type { Gap } from './gap.ts';
import type { SourceRef } from './source.ts';

export type Answer = 'reachable' | 'unreachable' | 'unknown';

/** How a flow ends. docs/dispositions.md gives each one's exact condition. */
export type Disposition =
  | 'delivered'
  | 'denied-egress'
  | 'denied-ingress'
  | 'no-endpoints'
  | 'no-route'
  | 'blackholed'
  | 'neighbour-unreachable'
  | 'filtered'
  | 'rpf-failed'
  | 'martian'
  | 'not-forwarding'
  | 'mtu-exceeded'
  | 'fragment-lost'
  | 'loop'
  | 'tunnel-lost'
  | 'return-lost'
  | 'refused'
  | 'name-not-found'
  | 'mesh-rejected'
  | 'cloud-filtered'
  | 'insufficient-info';

/**
 * The exact condition at the step where a packet is lost; finer than the disposition. The causes are derived from it
 * (src/diagnose/causes.ts), so a new reason needs a line there.
 */
export type Reason =
  // routing
  | 'no-route'
  | 'route-blackhole' // blackhole, unreachable or prohibit route; facts.type
  | 'wrong-next-hop' // the route leads to a node that does not own the destination; facts.owner, facts.nextHopNode
  | 'ip-forward-off' // facts.sysctl
  | 'rp-filter' // facts.device, facts.mode, facts.expectedDevice
  | 'martian-source'
  | 'routing-loop'
  | 'ttl-exceeded'
  // devices and neighbours
  | 'device-down' // facts.device, facts.deviceKind
  | 'device-missing' // facts.device, facts.deviceKind
  | 'neighbour-unresolved' // facts.nextHop, facts.device, facts.state?
  | 'neighbour-wrong-mac' // facts.nextHop, facts.mac, facts.expectedMac
  | 'no-host-for-address' // nobody in the snapshot has the destination address on that segment
  // bridges and tunnels
  | 'hairpin-off' // a bridge port that does not send a frame back where it came from; facts.device
  | 'fdb-missing' // facts.mac, facts.device
  | 'fdb-wrong' // facts.mac, facts.device, facts.remote, facts.expectedRemote
  | 'vtep-mac-mismatch' // the decapsulated frame is addressed to a MAC the peer's VTEP does not have; facts.mac, facts.expectedMac
  | 'tunnel-endpoint-missing' // the peer has no tunnel device for this VNI and port; facts.node, facts.vni, facts.port
  | 'tunnel-endpoint-down' // facts.node, facts.device
  | 'tunnel-parameters-differ' // facts.*
  // netfilter
  | 'rule-drop' // facts.hook, facts.table, facts.chain, facts.rule?
  | 'rule-reject'
  | 'chain-policy-drop' // facts.hook, facts.table, facts.chain
  | 'no-endpoints' // kube-proxy's reject for a Service without endpoints, or no DNAT rule for its address
  | 'service-rules-missing' // facts.service
  // size
  | 'mtu-exceeded' // too large for facts.device (facts.mtu, facts.size), and no ICMP answer reaches the sender (facts.icmp says why)
  | 'fragment-lost' // the tunnel packet must be fragmented, and fragments are known to be lost
  // the far end
  | 'not-listening'
  | 'loopback-only' // facts.listening
  // policy
  | 'policy-ingress'
  | 'policy-egress'
  // the answer
  | 'reply-untranslated' // the reply arrives from an address the client never called (bridged past the un-NAT)
  | 'wrong-host' // delivered to a namespace that is not the one asked about; facts.expected
  | 'unknown-state'; // a gap decided the outcome; facts.what

export type StepKind =
  | 'send'
  | 'policy'
  | 'nat'
  | 'route'
  | 'filter'
  | 'conntrack'
  | 'encap'
  | 'decap'
  | 'mtu'
  | 'neighbour'
  | 'bridge'
  | 'receive'
  | 'deliver';

/** What the kernel that lost the packet shows of it. */
export interface KernelWords {
  /** As the tracepoint skb:kfree_skb names it: `NETFILTER_DROP`, `IP_RPFILTER`. */
  readonly dropReason?: string;
  /** What the sender notices: `silent`, `ICMP 3/1`, `TCP reset`. */
  readonly symptom: string;
  /** The counter that rises, as nstat names it: `IpInAddrErrors`. Where there is none, nothing but the walk tells. */
  readonly counter?: string;
  /** What it stood at when the snapshot was taken. */
  readonly counted?: number;
}

/** A rule that would have let a lost packet go on, and what the packet lacks for it. */
export interface NearRule {
  readonly table: string;
  /** Base chain first, the chain of the rule last. */
  readonly chains: readonly string[];
  /** `return` leads past the rule that dropped; `mark` sets what `through` asks for; `late` stands behind the drop. */
  readonly how: 'accept' | 'return' | 'mark' | 'late';
  /** `destination port 8080; the packet has 8081`. Empty only for `late`. */
  readonly needs: readonly string[];
  /** What the comment or the chain's name says, `NetworkPolicy shop/db`. */
  readonly about?: string;
  readonly source: SourceRef;
  /** Of `mark`: the rule that asks for the mark. */
  readonly through?: SourceRef;
}

export interface Step {
  readonly kind: StepKind;
  /** What became of the packet here. `lost` ends the walk in this direction; `unknown` says the walk could not tell. */
  readonly action: 'pass' | 'rewrite' | 'lost' | 'unknown';
  /** One clause for people: `route 10.244.2.0/24 via 10.244.2.0 dev flannel.1`. */
  readonly text: string;
  /** Set where action is lost or unknown. */
  readonly reason?: Reason;
  /** The numbers and names behind `reason`, for the diagnosis. */
  readonly facts?: Readonly<Record<string, string>>;
  readonly sources?: readonly SourceRef[];
  /** Of a loss. */
  readonly kernel?: KernelWords;
  /** Of a drop by rule or policy, where that was asked for: best first. */
  readonly nearest?: readonly NearRule[];
}

/** A packet-filter rule that the packet matched, or the policy at the end of a base chain. */
export interface RuleVisit {
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';
  readonly backend: 'nft' | 'legacy' | 'nftables';
  /** `filter`; of nftables with its family, `ip kube-proxy`. */
  readonly table: string;
  /** Base chain first, the chain of the rule last. */
  readonly chains: readonly string[];
  /** As the kernel's own trace has it, but for `reject`, which is a drop to it. NAT ends a chain as accept does. */
  readonly verdict: 'accept' | 'drop' | 'reject' | 'return' | 'jump' | 'goto' | 'continue' | 'unknown';
  /** The chain that jump and goto lead to. */
  readonly to?: string;
  /** The chain's policy, no rule. */
  readonly policy?: boolean;
  /** Of nftables. */
  readonly handle?: number;
  /** What the comment or the chain's name says, `Service shop/api:http`. */
  readonly about?: string;
  /** What it did to the packet, `mark 0x0 -> 0x4000`. */
  readonly effect?: string;
  /** The rule's counter when the dump was taken. */
  readonly packets?: number;
  readonly source: SourceRef;
}

/** The packet's stay in one network namespace. */
export interface Hop {
  /** Namespace id: `node1`, or `node1/shop_web-1` for a pod. */
  readonly netns: string;
  readonly node: string;
  /** Set for a pod's namespace, `shop/web-1`. */
  readonly pod?: string;
  /** Device it came in by; absent where it was sent. */
  readonly inDevice?: string;
  /** Device it left by; absent where it was delivered or lost. */
  readonly outDevice?: string;
  readonly packet: Packet;
  readonly steps: readonly Step[];
  /** The rules that it matched here, where that was asked for. */
  readonly rules?: readonly RuleVisit[];
}

/** Both directions of one variant of the flow (one Service backend, one packet size). */
export interface Trace {
  readonly forward: readonly Hop[];
  readonly back: readonly Hop[];
}

/** One way that the flow can go. Services with several endpoints fork; sizes are walked apart. */
export interface Branch {
  /** `shop/api-2 10.244.2.7:8080`; the pod that answered or should have. */
  readonly backend?: string;
  /** Share of new connections that take this branch, 0..1. */
  readonly share: number;
  readonly size: 'small' | 'full';
  readonly answer: Answer;
  readonly disposition: Disposition;
  readonly trace: Trace;
  /** The step that ended it, if it is not delivered. `direction` tells which half of the trace holds it. */
  readonly broken?: { readonly direction: 'forward' | 'back'; readonly hop: Hop; readonly step: Step };
  /** True remarks that do not decide the answer: `the tunnel packet is fragmented`. */
  readonly remarks: readonly Step[];
}

export interface Verdict {
  readonly flow: Flow;
  readonly answer: Answer;
  readonly disposition: Disposition;
  /** The branch shown to people: the first that fails, else the first. */
  readonly trace: Trace;
  readonly branches: readonly Branch[];
  readonly evidence: readonly Evidence[];
  readonly gaps: readonly Gap[];
}
