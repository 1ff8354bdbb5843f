/** What a namespace tells the sender of a packet that it does not take: an ICMP error, a reset, or nothing. */
import type { KernelAnswer } from '../model/simulated.ts';
import type { Step } from '../model/verdict.ts';
import { isMulticast, isUnspecified } from '../net/address.ts';
import type { Packet } from '../net/packet.ts';
import { isIcmpError } from './netfilter/tuples.ts';

/** Types and codes of icmp.h by the names that rules give them. */
const rejects4: Readonly<Record<string, number>> = {
  'icmp-net-unreachable': 0,
  'icmp-host-unreachable': 1,
  'icmp-proto-unreachable': 2,
  'icmp-port-unreachable': 3,
  'icmp-net-prohibited': 9,
  'icmp-host-prohibited': 10,
  'icmp-admin-prohibited': 13,
};

const rejects6: Readonly<Record<string, number>> = {
  'icmp6-no-route': 0,
  'no-route': 0,
  'icmp6-adm-prohibited': 1,
  'adm-prohibited': 1,
  'icmp6-addr-unreachable': 3,
  'addr-unreach': 3,
  'icmp6-port-unreachable': 4,
  'port-unreach': 4,
  'icmp6-policy-fail': 5,
  'policy-fail': 5,
  'icmp6-reject-route': 6,
  'reject-route': 6,
};

/** Undefined: nothing is sent. */
export function answerTo(packet: Packet, step: Step, isForeign: boolean): KernelAnswer | undefined {
  const six = packet.src.family === 6;
  const facts = step.facts ?? {};
  switch (step.reason) {
    case 'rule-reject':
    case 'no-endpoints':
      return facts.verdict === 'reject' ? rejectAnswer(packet, facts.rejectWith ?? '') : undefined;
    case 'no-route':
      if (!isForeign) return { kind: 'error' };
      return icmp(packet, six ? 1 : 3, 0);
    case 'route-blackhole':
      if (!isForeign) return { kind: 'error' };
      if (facts.type === 'unreachable') return six ? icmp(packet, 1, 0) : icmp(packet, 3, 1);
      return facts.type === 'prohibit' ? (six ? icmp(packet, 1, 1) : icmp(packet, 3, 13)) : undefined;
    case 'ttl-exceeded':
      return six ? icmp(packet, 3, 0) : icmp(packet, 11, 0);
    case 'mtu-exceeded': {
      if (!isForeign) return { kind: 'error' };
      const mtuBytes = Number(facts.mtu);
      return six ? icmp(packet, 2, 0, mtuBytes) : icmp(packet, 3, 4, mtuBytes);
    }
    default:
      return undefined;
  }
}

function rejectAnswer(packet: Packet, how: string): KernelAnswer | undefined {
  if (/tcp[- ]?(reset|rst)/.test(how)) {
    // nf_reject_ip_tcphdr_get(): a reset is not answered by a reset, nor is anything but TCP.
    return packet.protocol === 'tcp' && packet.flags?.rst !== true ? { kind: 'tcp-reset' } : undefined;
  }
  if (packet.src.family === 6) return icmp(packet, 1, rejects6[how] ?? 4);
  return icmp(packet, 3, rejects4[how] ?? 3);
}

/** NR_ICMP_TYPES: of types that it does not know icmp_send() cannot tell whether they are errors. */
const mostIcmpType = 18;

/** icmp_send() and icmp6_send() answer no error, and nobody that is not one host. */
function icmp(packet: Packet, type: number, code: number, mtuBytes?: number): KernelAnswer | undefined {
  const { src, dst } = packet;
  if (isIcmpError(packet) || isMulticast(src) || isUnspecified(src)) return undefined;
  if (packet.protocol === 'icmp' && (packet.icmp?.type ?? 0) > mostIcmpType) return undefined;
  // Only "packet too big" of IPv6 answers multicast.
  if (isMulticast(dst) && (src.family === 4 || type !== 2)) return undefined;
  return { kind: 'icmp', type, code, ...(mtuBytes === undefined ? {} : { mtuBytes }) };
}
