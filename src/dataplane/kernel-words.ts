/**
 * What the kernel itself would show of a loss: the reason at the tracepoint skb:kfree_skb (enum skb_drop_reason), what the
 * sender notices, and the counter that rises. One table; test/oracles/kernel-words.test.ts provokes its lines.
 */
import type { KernelWords, Reason, Step } from '../model/verdict.ts';
import { isLoopback, isMulticast } from '../net/address.ts';
import type { Packet } from '../net/packet.ts';
import { answerTo } from './simulate-answer.ts';

interface Loss {
  readonly packet: Packet;
  readonly step: Step;
  /** It came by a device; else a process of the namespace sent it. */
  readonly isForeign: boolean;
}

/** Undefined for what is no loss in one kernel: a flow that ends at the wrong host, a policy that no rule shows. */
export function kernelWords(loss: Loss): KernelWords | undefined {
  const found = words(loss);
  if (found === undefined) return undefined;
  return { symptom: symptomOf(loss), ...found };
}

type Words = Omit<KernelWords, 'symptom'> & { readonly symptom?: string };

function words({ packet, step, isForeign }: Loss): Words | undefined {
  const six = packet.src.family === 6;
  const ip = (v4: string, v6: string): string => (six ? v6 : v4);
  const reason: Reason = step.reason ?? 'unknown-state';
  switch (reason) {
    case 'rule-drop':
    case 'chain-policy-drop':
      return { dropReason: 'NETFILTER_DROP', ...(isForeign ? {} : refusedCall(packet)) };
    case 'rule-reject':
    case 'no-endpoints':
      return step.facts?.verdict === undefined
        ? undefined
        : { dropReason: 'NETFILTER_DROP', ...rejectCounter(step, six) };
    case 'ip-forward-off':
      // ip_error() where the device does not forward; ip6_forward().
      return { dropReason: 'IP_INADDRERRORS', counter: ip('IpInAddrErrors', 'Ip6InAddrErrors') };
    case 'rp-filter':
      // Named TcpExt and counted for every protocol (ip_rcv_finish_core).
      return { dropReason: 'IP_RPFILTER', counter: 'TcpExtIPReversePathFilter' };
    case 'martian-source':
      return martian(packet);
    case 'no-route':
      if (!isForeign) return { counter: ip('IpOutNoRoutes', 'Ip6OutNoRoutes') };
      return { dropReason: 'IP_INNOROUTES', counter: ip('IpExtInNoRoutes', 'Ip6InNoRoutes') };
    case 'route-blackhole':
      return blackhole(step, six, isForeign);
    case 'ttl-exceeded':
      // ip_forward() and ip6_forward() count it as a header error.
      return { dropReason: 'IP_INHDR', counter: ip('IpInHdrErrors', 'Ip6InHdrErrors') };
    case 'mtu-exceeded':
      if (step.facts?.answers !== undefined && step.facts.answers !== 'icmp') return {};
      return { dropReason: 'PKT_TOO_BIG', counter: ip('IpFragFails', 'Ip6InTooBigErrors') };
    case 'neighbour-unresolved':
    case 'no-host-for-address':
      // arp_error_report() and ndisc_error_report() after the probes went unanswered.
      return {
        dropReason: 'NEIGH_FAILED',
        symptom: isForeign
          ? `ICMP ${ip('3/1', '1/3')} after about 3 s`
          : 'the call fails after about 3 s (EHOSTUNREACH)',
      };
    case 'not-listening':
    case 'loopback-only':
      return notListening(packet, six);
    default:
      return undefined;
  }
}

/** nf_hook_slow()'s EPERM reaches the caller through ip_send_skb(), which counts; tcp_connect() ignores it and tries again. */
const refusedCall = ({ protocol, src }: Packet): Words =>
  protocol === 'tcp'
    ? { symptom: 'silent: connect() times out' }
    : { symptom: 'sendto() fails (EPERM)', counter: src.family === 6 ? 'Ip6OutDiscards' : 'IpOutDiscards' };

/** nf_send_unreach() goes through icmp_send(), which counts; a reset is built by hand and counts nowhere. */
function rejectCounter(step: Step, six: boolean): { counter?: string } {
  const how = step.facts?.rejectWith ?? '';
  if (step.facts?.verdict !== 'reject' || /reset|rst/.test(how)) return {};
  return { counter: six ? 'Icmp6OutDestUnreachs' : 'IcmpOutDestUnreachs' };
}

function martian({ src, dst }: Packet): Words {
  // ip6_rcv_core() drops a loopback source as a header error.
  if (src.family === 6) return { dropReason: 'IPV6DISABLED' };
  if (isLoopback(src) || isLoopback(dst)) return { dropReason: 'IP_LOCALNET' };
  if (isMulticast(src) || src.value === 0xffffffffn) return { dropReason: 'IP_INVALID_SOURCE' };
  return { dropReason: 'IP_LOCAL_SOURCE' };
}

/** RTN_BLACKHOLE is dst_discard(); of the others ip_error() answers and counts nothing, ip6_pkt_drop() counts as for no route. */
function blackhole(step: Step, six: boolean, isForeign: boolean): Words {
  if (!isForeign) return {};
  if (!six || step.facts?.type === 'blackhole') return { dropReason: 'NOT_SPECIFIED' };
  return { dropReason: 'IP_INNOROUTES', counter: 'Ip6InNoRoutes' };
}

function notListening({ protocol, dst }: Packet, six: boolean): Words {
  if (protocol === 'tcp')
    return { dropReason: 'NO_SOCKET', symptom: 'TCP reset: connection refused', counter: 'TcpOutRsts' };
  if (protocol === 'udp')
    return {
      dropReason: 'NO_SOCKET',
      ...(isMulticast(dst) ? {} : { symptom: `ICMP ${six ? '1/4' : '3/3'}: connection refused` }),
      counter: six ? 'Udp6NoPorts' : 'UdpNoPorts',
    };
  return {};
}

/** What the sender gets to hear. */
function symptomOf({ packet, step, isForeign }: Loss): string {
  const answer = answerTo(packet, step, isForeign);
  if (answer === undefined) return 'silent';
  switch (answer.kind) {
    case 'icmp': {
      const mtu = answer.mtuBytes === undefined ? '' : `, MTU ${answer.mtuBytes}`;
      return `ICMP ${answer.type}/${answer.code}${mtu}`;
    }
    case 'tcp-reset':
      return 'TCP reset';
    case 'error':
      return 'the call fails';
  }
}
