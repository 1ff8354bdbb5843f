/** Who refused a connection: the peer itself with a TCP reset, or a filter with an ICMP error. Both are ECONNREFUSED. */
import { readFileSync } from 'node:fs';
import { parseAddress } from '../net/address.ts';

/** ICMP destination-unreachable messages that this network namespace has received; undefined where /proc has no count. */
export function unreachablesReceived(dst: string): number | undefined {
  const isV6 = parseAddress(dst)?.family === 6;
  try {
    const text = readFileSync(isV6 ? '/proc/net/snmp6' : '/proc/net/snmp', 'utf8');
    return isV6 ? readSnmp6(text) : readSnmp(text);
  } catch {
    return undefined;
  }
}

/**
 * A clause on who refused. Other probes run meanwhile and may earn ICMP errors of their own, so a higher count proves
 * nothing, while an unchanged one proves that the refusal was no ICMP error.
 */
export function refusedBy(before: number | undefined, after: number | undefined): string {
  if (before === undefined || after === undefined) return 'a TCP reset or an ICMP error';
  return before === after
    ? 'a TCP reset: no ICMP error arrived'
    : 'perhaps an ICMP error: one arrived meanwhile';
}

/** /proc/net/snmp prints a line of names and a line of values for each protocol. */
function readSnmp(text: string): number | undefined {
  const [names, values] = text.split('\n').filter((line) => line.startsWith('Icmp: '));
  const at = names?.split(' ').indexOf('InDestUnreachs') ?? -1;
  return at < 0 ? undefined : Number(values?.split(' ')[at]);
}

function readSnmp6(text: string): number | undefined {
  const value = /^Icmp6InDestUnreachs\s+(\d+)/m.exec(text)?.[1];
  return value === undefined ? undefined : Number(value);
}
