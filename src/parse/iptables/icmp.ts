/** ICMP types by number or by the names that iptables knows. */
import type { Family } from '../../net/address.ts';

export interface IcmpType {
  /** Undefined is any type. */
  readonly type?: number;
  readonly code?: number;
}

const names4 = new Map<string, IcmpType>([
  ['any', {}],
  // The kernel reads 255 as any type (xt_icmp); iptables-save of some versions prints it so.
  ['255', {}],
  ['echo-reply', { type: 0 }],
  ['pong', { type: 0 }],
  ['destination-unreachable', { type: 3 }],
  ['network-unreachable', { type: 3, code: 0 }],
  ['host-unreachable', { type: 3, code: 1 }],
  ['protocol-unreachable', { type: 3, code: 2 }],
  ['port-unreachable', { type: 3, code: 3 }],
  ['fragmentation-needed', { type: 3, code: 4 }],
  ['source-quench', { type: 4 }],
  ['redirect', { type: 5 }],
  ['echo-request', { type: 8 }],
  ['ping', { type: 8 }],
  ['router-advertisement', { type: 9 }],
  ['router-solicitation', { type: 10 }],
  ['time-exceeded', { type: 11 }],
  ['ttl-exceeded', { type: 11 }],
  ['parameter-problem', { type: 12 }],
]);

const names6 = new Map<string, IcmpType>([
  ['destination-unreachable', { type: 1 }],
  ['no-route', { type: 1, code: 0 }],
  ['address-unreachable', { type: 1, code: 3 }],
  ['port-unreachable', { type: 1, code: 4 }],
  ['packet-too-big', { type: 2 }],
  ['time-exceeded', { type: 3 }],
  ['ttl-exceeded', { type: 3 }],
  ['parameter-problem', { type: 4 }],
  ['echo-request', { type: 128 }],
  ['ping', { type: 128 }],
  ['echo-reply', { type: 129 }],
  ['pong', { type: 129 }],
  ['router-solicitation', { type: 133 }],
  ['router-advertisement', { type: 134 }],
  ['neighbour-solicitation', { type: 135 }],
  ['neighbor-solicitation', { type: 135 }],
  ['neighbour-advertisement', { type: 136 }],
  ['neighbor-advertisement', { type: 136 }],
  ['redirect', { type: 137 }],
]);

/** `8`, `3/4`, `echo-request`, `any`. */
export function readIcmpType(text: string, family: Family): IcmpType | undefined {
  const named = (family === 4 ? names4 : names6).get(text);
  if (named !== undefined) return named;
  const numbers = /^(\d{1,3})(?:\/(\d{1,3}))?$/.exec(text);
  if (numbers === null) return undefined;
  const type = Number(numbers[1]);
  const code = numbers[2] === undefined ? undefined : Number(numbers[2]);
  if (type > 255 || (code ?? 0) > 255) return undefined;
  return { type, ...(code === undefined ? {} : { code }) };
}
