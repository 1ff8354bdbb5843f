/** A simulated packet's fate as one JSON object. */
import type { Simulated } from '../model/simulated.ts';
import { formatSource } from '../model/source.ts';
import type { KernelWords, NearRule, RuleVisit } from '../model/verdict.ts';
import { formatAddress } from '../net/address.ts';
import type { Packet } from '../net/packet.ts';

export interface SimulatedJson {
  readonly verdict: Simulated['verdict'];
  readonly oif: string | null;
  readonly src: string;
  readonly dst: string;
  /** null: the kernel makes it up; `madeUp` says within what. */
  readonly sport: number | null;
  readonly dport: number | null;
  /** Ports that the kernel makes up as it translates, first and last of what they may be. */
  readonly madeUp?: {
    readonly sport?: readonly [number, number];
    readonly dport?: readonly [number, number];
  };
  readonly mark: number;
  readonly ttl: number;
  readonly reason: string;
  readonly rule: string | null;
  /** With --explain: every rule that matched, in order. */
  readonly path?: readonly VisitJson[];
  /** With --explain, of a loss: what the kernel itself shows. */
  readonly kernel?: KernelWords;
  /** With --explain, of a drop: the rules that would have let it go on, best first. */
  readonly nearest?: readonly NearJson[];
  /** What the sender is told: `{"icmpType":3,"icmpCode":4,"mtu":1400}`, `tcp-reset`, or `error` where a local call fails. */
  readonly answer?: 'tcp-reset' | 'error' | { icmpType: number; icmpCode: number; mtu?: number };
  /** What becomes of the answer's own packet in the namespace. */
  readonly answerVerdict?: SimulatedJson;
  readonly share?: number;
  readonly alternatives?: readonly SimulatedJson[];
}

type VisitJson = Omit<RuleVisit, 'source'> & { readonly rule: string };
type NearJson = Omit<NearRule, 'source' | 'through'> & { readonly rule: string; readonly through?: string };

function explained({ rules, steps }: Simulated): Pick<SimulatedJson, 'path' | 'kernel' | 'nearest'> {
  if (rules === undefined) return {};
  const { kernel, nearest } = steps.findLast(({ action }) => action === 'lost') ?? {};
  return {
    path: rules.map(({ source, ...visit }) => ({ ...visit, rule: formatSource(source) })),
    ...(kernel === undefined ? {} : { kernel }),
    ...(nearest === undefined
      ? {}
      : {
          nearest: nearest.map(({ source, through, ...near }) => ({
            ...near,
            rule: formatSource(source),
            ...(through === undefined ? {} : { through: formatSource(through) }),
          })),
        }),
  };
}

export function simulatedJson(end: Simulated): SimulatedJson {
  const { packet, answer, answerEnd, share, alternatives } = end;
  return {
    verdict: end.verdict,
    oif: end.oif ?? null,
    src: formatAddress(packet.src),
    dst: formatAddress(packet.dst),
    ...portsJson(packet),
    mark: packet.mark,
    ttl: packet.ttl,
    reason: end.reason,
    rule: end.rule ?? null,
    ...explained(end),
    ...(answer === undefined ? {} : { answer: answerJson(answer) }),
    ...(answerEnd === undefined ? {} : { answerVerdict: simulatedJson(answerEnd) }),
    ...(share === undefined ? {} : { share }),
    ...(alternatives === undefined ? {} : { alternatives: alternatives.map(simulatedJson) }),
  };
}

function portsJson({
  srcPort,
  dstPort,
  icmp,
  madeUp,
}: Packet): Pick<SimulatedJson, 'sport' | 'dport' | 'madeUp'> {
  if (madeUp === undefined || icmp !== undefined) return { sport: srcPort, dport: dstPort };
  const { src, dst } = madeUp;
  return {
    sport: src === undefined ? srcPort : null,
    dport: dst === undefined ? dstPort : null,
    madeUp: {
      ...(src === undefined ? {} : { sport: [src.from, src.to] as const }),
      ...(dst === undefined ? {} : { dport: [dst.from, dst.to] as const }),
    },
  };
}

function answerJson(answer: NonNullable<Simulated['answer']>): NonNullable<SimulatedJson['answer']> {
  if (answer.kind !== 'icmp') return answer.kind;
  const { type, code, mtuBytes } = answer;
  return { icmpType: type, icmpCode: code, ...(mtuBytes === undefined ? {} : { mtu: mtuBytes }) };
}
