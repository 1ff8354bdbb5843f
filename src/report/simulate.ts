/** A simulated packet's fate as one JSON object. */
import type { Simulated } from '../model/simulated.ts';
import { formatAddress } from '../net/address.ts';

export interface SimulatedJson {
  readonly verdict: Simulated['verdict'];
  readonly oif: string | null;
  readonly src: string;
  readonly dst: string;
  readonly sport: number;
  readonly dport: number;
  readonly mark: number;
  readonly ttl: number;
  readonly reason: string;
  readonly rule: string | null;
  /** What the sender is told: `{"icmpType":3,"icmpCode":4,"mtu":1400}`, `tcp-reset`, or `error` where a local call fails. */
  readonly answer?: 'tcp-reset' | 'error' | { icmpType: number; icmpCode: number; mtu?: number };
  /** What becomes of the answer's own packet in the namespace. */
  readonly answerVerdict?: SimulatedJson;
  readonly share?: number;
  readonly alternatives?: readonly SimulatedJson[];
}

export function simulatedJson(end: Simulated): SimulatedJson {
  const { packet, answer, answerEnd, share, alternatives } = end;
  return {
    verdict: end.verdict,
    oif: end.oif ?? null,
    src: formatAddress(packet.src),
    dst: formatAddress(packet.dst),
    sport: packet.srcPort,
    dport: packet.dstPort,
    mark: packet.mark,
    ttl: packet.ttl,
    reason: end.reason,
    rule: end.rule ?? null,
    ...(answer === undefined ? {} : { answer: answerJson(answer) }),
    ...(answerEnd === undefined ? {} : { answerVerdict: simulatedJson(answerEnd) }),
    ...(share === undefined ? {} : { share }),
    ...(alternatives === undefined ? {} : { alternatives: alternatives.map(simulatedJson) }),
  };
}

function answerJson(answer: NonNullable<Simulated['answer']>): NonNullable<SimulatedJson['answer']> {
  if (answer.kind !== 'icmp') return answer.kind;
  const { type, code, mtuBytes } = answer;
  return { icmpType: type, icmpCode: code, ...(mtuBytes === undefined ? {} : { mtu: mtuBytes }) };
}
